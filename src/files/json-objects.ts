/**
 * JSON objects one after another in a file of any size: one a line (JSON Lines), over several lines, several on
 * one, or as the members of one list; what the `datasets` package reads, and `NaN` and the infinities as numbers.
 * The file passes through a window of memory, so that what is held is a chunk and the object being read; where an
 * object stood is enough to read it again. What the objects mean is not known here.
 */
import { crc32 } from 'node:zlib';
import { InputError } from '../errors.js';
import { printable, show } from '../show.js';
import type { Faults } from './faults.js';
import type { JsonObject } from './json.js';
import { JsonFault, parseLenient } from './json-lenient.js';
import { kindOf } from './kind.js';
import { PositionedFile } from './positioned.js';

/** Where an object stands. */
export interface JsonPlace {
  /** In bytes. */
  readonly start: number;
  readonly length: number;
  /** Of its first byte, counted from 1; a carriage return alone ends a line too. */
  readonly line: number;
  /** CRC-32 of its bytes. */
  readonly checksum: number;
}

const MIB = 1 << 20;
const CHUNK = MIB;
/** A larger object is refused before it is in memory: the texts of one row, with hundreds of long negatives. */
const LARGEST_OBJECT = 64 * MIB;
const LIMITS = { maxDepth: 100, maxValues: 1_000_000 };
/** `JSON.parse` needs up to 60 bytes of memory a byte of text, before anything can be bounded. */
const LARGEST_FOR_PARSE = MIB / 4;

const [TAB, LINE_FEED, RETURN, SPACE, QUOTE, COMMA, COLON] = [9, 10, 13, 32, 34, 44, 58];
const [OPEN_LIST, BACKSLASH, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [91, 92, 93, 123, 125];

/** An object and where it stands. */
export interface PlacedObject {
  readonly value: JsonObject;
  readonly place: JsonPlace;
  /** As it is written; to be asked for before the next object is read. */
  text(): string;
}

/**
 * The objects of a file in order. With `faults` those that are broken are left out and gathered there, and reading goes on
 * where the next one begins. @throws InputError `file:line: expected …, found …`.
 */
export function* readJsonObjects(path: string, faults?: Faults): Generator<PlacedObject> {
  const file = PositionedFile.open(path);
  try {
    yield* new ObjectReader(file, faults).objects();
  } catch (error) {
    // It is told with those that were gathered before.
    if (!faults) throw error;
    faults.add(error);
  } finally {
    file.close();
  }
}

/** An object again. @throws InputError when the file is gone or holds something else there now. */
export function readJsonObjectAt(path: string, place: JsonPlace): JsonObject {
  const file = PositionedFile.open(path);
  try {
    const bytes = place.start + place.length <= file.size ? file.readBytes(place.start, place.length) : null;
    if (!bytes || crc32(bytes) !== place.checksum)
      throw new InputError(`${printable(path)}:${place.line}: the file has changed since it was first read`);
    return parseObject(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), path, place.line);
  } finally {
    file.close();
  }
}

/** One object in UTF-8. @throws InputError that begins with `path:line`. */
export function parseObject(bytes: Buffer, path: string, line: number): JsonObject {
  const text = decode(bytes, path, line);
  return quickly(text) ?? carefully(text, path, line);
}

/** Undefined when `JSON.parse` cannot read the text, or cannot be trusted with it. */
function quickly(text: string): JsonObject | undefined {
  if (text.length > LARGEST_FOR_PARSE || text[0] !== '{') return undefined;
  let object: JsonObject;
  try {
    object = JSON.parse(text);
  } catch {
    return undefined;
  }
  return namesStandOnce(object, text) && isShallow(object) ? object : undefined;
}

/** Sets of names that objects had, the first hundred: what finds such names in their quotes. */
const namePatterns = new Map<string, RegExp>();

/**
 * `JSON.parse` keeps the last of several values of a name. When as many names stand in the text in quotes as the
 * object has, none is there twice; otherwise it is, or is a value somewhere: the careful reader knows which.
 */
function namesStandOnce(object: JsonObject, text: string): boolean {
  const names = Object.keys(object);
  const key = names.join('\n');
  if (names.length > 50 || key.length > 1000) return false;
  let pattern = namePatterns.get(key);
  if (!pattern) {
    if (namePatterns.size === 100)
      return names.every((name) => {
        const quoted = `"${name}"`;
        const first = text.indexOf(quoted);
        return first >= 0 && !text.includes(quoted, first + 1);
      });
    const alternatives = names.map((name) => name.replace(/[^a-zA-Z0-9_]/g, '\\$&')).join('|');
    pattern = new RegExp(`"(?:${alternatives})"`, 'g');
    namePatterns.set(key, pattern);
  }
  pattern.lastIndex = 0;
  let count = 0;
  while (pattern.test(text)) count++;
  return count === names.length;
}

function isShallow(object: JsonObject): boolean {
  let level: object[] = [object];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === LIMITS.maxDepth) return false;
    const next: object[] = [];
    for (const member of level)
      if (Array.isArray(member)) {
        for (const inner of member) if (typeof inner === 'object' && inner !== null) next.push(inner);
      } else
        for (const name in member) {
          const inner = (member as JsonObject)[name];
          if (typeof inner === 'object' && inner !== null) next.push(inner);
        }
    level = next;
  }
  return true;
}

function carefully(text: string, path: string, line: number): JsonObject {
  const where = `${printable(path)}:${line}`;
  let value: unknown;
  try {
    value = parseLenient(text, LIMITS);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    // Without a list of the lines: they may be as many as the bytes.
    let lines = 0;
    let begin = 0;
    for (let i = 0; i < error.offset; i++)
      if (text[i] === '\n' || (text[i] === '\r' && text[i + 1] !== '\n')) {
        lines++;
        begin = i + 1;
      }
    const character = `character ${error.offset - begin + 1}`;
    const at = lines > 0 ? `line ${line + lines}, ${character}` : character;
    const quotes =
      text[error.offset] === "'" ? '; Python prints such quotes, and json.dumps writes JSON' : '';
    throw new InputError(
      `${where}: expected a JSON object, found broken JSON (${error.message} at ${at}${quotes})`,
    );
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new InputError(`${where}: expected a JSON object, found ${show(value)}`);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decode(bytes: Buffer, path: string, line: number): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new InputError(`${printable(path)}:${line}: expected UTF-8 text, found other bytes`);
  }
}

class ObjectReader {
  /** Bytes of the file from `position`; what is not yet read begins at `from`, what is not in memory at `to`. */
  private window = Buffer.allocUnsafe(2 * CHUNK);
  private position = 0;
  private from = 0;
  private to = 0;
  private line = 1;
  /** Up to here (in the file) lines are known not to be one object each. */
  private irregularUntil = 0;

  constructor(
    private readonly file: PositionedFile,
    private readonly faults?: Faults,
  ) {}

  *objects(): Generator<PlacedObject> {
    if (!this.fill()) return;
    this.requireText();
    this.skipSpace();
    const inList = this.peek() === OPEN_LIST;
    if (!inList) {
      this.requireObjects();
      for (; this.peek() >= 0; this.skipSpace()) {
        const object = this.soundObject(false);
        if (object) yield object;
      }
      return;
    }
    this.from++;
    this.skipSpace();
    if (this.peek() === CLOSE_LIST) this.from++;
    else
      for (let more = true; more; ) {
        this.skipSpace();
        const object = this.soundObject(true);
        if (object) yield object;
        else if (this.peek() < 0) return;
        else continue;
        this.skipSpace();
        const after = this.peek();
        if (after !== COMMA && after !== CLOSE_LIST)
          throw this.unexpected('"," or "]" after an object of a list');
        more = after === COMMA;
        this.from++;
      }
    this.skipSpace();
    if (this.peek() >= 0) throw this.unexpected('nothing after the list');
  }

  /** The object that begins here; undefined for one that is broken, whose fault is gathered: the next begins here then. */
  private soundObject(inList: boolean): PlacedObject | undefined {
    if (!this.faults) return this.object();
    try {
      return this.object();
    } catch (error) {
      this.faults.add(error);
      this.passOver(inList);
      return undefined;
    }
  }

  /**
   * From the beginning of a broken object to where the next may begin: on the next line, if this one ends like an object
   * or does not begin like one; else on the next line that begins with a brace as far in as this one. In a list and on
   * one line with others there is no telling: then the rest of the file is not read.
   */
  private passOver(inList: boolean): void {
    const indent = this.indent();
    const anyLine = !inList && (this.peek() !== OPEN_OBJECT || this.endsObject(this.endOfLine()));
    do {
      while (this.from < this.to || this.fill()) {
        const end = this.window.subarray(this.from, this.to).indexOf(LINE_FEED);
        this.from = end < 0 ? this.to : this.from + end + 1;
        if (end < 0) continue;
        this.line++;
        break;
      }
      this.skipSpace();
    } while (this.peek() >= 0 && !anyLine && (this.peek() !== OPEN_OBJECT || this.indent() !== indent));
  }

  /** Bytes of the line before what is read next, as far as they are in memory. */
  private indent(): number {
    const begin = this.from === 0 ? -1 : this.window.lastIndexOf(LINE_FEED, this.from - 1);
    return this.from - begin - 1;
  }

  /** A file of another format is one fault, not one a line: nothing in it begins like an object. */
  private requireObjects(): void {
    if (this.peek() < 0 || this.peek() === OPEN_OBJECT) return;
    const begin = this.window.toString('latin1', this.from, this.to);
    if (!/^[ \t]*\{/m.test(begin)) throw this.unexpected('a JSON object', formatOf(begin));
  }

  /** The object that begins here. */
  private object(): PlacedObject {
    if (this.peek() !== OPEN_OBJECT) throw this.unexpected('a JSON object');
    const path = this.file.path;
    const regular = this.position + this.from >= this.irregularUntil ? this.endOfLine() : -1;
    if (regular >= 0) {
      // Asked first, because an error thrown for every line of a file takes more time than the file.
      if (this.endsObject(regular)) {
        const bytes = this.window.subarray(this.from, regular);
        const text = decode(bytes, path, this.line);
        const value = quickly(text);
        if (value) return { value, place: this.take(bytes, text.includes('\r')), text: () => text };
      }
      this.irregularUntil = this.position + regular;
    }
    const end = this.endOfObject(); // which moves the window
    const bytes = this.window.subarray(this.from, end);
    const value = parseObject(bytes, path, this.line);
    const place = this.take(bytes, true);
    return { value, place, text: () => decode(bytes, path, place.line) };
  }

  /** The place of the object that begins here and has these bytes; it is then behind us. */
  private take(bytes: Buffer, linesWithin: boolean): JsonPlace {
    const { window, from, line } = this;
    const end = from + bytes.length;
    if (linesWithin)
      for (let i = from; i < end; i++)
        if (window[i] === LINE_FEED || (window[i] === RETURN && window[i + 1] !== LINE_FEED)) this.line++;
    this.from = end;
    return { start: this.position + from, length: bytes.length, line, checksum: crc32(bytes) };
  }

  /** Where the line ends in the window, its line feed excluded; −1 when it is longer than one for `JSON.parse`. */
  private endOfLine(): number {
    while (true) {
      const end = this.window.indexOf(LINE_FEED, this.from);
      const known = end >= 0 && end < this.to ? end : this.to;
      if (known - this.from > LARGEST_FOR_PARSE) {
        this.irregularUntil = this.position + known;
        return -1;
      }
      if (known === end || !this.fill()) return known;
    }
  }

  /** Whether a brace is the last that stands before `end`, white space aside. */
  private endsObject(end: number): boolean {
    let last = end - 1;
    while (last > this.from && this.window[last]! <= SPACE) last--;
    return this.window[last] === CLOSE_OBJECT;
  }

  /**
   * Where the object ends by its brackets. At the first that does not fit, and at a control character in a text, it
   * ends too: reading it then says what is wrong, and what follows need not be in memory.
   */
  private endOfObject(): number {
    const closing: number[] = [];
    let inString = false;
    /** The last byte that is no white space. */
    let before = 0;
    let length = 0;
    while (true) {
      const { window, from, to } = this;
      let i = from + length;
      for (; i < to; i++) {
        const byte = window[i]!;
        if (inString) {
          if (byte === BACKSLASH) i++;
          else if (byte === QUOTE) inString = false;
          else if (byte < SPACE) return i + 1;
          continue;
        }
        if (byte === QUOTE) inString = true;
        else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
          // Behind a value no other begins: of a row whose end is missing, the next one is not read too.
          if (closing.length > 0 && before !== COLON && before !== COMMA && before !== OPEN_LIST) {
            const end = window.subarray(i, to).indexOf(LINE_FEED);
            if (end >= 0) return i + end;
            return this.position + to === this.file.size ? to : i + 1;
          }
          closing.push(byte === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_LIST);
          if (closing.length > LIMITS.maxDepth) return i + 1;
        } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
          if (closing.pop() !== byte || closing.length === 0) return i + 1;
        }
        if (byte > SPACE) before = byte;
      }
      length = i - from;
      if (length > LARGEST_OBJECT)
        throw this.fault(`an object of at most ${LARGEST_OBJECT / MIB} MiB`, 'a larger one');
      if (!this.fill()) return this.to;
    }
  }

  /** Reads on, and moves what is not yet read to the start of the window, or to a larger one. */
  private fill(): boolean {
    const count = Math.min(CHUNK, this.file.size - this.position - this.to);
    if (count <= 0) return false;
    if (this.to + count > this.window.length) {
      const kept = this.to - this.from;
      const target =
        kept + count <= this.window.length ? this.window : Buffer.allocUnsafe(2 * this.window.length);
      this.window.copy(target, 0, this.from, this.to);
      this.window = target;
      this.position += this.from;
      this.from = 0;
      this.to = kept;
    }
    this.file.readInto(this.window.subarray(this.to, this.to + count), this.position + this.to);
    this.to += count;
    return true;
  }

  /** The next byte, −1 at the end of the file. */
  private peek(): number {
    return this.from < this.to || this.fill() ? this.window[this.from]! : -1;
  }

  /** JSON's white space, and byte order marks, which joined files have in their midst. */
  private skipSpace(): void {
    while (true) {
      const byte = this.peek();
      if (byte === LINE_FEED) this.line++;
      else if (byte === RETURN) {
        this.from++;
        if (this.peek() !== LINE_FEED) this.line++;
        continue;
      } else if (byte === 0xef) {
        if (this.to - this.from < 3) this.fill();
        const next = this.window.subarray(this.from + 1, Math.min(this.to, this.from + 3));
        if (next[0] !== 0xbb || next[1] !== 0xbf) return;
        this.from += 2;
      } else if (byte !== SPACE && byte !== TAB) return;
      this.from++;
    }
  }

  private requireText(): void {
    const kind = kindOf(this.window.subarray(0, this.to));
    if (kind) throw new InputError(`${printable(this.file.path)}: expected JSON objects, found ${kind}`);
  }

  /** What stands here instead of what was expected. */
  private unexpected(expected: string, instead = ''): InputError {
    if (this.peek() < 0) return this.fault(expected, 'the end of the file');
    const bytes = this.window.subarray(this.from, Math.min(this.to, this.from + 80));
    const text = bytes
      .toString('utf8')
      .split(/[\r\n]/)[0]!
      .slice(0, 40);
    return text.includes('\ufffd')
      ? this.fault('UTF-8 text', 'other bytes')
      : this.fault(
          expected,
          `${show(text)}${instead || (text === ',' ? ': objects on lines of their own have no comma between them' : '')}`,
        );
  }

  private fault(expected: string, found: string): InputError {
    return new InputError(`${printable(this.file.path)}:${this.line}: expected ${expected}, found ${found}`);
  }
}

/** What a file is that has no object in it, behind what it begins with; nothing where that is not known. */
function formatOf(begin: string): string {
  const [first = '', second = ''] = begin.split(/\r?\n/).map((line) => line.trim());
  for (const [separator, name] of [
    ['\t', 'tab-separated values'],
    [',', 'comma-separated values'],
  ] as const)
    if (first.includes(separator) && second.split(separator).length >= first.split(separator).length)
      return `: these look like ${name}, and each row is to be an object such as {"query": "…", "pos": ["…"], "neg": ["…"]}`;
  return '';
}
