/** Files that are read by position: regular files only, so that no device or pipe is waited for. */
import fs from 'node:fs';
import { InputError, MachineError } from '../errors.js';
import { progress } from '../progress.js';
import { printable } from '../show.js';
import { systemReason } from './reason.js';

/** Read calls beyond 2 GiB fail or stop short; no file of ours needs more at once. */
const LARGEST_TRANSFER = 1 << 28;

/** A regular file open for reading at any position. */
export class PositionedFile {
  private constructor(
    readonly path: string,
    readonly size: number,
    private descriptor: number,
  ) {}

  /** Whether something has this name, a dangling link included: whatever it is, `open` then has a word for it. */
  static exists(file: string): boolean {
    try {
      return fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return false;
      throw new InputError(`${printable(file)}: cannot read: ${systemReason(error)}`);
    }
  }

  /** @throws InputError when it does not exist, is no regular file or may not be read. */
  static open(file: string): PositionedFile {
    let descriptor = -1;
    try {
      // Asked before it is opened as well as after: to open a device can do things, and a pipe that nobody writes
      // to would be waited for (hence O_NONBLOCK, which means nothing for regular files).
      requireRegular(fs.statSync(file), file);
      descriptor = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
      const stat = fs.fstatSync(descriptor);
      requireRegular(stat, file);
      return new PositionedFile(file, stat.size, descriptor);
    } catch (error) {
      if (descriptor >= 0) fs.closeSync(descriptor);
      if (error instanceof InputError) throw error;
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && PositionedFile.exists(file))
        throw new InputError(`${printable(file)}: cannot read: a link to something that does not exist`);
      throw new InputError(`${printable(file)}: cannot read: ${systemReason(error)}`);
    }
  }

  /** Fills `target` from `position`. @throws InputError when the file ends before. */
  readInto(target: Uint8Array, position: number): void {
    if (this.descriptor < 0) throw new MachineError(`${printable(this.path)}: read after it was closed`);
    let offset = 0;
    while (offset < target.length) {
      const length = Math.min(target.length - offset, LARGEST_TRANSFER);
      let got: number;
      try {
        got = fs.readSync(this.descriptor, target, offset, length, position + offset);
      } catch (error) {
        throw new MachineError(`${printable(this.path)}: cannot read: ${systemReason(error)}`);
      }
      if (got === 0)
        throw new InputError(
          `${printable(this.path)}: truncated: expected ${target.length} bytes at ${position}, found ${offset}`,
        );
      offset += got;
      progress();
    }
  }

  /** @throws InputError when the file ends before; nothing is allocated then. */
  readBytes(position: number, length: number): Uint8Array {
    if (position + length > this.size)
      throw new InputError(
        `${printable(this.path)}: truncated: expected ${length} bytes at ${position}, file has ${this.size}`,
      );
    const bytes = new Uint8Array(length);
    this.readInto(bytes, position);
    return bytes;
  }

  close(): void {
    if (this.descriptor >= 0) fs.closeSync(this.descriptor);
    this.descriptor = -1;
  }
}

function requireRegular(stat: fs.Stats, file: string): void {
  if (stat.isFile()) return;
  const found = stat.isDirectory()
    ? 'a folder'
    : stat.isFIFO()
      ? 'a pipe'
      : stat.isSocket()
        ? 'a socket'
        : 'a device';
  throw new InputError(`${printable(file)}: expected a file, found ${found}`);
}
