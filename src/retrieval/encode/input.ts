/** Texts to encode, one after the other: lines or JSON objects, of files or of standard input, with what names them. */
import { isUtf8 } from 'node:buffer';
import fs from 'node:fs';
import { meantAs } from '../../data/field-names.js';
import { InputError } from '../../errors.js';
import { Faults } from '../../files/faults.js';
import type { JsonObject } from '../../files/json.js';
import { parseObject, readJsonObjects } from '../../files/json-objects.js';
import { kindOf } from '../../files/kind.js';
import { PositionedFile } from '../../files/positioned.js';
import { printable, show } from '../../show.js';

export interface InputText {
  readonly text: string;
  /** Of a JSON object that has one. */
  readonly id: string | number | undefined;
}

export interface InputOptions {
  readonly format: 'auto' | 'lines' | 'jsonl';
  /** The last must be a text; those before it may be missing. */
  readonly fields: readonly string[];
  /** Undefined: `id` or `_id`, where there is one. */
  readonly idField: string | undefined;
}

const MIB = 1 << 20;
/** A longer line is refused before it is in memory. */
const LONGEST_LINE = 64 * MIB;
const STANDARD_INPUT = 'standard input';

/**
 * The texts of `inputs`, in order; `-` is `standardInput`, by default the process's. @throws InputError `file:line: expected …, found …`.
 */
export async function* readTexts(
  inputs: readonly string[],
  options: InputOptions,
  standardInput?: AsyncIterable<Uint8Array>,
): AsyncGenerator<InputText, void, undefined> {
  for (const input of inputs)
    if (input === '-') yield* standardTexts(standardInput ?? openStandardInput(), options);
    else yield* fileTexts(input, options);
}

/** Of the process: threads have a `process.stdin` of their own, which is empty. */
const openStandardInput = (): AsyncIterable<Uint8Array> =>
  fs.createReadStream('', { fd: 0, autoClose: false });

/**
 * How many texts there will be, of which all were looked at: encoding takes hours where reading takes seconds, so that
 * what is wrong in the last file is told before the first text is encoded, and of many faulty lines each is told. Undefined
 * where one of the inputs is standard input, which is read once; what is wrong there ends the command where it stands.
 * @throws InputError.
 */
export function checkTexts(inputs: readonly string[], options: InputOptions): number | undefined {
  const faults = new Faults('texts');
  let count = 0;
  for (const input of inputs) {
    if (input === '-') continue;
    for (const _ of fileTexts(input, options, faults)) count++;
  }
  faults.throwIfAny();
  return inputs.includes('-') ? undefined : count;
}

const isJson = (path: string, { format }: InputOptions): boolean =>
  format === 'jsonl' || (format === 'auto' && /\.jsonl?$/i.test(path));

function* fileTexts(path: string, options: InputOptions, gathered?: Faults): Generator<InputText> {
  const faults = gathered ?? new Faults('texts');
  if (isJson(path, options))
    for (const { value, place } of readJsonObjects(path, faults)) {
      const text = faults.attempt(() => textOf(value, path, place.line, options));
      if (text) yield text;
    }
  else {
    let line = 0;
    for (const bytes of fileLines(path)) {
      const text = faults.attempt(() => ({ text: decoded(bytes, path, ++line), id: undefined }));
      if (text) yield text;
    }
  }
  if (!gathered) faults.throwIfAny();
}

async function* standardTexts(
  input: AsyncIterable<Uint8Array>,
  options: InputOptions,
): AsyncGenerator<InputText> {
  let { format } = options;
  let line = 0;
  /** Lines before the first that tells which format it is. */
  let blanks: string[] = [];
  for await (const bytes of linesOf(input)) {
    line++;
    const text = decoded(bytes, STANDARD_INPUT, line);
    const blank = text.trim() === '';
    if (format === 'auto') {
      if (blank) {
        blanks.push(text);
        continue;
      }
      format = text.trimStart().startsWith('{') ? 'jsonl' : 'lines';
      if (format === 'lines') for (const text of blanks) yield { text, id: undefined };
      blanks = [];
    }
    if (format === 'lines') yield { text, id: undefined };
    else if (!blank)
      yield textOf(parseObject(Buffer.from(text), STANDARD_INPUT, line), STANDARD_INPUT, line, options);
  }
  for (const text of blanks) yield { text, id: undefined };
}

/** @throws InputError for a field that is missing or no text, and a name that is none. */
function textOf(row: JsonObject, path: string, line: number, { fields, idField }: InputOptions): InputText {
  const fail = (expected: string, found: unknown, instead = ''): never => {
    throw new InputError(`${printable(path)}:${line}: expected ${expected}, found ${show(found)}${instead}`);
  };
  const own = (name: string) => (Object.hasOwn(row, name) ? row[name] : undefined);
  const parts = fields.flatMap((name, i) => {
    const value = own(name);
    if (i < fields.length - 1 && (value === undefined || value === null || value === '')) return [];
    if (typeof value !== 'string') return fail(`"${name}" to be a text`, value, otherName(row, name));
    if (!value.isWellFormed()) return fail(`"${name}" to be text`, 'half of a character');
    return [value];
  });
  // As FlagEmbedding's evaluation joins a title and a text.
  const text = fields.length > 1 ? parts.join(' ').trim() : parts[0]!;
  const name = idField ?? (own('id') !== undefined ? 'id' : '_id');
  const id = own(name);
  if (id === undefined || id === null)
    return idField === undefined ? { text, id: undefined } : fail(`"${name}" to name the text`, id);
  if (typeof id !== 'string' && !(typeof id === 'number' && Number.isSafeInteger(id)))
    return fail(`"${name}" to be a text or a whole number of at most 2^53`, id);
  return { text, id };
}

/** A field that may be the text, and how it is read. */
function otherName(row: JsonObject, name: string): string {
  const meant = meantAs(row, name);
  return meant === undefined ? '' : ` (--field ${printable(meant)} reads ${show(meant)})`;
}

function decoded(bytes: Uint8Array, path: string, line: number): string {
  if (!isUtf8(bytes))
    throw new InputError(`${printable(path)}:${line}: expected UTF-8 text, found other bytes`);
  // A byte order mark belongs to no text.
  const from = line === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, bytes.length - from).toString('utf8');
}

// ---- lines ----

const LINE_FEED = 10;
const RETURN = 13;

/** Pieces of bytes to lines, without what ends them. */
class LineReader {
  private rest: Uint8Array[] = [];
  private held = 0;
  private line = 1;

  constructor(private readonly path: string) {}

  *lines(piece: Uint8Array): Generator<Uint8Array> {
    let from = 0;
    for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, from)) {
      yield this.whole(piece.subarray(from, end));
      from = end + 1;
    }
    if (from === piece.length) return;
    // The next piece may be read to the same memory.
    this.rest.push(piece.slice(from));
    this.held += piece.length - from;
    if (this.held > LONGEST_LINE)
      throw new InputError(
        `${printable(this.path)}:${this.line}: expected a line of at most ${LONGEST_LINE / MIB} MiB, found a longer one`,
      );
  }

  /** What stands behind the last line feed, where something does. */
  *end(): Generator<Uint8Array> {
    if (this.held > 0) yield this.whole(new Uint8Array());
  }

  private whole(last: Uint8Array): Uint8Array {
    const line = this.held > 0 ? Buffer.concat([...this.rest, last]) : last;
    this.rest = [];
    this.held = 0;
    this.line++;
    return line.at(-1) === RETURN ? line.subarray(0, -1) : line;
  }
}

function* fileLines(path: string): Generator<Uint8Array> {
  const file = PositionedFile.open(path);
  try {
    const reader = new LineReader(path);
    const chunk = Buffer.allocUnsafe(Math.min(MIB, file.size));
    for (let position = 0; position < file.size; position += chunk.length) {
      const piece = chunk.subarray(0, Math.min(chunk.length, file.size - position));
      file.readInto(piece, position);
      const kind = position === 0 ? kindOf(piece) : undefined;
      // Lines may be pages, one each: those are texts as others are.
      if (kind && !kind.startsWith('a web page'))
        throw new InputError(`${printable(path)}: expected lines of text, found ${kind}`);
      yield* reader.lines(piece);
    }
    yield* reader.end();
  } finally {
    file.close();
  }
}

async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = new LineReader(STANDARD_INPUT);
  for await (const piece of input) yield* reader.lines(piece);
  yield* reader.end();
}
