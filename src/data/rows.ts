/**
 * Training rows in JSON files: objects with `query`, `pos`, `neg` and a few optional fields
 * (docs/spec/flagembedding-m3.md §2.1), one a line or however else files/json-objects.ts reads them. A file is read
 * through once to check every row and note where it stands; the texts stay on disk and a row is read again when a batch
 * needs it, so memory is some fifty bytes a row.
 */
import { crc32 } from 'node:zlib';
import { InputError } from '../errors.js';
import type { JsonObject } from '../files/json.js';
import { parseObject, readJsonObjectAt, readJsonObjects } from '../files/json-objects.js';
import { printable, show } from '../show.js';
import { Column } from './column.js';

export interface TrainRow {
  /** May be empty, as upstream. */
  readonly query: string;
  /** At least one. */
  readonly pos: readonly string[];
  /** May be empty. */
  readonly neg: readonly string[];
  /** As long as `pos`, finite in f32; null when the row has none. As all below, null when nobody looks at it. */
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
  /** Of the row's first character, counted from 1. */
  readonly line: number;
}

/** `file:line` for a message. */
export function placeName({ file, line }: RowPlace): string {
  return `${printable(file)}:${line}`;
}

/** Which fields a run looks at beside `query`, `pos` and `neg`; the others may hold anything, as upstream. */
export interface RowOptions {
  /** `pos_scores` and `neg_scores`. */
  readonly scores: boolean;
  readonly prompt: boolean;
  /** `type`, `batch_size` and `train_group_size`. */
  readonly batching: boolean;
}

const EVERY_FIELD: RowOptions = { scores: true, prompt: true, batching: true };

/** A row from its JSON. @throws InputError `file:line: expected …, found …` */
export function parseRow(json: string, place: RowPlace, options: RowOptions = EVERY_FIELD): TrainRow {
  return rowOf(parseObject(Buffer.from(json), place.file, place.line), place, options);
}

/** A row from an object that was read. @throws as `parseRow`. */
export function rowOf(fields: JsonObject, place: RowPlace, options: RowOptions): TrainRow {
  const fail = (expected: string, found: string): never => {
    throw new InputError(`${placeName(place)}: expected ${expected}, found ${found}`);
  };
  // By own names only: what `JSON.parse` makes inherits `constructor` and the like.
  const given = (name: string) => (Object.hasOwn(fields, name) ? fields[name] : undefined);
  const field = (name: string) => given(name) ?? null;
  // JSON can name half of a character (`\ud83d`), which no encoding can write and no tokenizer has seen.
  const requireWhole = (text: string, name: string, where = '') => {
    if (text.isWellFormed()) return;
    const whole = text.toWellFormed();
    let half = 0;
    while (whole[half] === text[half]) half++;
    fail(
      `"${name}" to be text`,
      `${show(text[half])}, half of a character,${where} at character ${half + 1}`,
    );
  };

  const query = given('query');
  if (typeof query !== 'string') return fail('"query" to be a text', show(query));
  requireWhole(query, 'query');

  const texts = (name: string): string[] => {
    const value = field(name) ?? [];
    if (!Array.isArray(value)) return fail(`"${name}" to be a list of texts`, show(value));
    for (let i = 0; i < value.length; i++) {
      if (typeof value[i] !== 'string')
        return fail(`"${name}" to be a list of texts`, `${show(value[i])} at index ${i}`);
      requireWhole(value[i], name, ` at index ${i}`);
    }
    return value;
  };
  const pos = texts('pos');
  if (pos.length === 0) fail('"pos" to be a list of at least one text', show(given('pos')));
  const neg = texts('neg');

  const scores = (name: string, side: string, count: number): number[] | null => {
    const value = options.scores ? field(name) : null;
    if (value === null) return null;
    if (!Array.isArray(value)) return fail(`"${name}" to be a list of numbers`, show(value));
    for (let i = 0; i < value.length; i++) {
      if (typeof value[i] !== 'number')
        fail(`"${name}" to be a list of numbers`, `${show(value[i])} at index ${i}`);
      if (!Number.isFinite(Math.fround(value[i])))
        fail(`"${name}" to be finite numbers of 32 bits`, `${show(value[i])} at index ${i}`);
    }
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
    if (value === null) return null;
    if (typeof value !== 'string') return fail(`"${name}" to be a text`, show(value));
    requireWhole(value, name);
    return value;
  };
  const positiveInteger = (name: string): number | null => {
    const value = field(name);
    if (value === null) return null;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value;
    return fail(`"${name}" to be a positive integer`, show(value));
  };
  return {
    query,
    pos,
    neg,
    posScores,
    negScores,
    prompt: options.prompt ? optionalText('prompt') : null,
    type: options.batching ? optionalText('type') : null,
    batchSize: options.batching ? positiveInteger('batch_size') : null,
    trainGroupSize: options.batching ? positiveInteger('train_group_size') : null,
  };
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

const OPTIONAL_FIELDS = ['prompt', 'type', 'batch_size', 'train_group_size'] as const;
/** Fields that decide how a row is batched and what stands before its texts. */
export type OptionalField = (typeof OPTIONAL_FIELDS)[number];

/** An indexed file of rows. Holds no open file: each read opens and closes it. */
export class RowFile {
  rowCount = 0;
  /** The optional fields that some row has, looked at or not. */
  readonly columns = new Set<OptionalField>();
  /** Where sizes that a batch takes from its first row are not the same in all rows: the first row that differs. */
  readonly differing = new Map<'batch_size' | 'train_group_size', RowPlace>();
  emptyQueries = 0;
  firstEmptyQuery: RowPlace | undefined;
  private readonly start = new Column(Float64Array);
  private readonly length = new Column(Uint32Array);
  private readonly line = new Column(Uint32Array);
  private readonly checksum = new Column(Uint32Array);
  private readonly negatives = new Column(Uint32Array);
  private readonly scored = new Column(Uint32Array);
  /** 0 for none. */
  private readonly groupSize = new Column(Float64Array);
  private readonly queryBytes = new Column(Uint32Array);
  private readonly passageBytes = new Column(Uint32Array);
  /** Index into `types` per row. */
  private readonly typeOf = new Column(Uint32Array);
  private readonly types: (string | null)[] = [];

  /** CRC-32 over those of all rows, in order: the rows are the same where it is the same. */
  get fingerprint(): number {
    return crc32(
      Buffer.from(Uint32Array.from({ length: this.rowCount }, (_, i) => this.checksum.at(i)).buffer),
    );
  }

  /** Reads and checks the whole file. @throws InputError at the first bad row, or when there is none. */
  constructor(
    readonly path: string,
    private readonly options: RowOptions = EVERY_FIELD,
  ) {
    const typeNumbers = new Map<string | null, number>();
    let first: TrainRow | undefined;
    for (const { value, place } of readJsonObjects(path)) {
      const row = rowOf(value, { file: path, line: place.line }, options);
      const index = this.rowCount++;
      first ??= row;
      this.start.set(index, place.start);
      this.length.set(index, place.length);
      this.line.set(index, place.line);
      this.checksum.set(index, place.checksum);
      this.negatives.set(index, row.neg.length);
      this.scored.set(index, row.posScores === null ? 0 : 1);
      this.groupSize.set(index, row.trainGroupSize ?? 0);
      this.queryBytes.set(index, Buffer.byteLength(row.query));
      this.passageBytes.set(index, Math.max(longest(row.pos), longest(row.neg)));
      let type = typeNumbers.get(row.type);
      if (type === undefined) {
        type = this.types.push(row.type) - 1;
        typeNumbers.set(row.type, type);
      }
      this.typeOf.set(index, type);
      this.note(value, row, first, index);
    }
    if (first === undefined)
      throw new InputError(`${printable(path)}: expected at least one row, found none`);
  }

  private note(fields: JsonObject, row: TrainRow, first: TrainRow, index: number): void {
    if (this.columns.size < OPTIONAL_FIELDS.length)
      for (const name of OPTIONAL_FIELDS)
        if (Object.hasOwn(fields, name) && fields[name] !== null) this.columns.add(name);
    if (row.batchSize !== first.batchSize && !this.differing.has('batch_size'))
      this.differing.set('batch_size', this.place(index));
    if (row.trainGroupSize !== first.trainGroupSize && !this.differing.has('train_group_size'))
      this.differing.set('train_group_size', this.place(index));
    if (row.query === '') {
      this.emptyQueries++;
      this.firstEmptyQuery ??= this.place(index);
    }
  }

  place(index: number): RowPlace {
    return { file: this.path, line: this.line.at(index) };
  }

  facts(index: number): RowFacts {
    return {
      type: this.types[this.typeOf.at(index)]!,
      scored: this.scored.at(index) === 1,
      negatives: this.negatives.at(index),
      trainGroupSize: this.groupSize.at(index) || null,
      queryBytes: this.queryBytes.at(index),
      passageBytes: this.passageBytes.at(index),
      place: this.place(index),
    };
  }

  /** Reads the row from disk. @throws InputError when the file is gone or the row is no longer there. */
  row(index: number): TrainRow {
    const place = {
      start: this.start.at(index),
      length: this.length.at(index),
      line: this.line.at(index),
      checksum: this.checksum.at(index),
    };
    return rowOf(readJsonObjectAt(this.path, place), this.place(index), this.options);
  }
}

function longest(texts: readonly string[]): number {
  let most = 0;
  for (const text of texts) most = Math.max(most, Buffer.byteLength(text));
  return most;
}
