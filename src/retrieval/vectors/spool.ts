/**
 * Vectors that are appended and then read by position: in memory up to a bound, beyond it in a temporary file that nobody
 * sees and that is gone when the process is.
 */
import { MachineError, ShapeError } from '../../errors.js';
import { NamelessFile } from '../../files/nameless-file.js';
import { bytesOf } from '../../tensor/dtype.js';
import { requireRows, type VectorRows } from './rows.js';

/** Where a VectorSpool lies and what it holds. */
export interface SpoolOptions {
  /** Values of a vector. */
  readonly width: number;
  /** Bytes that stay in memory. Default 256 MiB. */
  readonly memory?: number;
  /** Where the file goes. Default: the system's folder for temporary files. */
  readonly folder?: string;
}

/** Rows of memory that are taken at once, about. */
const BLOCK_VALUES = 1 << 20;

/** Dispose when done. */
export class VectorSpool implements VectorRows {
  readonly width: number;
  /** Vectors that were appended. */
  count = 0;
  private readonly blockRows: number;
  private readonly blocks: Float32Array[] = [];
  private readonly memory: number;
  private readonly folder: string | undefined;
  private file: NamelessFile | undefined;
  private closed = false;

  /**
   * `memory`: bytes that stay in memory, 256 MiB by default; what is more goes to a file without a name. @throws
   * ShapeError for a width that is none.
   */
  constructor({ width, memory = 256 << 20, folder }: SpoolOptions) {
    if (!Number.isInteger(width) || width < 1) throw new ShapeError('VectorSpool', `rows of ${width} values`);
    this.width = width;
    this.memory = memory;
    this.folder = folder;
    this.blockRows = Math.max(1, Math.floor(Math.min(BLOCK_VALUES, memory / 4) / width));
  }

  /** values: [rows · width], copied. @throws ShapeError; MachineError (disk full …). */
  append(values: Float32Array): void {
    const { width } = this;
    if (values.length % width !== 0)
      throw new ShapeError('VectorSpool', `${values.length} values are no rows of ${width}`);
    if (this.closed) throw new MachineError('VectorSpool: appended to after it was disposed');
    if (!this.file && (this.count * width + values.length) * 4 > this.memory) this.spill();
    if (this.file) {
      this.writeFile(values, this.count);
      this.count += values.length / width;
      return;
    }
    for (let at = 0; at < values.length; ) {
      const used = this.count % this.blockRows;
      if (used === 0) this.blocks.push(new Float32Array(this.blockRows * width));
      const piece = values.subarray(at, at + (this.blockRows - used) * width);
      this.blocks.at(-1)!.set(piece, used * width);
      this.count += piece.length / width;
      at += piece.length;
    }
  }

  async read(start: number, end: number, into?: Float32Array): Promise<Float32Array> {
    const { width, blockRows } = this;
    requireRows('VectorSpool', this.count, start, end);
    if (this.closed) throw new MachineError('VectorSpool: read after it was disposed');
    if (this.file) return this.readFile(start, end, into);
    const block = Math.floor(start / blockRows);
    if (end <= (block + 1) * blockRows)
      return (this.blocks[block] ?? new Float32Array()).subarray(
        (start - block * blockRows) * width,
        (end - block * blockRows) * width,
      );
    const rows = new Float32Array((end - start) * width);
    for (let row = start; row < end; ) {
      const block = Math.floor(row / blockRows);
      const stop = Math.min(end, (block + 1) * blockRows);
      const values = this.blocks[block]!.subarray(
        (row - block * blockRows) * width,
        (stop - block * blockRows) * width,
      );
      rows.set(values, (row - start) * width);
      row = stop;
    }
    return rows;
  }

  /** Whether it has outgrown memory. */
  get onDisk(): boolean {
    return this.file !== undefined;
  }

  /** Frees memory and file. */
  dispose(): void {
    this.closed = true;
    this.blocks.length = 0;
    this.file?.close();
    this.file = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private spill(): void {
    this.file = NamelessFile.create(this.folder);
    let row = 0;
    for (const block of this.blocks) {
      const rows = Math.min(this.blockRows, this.count - row);
      this.writeFile(block.subarray(0, rows * this.width), row);
      row += rows;
    }
    this.blocks.length = 0;
  }

  private writeFile(values: Float32Array, row: number): void {
    this.file!.write(bytesOf(values), row * this.width * 4);
  }

  private readFile(start: number, end: number, into?: Float32Array): Float32Array {
    const count = (end - start) * this.width;
    const rows = into?.subarray(0, count) ?? new Float32Array(count);
    this.file!.read(bytesOf(rows), start * this.width * 4);
    return rows;
  }
}
