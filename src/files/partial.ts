/**
 * Files that take long to write, so long that a run may be killed meanwhile and another go on. They stand beside their
 * final names as `.NAME.dawntune-part`, with a file that says how much of them is whole, and get those names together at
 * the end. What the bytes mean is not known here.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { printable } from '../show.js';
import { requireReplaceable, syncFolder, writeFileAtomic } from './atomic.js';
import { lockFile } from './file-lock.js';
import { type JsonObject, readJsonObject } from './json.js';
import { remedy, systemReason, writingFault } from './reason.js';
import { rename } from './rename.js';

/** What a run of its kind left: how far it came, in its own words and in bytes of each file. */
export interface Progress {
  readonly state: JsonObject;
  readonly bytes: Readonly<Record<string, number>>;
}

const beside = (file: string, ending: string) =>
  path.join(path.dirname(file), `.${path.basename(file)}.${ending}`);
export const partOf = (file: string): string => beside(file, 'dawntune-part');
const progressOf = (file: string): string => beside(file, 'dawntune-progress');

/**
 * One run at a time writes to `file`: waits for one that does (`waiting` is called then); what it holds is given back by
 * the function that this returns. Where the system has no such locks nobody is waited for. @throws MachineError.
 */
export async function lockOutput(file: string, waiting: () => void): Promise<() => void> {
  const name = beside(file, 'dawntune-lock');
  const lock = await lockFile(name, waiting);
  return () => {
    if (!lock) return;
    // While it is held, so that the name is never another's.
    fs.rmSync(name, { force: true });
    lock.release();
  };
}

/** How far a run came whose first file is to be `file`; undefined where there was none. @throws InputError. */
export function readProgress(file: string): Progress | undefined {
  const progress = progressOf(file);
  if (!fs.existsSync(progress)) return undefined;
  const { state, bytes } = readJsonObject(progress);
  const isObject = (value: unknown): value is JsonObject =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(state) || !isObject(bytes) || !Object.values(bytes).every(Number.isSafeInteger))
    throw new InputError(`${printable(progress)}: expected the progress of a run, found something else`);
  return { state, bytes: bytes as Record<string, number> };
}

/** One of several files that are written together. */
export class PartFile {
  /** Where the next `write` goes, in bytes. */
  position: number;
  private readonly part: string;

  private constructor(
    readonly path: string,
    private descriptor: number,
    position: number,
  ) {
    this.part = partOf(path);
    this.position = position;
  }

  /** `bytes`: those of an earlier run that are whole; undefined: anew. @throws InputError, MachineError. */
  static open(file: string, bytes: number | undefined): PartFile {
    const part = partOf(file);
    try {
      requireReplaceable(file);
      const descriptor = fs.openSync(part, bytes === undefined ? 'w+' : 'r+');
      const opened = new PartFile(file, descriptor, bytes ?? 0);
      if (bytes === undefined) return opened;
      const { size } = fs.fstatSync(descriptor);
      if (size < bytes) {
        fs.closeSync(descriptor);
        throw new InputError(
          `${printable(part)}: truncated: expected ${bytes} bytes of an earlier run, found ${size}`,
        );
      }
      fs.ftruncateSync(descriptor, bytes);
      return opened;
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw writingFault(file, 'cannot write', error);
    }
  }

  /** Writes at the end, or at `at`. @throws MachineError (disk full …). */
  write(bytes: Uint8Array, at?: number): void {
    this.attempt(() => {
      const start = at ?? this.position;
      for (let offset = 0; offset < bytes.length; )
        offset += fs.writeSync(
          this.descriptor,
          bytes,
          offset,
          Math.min(bytes.length - offset, 1 << 28),
          start + offset,
        );
    });
    if (at === undefined) this.position += bytes.length;
  }

  /** What it holds so far, piece by piece, from byte `from` on. */
  *pieces(from: number, length: number): Generator<Uint8Array> {
    for (let at = from; at < this.position; at += length) {
      const piece = new Uint8Array(Math.min(length, this.position - at));
      this.attempt(() => {
        for (let got = 0; got < piece.length; ) {
          const count = fs.readSync(this.descriptor, piece, got, piece.length - got, at + got);
          if (count === 0) throw new Error('it is shorter than what was written');
          got += count;
        }
      });
      yield piece;
    }
  }

  sync(): void {
    this.attempt(() => fs.fsyncSync(this.descriptor));
  }

  /** Gives it its name. */
  publish(): void {
    this.sync();
    this.close();
    this.attempt(() => rename(this.part, this.path));
  }

  close(): void {
    if (this.descriptor >= 0) fs.closeSync(this.descriptor);
    this.descriptor = -1;
  }

  discard(): void {
    this.close();
    fs.rmSync(this.part, { force: true });
  }

  private attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      throw new MachineError(`${printable(this.path)}: cannot write: ${systemReason(error)}${remedy(error)}`);
    }
  }
}

/** Says that all that stands in `files` is whole. `first`: the file whose progress it is. */
export function writeProgress(first: string, files: readonly PartFile[], state: JsonObject): void {
  for (const file of files) file.sync();
  const bytes = Object.fromEntries(files.map((file) => [path.basename(file.path), file.position]));
  writeFileAtomic(progressOf(first), `${JSON.stringify({ state, bytes })}\n`);
}

/** There is no such run any more. */
export function removeProgress(first: string): void {
  fs.rmSync(progressOf(first), { force: true });
  syncFolder(path.dirname(first));
}
