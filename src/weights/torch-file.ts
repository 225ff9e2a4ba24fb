/**
 * PyTorch weight files without Python: reads what `torch.save` writes for a state dict, a tensor or a parameter
 * (zip files since 1.6 and the concatenated pickles before), and writes a state dict that `torch.load` takes
 * with `weights_only=True`. Format notes: torch/serialization.py and torch/_utils.py of PyTorch.
 *
 * A pickle is a program. The interpreter here knows two functions (rebuild a tensor, rebuild a parameter), one
 * class (OrderedDict) and the storage types; any other name and any other opcode is refused, nothing is run.
 */
import { InputError } from '../errors.js';
import { AtomicFile } from '../files/atomic.js';
import { PositionedFile } from '../files/positioned.js';
import { show } from '../show.js';
import {
  encode,
  type FileDType,
  fileDTypeBytes,
  type HostArray,
  hostArray,
  isFloatFileDType,
  toFloat32,
} from '../tensor/dtype.js';
import { formatShape, type Shape, sizeOf, stridesOf } from '../tensor/shape.js';
import type { TensorInfo, WeightSource } from './source.js';
import { readArray, readFloats, streamFloats } from './stored-arrays.js';

/** A tensor in memory: row-major, f16 and bf16 as raw bits. */
export interface TorchTensor extends TensorInfo {
  readonly data: HostArray;
}

/** One run of elements in the file; several tensors may look into one. */
class Storage {
  /** Of the first byte, in the file; known once the records are. */
  position = 0;
  constructor(
    readonly key: string,
    readonly dtype: FileDType,
    readonly count: number,
  ) {}
}

/** A window into a storage. `offset` and `strides` are in elements. */
class StoredTensor {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}

  get count(): number {
    return sizeOf(this.shape);
  }

  /** Whether the elements lie in the storage as they are counted. */
  get contiguous(): boolean {
    const expected = stridesOf(this.shape);
    return (
      this.count === 0 || this.shape.every((extent, i) => extent === 1 || this.strides[i] === expected[i])
    );
  }

  /** From the first to the last element, in elements. */
  get span(): number {
    if (this.count === 0) return 0;
    return this.shape.reduce((span, extent, i) => span + (extent - 1) * this.strides[i]!, 1);
  }
}

/**
 * What a tensor with repeated elements (stride 0) may grow to beyond its storage: a file of 1 kB must not ask
 * for a terabyte.
 */
const MAX_EXPANDED_ELEMENTS = 1 << 20;

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
    if (!tensor.contiguous) return toFloat32(dtype, this.gather(tensor));
    return readFloats(this.file, dtype, position(tensor), tensor.count);
  }

  /** The elements as stored, of any dtype: f16 and bf16 are raw bits, i64 a BigInt64Array. */
  readRaw(name: string): HostArray {
    const tensor = this.tensor(name);
    if (!tensor.contiguous) return this.gather(tensor);
    return readArray(this.file, tensor.storage.dtype, position(tensor), tensor.count);
  }

  stream(name: string, maxElements: number): Iterable<{ offset: number; data: Float32Array }> {
    const { tensor, dtype } = this.floats(name);
    if (!tensor.contiguous) return slices(this.read(name), maxElements);
    return streamFloats(this.file, dtype, position(tensor), tensor.count, maxElements);
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
      throw new InputError(`${this.file.path}: no tensor ${show(name)} (the file has ${this.tensors.size})`);
    return tensor;
  }

  private floats(name: string) {
    const tensor = this.tensor(name);
    const { dtype } = tensor.storage;
    if (!isFloatFileDType(dtype))
      throw new InputError(`${this.file.path}: tensor ${show(name)}: expected floats, found ${dtype}`);
    return { tensor, dtype };
  }

  /** Row-major copy of a transposed, sliced or expanded tensor. */
  private gather(tensor: StoredTensor): HostArray {
    const { shape, strides, storage, count } = tensor;
    const source = readArray(this.file, storage.dtype, position(tensor), tensor.span);
    const target = hostArray(storage.dtype, count);
    const index = new Array<number>(shape.length).fill(0);
    let from = 0;
    for (let to = 0; to < count; to++) {
      target[to] = source[from]!;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        from += strides[axis]!;
        if (++index[axis]! < shape[axis]!) break;
        from -= strides[axis]! * shape[axis]!;
        index[axis] = 0;
      }
    }
    return target;
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

function* slices(data: Float32Array, maxElements: number) {
  for (let offset = 0; offset < data.length; offset += maxElements)
    yield { offset, data: data.slice(offset, offset + maxElements) };
}

/** The tensors of the unpickled object. */
function collect(file: PositionedFile, object: Value) {
  if (object instanceof StoredTensor) return { tensors: new Map([['', object]]), others: [] };
  if (!(object instanceof Map))
    throw new InputError(`${file.path}: expected a dict of tensors, found ${describeValue(object)}`);
  const tensors = new Map<string, StoredTensor>();
  const others: string[] = [];
  for (const [key, value] of object) {
    if (typeof key === 'string' && value instanceof StoredTensor) tensors.set(key, value);
    else others.push(typeof key === 'string' ? key : describeValue(key));
  }
  if (tensors.size === 0 && others.length > 0)
    throw new InputError(
      `${file.path}: expected a dict of tensors, found only ${others.slice(0, 5).map(show).join(', ')}`,
    );
  return { tensors, others };
}

// ---- zip files (PyTorch 1.6 and later) ---------------------------------------------------------------------

interface ZipRecord {
  readonly position: number;
  readonly size: number;
}

function isZip(file: PositionedFile): boolean {
  return file.size >= 4 && view(file.readBytes(0, 4)).getUint32(0, true) === 0x04034b50;
}

function readZip(file: PositionedFile): Value {
  const records = readZipRecords(file);
  const folders = [...records.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (folders.length !== 1)
    throw new InputError(
      `${file.path}: not a PyTorch file: expected one data.pkl in the zip, found ${folders.length}`,
    );
  const folder = folders[0]!.slice(0, -'data.pkl'.length);
  const pickle = records.get(folders[0]!)!;

  const byteorder = records.get(`${folder}byteorder`);
  if (byteorder) {
    const order = latin1(file.readBytes(byteorder.position, Math.min(byteorder.size, 16)));
    if (order.trim() !== 'little')
      throw new InputError(`${file.path}: expected byte order "little", found ${show(order)}`);
  }

  const unpickler = new Unpickler(file, pickle.position, pickle.position + pickle.size);
  const object = unpickler.load();
  for (const storage of unpickler.storages) {
    const record = records.get(`${folder}data/${storage.key}`);
    if (!record)
      throw new InputError(`${file.path}: no record ${show(`data/${storage.key}`)}, but a tensor needs it`);
    const bytes = storage.count * fileDTypeBytes(storage.dtype);
    if (record.size < bytes)
      throw new InputError(
        `${file.path}: record ${show(`data/${storage.key}`)}: expected ${bytes} bytes for ${storage.count} ${storage.dtype}, found ${record.size}`,
      );
    storage.position = record.position;
  }
  return object;
}

/** Far more than a state dict needs; keeps a damaged size from asking for all memory. */
const MAX_DIRECTORY_BYTES = 1 << 26;

/** Name → where its bytes are, from the central directory (local headers leave sizes to a trailing descriptor). */
function readZipRecords(file: PositionedFile): Map<string, ZipRecord> {
  const fail = (problem: string): never => {
    throw new InputError(`${file.path}: damaged zip: ${problem}`);
  };
  const { start, size, count } = findDirectory(file, fail);
  if (size > MAX_DIRECTORY_BYTES) fail(`central directory of ${size} bytes`);
  const bytes = file.readBytes(start, size);
  const directory = view(bytes);
  const records = new Map<string, ZipRecord>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || directory.getUint32(at, true) !== 0x02014b50)
      fail(`expected ${count} directory entries, found ${i}`);
    const flags = directory.getUint16(at + 8, true);
    const method = directory.getUint16(at + 10, true);
    const nameLength = directory.getUint16(at + 28, true);
    const extraLength = directory.getUint16(at + 30, true);
    const next = at + 46 + nameLength + extraLength + directory.getUint16(at + 32, true);
    if (next > size) fail(`directory entry ${i} is cut off`);
    const name = latin1(bytes.subarray(at + 46, at + 46 + nameLength));
    if (records.has(name)) fail(`record ${show(name)} appears twice`);
    if (method !== 0 || (flags & 1) !== 0)
      fail(
        `record ${show(name)}: expected it stored, found it ${method !== 0 ? `compressed (method ${method})` : 'encrypted'}`,
      );
    const extra = bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const [recordSize, packedSize, header] = widenZip64(extra, [
      directory.getUint32(at + 24, true),
      directory.getUint32(at + 20, true),
      directory.getUint32(at + 42, true),
    ]);
    if (recordSize !== packedSize)
      fail(`record ${show(name)}: stored size ${packedSize}, expected ${recordSize}`);
    if (header + 30 > start) fail(`record ${show(name)}: header at ${header}, beyond the records`);
    const local = view(file.readBytes(header, 30));
    if (local.getUint32(0, true) !== 0x04034b50) fail(`record ${show(name)}: no header at ${header}`);
    const position = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
    if (position + recordSize > start)
      fail(
        `record ${show(name)}: expected ${recordSize} bytes at ${position}, found ${Math.max(0, start - position)}`,
      );
    records.set(name, { position, size: recordSize });
    at = next;
  }
  return records;
}

/** Finds the end record (zip64 where its fields overflow). */
function findDirectory(file: PositionedFile, fail: (problem: string) => never) {
  const tailStart = Math.max(0, file.size - 22 - 65535);
  const tail = view(file.readBytes(tailStart, file.size - tailStart));
  let end = tail.byteLength - 22;
  while (
    end >= 0 &&
    !(
      tail.getUint32(end, true) === 0x06054b50 &&
      end + 22 + tail.getUint16(end + 20, true) === tail.byteLength
    )
  )
    end--;
  if (end < 0) return fail('truncated: no end record');
  let count = tail.getUint16(end + 10, true);
  let size = tail.getUint32(end + 12, true);
  let start = tail.getUint32(end + 16, true);
  let limit = tailStart + end;
  if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) {
    if (end < 20 || tail.getUint32(end - 20, true) !== 0x07064b50) return fail('no zip64 locator');
    limit = Number(tail.getBigUint64(end - 12, true));
    const wide = view(file.readBytes(limit, 56));
    if (wide.getUint32(0, true) !== 0x06064b50) return fail(`no zip64 end record at ${limit}`);
    count = Number(wide.getBigUint64(32, true));
    size = Number(wide.getBigUint64(40, true));
    start = Number(wide.getBigUint64(48, true));
  }
  if (start + size > limit) fail(`directory of ${size} bytes at ${start}, but it must end by ${limit}`);
  return { start, size, count };
}

/** Replaces 32-bit fields that overflow by the 64-bit ones of extra field 1, which come in this order. */
function widenZip64(extra: Uint8Array, fields: [number, number, number]): [number, number, number] {
  const data = view(extra);
  for (let at = 0; at + 4 <= extra.length; at += 4 + data.getUint16(at + 2, true)) {
    if (data.getUint16(at, true) !== 1) continue;
    const end = Math.min(extra.length, at + 4 + data.getUint16(at + 2, true));
    let next = at + 4;
    for (let i = 0; i < 3; i++)
      if (fields[i] === 0xffffffff && next + 8 <= end) {
        fields[i] = Number(data.getBigUint64(next, true));
        next += 8;
      }
    break;
  }
  return fields;
}

// ---- legacy files (before PyTorch 1.6) ---------------------------------------------------------------------

const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/** magic · protocol · system · object · storage keys, all pickles; then per key: count as i64 · elements. */
function readLegacy(file: PositionedFile): Value {
  const unpickler = new Unpickler(file, 0, file.size);
  let magic: Value;
  try {
    magic = unpickler.load();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    magic = null;
  }
  if (magic !== LEGACY_MAGIC) {
    const start = [...file.readBytes(0, Math.min(4, file.size))];
    const found = start.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw new InputError(
      `${file.path}: not a PyTorch file: expected a zip or a pickle of torch.save, found bytes ${found || 'none'}`,
    );
  }
  const protocol = unpickler.load();
  if (protocol !== LEGACY_PROTOCOL)
    throw new InputError(
      `${file.path}: expected protocol ${LEGACY_PROTOCOL}, found ${describeValue(protocol)}`,
    );
  const system = unpickler.load();
  const littleEndian = system instanceof Map ? system.get('little_endian') : undefined;
  if (littleEndian !== true)
    throw new InputError(
      `${file.path}: expected byte order "little", found ${littleEndian === false ? '"big"' : 'none'}`,
    );
  const object = unpickler.load();
  const storages = new Map<string, Storage>();
  for (const storage of unpickler.storages) {
    const other = storages.get(storage.key);
    if (other && (other.dtype !== storage.dtype || other.count !== storage.count))
      throw new InputError(`${file.path}: storage ${show(storage.key)} is described in two ways`);
    storages.set(storage.key, storage);
  }
  const keys = unpickler.load();
  if (!Array.isArray(keys))
    throw new InputError(`${file.path}: expected a list of storages, found ${describeValue(keys)}`);
  let at = unpickler.position;
  const placed = new Map<string, number>();
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (!storage || placed.has(storage.key))
      throw new InputError(
        `${file.path}: storage ${describeValue(key)} is ${storage ? 'listed twice' : 'not of a tensor'}`,
      );
    const count = Number(view(file.readBytes(at, 8)).getBigInt64(0, true));
    const bytes = storage.count * fileDTypeBytes(storage.dtype);
    if (count !== storage.count || at + 8 + bytes > file.size)
      throw new InputError(
        `${file.path}: storage ${show(storage.key)}: expected ${storage.count} ${storage.dtype}, found ` +
          (count !== storage.count ? `${count}` : `${file.size - at - 8} bytes (truncated)`),
      );
    placed.set(storage.key, at + 8);
    at += 8 + bytes;
  }
  for (const storage of unpickler.storages) {
    const start = placed.get(storage.key);
    if (start === undefined)
      throw new InputError(`${file.path}: storage ${show(storage.key)} of a tensor is not in the file`);
    storage.position = start;
  }
  return object;
}

// ---- unpickling --------------------------------------------------------------------------------------------

class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

class Global {
  constructor(readonly name: string) {}
}

/** What a pickle can make here. Dicts, ordered or not, are Maps: keys of a file never become object properties. */
type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Value[]
  | Tuple
  | Map<Value, Value>
  | Global
  | Storage
  | StoredTensor;

const ORDERED_DICT = 'collections OrderedDict';
const REBUILD_TENSOR = 'torch._utils _rebuild_tensor_v2';
const REBUILD_PARAMETER = 'torch._utils _rebuild_parameter';
const dtypeOfStorage = new Map<string, FileDType>([
  ['torch DoubleStorage', 'f64'],
  ['torch FloatStorage', 'f32'],
  ['torch HalfStorage', 'f16'],
  ['torch BFloat16Storage', 'bf16'],
  ['torch LongStorage', 'i64'],
  ['torch IntStorage', 'i32'],
  ['torch ShortStorage', 'i16'],
  ['torch CharStorage', 'i8'],
  ['torch ByteStorage', 'u8'],
  ['torch BoolStorage', 'bool'],
]);
const allowedGlobals = new Set([ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, ...dtypeOfStorage.keys()]);

/** A state dict takes about 100 bytes and 15 values a tensor. */
const MAX_PICKLE_BYTES = 1 << 24;
const MAX_PICKLE_VALUES = 1 << 20;
const MAX_NESTING = 100;
const MAX_RANK = 64;
/** Pickles are read through a window of this size. */
const WINDOW_BYTES = 1 << 16;

/** Runs the pickles of one file, one after the other. */
class Unpickler {
  /** Every storage that was mentioned. */
  readonly storages: Storage[] = [];
  private window: Uint8Array = new Uint8Array(0);
  private windowStart: number;
  private stack: Value[] = [];
  /** Stack heights at the open marks. */
  private marks: number[] = [];
  private memo = new Map<number, Value>();

  constructor(
    private readonly file: PositionedFile,
    /** Of the next byte to read, in the file. */
    public position: number,
    private readonly end: number,
  ) {
    this.windowStart = position;
  }

  /** One pickle, up to its STOP. */
  load(): Value {
    const start = this.position;
    this.stack = [];
    this.marks = [];
    this.memo = new Map();
    for (;;) {
      const opcode = this.byte();
      if (opcode === 0x2e) break;
      this.execute(opcode);
      if (this.position - start > MAX_PICKLE_BYTES) this.fail(`longer than ${MAX_PICKLE_BYTES} bytes`);
      if (Math.max(this.stack.length, this.memo.size, this.storages.length) > MAX_PICKLE_VALUES)
        this.fail(`more than ${MAX_PICKLE_VALUES} values`);
    }
    const result = this.pop();
    if (this.stack.length > 0 || this.marks.length > 0) this.fail('leaves values behind');
    return result;
  }

  private execute(opcode: number): void {
    const { stack } = this;
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = this.byte();
        if (protocol < 2 || protocol > 5) this.fail(`protocol ${protocol}, expected 2 to 5`);
        return;
      }
      case 0x95: // FRAME: a hint for buffering
        this.bytes(8);
        return;
      case 0x28: // MARK
        if (this.marks.length >= MAX_NESTING) this.fail(`nested deeper than ${MAX_NESTING}`);
        this.marks.push(stack.length);
        return;
      case 0x30: // POP
        if (this.marks.at(-1) === stack.length) this.marks.pop();
        else this.pop();
        return;
      case 0x31: // POP_MARK
        this.popToMark();
        return;
      case 0x32: // DUP
        stack.push(this.top());
        return;
      case 0x4e: // NONE
        stack.push(null);
        return;
      case 0x88: // NEWTRUE
        stack.push(true);
        return;
      case 0x89: // NEWFALSE
        stack.push(false);
        return;
      case 0x4a: // BININT
        stack.push(view(this.bytes(4)).getInt32(0, true));
        return;
      case 0x4b: // BININT1
        stack.push(this.byte());
        return;
      case 0x4d: // BININT2
        stack.push(view(this.bytes(2)).getUint16(0, true));
        return;
      case 0x8a: // LONG1
        stack.push(longOf(this.bytes(this.byte())));
        return;
      case 0x8b: {
        // LONG4
        const length = this.uint32();
        if (length > 255) this.fail(`integer of ${length} bytes`);
        stack.push(longOf(this.bytes(length)));
        return;
      }
      case 0x47: // BINFLOAT
        stack.push(view(this.bytes(8)).getFloat64(0, false));
        return;
      case 0x58: // BINUNICODE
        stack.push(this.text(this.uint32()));
        return;
      case 0x8c: // SHORT_BINUNICODE
        stack.push(this.text(this.byte()));
        return;
      case 0x8d: // BINUNICODE8
        stack.push(this.text(this.uint64()));
        return;
      case 0x55: // SHORT_BINSTRING
        stack.push(latin1(this.bytes(this.byte())));
        return;
      case 0x7d: // EMPTY_DICT
        stack.push(new Map());
        return;
      case 0x5d: // EMPTY_LIST
        stack.push([]);
        return;
      case 0x29: // EMPTY_TUPLE
        stack.push(new Tuple([]));
        return;
      case 0x74: // TUPLE
        stack.push(new Tuple(this.popToMark()));
        return;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: {
        // TUPLE3
        const items = Array.from({ length: opcode - 0x84 }, () => this.pop());
        stack.push(new Tuple(items.reverse()));
        return;
      }
      case 0x61: {
        // APPEND
        const item = this.pop();
        this.list().push(item);
        return;
      }
      case 0x65: {
        // APPENDS
        const items = this.popToMark();
        const list = this.list();
        for (const item of items) list.push(item);
        return;
      }
      case 0x73: {
        // SETITEM
        const value = this.pop();
        const key = this.pop();
        this.dict().set(key, value);
        return;
      }
      case 0x75: {
        // SETITEMS
        const items = this.popToMark();
        const dict = this.dict();
        if (items.length % 2 !== 0) this.fail('a key without a value');
        for (let i = 0; i < items.length; i += 2) dict.set(items[i]!, items[i + 1]!);
        return;
      }
      case 0x71: // BINPUT
        this.memo.set(this.byte(), this.top());
        return;
      case 0x72: // LONG_BINPUT
        this.memo.set(this.uint32(), this.top());
        return;
      case 0x94: // MEMOIZE
        this.memo.set(this.memo.size, this.top());
        return;
      case 0x68: // BINGET
        stack.push(this.remembered(this.byte()));
        return;
      case 0x6a: // LONG_BINGET
        stack.push(this.remembered(this.uint32()));
        return;
      case 0x63: {
        // GLOBAL
        const module = this.line();
        stack.push(this.global(module, this.line()));
        return;
      }
      case 0x93: {
        // STACK_GLOBAL
        const name = this.pop();
        const module = this.pop();
        if (typeof name !== 'string' || typeof module !== 'string') this.fail('a global without a name');
        stack.push(this.global(module, name));
        return;
      }
      case 0x52: // REDUCE
      case 0x81: {
        // NEWOBJ
        const args = this.pop();
        const callee = this.pop();
        if (!(callee instanceof Global) || !(args instanceof Tuple))
          this.fail(`calls ${describeValue(callee)}`);
        stack.push(this.call(callee.name, args.items));
        return;
      }
      case 0x62: // BUILD: attributes of an OrderedDict (`_metadata`, the module versions)
        this.pop();
        this.dict();
        return;
      case 0x51: // BINPERSID
        stack.push(this.storage(this.pop()));
        return;
      default:
        this.fail(`refused opcode 0x${opcode.toString(16).padStart(2, '0')}`);
    }
  }

  // ---- the few things a pickle may call

  private global(module: string, name: string): Global {
    const full = `${module} ${name}`;
    if (!allowedGlobals.has(full)) throw new InputError(`${this.file.path}: refused global ${show(full)}`);
    return new Global(full);
  }

  private call(callee: string, args: readonly Value[]): Value {
    if (callee === ORDERED_DICT && args.length === 0) return new Map();
    if (callee === REBUILD_TENSOR) return this.rebuildTensor(args);
    if (callee === REBUILD_PARAMETER && args[0] instanceof StoredTensor) return args[0];
    return this.fail(
      `refused call of ${show(callee)} with (${args.map(describeValue).join(', ').slice(0, 200)})`,
    );
  }

  /** (storage, offset, shape, strides, requires_grad, hooks[, metadata]) */
  private rebuildTensor([storage, offset, shape, strides, , , metadata]: readonly Value[]): StoredTensor {
    if (!(storage instanceof Storage))
      return this.fail(`tensor over ${describeValue(storage)}, expected a storage`);
    const where = `tensor over storage ${show(storage.key)}`;
    if (metadata instanceof Map && metadata.size > 0)
      this.fail(`${where}: refused conjugated or negated view`);
    if (!isCount(offset)) return this.fail(`${where}: offset ${describeValue(offset)}`);
    const sizes = this.counts(shape, `${where}: shape`);
    const steps = this.counts(strides, `${where}: strides`);
    if (sizes.length !== steps.length || sizes.length > MAX_RANK)
      return this.fail(
        `${where}: ${sizes.length} dimensions and ${steps.length} strides, expected as many and at most ${MAX_RANK}`,
      );
    const tensor = new StoredTensor(storage, offset, sizes, steps);
    if (offset + tensor.span > storage.count)
      return this.fail(
        `${where}: shape ${formatShape(sizes)} with strides ${formatShape(steps)} from ${offset} needs ` +
          `${offset + tensor.span} elements, found ${storage.count}`,
      );
    if (tensor.count > Math.max(storage.count, MAX_EXPANDED_ELEMENTS))
      return this.fail(`${where}: shape ${formatShape(sizes)} repeats ${storage.count} elements too often`);
    return tensor;
  }

  private counts(value: Value | undefined, what: string): number[] {
    if (!(value instanceof Tuple))
      return this.fail(`${what}: expected a tuple, found ${describeValue(value)}`);
    const counts = value.items.filter(isCount);
    if (counts.length !== value.items.length) return this.fail(`${what}: expected whole numbers ≥ 0`);
    return counts;
  }

  /** ('storage', type, key, device, count[, view]) */
  private storage(id: Value): Storage {
    if (!(id instanceof Tuple) || id.items[0] !== 'storage')
      return this.fail(`refused reference ${describeValue(id)}`);
    const [, type, key, , count, storageView = null] = id.items;
    const dtype = type instanceof Global ? dtypeOfStorage.get(type.name) : undefined;
    if (dtype === undefined || typeof key !== 'string' || !isCount(count))
      return this.fail(`storage ${describeValue(key)}: expected a type, a key and a count`);
    if (storageView !== null) return this.fail(`storage ${show(key)}: refused view of another storage`);
    const storage = new Storage(key, dtype, count);
    this.storages.push(storage);
    return storage;
  }

  // ---- stack and input

  private fail(problem: string): never {
    throw new InputError(`${this.file.path}: pickle: ${problem}`);
  }

  private top(): Value {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) this.fail('takes from an empty stack');
    return this.stack.at(-1)!;
  }

  private pop(): Value {
    const value = this.top();
    this.stack.pop();
    return value;
  }

  private popToMark(): Value[] {
    const mark = this.marks.pop();
    if (mark === undefined) return this.fail('takes a mark that was never set');
    return this.stack.splice(mark);
  }

  private list(): Value[] {
    const value = this.top();
    return Array.isArray(value) ? value : this.fail(`appends to ${describeValue(value)}`);
  }

  private dict(): Map<Value, Value> {
    const value = this.top();
    return value instanceof Map ? value : this.fail(`sets items or state of ${describeValue(value)}`);
  }

  private remembered(index: number): Value {
    const value = this.memo.get(index);
    return value === undefined ? this.fail(`recalls ${index}, which was never stored`) : value;
  }

  /** The next `length` bytes; valid until the next call. */
  private bytes(length: number): Uint8Array {
    if (length > MAX_PICKLE_BYTES || this.position + length > this.end)
      this.fail(`truncated: expected ${length} bytes, found ${Math.max(0, this.end - this.position)}`);
    let from = this.position - this.windowStart;
    if (from + length > this.window.length) {
      const size = Math.min(Math.max(length, WINDOW_BYTES), this.end - this.position);
      this.window = this.file.readBytes(this.position, size);
      this.windowStart = this.position;
      from = 0;
    }
    this.position += length;
    return this.window.subarray(from, from + length);
  }

  private byte(): number {
    return this.bytes(1)[0]!;
  }

  private uint32(): number {
    return view(this.bytes(4)).getUint32(0, true);
  }

  private uint64(): number {
    return Number(view(this.bytes(8)).getBigUint64(0, true));
  }

  private line(): string {
    let line = '';
    for (let byte = this.byte(); byte !== 0x0a; byte = this.byte()) {
      line += String.fromCharCode(byte);
      if (line.length > 1000) this.fail('a name of more than 1000 bytes');
    }
    return line;
  }

  private text(length: number): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bytes(length));
    } catch (error) {
      if (error instanceof InputError) throw error;
      return this.fail('a string that is not UTF-8');
    }
  }
}

/** Little-endian two's complement. */
function longOf(bytes: Uint8Array): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  value = BigInt.asIntN(bytes.length * 8, value);
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

function isCount(value: Value | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function describeValue(value: Value | undefined): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'None';
  if (typeof value === 'string') return show(value);
  if (typeof value !== 'object') return `${typeof value} ${value}`;
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Map) return 'a dict';
  if (value instanceof Global) return show(value.name);
  return `a ${value.constructor.name.toLowerCase().replace('storedtensor', 'tensor')}`;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

// ---- writing -----------------------------------------------------------------------------------------------

export interface TorchEntry {
  readonly name: string;
  readonly shape: Shape;
  readonly data: Float32Array;
}

/**
 * Writes a state dict, atomically: `torch.load(path, weights_only=True)` gives an OrderedDict of contiguous CPU
 * tensors. For heads and small models; a file of 4 GiB or more is refused (write safetensors then).
 * @throws InputError when data and shape differ or a name repeats.
 */
export function writeTorchFile(
  path: string,
  entries: readonly TorchEntry[],
  { dtype = 'f32' }: { dtype?: 'f32' | 'f16' } = {},
): void {
  if (new Set(entries.map((entry) => entry.name)).size !== entries.length)
    throw new InputError(`${path}: a tensor name is repeated`);
  for (const { name, shape, data } of entries)
    if (data.length !== sizeOf(shape))
      throw new InputError(
        `${path}: tensor ${show(name)}: ${data.length} values for shape ${formatShape(shape)}`,
      );
  const zip = new ZipWriter(path);
  try {
    zip.add('data.pkl', pickleStateDict(entries, dtype));
    zip.add('byteorder', ascii('little'));
    for (const [i, { data }] of entries.entries()) zip.add(`data/${i}`, encode(dtype, data));
    zip.add('version', ascii('3\n'));
    zip.finish();
  } catch (error) {
    zip.abort();
    throw error;
  }
}

/** The pickle of an OrderedDict of tensors; storage i is record `data/i`. Protocol 2, nothing memoised. */
function pickleStateDict(entries: readonly TorchEntry[], dtype: 'f32' | 'f16'): Uint8Array {
  const global = (name: string) => ascii(`c${name.replace(' ', '\n')}\n`);
  const emptyDict = [global(ORDERED_DICT), ascii(')R')];
  const storageType = global(dtype === 'f16' ? 'torch HalfStorage' : 'torch FloatStorage');
  const parts: Uint8Array[] = [Uint8Array.of(0x80, 2), ...emptyDict, ascii('(')];
  for (const [i, { name, shape, data }] of entries.entries()) {
    parts.push(pickledText(name), global(REBUILD_TENSOR), ascii('(('), pickledText('storage'), storageType);
    parts.push(pickledText(String(i)), pickledText('cpu'), pickledInteger(data.length), ascii('tQ'));
    parts.push(pickledInteger(0));
    for (const counts of [shape, stridesOf(shape)])
      parts.push(ascii('('), ...counts.map(pickledInteger), ascii('t'));
    parts.push(Uint8Array.of(0x89), ...emptyDict, ascii('tR'));
  }
  parts.push(ascii('u.'));
  return Buffer.concat(parts);
}

function pickledText(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  const result = new Uint8Array(5 + bytes.length);
  result[0] = 0x58;
  view(result).setUint32(1, bytes.length, true);
  result.set(bytes, 5);
  return result;
}

/** BININT up to 2^31, LONG1 of 8 bytes beyond. */
function pickledInteger(value: number): Uint8Array {
  const wide = value > 0x7fffffff;
  const result = new Uint8Array(wide ? 10 : 5);
  if (wide) {
    result.set([0x8a, 8]);
    view(result).setBigInt64(2, BigInt(value), true);
  } else {
    result[0] = 0x4a;
    view(result).setInt32(1, value, true);
  }
  return result;
}

const ZIP_FOLDER = 'archive';
const RECORD_ALIGNMENT = 64;
/** Records are named in UTF-8. */
const ZIP_FLAGS = 0x0800;
/** 1980-01-01: the same weights give the same bytes. */
const ZIP_DATE = 0x0021;

/** Stored records, each beginning at a multiple of 64 so that PyTorch can map them. */
class ZipWriter {
  private readonly file: AtomicFile;
  private readonly directory: Uint8Array[] = [];

  constructor(path: string) {
    this.file = AtomicFile.create(path);
  }

  add(record: string, content: Uint8Array): void {
    const name = ascii(`${ZIP_FOLDER}/${record}`);
    const start = this.file.position;
    const unaligned = start + 30 + name.length + 4;
    const padding = (RECORD_ALIGNMENT - (unaligned % RECORD_ALIGNMENT)) % RECORD_ALIGNMENT;
    if (unaligned + padding + content.length >= 0xffffffff || this.directory.length >= 0xfffe)
      throw new InputError(
        `${this.file.path}: too large for a PyTorch file written here (4 GiB); write safetensors`,
      );

    // Version · flags · method · time · date · crc · sizes · name length: the same in both headers.
    const common = new Uint8Array(24);
    const fields = view(common);
    fields.setUint16(2, ZIP_FLAGS, true);
    fields.setUint16(8, ZIP_DATE, true);
    fields.setUint32(10, crc32(content), true);
    fields.setUint32(14, content.length, true);
    fields.setUint32(18, content.length, true);
    fields.setUint16(22, name.length, true);

    const local = new Uint8Array(30 + name.length + 4 + padding).fill(0x5a);
    const localView = view(local);
    localView.setUint32(0, 0x04034b50, true);
    local.set(common, 4);
    localView.setUint16(28, 4 + padding, true);
    local.set(name, 30);
    local.set(ascii('FB'), 30 + name.length);
    localView.setUint16(32 + name.length, padding, true);
    this.file.write(local);
    this.file.write(content);

    const central = new Uint8Array(46 + name.length);
    view(central).setUint32(0, 0x02014b50, true);
    central.set(common, 6);
    view(central).setUint32(42, start, true);
    central.set(name, 46);
    this.directory.push(central);
  }

  finish(): void {
    const start = this.file.position;
    for (const entry of this.directory) this.file.write(entry);
    const end = new Uint8Array(22);
    const fields = view(end);
    fields.setUint32(0, 0x06054b50, true);
    fields.setUint16(8, this.directory.length, true);
    fields.setUint16(10, this.directory.length, true);
    fields.setUint32(12, this.file.position - start, true);
    fields.setUint32(16, start, true);
    this.file.write(end);
    this.file.commit();
  }

  abort(): void {
    this.file.abort();
  }
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

let crcTable: Uint32Array | undefined;

/** CRC-32 of zip (polynomial 0xedb88320); `zlib.crc32` is younger than the oldest Node 20 we run on. */
function crc32(bytes: Uint8Array): number {
  crcTable ??= Uint32Array.from({ length: 256 }, (_, i) => {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    return crc;
  });
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ crcTable[(crc ^ bytes[i]!) & 255]!;
  return ~crc >>> 0;
}
