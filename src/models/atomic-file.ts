/**
 * Files as the weight formats use them: written whole or not at all, and read by position.
 *
 * Writing goes to a temporary name in the same folder, is synced, then renamed; whatever kills the process, the
 * final name holds the old content or the new, never a part. What a killed process leaves behind is called
 * `.<name>.<pid>-<random>.dawntune-tmp`. What the bytes mean is not known here.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import {
  bytesOf,
  type FileDType,
  type FloatFileDType,
  fileDTypeBytes,
  type HostArray,
  hostArray,
  toFloat32,
} from '../tensor/dtype.js';

const TEMPORARY_SUFFIX = '.dawntune-tmp';

/** Read and write calls beyond 2 GiB fail or stop short; no file of ours needs more at once. */
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

  /** @throws InputError when the folder does not exist or cannot be written. */
  static create(file: string): AtomicFile {
    const name = `.${path.basename(file)}.${process.pid}-${randomBytes(4).toString('hex')}${TEMPORARY_SUFFIX}`;
    const temporary = path.join(path.dirname(file), name);
    try {
      if (fs.statSync(file, { throwIfNoEntry: false })?.isDirectory())
        throw new InputError(`${file}: cannot write: is a folder`);
      return new AtomicFile(file, temporary, fs.openSync(temporary, 'wx'));
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw new InputError(`${file}: cannot write: ${reason(error)}`);
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
      }
    });
    if (at === undefined) this.position += bytes.length;
  }

  /** Syncs the bytes, gives them their name, syncs the folder. */
  commit(): void {
    this.attempt(() => {
      fs.fsyncSync(this.open());
      this.close();
      fs.renameSync(this.temporary, this.path);
      syncFolder(path.dirname(this.path));
    });
  }

  /** Forgets what was written; does nothing after `commit` or a second time. */
  abort(): void {
    if (this.descriptor < 0) return;
    this.close();
    fs.rmSync(this.temporary, { force: true });
  }

  private open(): number {
    if (this.descriptor < 0) throw new MachineError(`${this.path}: written after it was closed`);
    return this.descriptor;
  }

  private close(): void {
    fs.closeSync(this.descriptor);
    this.descriptor = -1;
  }

  private attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      if (this.descriptor >= 0) this.close();
      fs.rmSync(this.temporary, { force: true });
      if (error instanceof MachineError) throw error;
      const hint =
        (error as NodeJS.ErrnoException).code === 'ENOSPC' ? '; free space on this disk and rerun' : '';
      throw new MachineError(`${this.path}: cannot write: ${reason(error)}${hint}`);
    }
  }
}

/** Writes a whole small file atomically. */
export function writeFileAtomic(file: string, content: string | Uint8Array): void {
  const target = AtomicFile.create(file);
  target.write(typeof content === 'string' ? new TextEncoder().encode(content) : content);
  target.commit();
}

/** A regular file open for reading at any position. */
export class PositionedFile {
  private constructor(
    readonly path: string,
    readonly size: number,
    private descriptor: number,
  ) {}

  /** @throws InputError when it does not exist, is no regular file or may not be read. */
  static open(file: string): PositionedFile {
    try {
      const stat = fs.statSync(file);
      if (!stat.isFile())
        throw new InputError(`${file}: expected a file, found a ${stat.isDirectory() ? 'folder' : 'device'}`);
      return new PositionedFile(file, stat.size, fs.openSync(file, 'r'));
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw new InputError(`${file}: cannot read: ${reason(error)}`);
    }
  }

  /** Fills `target` from `position`. @throws InputError when the file ends before. */
  readInto(target: Uint8Array, position: number): void {
    if (this.descriptor < 0) throw new MachineError(`${this.path}: read after it was closed`);
    let offset = 0;
    while (offset < target.length) {
      const length = Math.min(target.length - offset, LARGEST_TRANSFER);
      let got: number;
      try {
        got = fs.readSync(this.descriptor, target, offset, length, position + offset);
      } catch (error) {
        throw new MachineError(`${this.path}: cannot read: ${reason(error)}`);
      }
      if (got === 0)
        throw new InputError(
          `${this.path}: truncated: expected ${target.length} bytes at ${position}, found ${offset}`,
        );
      offset += got;
    }
  }

  /** @throws InputError when the file ends before; nothing is allocated then. */
  readBytes(position: number, length: number): Uint8Array {
    if (position + length > this.size)
      throw new InputError(
        `${this.path}: truncated: expected ${length} bytes at ${position}, file has ${this.size}`,
      );
    const bytes = new Uint8Array(length);
    this.readInto(bytes, position);
    return bytes;
  }

  /** `count` elements as stored (16-bit floats as raw bits). */
  readArray(dtype: FileDType, position: number, count: number): HostArray {
    const data = hostArray(dtype, count);
    this.readInto(bytesOf(data), position);
    return data;
  }

  /** `count` elements as f32; the host never holds the stored form of more than a chunk beside the result. */
  readFloats(dtype: FloatFileDType, position: number, count: number): Float32Array {
    if (dtype === 'f32') return this.readArray('f32', position, count) as Float32Array;
    const result = new Float32Array(count);
    for (const { offset, data } of this.streamFloats(dtype, position, count, 1 << 20))
      result.set(data, offset);
    return result;
  }

  /** The same in pieces of at most `maxElements`; each piece is a fresh array. */
  *streamFloats(
    dtype: FloatFileDType,
    position: number,
    count: number,
    maxElements: number,
  ): Generator<{ offset: number; data: Float32Array }> {
    const width = fileDTypeBytes(dtype);
    for (let offset = 0; offset < count; offset += maxElements) {
      const length = Math.min(maxElements, count - offset);
      yield { offset, data: toFloat32(dtype, this.readArray(dtype, position + offset * width, length)) };
    }
  }

  close(): void {
    if (this.descriptor >= 0) fs.closeSync(this.descriptor);
    this.descriptor = -1;
  }
}

/** A name out of a file, quoted so that it cannot break the line or flood it. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

function syncFolder(folder: string): void {
  if (process.platform === 'win32') return; // Folders cannot be opened there.
  const descriptor = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

const reasons: Record<string, string> = {
  ENOENT: 'no such file or folder',
  ENOTDIR: 'a part of the path is not a folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  ENAMETOOLONG: 'the name is too long',
};

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code !== undefined && reasons[code]) || message;
}
