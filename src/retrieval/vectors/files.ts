/**
 * Files of vectors, read by position and written as streams: `.npy`, and tensors of safetensors files, f16 or f32. Several
 * vectors a text (ColBERT) are rows one behind the other, with offsets that say where each text begins.
 */
import { InputError, ShapeError } from '../../errors.js';
import { AtomicFile } from '../../files/atomic.js';
import { PositionedFile } from '../../files/positioned.js';
import { listed, printable, show } from '../../show.js';
import { encode, fileDTypeBytes } from '../../tensor/dtype.js';
import { SafetensorsFile } from '../../weights/safetensors.js';
import { readArray, readFloats } from '../../weights/stored-arrays.js';
import { isNpy, NPY_HEADER_BYTES, npyHeader, openNpy } from './npy.js';
import { requireRows, type VectorRows } from './rows.js';

/** Formats of vectors in files. */
export const vectorDTypes = ['f32', 'f16'] as const;
export type VectorDType = (typeof vectorDTypes)[number];

/** Vectors of a file, which is open until `close`. */
export interface VectorFile extends VectorRows {
  /** As they are stored; `read` gives f32. */
  readonly dtype: VectorDType;
  /** The file, and what in it, for messages. */
  describe(): string;
  /** Closes the file; nothing can be read afterwards. */
  close(): void;
}

/**
 * The vectors [count, width] of a `.npy` or safetensors file, f16 or f32. `tensor`: which of a safetensors file; by
 * default `dense`, or the only one that it has.
 * @throws InputError that names the file: other dtypes, Fortran order, other than two extents, truncated.
 */
export function openVectors(path: string, tensor?: string): VectorFile {
  const file = PositionedFile.open(path);
  let npy: boolean;
  try {
    npy = isNpy(file);
  } finally {
    file.close();
  }
  return npy ? npyVectors(path) : safetensorsVectors(path, tensor);
}

function npyVectors(path: string): VectorFile {
  const { file, dtype, shape, dataStart } = openNpy(path);
  return closingOnError(file, () => {
    const { count, width } = extents(printable(path), dtype, shape);
    const bytes = fileDTypeBytes(dtype);
    return {
      ...{ count, width, dtype: dtype as VectorDType },
      async read(start, end, into) {
        requireRows(path, count, start, end);
        return readFloats(
          file,
          dtype as VectorDType,
          dataStart + start * width * bytes,
          (end - start) * width,
          into,
        );
      },
      describe: () => printable(path),
      close: () => file.close(),
    };
  });
}

function safetensorsVectors(path: string, asked: string | undefined): VectorFile {
  const file = SafetensorsFile.open(path);
  return closingOnError(file, () => {
    const names = file.names();
    const name = asked ?? (names.length === 1 ? names[0]! : 'dense');
    if (!file.has(name))
      throw new InputError(
        `${printable(path)}: expected a tensor ${show(name)}, found ${names.length > 0 ? listed(names, 5) : 'none'}`,
      );
    const what = `${printable(path)}: tensor ${show(name)}`;
    const { dtype, shape } = file.info(name);
    const { count, width } = extents(what, dtype, shape);
    return {
      ...{ count, width, dtype: dtype as VectorDType },
      async read(start, end, into) {
        requireRows(what, count, start, end);
        return file.readRange(name, start * width, (end - start) * width, into);
      },
      describe: () => what,
      close: () => file.close(),
    };
  });
}

function closingOnError<T>(file: { close(): void }, use: () => T): T {
  try {
    return use();
  } catch (error) {
    file.close();
    throw error;
  }
}

function extents(what: string, dtype: string, shape: readonly number[]): { count: number; width: number } {
  if (!vectorDTypes.includes(dtype as VectorDType))
    throw new InputError(`${what}: expected vectors of f16 or f32, found ${dtype}`);
  const [count, width] = shape;
  if (shape.length !== 2 || width! < 1)
    throw new InputError(`${what}: expected vectors [count, width], found the shape ${show(shape)}`);
  return { count: count!, width: width! };
}

/** Where each text's rows begin, and the last one's end: [texts + 1], whole numbers that never fall. */
export function readOffsets(path: string, rows: number): Float64Array {
  const { file, dtype, shape, dataStart } = openNpy(path);
  try {
    if (dtype !== 'i64' || shape.length !== 1 || shape[0]! < 1)
      throw new InputError(
        `${printable(path)}: expected offsets [texts + 1] of i64, found ${dtype} ${show(shape)}`,
      );
    const stored = readArray(file, 'i64', dataStart, shape[0]!) as BigInt64Array;
    return checkedOffsets(printable(path), stored, rows);
  } finally {
    file.close();
  }
}

/** @throws InputError unless they begin with 0, never fall, and end with `rows`. */
export function checkedOffsets(what: string, stored: BigInt64Array, rows: number): Float64Array {
  const offsets = Float64Array.from(stored, Number);
  for (let i = 0; i < offsets.length; i++)
    if (!(offsets[i]! >= (i === 0 ? 0 : offsets[i - 1]!)) || (i === 0 && offsets[0] !== 0))
      throw new InputError(`${what}: expected offsets that rise from 0, found ${offsets[i]} at ${i}`);
  if (offsets.at(-1) !== rows)
    throw new InputError(`${what}: expected offsets that end with the ${rows} rows, found ${offsets.at(-1)}`);
  return offsets;
}

/** What a writer writes to: an `AtomicFile`, or a file that a later run takes up. */
export interface ByteSink {
  /** At its end, or at `at`. */
  write(bytes: Uint8Array, at?: number): void;
}

/** Writes a `.npy` of which the number of rows is known at the end: the header's place is kept free until then. */
export class NpyStream {
  /** Elements so far. */
  private elements = 0;

  /** `width`: 0 for an array of one extent. `elements`: those that the sink has already. */
  constructor(
    private readonly sink: ByteSink,
    private readonly dtype: VectorDType | 'i64' | 'i32',
    private readonly width: number,
    elements?: number,
  ) {
    if (elements === undefined) sink.write(new Uint8Array(NPY_HEADER_BYTES));
    else this.elements = elements;
  }

  /** Bytes of a file of so many rows. */
  static bytes(dtype: VectorDType | 'i64' | 'i32', elements: number): number {
    return NPY_HEADER_BYTES + elements * fileDTypeBytes(dtype);
  }

  write(values: Float32Array | BigInt64Array | Int32Array): void {
    this.sink.write(encode(this.dtype, values));
    this.elements += values.length;
  }

  /** Says how many there are. @throws ShapeError when they are no whole rows. */
  finish(): void {
    const { width, elements, dtype } = this;
    if (width > 0 && elements % width !== 0)
      throw new ShapeError('npy', `${elements} values are no rows of ${width}`);
    this.sink.write(npyHeader(dtype, width > 0 ? [elements / width, width] : [elements]), 0);
  }
}

/** Writes rows to a `.npy`, a piece at a time. @throws InputError, MachineError as `AtomicFile`. */
export async function writeNpy(path: string, rows: VectorRows, dtype: VectorDType = 'f32'): Promise<void> {
  const file = AtomicFile.create(path);
  try {
    const stream = new NpyStream(file, dtype, rows.width);
    const piece = Math.max(1, Math.floor((1 << 22) / rows.width));
    for (let start = 0; start < rows.count; start += piece)
      stream.write(await rows.read(start, Math.min(rows.count, start + piece)));
    stream.finish();
    file.commit();
  } catch (error) {
    file.abort();
    throw error;
  }
}
