/**
 * JSON from outside: the one place where it is read. Whatever the file holds, the answer is a value that is safe to
 * look into or an InputError of one line that blames the file: its size and nesting are bounded, its objects have no
 * prototype (so that a name out of a file never finds an inherited member), and a file of another kind (a Git LFS
 * pointer, a web page, an archive) is called what it is. What the values mean belongs to whoever asked. Files of many
 * values, which are not read whole, are read in json-objects.ts.
 */
import { InputError } from '../errors.js';
import { printable, show } from '../show.js';
import { kindOf } from './kind.js';
import { PositionedFile } from './positioned.js';

/** An object that was read from JSON. */
export type JsonObject = Record<string, unknown>;

export interface JsonLimits {
  /** Bytes; a larger file is refused before it is read. */
  readonly maxBytes?: number;
  /** Nested lists and objects. */
  readonly maxDepth?: number;
  /** Values, those of objects counted four times, as their names take memory too. A value takes some 100 bytes. */
  readonly maxValues?: number;
}

const MIB = 1 << 20;
/** Configurations and lists of tensors; readers of larger things say so. */
const DEFAULT_BYTES = 16 * MIB;
const DEFAULT_DEPTH = 100;
/** Tokenizers of a quarter of a million pieces have a third of it. */
const DEFAULT_VALUES = 1 << 22;

/** @throws InputError when the file cannot be read, is too large or is no JSON. */
export function readJson(file: string, limits: JsonLimits = {}): unknown {
  return parseJsonBytes(readText(file, limits.maxBytes ?? DEFAULT_BYTES), file, limits);
}

/** The same for a file that holds one object. @throws InputError. */
export function readJsonObject(file: string, limits: JsonLimits = {}): JsonObject {
  return asJsonObject(readJson(file, limits), file);
}

/** Undefined when there is no such file. @throws InputError when there is one that cannot be read as an object. */
export function readJsonObjectIfPresent(file: string, limits: JsonLimits = {}): JsonObject | undefined {
  return PositionedFile.exists(file) ? readJsonObject(file, limits) : undefined;
}

/** JSON that is in memory already; `where` begins the message. @throws InputError. */
export function parseJson(text: string, where: string, limits: JsonLimits = {}): unknown {
  const maxValues = limits.maxValues ?? DEFAULT_VALUES;
  if (text.length > maxValues && countValues(text) > maxValues)
    throw new InputError(`${printable(where)}: expected at most ${maxValues} values, found more`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${printable(where)}: expected JSON, found ${reasonOf(error, text)}`);
  }
  makeSafe(value, where, limits.maxDepth ?? DEFAULT_DEPTH);
  return value;
}

/** The same from bytes, which must be UTF-8; a byte order mark is skipped. @throws InputError. */
export function parseJsonBytes(bytes: Uint8Array, where: string, limits: JsonLimits = {}): unknown {
  const kind = kindOf(bytes);
  if (kind) throw new InputError(`${printable(where)}: expected JSON, found ${kind}`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new InputError(`${printable(where)}: expected JSON, found bytes that are no UTF-8`);
  }
  return parseJson(text, where, limits);
}

/** @throws InputError when the value is no object. */
export function asJsonObject(value: unknown, where: string): JsonObject {
  if (isJsonObject(value)) return value;
  throw new InputError(`${printable(where)}: expected a JSON object, found ${show(value)}`);
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readText(file: string, maxBytes: number): Uint8Array {
  const source = PositionedFile.open(file);
  try {
    if (source.size > maxBytes)
      throw new InputError(
        `${printable(file)}: expected at most ${maxBytes} bytes of JSON, found ${source.size}`,
      );
    return source.readBytes(0, source.size);
  } finally {
    source.close();
  }
}

/**
 * At least as many as `JSON.parse` would make, without making them: sixteen megabytes of `[],[],…` take half a
 * gigabyte. Exact for JSON; for other texts the parser decides.
 */
function countValues(text: string): number {
  let count = 1;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) {
      // To the closing quote.
      for (i++; i < text.length && text.charCodeAt(i) !== 0x22; i++) if (text.charCodeAt(i) === 0x5c) i++;
    } else if (unit === 0x2c || unit === 0x5b || unit === 0x7b) count++;
    else if (unit === 0x3a) count += 3;
  }
  return count;
}

/** V8 quotes the text around an error, over several lines and in full. */
function reasonOf(error: unknown, text: string): string {
  if (text.trim() === '') return 'nothing';
  if (error instanceof RangeError) return 'a value that is too large';
  const message = (error as Error).message.replace(/\s+/g, ' ');
  const at = /at position (\d+)/.exec(message);
  // Where a list or an object is not closed, V8 names what it expected at the end.
  if (/^Unexpected end/.test(message) || (at && Number(at[1]) >= text.trimEnd().length))
    return `a text that ends too early, after ${show(text.slice(-20))}`;
  const what = /^(Unexpected [a-z ]+)/.exec(message)?.[1]?.trim() ?? 'an error';
  return at
    ? `an error at character ${at[1]}: ${show(text.slice(Number(at[1]), Number(at[1]) + 20))}`
    : `${what.toLowerCase()} in ${show(text.slice(0, 60))}`;
}

/**
 * Takes the prototype from every object and bounds the nesting. Walked by hand, one level of the value after the
 * other: a recursive walk would itself run out of stack on what it is to refuse.
 */
function makeSafe(value: unknown, where: string, maxDepth: number): void {
  let level: object[] = typeof value === 'object' && value !== null ? [value] : [];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > maxDepth)
      throw new InputError(
        `${printable(where)}: expected at most ${maxDepth} nested lists and objects, found more`,
      );
    const next: object[] = [];
    for (const member of level) {
      if (!Array.isArray(member)) Object.setPrototypeOf(member, null);
      for (const inner of Array.isArray(member) ? member : Object.values(member))
        if (typeof inner === 'object' && inner !== null) next.push(inner);
    }
    level = next;
  }
}
