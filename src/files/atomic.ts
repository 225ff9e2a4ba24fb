/**
 * Files that are written whole or not at all.
 *
 * Writing goes to a temporary name in the same folder, is synced, then renamed; whatever kills the process, the
 * final name holds the old content or the new, never a part. What a killed process leaves behind is called
 * `.<name>.<pid>-<random>.dawntune-tmp`. What the bytes mean is not known here.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { progress } from '../progress.js';
import { printable } from '../show.js';
import { remedy, systemReason, writingFault } from './reason.js';
import { rename } from './rename.js';

const TEMPORARY_SUFFIX = '.dawntune-tmp';

/** Write calls beyond 2 GiB fail or stop short; no file of ours needs more at once. */
const LARGEST_TRANSFER = 1 << 28;

/** Whether a file name is a leftover of a process that was killed while it wrote. */
export function isTemporaryName(name: string): boolean {
  return path.basename(name).startsWith('.') && name.endsWith(TEMPORARY_SUFFIX);
}

/** A file that appears under its name, complete, at `commit`. */
export class AtomicFile {
  /** Where the next `write` goes, in bytes. */
  position = 0;

  private constructor(
    /** The final name. */
    readonly path: string,
    private readonly temporary: string,
    private descriptor: number,
  ) {}

  /** @throws InputError when the folder does not exist or cannot be written, MachineError (disk full …). */
  static create(file: string): AtomicFile {
    const name = `.${path.basename(file)}.${process.pid}-${randomBytes(4).toString('hex')}${TEMPORARY_SUFFIX}`;
    const temporary = path.join(path.dirname(file), name);
    try {
      requireReplaceable(file);
      return new AtomicFile(file, temporary, fs.openSync(temporary, 'wx'));
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw writingFault(file, 'cannot write', error);
    }
  }

  /** Writes at `position` and moves it; `at` writes elsewhere and leaves it. @throws MachineError (disk full …). */
  write(bytes: Uint8Array, at?: number): void {
    let offset = 0;
    const start = at ?? this.position;
    this.attempt(() => {
      while (offset < bytes.length) {
        const length = Math.min(bytes.length - offset, LARGEST_TRANSFER);
        offset += fs.writeSync(this.open(), bytes, offset, length, start + offset);
        progress();
      }
    });
    if (at === undefined) this.position += bytes.length;
  }

  /** Syncs the bytes, gives them their name, syncs the folder. */
  commit(): void {
    this.attempt(() => {
      fs.fsyncSync(this.open());
      this.close();
      rename(this.temporary, this.path);
      syncFolder(path.dirname(this.path));
    });
  }

  /** Forgets what was written; does nothing after `commit` or a second time. */
  abort(): void {
    if (this.descriptor < 0) return;
    this.discard();
  }

  private open(): number {
    if (this.descriptor < 0) throw new MachineError(`${printable(this.path)}: written after it was closed`);
    return this.descriptor;
  }

  private close(): void {
    const descriptor = this.descriptor;
    // Closed it is even where closing reports an error.
    this.descriptor = -1;
    fs.closeSync(descriptor);
  }

  /** What went wrong before is what there is to say; a temporary file that stays is removed by the next run. */
  private discard(): void {
    try {
      if (this.descriptor >= 0) this.close();
    } catch {}
    try {
      fs.rmSync(this.temporary, { force: true });
    } catch {}
  }

  private attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      this.discard();
      if (error instanceof MachineError) throw error;
      throw new MachineError(`${printable(this.path)}: cannot write: ${systemReason(error)}${remedy(error)}`);
    }
  }
}

/**
 * What is put in the place of `file` must not be the end of a device, a pipe or a socket: a rename would take their name
 * away from all other programs. @throws InputError.
 */
export function requireReplaceable(file: string): void {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  const link = fs.lstatSync(file, { throwIfNoEntry: false });
  const other =
    stats === undefined || stats.isFile()
      ? undefined
      : stats.isDirectory()
        ? 'is a folder'
        : 'is no file but a device, a pipe or a socket';
  // /dev/stdout leads to a file where the output is sent to one, and is not that file.
  const leads = link?.isSymbolicLink() && /^\/(?:proc|dev)\//.test(fs.readlinkSync(file));
  const reason = other ?? (leads ? 'is a link of the system' : undefined);
  if (reason) throw new InputError(`${printable(file)}: cannot write: ${reason}`);
}

/** Finds out, before anything is computed, that `file` can be written. @throws InputError that names the flag. */
export function requireWritable(flag: string, file: string): void {
  try {
    AtomicFile.create(file).abort();
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${flag}: ${error.message}`);
    throw error;
  }
}

/** Writes a whole small file atomically. */
export function writeFileAtomic(file: string, content: string | Uint8Array): void {
  const target = AtomicFile.create(file);
  target.write(typeof content === 'string' ? new TextEncoder().encode(content) : content);
  target.commit();
}

/** Makes names that were given or taken in a folder outlast a loss of power. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return; // Folders cannot be opened there.
  const descriptor = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
