/**
 * The header of a safetensors file, believed only when all of it is right: an object of names to
 * `{dtype, shape, data_offsets}` whose offsets cover the data exactly once.
 *
 * It is read from its bytes and not with `JSON.parse`, which neither tells a name that stands twice nor `1.0` from
 * `1`. What the reference implementation (the Rust crate) refuses is refused; `test/golden/safetensors` holds its
 * verdicts. Stricter than it, and why:
 * - a repeated name, and a header that does not begin with `{`: the format's own description forbids both;
 * - more than 2^20 tensors, 2^16 entries of metadata or 64 dimensions, an extent beyond 2^53: no file of PyTorch's
 *   is such, and the memory that a header takes stays bounded;
 * - `["F32", [1], [0, 4]]` in place of an object, `{"F32": null}` in place of "F32": accidents of that crate's parser.
 */
import { isUtf8 } from 'node:buffer';
import { InputError } from '../errors.js';
import { kindOf } from '../files/kind.js';
import type { PositionedFile } from '../files/positioned.js';
import { printable, show } from '../show.js';
import type { FileDType } from '../tensor/dtype.js';
import type { TensorInfo } from './source.js';

/** The same cap as the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
const MAX_TENSORS = 1 << 17;
const MAX_METADATA = 1 << 16;
const MAX_RANK = 64;
/** Objects and lists in each other, as in the reference implementation. */
const MAX_DEPTH = 127;

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
export const codeOfDType = new Map([...dtypeOfCode].map(([code, dtype]) => [dtype, code]));

/** Bits of an element. Those that `dtypeOfCode` lacks may be in a file, but are not read. */
const bitsOfCode = new Map<string, number>([
  ...['F64', 'I64', 'U64', 'C64'].map((code) => [code, 64] as const),
  ...['F32', 'I32', 'U32'].map((code) => [code, 32] as const),
  ...['F16', 'BF16', 'I16', 'U16'].map((code) => [code, 16] as const),
  ...['I8', 'U8', 'BOOL'].map((code) => [code, 8] as const),
  ...['F8_E5M2', 'F8_E4M3', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'].map((code) => [code, 8] as const),
  ...['F6_E2M3', 'F6_E3M2'].map((code) => [code, 6] as const),
  ['F4', 4],
]);

/** A tensor of the file. */
export interface Entry {
  readonly code: string;
  readonly shape: readonly number[];
  readonly count: number;
  /** In bytes from the start of the data section. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of the header. */
  readonly entries: ReadonlyMap<string, Entry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Of the data section, in the file. */
  readonly dataStart: number;
}

export const isReadable = ({ code }: Entry): boolean => dtypeOfCode.has(code);

/** What a reader may know of a tensor; `wrong` begins the message. @throws InputError when its type is not read here. */
export function infoOf({ code, shape }: Entry, wrong: (problem: string) => never): TensorInfo {
  const dtype = dtypeOfCode.get(code);
  if (dtype === undefined)
    return wrong(`expected a dtype of ${[...dtypeOfCode.keys()].join(' ')}, found ${show(code)}`);
  return { dtype, shape };
}

/** @throws InputError naming the file and, where there is one, the tensor. */
export function readHeader(file: PositionedFile): Header {
  const fail: Fail = (problem) => {
    throw new InputError(`${printable(file.path)}: ${problem}`);
  };
  const notSafetensors = (problem: string): never => {
    const kind = kindOf(file.readBytes(0, Math.min(512, file.size)));
    return kind ? fail(`expected a safetensors file, found ${kind}`) : fail(problem);
  };
  if (file.size < 8) notSafetensors(`not a safetensors file: expected at least 8 bytes, found ${file.size}`);
  const length = Number(new DataView(file.readBytes(0, 8).buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    notSafetensors(`not a safetensors file: header of ${length} bytes, expected at most ${MAX_HEADER_BYTES}`);
  const dataStart = 8 + length;
  if (dataStart > file.size)
    notSafetensors(
      `truncated: expected a header of ${length} bytes, found ${file.size - 8} after the length`,
    );
  const bytes = file.readBytes(8, length);
  if (length === 0 || bytes[0] !== OPEN_OBJECT)
    notSafetensors(
      `not a safetensors file: expected a header that begins with "{", found ${length === 0 ? 'none' : show(new TextDecoder().decode(bytes.subarray(0, 8)))}`,
    );
  if (!isUtf8(bytes)) fail('not a safetensors file: the header is not UTF-8');
  const { entries, metadata } = parseHeader(bytes, fail);
  checkLayout(entries, file.size - dataStart, fail);
  return { entries, metadata, dataStart };
}

type Fail = (problem: string) => never;

function parseHeader(bytes: Uint8Array, fail: Fail): Omit<Header, 'dataStart'> {
  const text = new HeaderText(bytes, fail);
  const entries = new Map<string, Entry>();
  let metadata: Map<string, string> | undefined;
  text.members((name) => {
    if (name === '__metadata__') {
      if (metadata) fail('the header has "__metadata__" twice');
      metadata = readMetadata(text, fail);
      return;
    }
    if (entries.has(name)) fail(`tensor ${show(name)}: the header has this name twice`);
    if (entries.size === MAX_TENSORS) fail(`expected at most ${MAX_TENSORS} tensors, found more`);
    entries.set(name, readEntry(name, text, fail));
  });
  text.end();
  return { entries, metadata: metadata ?? new Map() };
}

function readMetadata(text: HeaderText, fail: Fail): Map<string, string> {
  const metadata = new Map<string, string>();
  if (text.skipsNull()) return metadata;
  if (text.next() !== OPEN_OBJECT)
    fail(`__metadata__: expected an object of strings, found ${text.excerpt()}`);
  text.members((key) => {
    if (metadata.size === MAX_METADATA)
      fail(`__metadata__: expected at most ${MAX_METADATA} entries, found more`);
    if (metadata.has(key)) fail(`__metadata__: ${show(key)} stands there twice`);
    if (text.next() !== QUOTE) fail(`__metadata__: ${show(key)}: expected a string, found ${text.excerpt()}`);
    metadata.set(key, text.string());
  });
  return metadata;
}

function readEntry(name: string, text: HeaderText, fail: Fail): Entry {
  const wrong: Fail = (problem) => fail(`tensor ${show(name)}: ${problem}`);
  if (text.next() !== OPEN_OBJECT) wrong(`expected an object, found ${text.excerpt()}`);
  let code: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  const counts = (what: string, expected: string, most: number): number[] => {
    if (text.next() !== OPEN_LIST) wrong(`expected ${expected}, found ${text.excerpt()}`);
    const found: number[] = [];
    text.items(() => {
      const value = text.count();
      if (value === undefined) return wrong(`expected ${expected}, found ${text.excerpt()} in it`);
      if (!Number.isSafeInteger(value)) wrong(`${what}: expected numbers up to 2^53, found ${value}`);
      if (found.push(value) > most) wrong(`${what}: expected at most ${most} numbers, found more`);
    });
    return found;
  };
  text.members((field) => {
    if (field === 'dtype') {
      if (code !== undefined) wrong('"dtype" stands there twice');
      if (text.next() !== QUOTE) wrong(`expected a dtype, found ${text.excerpt()}`);
      code = text.string();
      if (!bitsOfCode.has(code))
        wrong(`expected a dtype of ${[...bitsOfCode.keys()].join(' ')}, found ${show(code)}`);
    } else if (field === 'shape') {
      if (shape) wrong('"shape" stands there twice');
      shape = counts('shape', 'a shape of whole numbers', MAX_RANK);
    } else if (field === 'data_offsets') {
      if (offsets) wrong('"data_offsets" stands there twice');
      offsets = counts('data_offsets', 'data_offsets [begin, end]', 2);
      if (offsets.length !== 2) wrong(`expected data_offsets [begin, end], found ${show(offsets)}`);
    } else text.skip();
  });
  if (code === undefined) return wrong('expected a dtype, found nothing');
  if (!shape) return wrong('expected a shape, found nothing');
  if (!offsets) return wrong('expected data_offsets [begin, end], found nothing');
  return { code, shape, count: elementsOf(shape, wrong), begin: offsets[0]!, end: offsets[1]! };
}

/** The elements fill the bytes from `begin` to `end`. */
function checkSize({ code, shape, count, begin, end }: Entry, wrong: Fail): void {
  if (begin > end) wrong(`expected data_offsets with begin ≤ end, found ${begin} > ${end}`);
  const bits = count * bitsOfCode.get(code)!;
  if (bits % 8 !== 0) wrong(`expected whole bytes, found ${count} elements of ${code}`);
  if (bits / 8 !== end - begin)
    wrong(`expected ${bits / 8} bytes for ${code} ${show(shape)}, found ${end - begin}`);
}

/** Refuses what overflows 64 bits on the way, also where a later extent is 0. */
function elementsOf(shape: readonly number[], wrong: Fail): number {
  let count = 1n;
  for (const extent of shape) {
    count *= BigInt(extent);
    if (count >> 64n) wrong(`expected fewer than 2^64 elements, found shape ${show(shape)}`);
  }
  return Number(count);
}

/** The data section is covered exactly once: no gap, no overlap, nothing after the last tensor. */
function checkLayout(entries: ReadonlyMap<string, Entry>, dataBytes: number, fail: Fail): void {
  const byPosition = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let expected = 0;
  for (const [name, entry] of byPosition) {
    checkSize(entry, (problem) => fail(`tensor ${show(name)}: ${problem}`));
    const { begin, end } = entry;
    if (begin !== expected)
      fail(
        `tensor ${show(name)}: ${begin < expected ? 'overlaps the one before' : 'leaves a gap'}: ` +
          `expected to begin at ${expected}, found ${begin}`,
      );
    if (end > dataBytes)
      fail(
        `tensor ${show(name)}: truncated: expected data up to byte ${end}, the file has ${dataBytes} bytes of data`,
      );
    expected = end;
  }
  if (expected !== dataBytes) fail(`expected ${expected} bytes of data, found ${dataBytes}`);
}

// ---- JSON, byte by byte ------------------------------------------------------------------------------------

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const isBlank = (byte: number | undefined) =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;
const ESCAPES = '"\\/bfnrt';

const isDigit = (byte: number | undefined) => byte !== undefined && byte >= 0x30 && byte <= 0x39;
/** -1 for what is none. */
const hexDigit = (byte: number | undefined): number => {
  if (byte === undefined) return -1;
  if (isDigit(byte)) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
};
/** Digits, letters, `+`, `-` and `.`. */
const isOfToken = (byte: number | undefined) =>
  isDigit(byte) ||
  (byte !== undefined &&
    ((byte | 0x20) >= 0x61 ? (byte | 0x20) <= 0x7a : byte === 0x2b || byte === 0x2d || byte === 0x2e));

/** A reader of the values of RFC 8259 in UTF-8, one after the other; the caller knows what it expects. */
class HeaderText {
  private at = 0;
  private depth = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly fail: Fail,
  ) {}

  /** The next byte that is no blank, which stays to be read; undefined at the end. */
  next(): number | undefined {
    while (isBlank(this.bytes[this.at])) this.at++;
    return this.bytes[this.at];
  }

  /** For messages: what stands at this place. */
  excerpt(): string {
    const rest = this.token() || new TextDecoder().decode(this.bytes.subarray(this.at, this.at + 60));
    return rest === '' ? 'nothing' : show(rest);
  }

  /** An object, to the end; `member` is called before each value and reads it. */
  members(member: (name: string) => void): void {
    this.sequence(OPEN_OBJECT, CLOSE_OBJECT, () => {
      if (this.next() !== QUOTE) this.unexpected('a name');
      const name = this.string();
      this.take(COLON, '":"');
      member(name);
    });
  }

  /** A list, to the end; `item` is called before each value and reads it. */
  items(item: () => void): void {
    this.sequence(OPEN_LIST, CLOSE_LIST, item);
  }

  string(): string {
    const { start, escaped } = this.scanString();
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(
      this.bytes.subarray(start, this.at - 1),
    );
    return escaped ? (JSON.parse(`"${text}"`) as string) : text;
  }

  /** A number written in digits alone (beyond 2^53 rounded); undefined, and nothing read, where there is none. */
  count(): number | undefined {
    this.next();
    const token = this.token();
    if (!/^(?:0|[1-9][0-9]*)$/.test(token)) return undefined;
    this.at += token.length;
    return Number(token);
  }

  skipsNull(): boolean {
    this.next();
    if (this.token() !== 'null') return false;
    this.at += 4;
    return true;
  }

  /** Reads a value of any kind and forgets it. */
  skip(): void {
    switch (this.next()) {
      case QUOTE:
        this.scanString();
        return;
      case OPEN_OBJECT:
        this.sequence(OPEN_OBJECT, CLOSE_OBJECT, () => {
          this.scanString();
          this.take(COLON, '":"');
          this.skip();
        });
        return;
      case OPEN_LIST:
        this.items(() => this.skip());
        return;
      default: {
        // A header may have fifty million of them.
        if (this.passUsualNumber()) return;
        const token = this.token();
        if (!/^(?:true|false|null)$/.test(token)) {
          if (!NUMBER.test(token)) this.unexpected('a value');
          if (!Number.isFinite(Number(token))) this.unexpected('a number of 64 bits');
        }
        this.at += token.length;
      }
    }
  }

  /** Nothing but blanks may follow. */
  end(): void {
    if (this.next() !== undefined) this.unexpected('the end of the header');
  }

  private sequence(open: number, close: number, member: () => void): void {
    this.take(open, open === OPEN_LIST ? 'a list' : 'an object');
    if (++this.depth > MAX_DEPTH) this.fail(`the header is nested deeper than ${MAX_DEPTH}`);
    if (this.next() !== close)
      for (;;) {
        member();
        if (this.next() !== COMMA) break;
        this.at++;
      }
    this.take(close, close === CLOSE_LIST ? '"," or "]"' : '"," or "}"');
    this.depth--;
  }

  /** Passes a string, checked; where its content starts (it ends one byte before `at`) and whether it has escapes. */
  private scanString(): { start: number; escaped: boolean } {
    this.take(QUOTE, 'a string');
    const start = this.at;
    let escaped = false;
    for (let byte = this.bytes[this.at]; byte !== QUOTE; byte = this.bytes[this.at]) {
      if (byte === undefined || byte < 0x20) this.unexpected('the end of a string');
      if (byte === BACKSLASH) {
        escaped = true;
        this.passEscape();
      } else this.at++;
    }
    this.at++;
    return { start, escaped };
  }

  /** Halves of surrogate pairs are refused: no UTF-8 could hold them. */
  private passEscape(): void {
    const unit = this.escapedUnit();
    if (unit >= 0xdc00 && unit < 0xe000)
      this.unexpected('no second half of a surrogate pair before this place');
    if (unit < 0xd800 || unit >= 0xdc00) return;
    const second = this.bytes[this.at] === BACKSLASH ? this.escapedUnit() : 0;
    if (second < 0xdc00 || second >= 0xe000) this.unexpected('the second half of a surrogate pair');
  }

  /** Passes one escape; the UTF-16 unit of `\uXXXX`, else 0. */
  private escapedUnit(): number {
    const letter = this.bytes[this.at + 1];
    if (letter !== 0x75) {
      if (letter === undefined || !ESCAPES.includes(String.fromCharCode(letter)))
        this.unexpected('an escape');
      this.at += 2;
      return 0;
    }
    let unit = 0;
    for (let i = 2; i < 6; i++) {
      const digit = hexDigit(this.bytes[this.at + i]);
      if (digit < 0) this.unexpected('an escape');
      unit = unit * 16 + digit;
    }
    this.at += 6;
    return unit;
  }

  /** Passes a number that is right and of a usual size; others are left to be looked at in full. */
  private passUsualNumber(): boolean {
    const { bytes } = this;
    let end = bytes[this.at] === 0x2d ? this.at + 1 : this.at;
    const digits = (most: number): boolean => {
      const start = end;
      while (end - start <= most && isDigit(bytes[end])) end++;
      return end > start && end - start <= most;
    };
    const leading = bytes[end];
    const whole = end;
    if (!digits(100) || (leading === 0x30 && end > whole + 1)) return false;
    if (bytes[end] === 0x2e) {
      end++;
      if (!digits(100)) return false;
    }
    if ((bytes[end]! | 0x20) === 0x65) {
      end++;
      if (bytes[end] === 0x2b || bytes[end] === 0x2d) end++;
      if (!digits(2)) return false;
    }
    if (isOfToken(bytes[end])) return false;
    this.at = end;
    return true;
  }

  /** Letters, digits and what numbers are made of, from here on. */
  private token(): string {
    let end = this.at;
    while (isOfToken(this.bytes[end])) end++;
    return Buffer.from(this.bytes.subarray(this.at, end)).toString('latin1');
  }

  private take(byte: number, expected: string): void {
    if (this.next() !== byte) this.unexpected(expected);
    this.at++;
  }

  private unexpected(expected: string): never {
    return this.fail(
      `not a safetensors file: the header is not JSON: expected ${expected} at byte ${this.at}, found ${this.excerpt()}`,
    );
  }
}
