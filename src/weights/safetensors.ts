/**
 * safetensors files: u64 header length · JSON header padded with spaces · tensor data, little-endian.
 * Format: https://github.com/huggingface/safetensors (README, "Format").
 *
 * The reader checks the whole header before it believes any of it and then reads by position; the writer
 * streams and publishes the file only when it is complete. The header is read in `safetensors-header.ts`; folders and
 * shards belong to `open.ts`.
 */
import { InputError } from '../errors.js';
import { AtomicFile } from '../files/atomic.js';
import { PositionedFile } from '../files/positioned.js';
import { listed, printable, show } from '../show.js';
import { encode, type FileDType, fileDTypeBytes, type HostArray, isFloatFileDType } from '../tensor/dtype.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import { codeOfDType, type Entry, infoOf, isReadable, readHeader } from './safetensors-header.js';
import type { FloatPiece, StoredBytes, TensorInfo, WeightSource } from './source.js';
import { readArray, readFloats, streamFloats } from './stored-arrays.js';

/** One safetensors file, open for reading. */
export class SafetensorsFile implements WeightSource {
  private constructor(
    private readonly file: PositionedFile,
    private readonly entries: ReadonlyMap<string, Entry>,
    /** The header's `__metadata__`, empty when it has none. */
    readonly metadata: ReadonlyMap<string, string>,
    private readonly dataStart: number,
  ) {}

  /** @throws InputError naming the file and the tensor when anything in the header is wrong. */
  static open(path: string): SafetensorsFile {
    const file = PositionedFile.open(path);
    try {
      const { entries, metadata, dataStart } = readHeader(file);
      return new SafetensorsFile(file, entries, metadata, dataStart);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** In the order of the header. */
  names(): string[] {
    return [...this.entries.keys()];
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  /** Whether the tensor is there and of a type that is read here; the file may hold others (F8, F4, C64). */
  isReadable(name: string): boolean {
    const entry = this.entries.get(name);
    return entry !== undefined && isReadable(entry);
  }

  info(name: string): TensorInfo {
    return this.typed(name).info;
  }

  read(name: string): Float32Array {
    const { dtype, position, count } = this.floats(name);
    return readFloats(this.file, dtype, position, count);
  }

  /**
   * `count` elements from `start` on, as f32. `into`: see `readFloats`.
   * @throws InputError when the tensor holds no floats or not so many.
   */
  readRange(name: string, start: number, count: number, into?: Float32Array): Float32Array {
    const { dtype, position, count: all } = this.floats(name);
    if (!(start >= 0 && count >= 0 && start + count <= all))
      this.fail(`tensor ${show(name)}: no elements ${start} to ${start + count} of ${all}`);
    return readFloats(this.file, dtype, position + start * fileDTypeBytes(dtype), count, into);
  }

  /** The elements as stored, of any dtype: f16 and bf16 are raw bits, i64 a BigInt64Array. */
  readRaw(name: string): HostArray {
    const { info, entry } = this.typed(name);
    return readArray(this.file, info.dtype, this.dataStart + entry.begin, entry.count);
  }

  stream(name: string, maxElements: number): Iterable<FloatPiece> {
    const { dtype, position, count } = this.floats(name);
    return streamFloats(this.file, dtype, position, count, maxElements);
  }

  bytesIn(name: string): StoredBytes {
    const { begin, end } = this.entry(name);
    return { of: end - begin, position: begin, length: end - begin };
  }

  describe(): string {
    return this.file.path;
  }

  close(): void {
    this.file.close();
  }

  private fail(problem: string): never {
    throw new InputError(`${printable(this.file.path)}: ${problem}`);
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name);
    if (!entry) return this.fail(`no tensor ${show(name)} (the file has ${listed(this.names(), 5)})`);
    return entry;
  }

  private typed(name: string): { info: TensorInfo; entry: Entry } {
    const entry = this.entry(name);
    return { entry, info: infoOf(entry, (problem) => this.fail(`tensor ${show(name)}: ${problem}`)) };
  }

  private floats(name: string) {
    const { info, entry } = this.typed(name);
    const { dtype } = info;
    if (!isFloatFileDType(dtype)) return this.fail(`tensor ${show(name)}: expected floats, found ${dtype}`);
    return { dtype, position: this.dataStart + entry.begin, count: entry.count };
  }
}

// ---- writing -----------------------------------------------------------------------------------------------

/** Shape and number format of a tensor that is to be written. */
export interface TensorSpec {
  /** As the file has it. */
  readonly name: string;
  /** Of the stored elements. */
  readonly dtype: FileDType;
  /** Extents of its axes. */
  readonly shape: Shape;
}

/** What transformers requires of a file it loads into PyTorch. */
const defaultMetadata: Readonly<Record<string, string>> = { format: 'pt' };

/**
 * Writes a safetensors file whose tensors are known beforehand and whose data comes in pieces. Nothing appears
 * under `path` before `finish`.
 */
export class SafetensorsWriter {
  private constructor(
    private readonly file: AtomicFile,
    private readonly regions: Map<string, { dtype: FileDType; next: number; readonly end: number }>,
  ) {}

  /** @throws InputError when the path cannot be written, and for a bad or repeated name or shape. */
  static create(
    path: string,
    tensors: readonly TensorSpec[],
    metadata: Readonly<Record<string, string>> = defaultMetadata,
  ): SafetensorsWriter {
    // Wide elements first, as the reference implementation does, so that every tensor is aligned to its own.
    const ordered = [...tensors].sort((a, b) => fileDTypeBytes(b.dtype) - fileDTypeBytes(a.dtype));
    const fields = [`"__metadata__":${JSON.stringify(metadata)}`];
    const regions = new Map<string, { dtype: FileDType; next: number; end: number }>();
    let size = 0;
    for (const { name, dtype, shape } of ordered) {
      if (name === '__metadata__' || regions.has(name))
        throw new InputError(
          `${path}: tensor name ${show(name)} is ${regions.has(name) ? 'repeated' : 'reserved'}`,
        );
      if (!shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0))
        throw new InputError(`${path}: tensor ${show(name)}: bad shape ${formatShape(shape)}`);
      const end = size + sizeOf(shape) * fileDTypeBytes(dtype);
      const value = { dtype: codeOfDType.get(dtype), shape, data_offsets: [size, end] };
      fields.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
      regions.set(name, { dtype, next: size, end });
      size = end;
    }
    const json = new TextEncoder().encode(`{${fields.join(',')}}`);
    const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
    header.set(json, 8);
    new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
    for (const region of regions.values()) {
      region.next += header.length;
      region.end += header.length;
    }
    const file = AtomicFile.create(path);
    file.write(header);
    return new SafetensorsWriter(file, regions);
  }

  /**
   * Appends `data` to tensor `name`; tensors may come in any order. A Float32Array is rounded where the tensor is
   * f16 or bf16, other arrays must be of the tensor's own type. @throws InputError when it does not fit.
   */
  write(name: string, data: HostArray): void {
    const region = this.regions.get(name);
    if (!region) throw new InputError(`${this.file.path}: no tensor ${show(name)} was announced`);
    const bytes = encode(region.dtype, data);
    if (region.next + bytes.length > region.end)
      throw new InputError(
        `${this.file.path}: tensor ${show(name)}: ${bytes.length} bytes more, room for ${region.end - region.next}`,
      );
    this.file.write(bytes, region.next);
    region.next += bytes.length;
  }

  /** Publishes the file. @throws InputError when a tensor is incomplete, and then there is no file. */
  finish(): void {
    for (const [name, { next, end }] of this.regions)
      if (next !== end) {
        this.abort();
        throw new InputError(
          `${this.file.path}: tensor ${show(name)}: ${end - next} bytes were never written`,
        );
      }
    this.file.commit();
  }

  /** Leaves no file; does nothing after `finish`. */
  abort(): void {
    this.file.abort();
  }
}

/** Writes tensors that are all in memory. */
export function writeSafetensors(
  path: string,
  tensors: readonly (TensorSpec & {
    /** All elements, row-major, of `dtype`. */
    readonly data: HostArray;
  })[],
  metadata?: Readonly<Record<string, string>>,
): void {
  const writer = SafetensorsWriter.create(path, tensors, metadata);
  try {
    for (const { name, data } of tensors) writer.write(name, data);
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
}
