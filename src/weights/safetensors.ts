/**
 * safetensors files: u64 header length · JSON header padded with spaces · tensor data, little-endian.
 * Format: https://github.com/huggingface/safetensors (README, "Format").
 *
 * The reader checks the whole header before it believes any of it and then reads by position; the writer
 * streams and publishes the file only when it is complete. Folders and shards belong to `weight-source.ts`.
 */
import { InputError } from '../errors.js';
import { AtomicFile } from '../files/atomic.js';
import { PositionedFile } from '../files/positioned.js';
import { show } from '../show.js';
import { encode, type FileDType, fileDTypeBytes, type HostArray, isFloatFileDType } from '../tensor/dtype.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import type { TensorInfo, WeightSource } from './source.js';
import { readArray, readFloats, streamFloats } from './stored-arrays.js';

/** The same cap as the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;

const dtypeOfCode = new Map<string, FileDType>([
  ['F64', 'f64'],
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['I64', 'i64'],
  ['I32', 'i32'],
  ['I16', 'i16'],
  ['I8', 'i8'],
  ['U64', 'u64'],
  ['U32', 'u32'],
  ['U16', 'u16'],
  ['U8', 'u8'],
  ['BOOL', 'bool'],
]);
const codeOfDType = new Map([...dtypeOfCode].map(([code, dtype]) => [dtype, code]));

interface Entry extends TensorInfo {
  readonly count: number;
  /** In bytes from the start of the data section. */
  readonly begin: number;
  readonly end: number;
}

/** One safetensors file, open for reading. */
export class SafetensorsFile implements WeightSource {
  private constructor(
    private readonly file: PositionedFile,
    private readonly entries: Map<string, Entry>,
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

  info(name: string): TensorInfo {
    const { shape, dtype } = this.entry(name);
    return { shape, dtype };
  }

  read(name: string): Float32Array {
    const { dtype, position, count } = this.floats(name);
    return readFloats(this.file, dtype, position, count);
  }

  /** The elements as stored, of any dtype: f16 and bf16 are raw bits, i64 a BigInt64Array. */
  readRaw(name: string): HostArray {
    const { dtype, count, begin } = this.entry(name);
    return readArray(this.file, dtype, this.dataStart + begin, count);
  }

  stream(name: string, maxElements: number): Iterable<{ offset: number; data: Float32Array }> {
    const { dtype, position, count } = this.floats(name);
    return streamFloats(this.file, dtype, position, count, maxElements);
  }

  describe(): string {
    return this.file.path;
  }

  close(): void {
    this.file.close();
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name);
    if (!entry)
      throw new InputError(`${this.file.path}: no tensor ${show(name)} (the file has ${this.entries.size})`);
    return entry;
  }

  private floats(name: string) {
    const { dtype, count, begin } = this.entry(name);
    if (!isFloatFileDType(dtype))
      throw new InputError(`${this.file.path}: tensor ${show(name)}: expected floats, found ${dtype}`);
    return { dtype, position: this.dataStart + begin, count };
  }
}

// ---- header ------------------------------------------------------------------------------------------------

function readHeader(file: PositionedFile) {
  const fail = (problem: string): never => {
    throw new InputError(`${file.path}: ${problem}`);
  };
  if (file.size < 8) fail(`not a safetensors file: expected at least 8 bytes, found ${file.size}`);
  const prefix = file.readBytes(0, 8);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    fail(`not a safetensors file: header of ${length} bytes, expected at most ${MAX_HEADER_BYTES}`);
  const dataStart = 8 + length;
  if (dataStart > file.size)
    fail(`truncated: expected a header of ${length} bytes, found ${file.size - 8} after the length`);

  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file.readBytes(8, length)));
  } catch {
    fail('not a safetensors file: the header is not JSON');
  }
  if (!isRecord(header)) return fail('not a safetensors file: the header is not a JSON object');

  const entries = new Map<string, Entry>();
  let metadata = new Map<string, string>();
  const dataBytes = file.size - dataStart;
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = readMetadata(value, fail);
    else entries.set(name, readEntry(name, value, dataBytes, fail));
  }
  checkLayout(entries, dataBytes, fail);
  return { entries, metadata, dataStart };
}

function readMetadata(value: unknown, fail: (problem: string) => never): Map<string, string> {
  if (!isRecord(value)) return fail('__metadata__: expected an object of strings');
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') return fail(`__metadata__: ${show(key)}: expected a string`);
    metadata.set(key, text);
  }
  return metadata;
}

function readEntry(name: string, value: unknown, dataBytes: number, fail: (problem: string) => never): Entry {
  const wrong = (problem: string) => fail(`tensor ${show(name)}: ${problem}`);
  const found = (part: unknown) => show(JSON.stringify(part) ?? 'nothing');
  if (!isRecord(value)) return wrong(`expected an object, found ${found(value)}`);
  const { dtype: code, shape, data_offsets: offsets } = value;
  const dtype = typeof code === 'string' ? dtypeOfCode.get(code) : undefined;
  if (dtype === undefined)
    return wrong(`expected a dtype of ${[...dtypeOfCode.keys()].join(' ')}, found ${found(code)}`);
  if (!isCounts(shape)) return wrong(`expected a shape of whole numbers, found ${found(shape)}`);
  if (!isCounts(offsets) || offsets.length !== 2)
    return wrong(`expected data_offsets [begin, end], found ${found(offsets)}`);
  const [begin, end] = offsets as [number, number];
  if (begin > end) return wrong(`expected data_offsets with begin ≤ end, found ${begin} > ${end}`);
  const count = sizeOf(shape);
  const bytes = count * fileDTypeBytes(dtype);
  if (bytes !== end - begin)
    return wrong(`expected ${bytes} bytes for ${dtype} ${formatShape(shape)}, found ${end - begin}`);
  if (end > dataBytes)
    return wrong(`truncated: expected data up to byte ${end}, the file has ${dataBytes} bytes of data`);
  return { dtype, shape, count, begin, end };
}

/** The data section is covered exactly once: no gap, no overlap, nothing after the last tensor. */
function checkLayout(entries: Map<string, Entry>, dataBytes: number, fail: (problem: string) => never): void {
  const byPosition = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let expected = 0;
  for (const [name, { begin, end }] of byPosition) {
    if (begin !== expected)
      fail(
        `tensor ${show(name)}: ${begin < expected ? 'overlaps the one before' : 'leaves a gap'}: ` +
          `expected to begin at ${expected}, found ${begin}`,
      );
    expected = end;
  }
  if (expected !== dataBytes) fail(`expected ${expected} bytes of data, found ${dataBytes}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

// ---- writing -----------------------------------------------------------------------------------------------

export interface TensorSpec {
  readonly name: string;
  readonly dtype: FileDType;
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
      if (!isCounts(shape))
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
  tensors: readonly (TensorSpec & { readonly data: HostArray })[],
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
