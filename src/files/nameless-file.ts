/**
 * A temporary file that is written and read by position, that nobody sees, and that is gone when the process is, however
 * that ends: it has no name, where the system takes the name of an open file.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { MachineError } from '../errors.js';
import { printable } from '../show.js';
import { remedy, systemReason } from './reason.js';

/** Calls beyond 2 GiB fail or stop short. */
const LARGEST_TRANSFER = 1 << 28;

export class NamelessFile {
  private constructor(
    private readonly folder: string,
    private descriptor: number,
    /** Where the system keeps the name. */
    private readonly named: string | undefined,
  ) {}

  /** `folder`: by default the system's for temporary files. @throws MachineError (disk full, no such folder …). */
  static create(folder = os.tmpdir()): NamelessFile {
    const name = path.join(folder, `dawntune-${process.pid}-${randomBytes(4).toString('hex')}`);
    try {
      const descriptor = fs.openSync(name, 'wx+', 0o600);
      let named: string | undefined;
      try {
        fs.unlinkSync(name);
      } catch {
        named = name;
      }
      return new NamelessFile(folder, descriptor, named);
    } catch (error) {
      throw unwritable(folder, error);
    }
  }

  /** @throws MachineError (disk full …). */
  write(bytes: Uint8Array, position: number): void {
    try {
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(LARGEST_TRANSFER, bytes.length - at);
        at += fs.writeSync(this.open(), bytes, at, length, position + at);
      }
    } catch (error) {
      throw error instanceof MachineError ? error : unwritable(this.folder, error);
    }
  }

  /** Fills `bytes`. @throws MachineError where the file ends before. */
  read(bytes: Uint8Array, position: number): void {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(LARGEST_TRANSFER, bytes.length - at);
      const got = fs.readSync(this.open(), bytes, at, length, position + at);
      if (got === 0) throw new MachineError('a temporary file ends before what was asked of it');
      at += got;
    }
  }

  /** Its bytes are gone. Does nothing a second time. */
  close(): void {
    if (this.descriptor < 0) return;
    fs.closeSync(this.descriptor);
    this.descriptor = -1;
    if (this.named !== undefined) fs.rmSync(this.named, { force: true });
  }

  private open(): number {
    if (this.descriptor < 0) throw new MachineError('a temporary file was used after it was closed');
    return this.descriptor;
  }
}

const unwritable = (folder: string, error: unknown) =>
  new MachineError(
    `${printable(folder)}: cannot keep temporary files there: ${systemReason(error)}${remedy(error)}`,
  );
