/**
 * Python pickles as `torch.save` writes them, without Python. A pickle is a program; the interpreter here knows two
 * functions (rebuild a tensor, rebuild a parameter), one class (OrderedDict) and the storage types. Any other name
 * and any other opcode is refused, nothing is run, and what a pickle may make is bounded before it is made.
 * Opcodes: Lib/pickletools.py of CPython; the calls: torch/_utils.py of PyTorch.
 */
import { InputError } from '../errors.js';
import type { PositionedFile } from '../files/positioned.js';
import { printable, show } from '../show.js';
import type { FileDType } from '../tensor/dtype.js';
import { Storage, StoredTensor } from './stored-tensor.js';

class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

class Global {
  constructor(readonly name: string) {}
}

/** What a pickle can make here. Dicts, ordered or not, are Maps: keys of a file never become object properties. */
export type Value =
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

export const ORDERED_DICT = 'collections OrderedDict';
export const REBUILD_TENSOR = 'torch._utils _rebuild_tensor_v2';
/** Before PyTorch 0.4: the same without `requires_grad` and hooks. */
const REBUILD_TENSOR_V1 = 'torch._utils _rebuild_tensor';
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
const allowedGlobals = new Set([
  ORDERED_DICT,
  REBUILD_TENSOR,
  REBUILD_TENSOR_V1,
  REBUILD_PARAMETER,
  ...dtypeOfStorage.keys(),
]);

/** A state dict takes about 100 bytes and 40 instructions a tensor; an instruction makes at most one value. */
const MAX_PICKLE_BYTES = 1 << 24;
const MAX_INSTRUCTIONS = 1 << 20;
const MAX_NESTING = 100;
const MAX_RANK = 64;
/** Pickles are read through a window of this size. */
const WINDOW_BYTES = 1 << 16;

/** Runs the pickles of one file, one after the other. */
export class Unpickler {
  /** Every storage that was mentioned. */
  readonly storages: Storage[] = [];
  private window: Uint8Array = new Uint8Array(0);
  private windowStart: number;
  private stack: Value[] = [];
  /** Stack heights at the open marks. */
  private marks: number[] = [];
  private memo = new Map<number, Value>();
  /** Of all pickles of the file. */
  private instructions = 0;

  constructor(
    private readonly file: PositionedFile,
    /** Of the next byte to read, in the file. */
    public position: number,
    private readonly end: number,
    /** Storages may be views of others. */
    private readonly views = false,
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
      if (++this.instructions > MAX_INSTRUCTIONS) this.fail(`more than ${MAX_INSTRUCTIONS} instructions`);
      this.execute(opcode);
      if (this.position - start > MAX_PICKLE_BYTES) this.fail(`longer than ${MAX_PICKLE_BYTES} bytes`);
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
    if (!allowedGlobals.has(full))
      throw new InputError(`${printable(this.file.path)}: refused global ${show(full)}`);
    return new Global(full);
  }

  private call(callee: string, args: readonly Value[]): Value {
    if (callee === ORDERED_DICT && args.length === 0) return new Map();
    if (callee === REBUILD_TENSOR || callee === REBUILD_TENSOR_V1) return this.rebuildTensor(args);
    if (callee === REBUILD_PARAMETER && args[0] instanceof StoredTensor) return args[0];
    return this.fail(
      `refused call of ${show(callee)} with (${args.slice(0, 5).map(describeValue).join(', ').slice(0, 200)}${args.length > 5 ? ', …' : ''})`,
    );
  }

  /** (storage, offset, shape, strides, requires_grad, hooks[, metadata]) */
  private rebuildTensor([storage, offset, shape, strides, , , metadata]: readonly Value[]): StoredTensor {
    if (!(storage instanceof Storage))
      return this.fail(`tensor over ${describeValue(storage)}, expected a storage`);
    const where = `tensor over storage ${show(storage.key)}`;
    if (metadata instanceof Map && metadata.size > 0)
      this.fail(`${where}: refused conjugated or negated view`);
    if (!isCount(offset))
      return this.fail(`${where}: expected an offset ≥ 0, found ${describeValue(offset)}`);
    const sizes = this.counts(shape, `${where}: shape`);
    const steps = this.counts(strides, `${where}: strides`);
    if (sizes.length !== steps.length || sizes.length > MAX_RANK)
      return this.fail(
        `${where}: ${sizes.length} dimensions and ${steps.length} strides, expected as many and at most ${MAX_RANK}`,
      );
    const tensor = new StoredTensor(storage, offset, sizes, steps);
    if (offset + tensor.span > storage.count)
      return this.fail(
        `${where}: shape ${show(sizes)} with strides ${show(steps)} from ${offset} needs ` +
          `${offset + tensor.span} elements, found ${storage.count}`,
      );
    return tensor;
  }

  private counts(value: Value | undefined, what: string): readonly number[] {
    if (!(value instanceof Tuple))
      return this.fail(`${what}: expected a tuple, found ${describeValue(value)}`);
    if (!value.items.every(isCount)) return this.fail(`${what}: expected whole numbers ≥ 0`);
    return value.items as number[];
  }

  /** ('storage', type, key, device, count[, view]); a view is (key, first element, count). */
  private storage(id: Value): Storage {
    if (!(id instanceof Tuple) || id.items[0] !== 'storage')
      return this.fail(`refused reference ${describeValue(id)}`);
    const [, type, key, , count, storageView = null] = id.items;
    const dtype = type instanceof Global ? dtypeOfStorage.get(type.name) : undefined;
    if (dtype === undefined || typeof key !== 'string' || !isCount(count))
      return this.fail(`storage ${describeValue(key)}: expected a type, a key and a count`);
    const storage =
      storageView === null ? new Storage(key, dtype, count) : this.view(key, dtype, count, storageView);
    this.storages.push(storage);
    return storage;
  }

  private view(key: string, dtype: FileDType, recorded: number, view: Value): Storage {
    if (!this.views) return this.fail(`storage ${show(key)}: refused view of another storage`);
    const [, start, count] = view instanceof Tuple ? view.items : [];
    if (!isCount(start) || !isCount(count) || start + count > recorded)
      return this.fail(
        `storage ${show(key)}: expected a view within its ${recorded} elements, found ${describeValue(view)}` +
          (view instanceof Tuple ? ` of ${view.items.slice(0, 5).map(describeValue).join(', ')}` : ''),
      );
    return new Storage(key, dtype, count, start, recorded);
  }

  // ---- stack and input

  private fail(problem: string): never {
    throw new InputError(`${printable(this.file.path)}: pickle: ${problem}`);
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
    const at = this.position - this.windowStart;
    if (at >= this.window.length || this.position >= this.end) return this.bytes(1)[0]!;
    this.position++;
    return this.window[at]!;
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

export function describeValue(value: Value | undefined): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'None';
  if (typeof value === 'string') return show(value);
  if (typeof value !== 'object') return show(value);
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Map) return 'a dict';
  if (value instanceof Global) return show(value.name);
  return `a ${value.constructor.name.toLowerCase().replace('storedtensor', 'tensor')}`;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
