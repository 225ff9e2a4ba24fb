/**
 * The lock that other programs take too: `flock` on a file. The system itself releases it when its holder ends,
 * however that happens, so no lock is ever left behind. Node has no such call; it is made through the C library.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { MachineError } from '../errors.js';
import { printable } from '../show.js';
import { systemReason } from './reason.js';

const EXCLUSIVE_AT_ONCE = 2 | 4;
const POLL_MILLISECONDS = 100;

export interface FileLock {
  release(): void;
}

/**
 * Waits until nobody else holds the lock on `file`, which is made if it is not there; `waiting` is called once, when
 * there is somebody to wait for. Undefined where the system or the file system has no such locks.
 * @throws MachineError when the file cannot be opened.
 */
export async function lockFile(file: string, waiting: () => void): Promise<FileLock | undefined> {
  const flock = systemFlock();
  if (!flock) return undefined;
  let told = false;
  for (;;) {
    let descriptor: number;
    try {
      descriptor = fs.openSync(file, 'a');
    } catch (error) {
      throw new MachineError(`${printable(file)}: cannot lock: ${systemReason(error)}`);
    }
    const answer = flock(descriptor);
    if (answer === 'taken') {
      // A holder may remove the file as it leaves; a lock on what has no name any more keeps nobody out.
      const named = fs.statSync(file, { throwIfNoEntry: false });
      if (named?.ino === fs.fstatSync(descriptor).ino) return { release: () => fs.closeSync(descriptor) };
    }
    fs.closeSync(descriptor);
    if (answer === 'impossible') return undefined;
    if (answer === 'held') {
      if (!told) waiting();
      told = true;
      await pause(POLL_MILLISECONDS);
    }
  }
}

type Flock = (descriptor: number) => 'taken' | 'held' | 'impossible';
let found: Flock | undefined;

function systemFlock(): Flock | undefined {
  if (process.platform === 'win32') return undefined;
  if (found) return found;
  // Loaded when it is needed: reading a model that is there already needs no C library.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
  const call = koffi.load(null).func('int flock(int descriptor, int operation)');
  const { EWOULDBLOCK, EAGAIN, EINTR } = koffi.os.errno as Record<string, number>;
  found = (descriptor) => {
    for (;;) {
      if (call(descriptor, EXCLUSIVE_AT_ONCE) === 0) return 'taken';
      const errno = koffi.errno();
      if (errno === EINTR) continue;
      return errno === EWOULDBLOCK || errno === EAGAIN ? 'held' : 'impossible';
    }
  };
  return found;
}
