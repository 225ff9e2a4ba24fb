/**
 * Training rows in JSONL files: one object a line with `query`, `pos`, `neg` and a few optional fields (spec
 * flagembedding-m3 §2.1). A file is read through once to check every line and note where it starts; the texts stay
 * on disk and a row is read again when a batch needs it, so memory is a few integers a row.
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { InputError } from '../errors.js';

export interface TrainRow {
  readonly query: string;
  /** At least one. */
  readonly pos: readonly string[];
  /** May be empty. */
  readonly neg: readonly string[];
  /** As long as `pos`; null when the row has no scores. */
  readonly posScores: readonly number[] | null;
  /** As long as `neg`; null exactly when `posScores` is. */
  readonly negScores: readonly number[] | null;
  readonly prompt: string | null;
  readonly type: string | null;
  readonly batchSize: number | null;
  readonly trainGroupSize: number | null;
}

export interface RowPlace {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
}

/** @throws InputError `file:line: expected …, found …` */
export function parseRow(line: string, place: RowPlace): TrainRow {
  const fail = (expected: string, found: string): never => {
    throw new InputError(`${place.file}:${place.line}: expected ${expected}, found ${found}`);
  };
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (error) {
    fail('a JSON object', `broken JSON (${(error as Error).message.replace(/\s+/g, ' ').slice(0, 120)})`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) fail('a JSON object', show(json));
  const fields = json as Record<string, unknown>;
  const field = (name: string) => fields[name] ?? null;

  const query = field('query');
  if (typeof query !== 'string' || query === '') fail('"query" to be a text', found(fields, 'query'));

  const texts = (name: string): string[] => {
    const value = field(name) ?? [];
    if (!Array.isArray(value)) return fail(`"${name}" to be a list of texts`, show(value));
    const wrong = value.findIndex((item) => typeof item !== 'string');
    if (wrong >= 0) fail(`"${name}" to be a list of texts`, `${show(value[wrong])} at index ${wrong}`);
    return value;
  };
  const pos = texts('pos');
  if (pos.length === 0) fail('"pos" to be a list of at least one text', found(fields, 'pos'));
  const neg = texts('neg');

  const scores = (name: string, side: string, count: number): number[] | null => {
    const value = field(name);
    if (value === null) return null;
    if (!Array.isArray(value)) return fail(`"${name}" to be a list of numbers`, show(value));
    const wrong = value.findIndex((item) => typeof item !== 'number' || !Number.isFinite(item));
    if (wrong >= 0) fail(`"${name}" to be a list of numbers`, `${show(value[wrong])} at index ${wrong}`);
    if (value.length !== count)
      fail(`"${name}" to have ${count} numbers, as "${side}" has texts`, `${value.length}`);
    return value;
  };
  const posScores = scores('pos_scores', 'pos', pos.length);
  let negScores = scores('neg_scores', 'neg', neg.length);
  if (posScores !== null && neg.length === 0) negScores ??= [];
  if ((posScores === null) !== (negScores === null)) {
    const [present, missing] = posScores === null ? ['neg', 'pos'] : ['pos', 'neg'];
    fail(`"${missing}_scores" beside "${present}_scores"`, 'nothing');
  }

  const optionalText = (name: string): string | null => {
    const value = field(name);
    return value === null || typeof value === 'string' ? value : fail(`"${name}" to be a text`, show(value));
  };
  const positiveInteger = (name: string): number | null => {
    const value = field(name);
    if (value === null) return null;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value;
    return fail(`"${name}" to be a positive integer`, show(value));
  };
  return {
    query: query as string,
    pos,
    neg,
    posScores,
    negScores,
    prompt: optionalText('prompt'),
    type: optionalText('type'),
    batchSize: positiveInteger('batch_size'),
    trainGroupSize: positiveInteger('train_group_size'),
  };
}

function found(fields: Record<string, unknown>, name: string): string {
  return name in fields ? show(fields[name]) : 'nothing';
}

function show(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 57)}…` : json;
}

/** What batching must know of a row without reading it again. */
export interface RowFacts {
  readonly type: string | null;
  readonly scored: boolean;
  readonly negatives: number;
  readonly trainGroupSize: number | null;
  /** UTF-8 bytes of the query, and of the longest passage. */
  readonly queryBytes: number;
  readonly passageBytes: number;
  readonly place: RowPlace;
}

const CHUNK = 1 << 20;

/** An indexed JSONL file. Holds no open file: each read opens and closes it. */
export class RowFile {
  readonly path: string;
  /** Whether any row names the `prompt` field. */
  hasPromptColumn = false;
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private readonly lines: number[] = [];
  private readonly negatives: number[] = [];
  private readonly scored: boolean[] = [];
  private readonly groupSizes: (number | null)[] = [];
  private readonly queryBytes: number[] = [];
  private readonly passageBytes: number[] = [];
  /** Index into `types` per row. */
  private readonly typeOf: number[] = [];
  private readonly types: (string | null)[] = [];

  /** Reads and checks the whole file. @throws InputError at the first bad line, or when there is no row. */
  constructor(path: string) {
    this.path = path;
    for (const { bytes, start, line } of readLines(path)) {
      const content = decode(bytes, { file: path, line });
      if (content.trim() === '') continue;
      if (this.rowCount === 0 && content.trimStart().startsWith('['))
        throw new InputError(`${path}:${line}: expected one JSON object per line, found a JSON array`);
      const row = parseRow(content, { file: path, line });
      this.starts.push(start);
      this.ends.push(start + bytes.length);
      this.lines.push(line);
      this.negatives.push(row.neg.length);
      this.scored.push(row.posScores !== null);
      this.groupSizes.push(row.trainGroupSize);
      this.queryBytes.push(Buffer.byteLength(row.query));
      this.passageBytes.push(longest([...row.pos, ...row.neg]));
      let type = this.types.indexOf(row.type);
      if (type < 0) type = this.types.push(row.type) - 1;
      this.typeOf.push(type);
      if (row.prompt !== null) this.hasPromptColumn = true;
    }
    if (this.rowCount === 0) throw new InputError(`${path}: expected at least one row, found none`);
  }

  get rowCount(): number {
    return this.starts.length;
  }

  place(index: number): RowPlace {
    return { file: this.path, line: this.lines[index]! };
  }

  facts(index: number): RowFacts {
    return {
      type: this.types[this.typeOf[index]!]!,
      scored: this.scored[index]!,
      negatives: this.negatives[index]!,
      trainGroupSize: this.groupSizes[index]!,
      queryBytes: this.queryBytes[index]!,
      passageBytes: this.passageBytes[index]!,
      place: this.place(index),
    };
  }

  /** Reads the row from disk. @throws InputError when the file has changed under us. */
  row(index: number): TrainRow {
    const start = this.starts[index]!;
    const bytes = Buffer.alloc(this.ends[index]! - start);
    const file = openSync(this.path, 'r');
    try {
      let done = 0;
      while (done < bytes.length) {
        const count = readSync(file, bytes, done, bytes.length - done, start + done);
        if (count === 0) break;
        done += count;
      }
      return parseRow(decode(bytes.subarray(0, done), this.place(index)), this.place(index));
    } finally {
      closeSync(file);
    }
  }
}

const longest = (texts: readonly string[]) =>
  texts.reduce((most, text) => Math.max(most, Buffer.byteLength(text)), 0);

function decode(bytes: Uint8Array, place: RowPlace): string {
  if (!isUtf8(bytes))
    throw new InputError(`${place.file}:${place.line}: expected UTF-8 text, found other bytes`);
  return new TextDecoder().decode(bytes); // drops a byte order mark
}

/** The lines of a file without their line feeds, one chunk in memory at a time. */
function* readLines(path: string): Generator<{ bytes: Uint8Array; start: number; line: number }> {
  const file = openSync(path, 'r');
  try {
    let pending: Buffer[] = [];
    let start = 0;
    let position = 0;
    let line = 1;
    while (true) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const count = readSync(file, chunk, 0, CHUNK, position);
      if (count === 0) break;
      let from = 0;
      for (let end = chunk.indexOf(10); end >= 0 && end < count; end = chunk.indexOf(10, from)) {
        yield { bytes: Buffer.concat([...pending, chunk.subarray(from, end)]), start, line };
        pending = [];
        from = end + 1;
        start = position + from;
        line++;
      }
      if (from < count) pending.push(chunk.subarray(from, count));
      position += count;
    }
    if (pending.length > 0) yield { bytes: Buffer.concat(pending), start, line };
  } finally {
    closeSync(file);
  }
}

/** One path of `--train_data`: a file, or a directory with the files in it. */
export interface DataSource {
  readonly path: string;
  readonly isDirectory: boolean;
  /** `.json` and `.jsonl` files; those of a directory (one level) sorted by name. */
  readonly files: readonly string[];
  /** The directory's name, or the file's up to its last dot, ends with `no_in_batch_neg`. */
  readonly noInBatchNeg: boolean;
}

const isDataFile = (name: string) => /\.jsonl?$/.test(name);

/** @throws InputError that begins with `flag` when the path is missing or holds no data. */
export function findSource(path: string, flag: string): DataSource {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) throw new InputError(`${flag}: ${path}: expected a file or directory, found nothing`);
  if (!stats.isDirectory()) {
    if (!isDataFile(path)) throw new InputError(`${flag}: ${path}: expected a .json or .jsonl file`);
    const noInBatchNeg = path.replace(/\.[^.]*$/, '').endsWith('no_in_batch_neg');
    return { path, isDirectory: false, files: [path], noInBatchNeg };
  }
  const names = readdirSync(path, { withFileTypes: true })
    .filter((entry) => isDataFile(entry.name) && !entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  if (names.length === 0)
    throw new InputError(`${flag}: ${path}: expected a directory with .json or .jsonl files, found none`);
  return {
    path,
    isDirectory: true,
    files: names.map((name) => join(path, name)),
    noInBatchNeg: resolve(path).endsWith('no_in_batch_neg'),
  };
}
