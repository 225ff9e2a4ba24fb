/**
 * Cuts datasets into batches of texts. An epoch is a pure function of (seed, epoch): row order, batch order and
 * the draws inside each row have streams of their own, so any batch of any epoch is reached directly and a resumed
 * run sees exactly what it would have seen. Tokens come after (train/step/collate.ts).
 */
import fs from 'node:fs';
import { InputError } from '../errors.js';
import { printable, show } from '../show.js';
import { CounterRandom } from '../tensor/random.js';
import { type CandidateBatch, candidateBatches, isRanked } from './candidates.js';
import { type Dataset, lastAtMost, openDatasets, STREAM } from './datasets.js';
import { type LongestBatch, type LongestKind, longestBatch, type TokenMeasure } from './longest.js';
import { repeatedNegatives, type UnusedRows, usageNotices, withoutNegatives } from './notices.js';
import { type DataOptions, defaults, requireOptions } from './options.js';
import { Prompts } from './prompts.js';
import { checkRows } from './row-checks.js';
import type { RowFacts, RowPlace } from './rows.js';
import { groupSizeFrom, sampleGroup } from './sampling.js';
import { distinctWords, type TokenIds, type WordLimits } from './words.js';

/** One rank's share of one step. B queries with G passages each. */
export interface TrainBatch {
  /** [B], prompts applied. */
  readonly queries: string[];
  /** [B·G], query-major: the positive of query 0, its negatives, the positive of query 1, … */
  readonly passages: string[];
  /** G. */
  readonly groupSize: number;
  /** [B·G] raw scores in the order of `passages`; null without a teacher. */
  readonly teacherScores: Float32Array | null;
  /** Other queries' passages are no negatives. */
  readonly noInBatchNeg: boolean;
  /** [B], where the rows come from. */
  readonly rows: RowPlace[];
  readonly dataset: string;
  readonly epoch: number;
  /** Of the batch within the epoch, from 0; the same on all ranks. */
  readonly index: number;
}

export interface EpochPosition {
  readonly rank: number;
  readonly worldSize: number;
  /** The first batch to yield; the ones before it cost nothing. */
  readonly startBatch: number;
}

/** @throws InputError, one line with file and line, for data that cannot be trained on. */
export function loadDatasets(
  options: Pick<DataOptions, 'trainData'> & {
    readonly [K in keyof DataOptions]?: DataOptions[K] | undefined;
  },
): TrainingData {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return new TrainingData({ ...defaults, ...(Object.fromEntries(given) as typeof options) } as DataOptions);
}

/** As JSON. */
export interface DataFingerprint {
  readonly seed: number;
  /** In the order in which they were given. */
  readonly files: readonly {
    readonly path: string;
    readonly bytes: number;
    readonly rows: number;
    /** Over the rows. */
    readonly crc32: number;
  }[];
}

/** How many of the rows given an epoch draws from. */
export interface DataUsage {
  /** In the files. */
  readonly rows: number;
  /** In the batches of one epoch, over all ranks. */
  readonly used: number;
  readonly unused: readonly UnusedRows[];
  /** The same for people, one line each; none when every row is used. */
  readonly notices: readonly string[];
}

/** How an epoch is cut, over all ranks. */
export interface EpochLayout {
  /** Of each dataset in turn: its rows, its batches in an epoch, and the rows that such a batch takes. */
  readonly datasets: readonly { readonly rows: number; readonly batches: number; readonly size: number }[];
  /** Batches come in an order of their own, not in that of the rows. */
  readonly shuffled: boolean;
}

export class TrainingData {
  readonly datasets: readonly Dataset[];
  /** One line each: what a person may not expect of these files; `usage` says which rows are left out. */
  readonly notices: readonly string[];
  private readonly leftOut: readonly UnusedRows[];
  private readonly prompts: Prompts;
  /** Some text may have a prompt before it. */
  private readonly prompted: boolean;
  /** World sizes whose batches are known to be sound. */
  private readonly checked = new Set<number>();

  constructor(private readonly options: DataOptions) {
    requireOptions(options);
    const { datasets, hasPromptColumn, unused, notices } = openDatasets(options);
    this.datasets = datasets;
    this.leftOut = unused;
    this.prompts = new Prompts(options, hasPromptColumn);
    const alone = datasets.filter((dataset) => this.hasOnePassage(dataset)).map(({ name }) => name);
    this.notices = [
      ...notices,
      ...this.prompts.notices(),
      ...withoutNegatives(alone, options.flag),
      ...repeatedNegatives(this.repeated(), options.flag),
    ];
    this.prompted =
      hasPromptColumn ||
      options.nonePrefix ||
      options.queryInstructionForRetrieval !== null ||
      options.passageInstructionForRetrieval !== null;
  }

  get rowCount(): number {
    return this.datasets.reduce((total, { rowCount }) => total + rowCount, 0);
  }

  /** What the order of the rows and the rows themselves follow from: where it is the same, so are all batches. */
  fingerprint(): DataFingerprint {
    return {
      seed: this.options.seed,
      files: this.datasets.flatMap(({ rowFiles }) =>
        rowFiles.map((file) => ({
          path: file.path,
          bytes: fs.statSync(file.path, { throwIfNoEntry: false })?.size ?? 0,
          rows: file.rowCount,
          crc32: file.fingerprint,
        })),
      ),
    };
  }

  /** What each dataset contributes to an epoch, for logs. */
  summary(
    worldSize = 1,
  ): { name: string; rows: number; batchSize: number; batches: number; noInBatchNeg: boolean }[] {
    return this.datasets.map((dataset) => ({
      name: dataset.name,
      rows: dataset.rowCount,
      batchSize: dataset.batchSize,
      batches: this.batchesOf(dataset, worldSize),
      noInBatchNeg: dataset.noInBatchNeg,
    }));
  }

  /** Which of the rows given an epoch uses, and why not the others. */
  usage(worldSize = 1): DataUsage {
    const unused = [...this.leftOut];
    let tails = 0;
    for (const dataset of this.datasets) {
      const { name, rowCount, batchSize, batchSizeFrom } = dataset;
      const wanted = batchSize * worldSize;
      const rows = rowCount - Math.min(rowCount, this.batchesOf(dataset, worldSize) * wanted);
      if (rows === 0) continue;
      const batch = worldSize === 1 ? `${batchSize}` : `${batchSize} on ${worldSize} ranks`;
      if (rows === rowCount)
        unused.push({ file: name, rows, why: `fewer than one batch of ${batch} (${batchSizeFrom})` });
      else {
        unused.push({ file: name, rows, why: `no whole batch of ${batch} at the end of an epoch` });
        tails += rows;
      }
    }
    const missing = unused.reduce((total, { rows }) => total + rows, 0);
    const used = this.rowCount + this.leftOut.reduce((total, { rows }) => total + rows, 0) - missing;
    return {
      rows: used + missing,
      used,
      unused,
      notices: usageNotices(this.options.flag, used, unused, tails),
    };
  }

  /**
   * How an epoch is cut at this world size and `--per_device_train_batch_size` (that of the options by default). Layouts
   * that are equal give the same rows in the same order, cut into slices for more or fewer ranks; only a last batch that
   * the rows do not fill is shorter with one rank and filled up with several.
   */
  layout(worldSize: number, perDevice = this.options.perDeviceTrainBatchSize): EpochLayout {
    const { sameDatasetWithinBatch: shuffled } = this.options;
    const datasets = this.datasets.map((dataset) => ({
      rows: dataset.rowCount,
      batches: this.batchesOf(dataset, worldSize, perDevice),
      size: dataset.batchSizeAt(perDevice) * worldSize,
    }));
    return { datasets, shuffled };
  }

  /** Batches of each rank in one epoch. @throws InputError when there are none, or some batch would not be sound. */
  batchesPerEpoch(worldSize = 1): number {
    this.check(worldSize);
    return this.datasets.reduce((total, dataset) => total + this.batchesOf(dataset, worldSize), 0);
  }

  /** The batches of one epoch for one rank: rows [r·b, (r+1)·b) of every global batch of b·W rows. */
  *epoch(epoch: number, position: Partial<EpochPosition> = {}): Generator<TrainBatch, void, undefined> {
    const { rank = 0, worldSize = 1, startBatch = 0 } = position;
    this.check(worldSize);
    if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize)
      throw new InputError(`rank: expected an integer from 0 to ${worldSize - 1}, found ${show(rank)}`);
    if (!Number.isInteger(startBatch) || startBatch < 0)
      throw new InputError(`startBatch: expected an integer from 0, found ${show(startBatch)}`);
    const orders = this.datasets.map((dataset, i) =>
      new CounterRandom(this.options.seed, [STREAM.rowOrder, epoch, i]).shuffle(
        Uint32Array.from({ length: dataset.rowCount }, (_, row) => row),
      ),
    );
    // Batches are numbered through the datasets: an object for each would be the largest thing in memory.
    const firsts: number[] = [];
    let count = 0;
    for (const dataset of this.datasets) {
      firsts.push(count);
      count += this.batchesOf(dataset, worldSize);
    }
    const batches = Uint32Array.from({ length: count }, (_, i) => i);
    // One dataset needs no second shuffle: its rows are in random order, and only the last batch may be short.
    if (this.options.sameDatasetWithinBatch)
      new CounterRandom(this.options.seed, [STREAM.batchOrder, epoch]).shuffle(batches);

    for (let index = startBatch; index < batches.length; index++) {
      const owner = lastAtMost(firsts, batches[index]!);
      const dataset = this.datasets[owner]!;
      const first = (batches[index]! - firsts[owner]!) * dataset.batchSize * worldSize;
      yield this.batch(dataset, globalBatch(orders[owner]!, first, dataset.batchSize, worldSize), {
        rank,
        worldSize,
        epoch,
        index,
      });
    }
  }

  /**
   * Of each dataset that gives batches how long they can be, in tokens: for finding out what a step takes before the
   * first. `effort`: characters that may be read for it; what is left then is bounded by its bytes. `kind`: of the
   * batches that `epoch` gives, or `candidates`. `worldSize`: ranks that the batches are of, one each.
   */
  longest(
    measure: TokenMeasure,
    effort = Number.POSITIVE_INFINITY,
    kind: LongestKind = 'sampled',
    worldSize = 1,
  ): LongestBatch[] {
    const { options, prompts } = this;
    return this.datasets.flatMap((dataset) => {
      const batches = this.batchesOf(dataset, worldSize);
      if (batches === 0) return [];
      const batch = longestBatch({
        dataset,
        batches,
        kind,
        // Rows of a dataset agree on having scores where they may share a batch; else some may.
        hasTeacher: options.knowledgeDistillation && someRow(dataset, ({ scored }) => scored),
        groupSizeOf: (row) => groupSizeFrom(dataset.facts(row), this.options),
        query: (row, text) => prompts.query(row, text),
        passage: (row, text) => prompts.passage(row, text),
        shuffleRatio: options.shuffleRatio,
        prompted: this.prompted,
        measure,
        effort,
      });
      return [batch];
    });
  }

  /** The texts of a row, with their prompts: its query, one of its positives, its negatives. Rows are counted through the datasets. */
  textsOf(index: number): { query: string; passages: string[] } {
    let first = 0;
    for (const dataset of this.datasets) {
      if (index < first + dataset.rowCount) {
        const row = dataset.row(index - first);
        const passages = [row.pos[0]!, ...row.neg].map((text) => this.prompts.passage(row, text));
        return { query: this.prompts.query(row, row.query), passages };
      }
      first += dataset.rowCount;
    }
    throw new RangeError(`row ${index} of ${first}`);
  }

  /** How many rows `candidates` ranks, and how many it passes over because they have no negatives. */
  ranked(): { rows: number; withoutNegatives: number } {
    let [rows, withoutNegatives] = [0, 0];
    for (const dataset of this.rankedDatasets())
      for (let row = 0; row < dataset.rowCount; row++)
        if (isRanked(dataset.facts(row))) rows++;
        else withoutNegatives++;
    return { rows, withoutNegatives };
  }

  /** All rows that have negatives, each with all of its candidates, in an order that is always the same. */
  *candidates(): Generator<CandidateBatch, void, undefined> {
    let firstRow = 0;
    for (const dataset of this.rankedDatasets()) {
      yield* candidateBatches({
        ...{ dataset, firstRow, groupSize: this.largestGroup(dataset) },
        query: (row, text) => this.prompts.query(row, text),
        passage: (row, text) => this.prompts.passage(row, text),
      });
      firstRow += dataset.rowCount;
    }
  }

  /** Those that give batches. */
  private rankedDatasets(): Dataset[] {
    return this.datasets.filter((dataset) => this.batchesOf(dataset, 1) > 0);
  }

  private largestGroup(dataset: Dataset): number {
    let largest = 1;
    for (let row = 0; row < dataset.rowCount; row++)
      largest = Math.max(largest, groupSizeFrom(dataset.facts(row), this.options));
    return largest;
  }

  /**
   * Different token ids that batches can bring, at most; undefined where that is not known within the limits, or not at
   * all because passages are cut and joined anew.
   */
  words(ids: TokenIds, limits: WordLimits, worldSize = 1): number | undefined {
    const { datasets, options, prompts } = this;
    if (options.shuffleRatio > 0) return undefined;
    return distinctWords({
      ...limits,
      datasets: datasets.filter((dataset) => this.batchesOf(dataset, worldSize) > 0),
      query: (row, text) => prompts.query(row, text),
      passage: (row, text) => prompts.passage(row, text),
      ids,
    });
  }

  private batch(
    dataset: Dataset,
    rows: readonly number[],
    at: { rank: number; worldSize: number; epoch: number; index: number },
  ): TrainBatch {
    const { options, prompts } = this;
    const groupSize = groupSizeFrom(dataset.facts(rows[0]!), options);
    const perRank = rows.length / at.worldSize;
    const queries: string[] = [];
    const passages: string[] = [];
    const scores: number[] = [];
    const places: RowPlace[] = [];
    for (let i = at.rank * perRank; i < (at.rank + 1) * perRank; i++) {
      const row = dataset.row(rows[i]!);
      const { place } = dataset.facts(rows[i]!);
      const random = new CounterRandom(options.seed, [STREAM.group, at.epoch, at.index, i]);
      const group = sampleGroup(row, place, groupSize, options.shuffleRatio, random);
      queries.push(prompts.query(row, row.query));
      for (const passage of group.passages) passages.push(prompts.passage(row, passage));
      for (const score of group.scores ?? []) scores.push(score);
      places.push(place);
    }
    const hasTeacher = options.knowledgeDistillation && scores.length > 0;
    return {
      queries,
      passages,
      groupSize,
      teacherScores: hasTeacher ? Float32Array.from(scores) : null,
      noInBatchNeg: dataset.noInBatchNeg,
      rows: places,
      dataset: dataset.name,
      epoch: at.epoch,
      index: at.index,
    };
  }

  /** Rows whose groups have one of their negatives more than once, were each the first of its batch. */
  private repeated(): Parameters<typeof repeatedNegatives>[0] {
    let [rows, of, most] = [0, 0, 0];
    let first: RowPlace | undefined;
    for (const dataset of this.datasets)
      for (let row = 0; row < dataset.rowCount; row++, of++) {
        const facts = dataset.facts(row);
        const wanted = groupSizeFrom(facts, this.options) - 1;
        if (facts.negatives === 0 || facts.negatives >= wanted) continue;
        rows++;
        most = Math.max(most, Math.ceil(wanted / facts.negatives));
        first ??= facts.place;
      }
    return { rows, of, most, first };
  }

  /** Whether every query meets one passage only, its own positive: the loss of such a query is 0. */
  private hasOnePassage(dataset: Dataset): boolean {
    const { rowCount, batchSize, noInBatchNeg } = dataset;
    const others = this.options.acrossRanks || Math.min(rowCount, batchSize) > 1;
    if (!noInBatchNeg && others) return false;
    for (let row = 0; row < rowCount; row++)
      if (groupSizeFrom(dataset.facts(row), this.options) > 1) return false;
    return true;
  }

  private batchesOf(
    dataset: Dataset,
    worldSize: number,
    perDevice = this.options.perDeviceTrainBatchSize,
  ): number {
    const batches = dataset.rowCount / (dataset.batchSizeAt(perDevice) * worldSize);
    const dropTail = this.options.sameDatasetWithinBatch || this.options.dataloaderDropLast;
    return dropTail ? Math.floor(batches) : Math.ceil(batches);
  }

  /** Everything that could go wrong in some batch is found here, before the first. */
  private check(worldSize: number): void {
    if (!Number.isInteger(worldSize) || worldSize < 1)
      throw new InputError(`world size: expected a positive integer, found ${worldSize}`);
    if (this.checked.has(worldSize)) return;
    let batches = 0;
    for (const dataset of this.datasets) {
      const count = this.batchesOf(dataset, worldSize);
      if (count > 0) checkRows(dataset, this.options, worldSize);
      batches += count;
    }
    if (batches === 0) {
      const largest = this.datasets.reduce((a, b) => (a.rowCount >= b.rowCount ? a : b));
      const { batchSize, batchSizeFrom, rowCount, name } = largest;
      const ranks = worldSize === 1 ? '' : ` on ${worldSize} ranks`;
      throw new InputError(
        `${this.options.flag}: expected a dataset with at least ${batchSize * worldSize} rows, one batch of ` +
          `${batchSize}${ranks} (${batchSizeFrom}); found at most ${rowCount} (${printable(name)})`,
      );
    }
    this.checked.add(worldSize);
  }
}

function someRow(dataset: Dataset, is: (facts: RowFacts) => boolean): boolean {
  for (let row = 0; row < dataset.rowCount; row++) if (is(dataset.facts(row))) return true;
  return false;
}

/**
 * Row numbers of the global batch that begins at `first`. At the end of the default mode's epoch one rank gets a
 * short batch; several ranks must stay equal, so theirs is filled up from the start of the epoch.
 */
function globalBatch(order: Uint32Array, first: number, batchSize: number, worldSize: number): number[] {
  const whole = Math.min(batchSize, Math.ceil(order.length / worldSize)) * worldSize;
  const count = worldSize === 1 ? Math.min(whole, order.length - first) : whole;
  return Array.from({ length: count }, (_, i) => order[(first + i) % order.length]!);
}
