/**
 * Which rows may share a batch: opens the sources of `--train_data` and arranges their rows in datasets (spec
 * flagembedding-m3 §2.2, §2.3). In the default mode everything is one dataset; in same-dataset mode every file is
 * its own, except that small files of a directory may be merged. Batches themselves are cut in batches.ts.
 */
import { InputError } from '../errors.js';
import { CounterRandom } from '../tensor/random.js';
import { findSource, type RowFacts, RowFile, type TrainRow } from './rows.js';

/** Names the random streams of the data, so that no two purposes share draws. */
export const STREAM = { subsample: 1, rowOrder: 2, batchOrder: 3, group: 4 } as const;

export interface DatasetOptions {
  readonly trainData: readonly string[];
  readonly sameDatasetWithinBatch: boolean;
  readonly trainGroupSize: number;
  readonly perDeviceTrainBatchSize: number;
  readonly smallThreshold: number;
  readonly dropThreshold: number;
  readonly maxExampleNumPerDataset: number;
  readonly knowledgeDistillation: boolean;
  readonly seed: number;
  /** The flag that errors name: `--train_data` or `--eval_data`. */
  readonly flag: string;
}

interface Member {
  readonly file: RowFile;
  /** Indices of the rows that take part. */
  readonly rows: Uint32Array;
}

export class Dataset {
  readonly rowCount: number;
  /** Row number at which each member begins. */
  private readonly starts: number[] = [];

  constructor(
    /** For people: the file, or the directory whose small files were merged. */
    readonly name: string,
    private readonly members: readonly Member[],
    /** Queries per rank and step. */
    readonly batchSize: number,
    readonly noInBatchNeg: boolean,
  ) {
    let count = 0;
    for (const { rows } of members) {
      this.starts.push(count);
      count += rows.length;
    }
    this.rowCount = count;
  }

  row(index: number): TrainRow {
    const [file, row] = this.locate(index);
    return file.row(row);
  }

  facts(index: number): RowFacts {
    const [file, row] = this.locate(index);
    return file.facts(row);
  }

  private locate(index: number): [RowFile, number] {
    let member = this.members.length - 1;
    while (this.starts[member]! > index) member--;
    return [this.members[member]!.file, this.members[member]!.rows[index - this.starts[member]!]!];
  }
}

export interface OpenedDatasets {
  readonly datasets: readonly Dataset[];
  readonly hasPromptColumn: boolean;
  /** One line each: datasets that were left out. */
  readonly notices: string[];
}

/** @throws InputError for a missing path, a bad line, or nothing left to train on. */
export function openDatasets(options: DatasetOptions): OpenedDatasets {
  const notices: string[] = [];
  const sources = options.trainData.map((path) => findSource(path, options.flag));
  let fileNumber = 0;
  const opened = sources.map((source) => ({
    source,
    members: source.files.map((path) => subsample(new RowFile(path), options, fileNumber++)),
  }));
  const hasPromptColumn = opened.some(({ members }) => members.some(({ file }) => file.hasPromptColumn));

  if (!options.sameDatasetWithinBatch) {
    const members = opened.flatMap((each) => each.members);
    const dataset = new Dataset('all files', members, options.perDeviceTrainBatchSize, false);
    if (options.knowledgeDistillation) requireScores(dataset);
    return { datasets: [dataset], hasPromptColumn, notices };
  }

  const datasets: Dataset[] = [];
  for (const { source, members } of opened) {
    const small: Member[] = [];
    for (const member of members) {
      if (member.rows.length >= options.smallThreshold)
        datasets.push(
          new Dataset(member.file.path, [member], memberBatchSize(member, options), source.noInBatchNeg),
        );
      else if (source.isDirectory) small.push(member);
      else
        notices.push(
          tooSmall(member.file.path, member.rows.length, 'small_threshold', options.smallThreshold),
        );
    }
    if (small.length === 0) continue;
    const batchSize = Math.min(...small.map((member) => memberBatchSize(member, options)));
    const merged = new Dataset(`${source.path} (small files)`, small, batchSize, source.noInBatchNeg);
    if (merged.rowCount >= options.dropThreshold) datasets.push(merged);
    else notices.push(tooSmall(merged.name, merged.rowCount, 'drop_threshold', options.dropThreshold));
  }
  if (datasets.length === 0)
    throw new InputError(
      `${options.flag}: expected a dataset of at least --small_threshold ${options.smallThreshold} rows, found none`,
    );
  return { datasets, hasPromptColumn, notices };
}

function tooSmall(name: string, rows: number, flag: string, threshold: number): string {
  return `${name}: left out: ${rows} rows are fewer than --${flag} ${threshold}`;
}

function subsample(file: RowFile, options: DatasetOptions, fileNumber: number): Member {
  const all = Uint32Array.from({ length: file.rowCount }, (_, i) => i);
  if (file.rowCount <= options.maxExampleNumPerDataset) return { file, rows: all };
  const random = new CounterRandom(options.seed, [STREAM.subsample, fileNumber]);
  return { file, rows: Uint32Array.from(random.sample(all, options.maxExampleNumPerDataset)) };
}

/** The first row's own batch size; else the flag's, halved (but at least 1) for symmetric types. */
function memberBatchSize({ file, rows }: Member, options: DatasetOptions): number {
  const first = file.row(rows[0]!);
  if (first.batchSize !== null) return first.batchSize;
  if (!first.type?.includes('symmetric')) return options.perDeviceTrainBatchSize;
  return Math.max(1, Math.floor(options.perDeviceTrainBatchSize / 2));
}

function requireScores(dataset: Dataset): void {
  for (let i = 0; i < dataset.rowCount; i++) {
    const { scored, place } = dataset.facts(i);
    if (!scored)
      throw new InputError(
        `${place.file}:${place.line}: expected "pos_scores" and "neg_scores" for --knowledge_distillation, found none`,
      );
  }
}
