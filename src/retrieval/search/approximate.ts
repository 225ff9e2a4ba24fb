/**
 * Approximate search, for pools in which exact search takes too long: an HNSW index (Malkov and Yashunin 2016) of the
 * package usearch, which is loaded when somebody asks for it. The index lies on disk, is built while the corpus passes once,
 * and is mapped into memory when it is searched. It finds candidates; their scores are computed, and they are ranked, as
 * exact search does it (ranking.ts), so that only the choice of candidates is approximate.
 *
 * Where several threads build, the graph depends on who comes first: two indexes of one corpus can miss different
 * neighbours. One index always finds the same.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../../errors.js';
import { syncFolder, writeFileAtomic } from '../../files/atomic.js';
import { systemReason } from '../../files/reason.js';
import { rename } from '../../files/rename.js';
import type { Communicator } from '../../ranks/communicator.js';
import { printable, show } from '../../show.js';
import type { VectorRows } from '../vectors/rows.js';
import { checkSearch, METRICS, type Metric, type Neighbours } from './neighbours.js';
import { checkedLengths, scaledToUnit } from './operands.js';
import { NO_ROW, rankCandidates } from './ranking.js';
import { gatherTiles, ownTiles } from './shares.js';

/** What is used of the package. */
interface UsearchIndex {
  add(keys: BigUint64Array, vectors: Float32Array, threads: number): void;
  search(
    vectors: Float32Array,
    k: number,
    threads: number,
  ): { readonly keys: BigUint64Array; readonly counts?: BigUint64Array };
  size(): number;
  save(path: string): void;
  view(path: string): void;
}
interface Usearch {
  readonly Index: new (config: {
    dimensions: number;
    metric: string;
    quantization: string;
    connectivity: number;
    expansion_add: number;
    expansion_search: number;
    multi: boolean;
  }) => UsearchIndex;
}

const USEARCH_METRICS: Readonly<Record<Metric, string>> = { ip: 'ip', cosine: 'cos', l2: 'l2sq' };

export interface IndexSettings {
  readonly metric: Metric;
  /** How the index holds vectors; halves take half the room, and lose values beyond 65504. */
  readonly precision: 'f32' | 'f16';
  /** Edges of a node. */
  readonly connectivity: number;
  /** Candidates that are looked at for each row that is added; more find better edges, and take longer. */
  readonly expansionAdd: number;
}

/** Settings of `buildApproximateIndex`. */
export interface BuildOptions extends Partial<Omit<IndexSettings, 'metric'>> {
  /** What neighbours are near by. */
  readonly metric: Metric;
  /** 0: as many as there are cores. With 1, two indexes of one corpus are alike. */
  readonly threads?: number;
  /** Told how many rows are in it, of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What stands beside an index: without it nobody knows what the numbers in it are. */
interface IndexRecord extends IndexSettings {
  readonly format: 'dawntune usearch index';
  readonly width: number;
  readonly count: number;
  readonly bytes: number;
}

/** Rows that are added in one call, during which nothing else happens in this thread. */
const ADDED_ROWS = 1024;
/** Rows that one thread adds: of rows that come into an all but empty graph at once some may find no way to the others. */
const FIRST_ROWS = 1024;
/** Queries that are searched with in one call; also what ranks share. */
const SEARCHED_ROWS = 256;

const recordFile = (file: string): string => `${file}.json`;

/** The package, which may be missing, also where this is compiled. @throws MachineError. */
export async function loadUsearch(name = 'usearch'): Promise<Usearch> {
  try {
    return (await import(name)) as Usearch;
  } catch (error) {
    throw new MachineError(
      `approximate search needs the package usearch, which does not load here (${printable((error as Error).message.split('\n')[0]!)}); install it with npm install usearch@2.25.3, or search exactly`,
    );
  }
}

const made = async (
  settings: IndexSettings,
  width: number,
  expansionSearch: number,
): Promise<UsearchIndex> => {
  const { Index } = await loadUsearch();
  return new Index({
    dimensions: width,
    metric: USEARCH_METRICS[settings.metric],
    quantization: settings.precision,
    connectivity: settings.connectivity,
    expansion_add: settings.expansionAdd,
    expansion_search: expansionSearch,
    multi: false,
  });
};

/** Row numbers as keys. */
const keysFrom = (first: number, count: number): BigUint64Array =>
  BigUint64Array.from({ length: count }, (_, i) => BigInt(first + i));

/** Lengths do not matter to `cosine`, and halves have no room for long vectors. */
const indexed = (metric: Metric, values: Float32Array, squared: Float64Array): Float32Array =>
  metric === 'cosine' ? scaledToUnit(values, squared) : values;

/**
 * Builds the index of a corpus at `file`, and what describes it at `file`.json. The index is in memory while it is built.
 * @throws InputError for a row that is not finite and a file that cannot be written; MachineError where usearch does not load.
 */
export async function buildApproximateIndex(
  corpus: VectorRows,
  file: string,
  { metric, precision = 'f32', connectivity = 16, expansionAdd = 128, threads = 0, onProgress }: BuildOptions,
): Promise<void> {
  const settings: IndexSettings = { metric, precision, connectivity, expansionAdd };
  checkSearch(corpus, corpus, { metric, k: 1 });
  const { count, width } = corpus;
  const index = await made(settings, width, 64);
  for (let first = 0, last: number; first < count; first = last) {
    last = Math.min(count, first + (first === 0 ? FIRST_ROWS : ADDED_ROWS));
    const values = await corpus.read(first, last);
    const squared = checkedLengths('corpus', values, width, first);
    index.add(keysFrom(first, squared.length), indexed(metric, values, squared), first === 0 ? 1 : threads);
    onProgress?.(last, count);
  }
  const folder = path.dirname(path.resolve(file));
  const temporary = path.join(folder, `.${path.basename(file)}.${process.pid}.dawntune-tmp`);
  try {
    fs.mkdirSync(folder, { recursive: true });
    // An index without its record is none: the old record goes first, the new one comes last.
    fs.rmSync(recordFile(file), { force: true });
    index.save(temporary);
    const descriptor = fs.openSync(temporary, 'r+');
    fs.fsyncSync(descriptor);
    const bytes = fs.fstatSync(descriptor).size;
    fs.closeSync(descriptor);
    rename(temporary, file);
    syncFolder(folder);
    const record: IndexRecord = { format: 'dawntune usearch index', ...settings, width, count, bytes };
    writeFileAtomic(recordFile(file), `${JSON.stringify(record, null, 2)}\n`);
  } catch (error) {
    try {
      fs.rmSync(temporary, { force: true });
    } catch {
      // What made the writing fail is what there is to say.
    }
    if (error instanceof InputError || error instanceof MachineError) throw error;
    throw new InputError(`${printable(file)}: cannot write the index: ${systemReason(error)}`);
  }
}

function readRecord(file: string): IndexRecord {
  let record: Partial<IndexRecord>;
  try {
    record = JSON.parse(fs.readFileSync(recordFile(file), 'utf8')) as Partial<IndexRecord>;
  } catch (error) {
    throw new InputError(
      `${printable(recordFile(file))}: expected the description of an index: ${error instanceof SyntaxError ? 'no JSON' : systemReason(error)}`,
    );
  }
  const whole = (value: unknown) => Number.isInteger(value) && (value as number) >= 0;
  if (
    record?.format !== 'dawntune usearch index' ||
    !METRICS.includes(record.metric!) ||
    !['f32', 'f16'].includes(record.precision!) ||
    ![record.width, record.count, record.bytes, record.connectivity, record.expansionAdd].every(whole)
  )
    throw new InputError(
      `${printable(recordFile(file))}: expected the description of an index, found ${show(record)}`,
    );
  return record as IndexRecord;
}

/** Settings of a search in an ApproximateIndex. */
export interface ApproximateOptions {
  /** Neighbours of each query. */
  readonly k: number;
  /** Candidates that are looked at for each query; more find more of the true neighbours, and take longer. */
  readonly expansion?: number;
  /** 0: as many as there are cores. Default 0. */
  readonly threads?: number;
  /** Ranks that share the queries; each maps the same file. */
  readonly communicator?: Communicator | undefined;
}

/** An index on disk. */
export class ApproximateIndex {
  private constructor(
    private readonly file: string,
    private readonly record: IndexRecord,
  ) {}

  /** @throws InputError when there is no index of that name, or one that is not whole. */
  static open(file: string): ApproximateIndex {
    const record = readRecord(file);
    let bytes: number;
    try {
      bytes = fs.statSync(file).size;
    } catch (error) {
      throw new InputError(`${printable(file)}: cannot read the index: ${systemReason(error)}`);
    }
    // A file that ends early would be mapped all the same, and end the process where it is read.
    if (bytes !== record.bytes)
      throw new InputError(
        `${printable(file)}: an index of ${record.bytes} bytes, found ${bytes}; build it again`,
      );
    return new ApproximateIndex(file, record);
  }

  /** What it was built by. */
  get metric(): Metric {
    return this.record.metric;
  }

  /**
   * The best rows among those that the index comes by, by their true scores. corpus: that of which the index is.
   * @throws InputError when it cannot be, and for a query that is not finite; MachineError where usearch does not load.
   */
  async search(
    queries: VectorRows,
    corpus: VectorRows,
    { k: wanted, expansion, threads = 0, communicator }: ApproximateOptions,
  ): Promise<Neighbours> {
    const { metric, width, count } = this.record;
    if (corpus.count !== count || (count > 0 && corpus.width !== width))
      throw new InputError(
        `${printable(this.file)}: an index of ${count} rows of ${width} values, and a corpus of ${corpus.count} of ${corpus.width}`,
      );
    checkSearch(queries, corpus, { metric, k: wanted });
    const k = Math.min(wanted, count);
    const found = {
      k,
      indices: new Uint32Array(queries.count * k).fill(NO_ROW),
      scores: new Float32Array(queries.count * k),
    };
    if (queries.count === 0 || k === 0) return found;
    const kept = Math.min(count, k + Math.max(16, Math.ceil(k / 16)));
    const index = await made(this.record, width, Math.max(expansion ?? 64, kept));
    index.view(this.file);
    if (index.size() !== count)
      throw new InputError(
        `${printable(this.file)}: an index of ${count} rows, found ${index.size()}; build it again`,
      );
    const parts: { readonly first: number; readonly queries: Float32Array; readonly rows: Uint32Array }[] =
      [];
    const own = new Set(ownTiles(communicator, queries.count, SEARCHED_ROWS));
    for (let tile = 0, first = 0; first < queries.count; tile++, first += SEARCHED_ROWS) {
      const values = await queries.read(first, Math.min(queries.count, first + SEARCHED_ROWS));
      const squared = checkedLengths('query', values, width, first);
      if (!own.has(tile)) continue;
      const matches = index.search(indexed(metric, values, squared), kept, threads);
      const rows = new Uint32Array(squared.length * kept).fill(NO_ROW);
      for (let q = 0; q < squared.length; q++) {
        // Of a single query the package tells no counts, and no more than it found.
        const got = matches.counts ? Number(matches.counts[q]) : matches.keys.length;
        for (let i = 0; i < got; i++) rows[q * kept + i] = Number(matches.keys[q * kept + i]);
      }
      parts.push({ first, queries: values, rows });
    }
    const scores = await rankCandidates(metric, corpus, parts, kept);
    for (const [p, { first, rows, queries: values }] of parts.entries())
      for (let q = 0; q < values.length / width; q++) {
        if (rows[q * kept + k - 1] === NO_ROW)
          throw new MachineError(
            `${printable(this.file)}: the index finds fewer than ${k} rows for query ${first + q}; ask for fewer, or search exactly`,
          );
        found.indices.set(rows.subarray(q * kept, q * kept + k), (first + q) * k);
        found.scores.set(scores[p]!.subarray(q * kept, q * kept + k), (first + q) * k);
      }
    if (communicator && communicator.size > 1)
      await gatherTiles(communicator, found, queries.count, SEARCHED_ROWS);
    return found;
  }
}
