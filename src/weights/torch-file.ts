/**
 * PyTorch weight files without Python: what `torch.save` writes for a state dict, a tensor or a parameter (zip files
 * since 1.6 and the concatenated pickles before). Format notes: torch/serialization.py of PyTorch. The pickles are
 * read in `unpickler.ts`, the zip's directory in `zip-records.ts`.
 */
import { InputError } from '../errors.js';
import { kindOf } from '../files/kind.js';
import { PositionedFile } from '../files/positioned.js';
import { listed, printable, show } from '../show.js';
import {
  bytesOf,
  fileDTypeBytes,
  type HostArray,
  hostArray,
  isFloatFileDType,
  toFloat32,
} from '../tensor/dtype.js';
import type { FloatPiece, StoredBytes, TensorInfo, WeightSource } from './source.js';
import { readArray, readFloats, streamFloats } from './stored-arrays.js';
import { type Storage, StoredTensor } from './stored-tensor.js';
import { type Strided, stridedPieces } from './strided.js';
import { describeValue, Unpickler, type Value } from './unpickler.js';
import { isZip, readZipRecords } from './zip-records.js';

export { type TorchEntry, writeTorchFile } from './torch-writer.js';

/** A tensor in memory: row-major, f16 and bf16 as raw bits. */
export interface TorchTensor extends TensorInfo {
  /** All elements. */
  readonly data: HostArray;
}

/**
 * What all tensors of a file may hold together, in terms of the file's bytes: tensors may share a storage (tied
 * weights) or repeat its elements (stride 0), but a file of a megabyte must not ask for gigabytes.
 */
const MAX_SHARING = 8;
const SMALL_BYTES = 1 << 20;
/** Elements that are gathered at once where all are asked for. */
const PIECE = 1 << 20;

/** One PyTorch file, open for reading; tensor data is read when asked for. */
export class TorchFile implements WeightSource {
  private constructor(
    private readonly file: PositionedFile,
    private readonly tensors: Map<string, StoredTensor>,
    /** Entries of the dict that are no tensors (a step count, an epoch, a nested dict) and are not read. */
    readonly otherEntries: readonly string[],
  ) {}

  /**
   * Opens a state dict; a file that holds one bare tensor gives it the name ''.
   * @throws InputError when the file is damaged, of another kind, or wants anything but tensors.
   */
  static open(path: string): TorchFile {
    const file = PositionedFile.open(path);
    try {
      const object = isZip(file) ? readZip(file) : readLegacy(file);
      const { tensors, others } = collect(file, object);
      return new TorchFile(file, tensors, others);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  names(): string[] {
    return [...this.tensors.keys()];
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  info(name: string): TensorInfo {
    const { shape, storage } = this.tensor(name);
    return { shape, dtype: storage.dtype };
  }

  read(name: string): Float32Array {
    const { tensor, dtype } = this.floats(name);
    if (tensor.contiguous) return readFloats(this.file, dtype, position(tensor), tensor.count);
    const result = new Float32Array(tensor.count);
    for (const { offset, data } of this.stream(name, PIECE)) result.set(data, offset);
    return result;
  }

  /** The elements as stored, of any dtype: f16 and bf16 are raw bits, i64 a BigInt64Array. */
  readRaw(name: string): HostArray {
    const tensor = this.tensor(name);
    const { dtype } = tensor.storage;
    if (tensor.contiguous) return readArray(this.file, dtype, position(tensor), tensor.count);
    const result = hostArray(dtype, tensor.count);
    for (const { offset, data } of stridedPieces(this.file, strided(tensor), PIECE))
      bytesOf(result).set(bytesOf(data), offset * fileDTypeBytes(dtype));
    return result;
  }

  *stream(name: string, maxElements: number): Generator<FloatPiece> {
    const { tensor, dtype } = this.floats(name);
    if (tensor.contiguous) yield* streamFloats(this.file, dtype, position(tensor), tensor.count, maxElements);
    else
      for (const { offset, data } of stridedPieces(this.file, strided(tensor), maxElements))
        yield { offset, data: toFloat32(dtype, data) };
  }

  isReadable(name: string): boolean {
    return this.has(name);
  }

  bytesIn(name: string): StoredBytes {
    const { storage, count } = this.tensor(name);
    const width = fileDTypeBytes(storage.dtype);
    return { of: count * width, position: storage.position, length: storage.count * width };
  }

  describe(): string {
    return this.file.path;
  }

  close(): void {
    this.file.close();
  }

  private tensor(name: string): StoredTensor {
    const tensor = this.tensors.get(name);
    if (!tensor)
      throw new InputError(
        `${printable(this.file.path)}: no tensor ${show(name)} (the file has ${listed(this.names(), 5)})`,
      );
    return tensor;
  }

  private floats(name: string) {
    const tensor = this.tensor(name);
    const { dtype } = tensor.storage;
    if (!isFloatFileDType(dtype))
      throw new InputError(
        `${printable(this.file.path)}: tensor ${show(name)}: expected floats, found ${dtype}`,
      );
    return { tensor, dtype };
  }
}

/** All tensors of a file, of any dtype. A bare tensor has the name ''. */
export function readTorchFile(path: string): Map<string, TorchTensor> {
  const file = TorchFile.open(path);
  try {
    return new Map(file.names().map((name) => [name, { ...file.info(name), data: file.readRaw(name) }]));
  } finally {
    file.close();
  }
}

function position({ storage, offset }: StoredTensor): number {
  return storage.position + offset * fileDTypeBytes(storage.dtype);
}

function strided(tensor: StoredTensor): Strided {
  const { shape, strides, storage } = tensor;
  return { dtype: storage.dtype, position: position(tensor), shape, strides };
}

/** The tensors of the unpickled object. */
function collect(file: PositionedFile, object: Value) {
  if (object instanceof StoredTensor) {
    const tensors = new Map([['', object]]);
    checkSharing(file, tensors);
    return { tensors, others: [] };
  }
  if (!(object instanceof Map))
    throw new InputError(
      `${printable(file.path)}: expected a dict of tensors, found ${describeValue(object)}`,
    );
  const tensors = new Map<string, StoredTensor>();
  const others: string[] = [];
  for (const [key, value] of object) {
    if (typeof key === 'string' && value instanceof StoredTensor) tensors.set(key, value);
    else others.push(typeof key === 'string' ? key : describeValue(key));
  }
  if (tensors.size === 0 && others.length > 0)
    throw new InputError(
      `${printable(file.path)}: expected a dict of tensors, found only ${others.slice(0, 5).map(show).join(', ')}`,
    );
  checkSharing(file, tensors);
  return { tensors, others };
}

function checkSharing(file: PositionedFile, tensors: ReadonlyMap<string, StoredTensor>): void {
  const most = MAX_SHARING * file.size + SMALL_BYTES;
  let bytes = 0;
  for (const [name, { count, storage }] of tensors) {
    bytes += count * fileDTypeBytes(storage.dtype);
    if (bytes > most)
      throw new InputError(
        `${printable(file.path)}: tensor ${show(name)}: repeats or shares elements: the tensors up to it hold ` +
          `${bytes} bytes, expected at most ${MAX_SHARING} times the file's ${file.size}`,
      );
  }
}

// ---- zip files (PyTorch 1.6 and later) ---------------------------------------------------------------------

function readZip(file: PositionedFile): Value {
  const records = readZipRecords(file);
  const folders = [...records.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (folders.length !== 1)
    throw new InputError(
      `${printable(file.path)}: not a PyTorch file: expected one data.pkl in the zip, found ${folders.length}`,
    );
  const folder = folders[0]!.slice(0, -'data.pkl'.length);
  const pickle = records.get(folders[0]!)!;

  const byteorder = records.get(`${folder}byteorder`);
  if (byteorder) {
    const order = new TextDecoder('latin1').decode(
      file.readBytes(byteorder.position, Math.min(byteorder.size, 16)),
    );
    if (order.trim() !== 'little')
      throw new InputError(`${printable(file.path)}: expected byte order "little", found ${show(order)}`);
  }

  const unpickler = new Unpickler(file, pickle.position, pickle.position + pickle.size);
  const object = unpickler.load();
  for (const storage of unpickler.storages) {
    const record = records.get(`${folder}data/${storage.key}`);
    if (!record)
      throw new InputError(
        `${printable(file.path)}: no record ${show(`data/${storage.key}`)}, but a tensor needs it`,
      );
    const bytes = storage.count * fileDTypeBytes(storage.dtype);
    if (record.size < bytes)
      throw new InputError(
        `${printable(file.path)}: record ${show(`data/${storage.key}`)}: expected ${bytes} bytes for ${storage.count} ${storage.dtype}, found ${record.size}`,
      );
    storage.position = record.position;
  }
  return object;
}

// ---- legacy files (before PyTorch 1.6) ---------------------------------------------------------------------

const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/** magic · protocol · system · object · storage keys, all pickles; then per key: count as i64 · elements. */
function readLegacy(file: PositionedFile): Value {
  const unpickler = new Unpickler(file, 0, file.size, true);
  let magic: Value;
  try {
    magic = unpickler.load();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    magic = null;
  }
  if (magic !== LEGACY_MAGIC) {
    const kind = kindOf(file.readBytes(0, Math.min(512, file.size)));
    if (kind !== undefined && !/pickle/.test(kind))
      throw new InputError(`${printable(file.path)}: expected a PyTorch file, found ${kind}`);
    const start = [...file.readBytes(0, Math.min(4, file.size))];
    const found = start.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw new InputError(
      `${printable(file.path)}: not a PyTorch file: expected a zip or a pickle of torch.save, found bytes ${found || 'none'}`,
    );
  }
  const protocol = unpickler.load();
  if (protocol !== LEGACY_PROTOCOL)
    throw new InputError(
      `${printable(file.path)}: expected protocol ${LEGACY_PROTOCOL}, found ${describeValue(protocol)}`,
    );
  const system = unpickler.load();
  const littleEndian = system instanceof Map ? system.get('little_endian') : undefined;
  if (littleEndian !== true)
    throw new InputError(
      `${printable(file.path)}: expected byte order "little", found ${littleEndian === false ? '"big"' : 'none'}`,
    );
  const object = unpickler.load();
  const storages = new Map<string, Storage>();
  for (const storage of unpickler.storages) {
    const other = storages.get(storage.key);
    if (other && (other.dtype !== storage.dtype || other.recorded !== storage.recorded))
      throw new InputError(`${printable(file.path)}: storage ${show(storage.key)} is described in two ways`);
    storages.set(storage.key, storage);
  }
  const keys = unpickler.load();
  if (!Array.isArray(keys))
    throw new InputError(
      `${printable(file.path)}: expected a list of storages, found ${describeValue(keys)}`,
    );
  let at = unpickler.position;
  const placed = new Map<string, number>();
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (!storage || placed.has(storage.key))
      throw new InputError(
        `${printable(file.path)}: storage ${describeValue(key)} is ${storage ? 'listed twice' : 'not of a tensor'}`,
      );
    const count = Number(view(file.readBytes(at, 8)).getBigInt64(0, true));
    const bytes = storage.recorded * fileDTypeBytes(storage.dtype);
    if (count !== storage.recorded || at + 8 + bytes > file.size)
      throw new InputError(
        `${printable(file.path)}: storage ${show(storage.key)}: expected ${storage.recorded} ${storage.dtype}, found ` +
          (count !== storage.recorded ? `${count}` : `${file.size - at - 8} bytes (truncated)`),
      );
    placed.set(storage.key, at + 8);
    at += 8 + bytes;
  }
  for (const storage of unpickler.storages) {
    const start = placed.get(storage.key);
    if (start === undefined)
      throw new InputError(
        `${printable(file.path)}: storage ${show(storage.key)} of a tensor is not in the file`,
      );
    storage.position = start + storage.start * fileDTypeBytes(storage.dtype);
  }
  return object;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
