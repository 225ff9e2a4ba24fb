/**
 * Training rows in JSON files: objects with `query`, `pos`, `neg` and a few optional fields
 * (docs/spec/flagembedding-m3.md §2.1), one a line or however else files/json-objects.ts reads them. A file is read
 * through once to check every row and note where it stands; the texts stay on disk and a row is read again when a batch
 * needs it, so memory is some fifty bytes a row.
 */
import { crc32 } from 'node:zlib';
import { InputError } from '../errors.js';
import { Faults } from '../files/faults.js';
import type { JsonObject } from '../files/json.js';
import { parseObject, readJsonObjectAt, readJsonObjects } from '../files/json-objects.js';
import { printable, show } from '../show.js';
import { Column } from './column.js';
import { meantAs } from './field-names.js';

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
  if (typeof query !== 'string') return fail('"query" to be a text', shownOrMeant(fields, 'query'));
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
  if (pos.length === 0) fail('"pos" to be a list of at least one text', shownOrMeant(fields, 'pos'));
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

/** What stands in place of a field, which may have another name. */
function shownOrMeant(fields: JsonObject, name: string): string {
  const meant = meantAs(fields, name);
  if (meant === undefined) {
    const list = Object.hasOwn(fields, name) ? undefined : listOfRows(fields);
    if (list !== undefined) return `nothing but a list ${show(list)} of such rows: write the list alone`;
    return show(Object.hasOwn(fields, name) ? fields[name] : undefined);
  }
  // The columns of sentence-transformers' data sets.
  if (Object.hasOwn(fields, 'anchor') && Object.hasOwn(fields, 'positive'))
    return 'the columns of sentence-transformers: "anchor" is called "query" here, "positive" and "negative" are lists, "pos" and "neg" (docs/from-sentence-transformers.md)';
  return `nothing but ${show(meant)}: if that is meant, rename it`;
}

/** The field of an object that holds all rows, as some tools export them. */
function listOfRows(fields: JsonObject): string | undefined {
  return Object.keys(fields).find((name) => {
    const [first] = Array.isArray(fields[name]) ? fields[name] : [];
    return typeof first === 'object' && first !== null && Object.hasOwn(first, 'query');
  });
}

/** Fields of a row that are not read, and look like one that is read and is not there. */
export interface MisnamedField {
  readonly given: string;
  readonly meant: string;
  rows: number;
  readonly first: RowPlace;
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

/** `ownNegative`: one of the row's negatives is one of its positives. */
export type OddRows = 'emptyQuery' | 'emptyPassage' | 'ownNegative';

/** Fields that a row may do without, whose absence therefore is no error. */
const optionalFields = ({ scores, prompt, batching }: RowOptions): readonly string[] => [
  'neg',
  ...(scores ? ['pos_scores', 'neg_scores'] : []),
  ...(prompt ? ['prompt'] : []),
  ...(batching ? ['type', 'batch_size', 'train_group_size'] : []),
];

/** An indexed file of rows. Holds no open file: each read opens and closes it. */
export class RowFile {
  rowCount = 0;
  /** The optional fields that some row has, looked at or not. */
  readonly columns = new Set<OptionalField>();
  /** Where sizes that a batch takes from its first row are not the same in all rows: the first row that differs. */
  readonly differing = new Map<'batch_size' | 'train_group_size', RowPlace>();
  /** By the name that they have. */
  readonly misnamed = new Map<string, MisnamedField>();
  /** Rows that are sound, and that a person may not have meant so. */
  readonly odd = new Map<OddRows, { rows: number; readonly first: RowPlace }>();
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

  /**
   * Reads and checks the whole file. `shared`: gathers the bad rows of several files, and who made it throws them.
   * @throws InputError of all bad rows, or when there is no row.
   */
  constructor(
    readonly path: string,
    private readonly options: RowOptions = EVERY_FIELD,
    shared?: Faults,
  ) {
    const faults = shared ?? new Faults();
    const typeNumbers = new Map<string | null, number>();
    const mayLack = optionalFields(options);
    let first: TrainRow | undefined;
    let some = false;
    for (const { value, place } of readJsonObjects(path, faults)) {
      some = true;
      const row = faults.attempt(() => rowOf(value, { file: path, line: place.line }, options));
      if (!row) continue;
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
      for (const name of mayLack) if (!Object.hasOwn(value, name)) this.noteMisnamed(value, name, index);
    }
    if (!some && !faults.found)
      throw new InputError(`${printable(path)}: expected at least one row, found none`);
    if (!shared) faults.throwIfAny();
  }

  private noteMisnamed(fields: JsonObject, meant: string, index: number): void {
    const given = meantAs(fields, meant);
    if (given === undefined) return;
    const before = this.misnamed.get(given);
    if (before) before.rows++;
    else this.misnamed.set(given, { given, meant, rows: 1, first: this.place(index) });
  }

  private note(fields: JsonObject, row: TrainRow, first: TrainRow, index: number): void {
    if (this.columns.size < OPTIONAL_FIELDS.length)
      for (const name of OPTIONAL_FIELDS)
        if (Object.hasOwn(fields, name) && fields[name] !== null) this.columns.add(name);
    if (row.batchSize !== first.batchSize && !this.differing.has('batch_size'))
      this.differing.set('batch_size', this.place(index));
    if (row.trainGroupSize !== first.trainGroupSize && !this.differing.has('train_group_size'))
      this.differing.set('train_group_size', this.place(index));
    const odd = (name: OddRows) => {
      const before = this.odd.get(name);
      if (before) before.rows++;
      else this.odd.set(name, { rows: 1, first: this.place(index) });
    };
    if (row.query === '') odd('emptyQuery');
    if (row.pos.includes('') || row.neg.includes('')) odd('emptyPassage');
    if (row.neg.some((text) => row.pos.includes(text))) odd('ownNegative');
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
