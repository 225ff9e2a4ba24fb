/**
 * Standard streams that go away while a command runs: a reader that ends (`| head -1`), a full disk, a terminal that
 * is closed. None of them ends a run of hours: what it prints is in its files too. Used by every program of the
 * package, before anything is written.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import tty from 'node:tty';
import { printable } from '../show.js';

const NOTHING = '/dev/null';

/**
 * From now on lost output is left out. Losing standard output for another reason than a reader that ended is told
 * once on standard error; losing standard error cannot be told. A hang-up does not end the process, with `nohup` or
 * without (Node.js takes back what that ignores); an interrupt and a termination do.
 * @param onOutputEnd what to do instead of going on, when whoever reads standard output ended.
 */
export function surviveLostStreams(onOutputEnd: () => void = () => {}): void {
  let outputLost = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (outputLost) return;
    outputLost = true;
    if (error.code === 'EPIPE') onOutputEnd();
    else
      process.stderr.write(
        `dawntune: standard output is lost (${printable(error.message)}); going on without it\n`,
      );
    releaseTerminals();
  });
  process.stderr.on('error', releaseTerminals);
  process.on('SIGHUP', releaseTerminals);
  process.on('exit', releaseTerminals);
}

/**
 * Puts the null device where a terminal was that is gone. At the end Node.js resets each terminal it began with, and
 * aborts when that fails; it leaves alone what is no longer the same file. What native code writes is dropped too.
 */
function releaseTerminals(): void {
  if (process.platform === 'win32') return;
  for (const descriptor of [0, 1, 2])
    try {
      // What is gone is still a device, but a terminal no more.
      const stat = fs.fstatSync(descriptor);
      if (!stat.isCharacterDevice() || tty.isatty(descriptor) || stat.rdev === fs.statSync(NOTHING).rdev)
        continue;
      replaceByNull(descriptor);
    } catch {
      // Without a null device or descriptors to spare Node.js aborts at the end, when all is saved.
    }
}

/** In one step: a descriptor that is closed first could be taken by another thread's file. */
function replaceByNull(descriptor: number): void {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
  const duplicate = koffi.load(null).func('int dup2(int from, int to)') as (
    from: number,
    to: number,
  ) => number;
  const nothing = fs.openSync(NOTHING, 'r+');
  duplicate(nothing, descriptor);
  fs.closeSync(nothing);
}
