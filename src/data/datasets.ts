/**
 * Which rows may share a batch: opens the sources of `--train_data` and arranges their rows in datasets. In the
 * default mode everything is one dataset; in same-dataset mode every file is its own, except that small files of a
 * directory may be merged (docs/spec/flagembedding-m3.md §2.2, §2.3). Batches themselves are cut in batches.ts.
 */
import { InputError } from '../errors.js';
import { Faults } from '../files/faults.js';
import { show } from '../show.js';
import { CounterRandom } from '../tensor/random.js';
import {
  firstFew,
  misnamedFields,
  notTheirOwn,
  oddRows,
  type UnusedRows,
  withoutEffect,
  withoutTeacher,
} from './notices.js';
import { type MisnamedField, placeName, type RowFacts, RowFile, type TrainRow } from './rows.js';
import { findSource } from './sources.js';

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
  readonly queryInstructionForRetrieval: string | null;
  readonly seed: number;
  /** The flag that errors name: `--train_data` or `--eval_data`. */
  readonly flag: string;
}

interface Member {
  readonly file: RowFile;
  /** Indices of the rows that take part. */
  readonly rows: Uint32Array;
}

/** How many queries of a dataset a rank takes in a step. */
interface BatchSize {
  /** By `--per_device_train_batch_size`. */
  readonly of: (perDevice: number) => number;
  /** For people: what sets it. */
  readonly from: string;
}

export class Dataset {
  readonly rowCount: number;
  /** Row number at which each member begins. */
  private readonly starts: number[] = [];

  constructor(
    /** For people: the file, or the directory whose small files were merged. */
    readonly name: string,
    private readonly members: readonly Member[],
    private readonly size: BatchSize,
    /** As `--per_device_train_batch_size` has it. */
    private readonly perDevice: number,
    readonly noInBatchNeg: boolean,
  ) {
    let count = 0;
    for (const { rows } of members) {
      this.starts.push(count);
      count += rows.length;
    }
    this.rowCount = count;
  }

  /** Queries per rank and step. */
  get batchSize(): number {
    return this.size.of(this.perDevice);
  }

  /** For people: what set the batch size. */
  get batchSizeFrom(): string {
    return this.size.from;
  }

  /** Queries per rank and step, were `--per_device_train_batch_size` this. */
  batchSizeAt(perDevice: number): number {
    return this.size.of(perDevice);
  }

  /** What it consists of: files, and how many rows of each take part. */
  files(): { path: string; rows: number }[] {
    return this.members.map(({ file, rows }) => ({ path: file.path, rows: rows.length }));
  }

  /** The same files, whole. */
  get rowFiles(): RowFile[] {
    return this.members.map(({ file }) => file);
  }

  /** Fields of its files that probably were meant to be this one. */
  misnamed(meant: string): MisnamedField[] {
    return this.members.flatMap(({ file }) =>
      [...file.misnamed.values()].filter((field) => field.meant === meant),
    );
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
    const member = lastAtMost(this.starts, index);
    return [this.members[member]!.file, this.members[member]!.rows[index - this.starts[member]!]!];
  }
}

/** The last index whose number is at most `value`; numbers in order, the first at most `value`. */
export function lastAtMost(numbers: readonly number[], value: number): number {
  let found = 0;
  for (let above = numbers.length; above - found > 1; ) {
    const middle = (found + above) >> 1;
    if (numbers[middle]! <= value) found = middle;
    else above = middle;
  }
  return found;
}

export interface OpenedDatasets {
  readonly datasets: readonly Dataset[];
  readonly hasPromptColumn: boolean;
  /** What was left out before batches are cut. */
  readonly unused: readonly UnusedRows[];
  /** One line each: what else a person may not expect. */
  readonly notices: readonly string[];
}

/** @throws InputError for a missing path, a bad line, or nothing left to train on. */
export function openDatasets(options: DatasetOptions): OpenedDatasets {
  const unused: UnusedRows[] = [];
  const sources = options.trainData.map((path) => findSource(path, options.flag));
  const { sameDatasetWithinBatch, queryInstructionForRetrieval } = options;
  const rowOptions = {
    scores: options.knowledgeDistillation,
    prompt: sameDatasetWithinBatch || queryInstructionForRetrieval !== null,
    batching: sameDatasetWithinBatch,
  };
  const faults = new Faults();
  let fileNumber = 0;
  const opened = sources.map((source) => ({
    source,
    members: source.files.map((path) =>
      subsample(new RowFile(path, rowOptions, faults), options, fileNumber++, unused),
    ),
  }));
  faults.throwIfAny();
  const hasPromptColumn = opened.some(({ members }) =>
    members.some(({ file }) => file.columns.has('prompt')),
  );
  const files = opened.flatMap(({ members }) => members.map(({ file }) => file));
  const notices = [
    ...firstFew(
      sources.flatMap((source) => source.notices),
      options.flag,
    ),
    ...misnamedFields(files, options.flag),
    ...oddRows(files, options.flag),
  ];

  if (!options.sameDatasetWithinBatch) {
    const members = opened.flatMap((each) => each.members);
    const dataset = new Dataset('all files', members, FLAG_SIZE, options.perDeviceTrainBatchSize, false);
    if (options.knowledgeDistillation) requireScores(dataset);
    const wishes = {
      noInBatchNeg: sources.filter((source) => source.noInBatchNeg).map((source) => source.path),
      flags: [
        ...(options.smallThreshold > 0 ? ['--small_threshold'] : []),
        ...(options.dropThreshold > 0 ? ['--drop_threshold'] : []),
      ],
      instructed: rowOptions.prompt,
    };
    notices.push(...withoutEffect(files, options.flag, wishes));
    return { datasets: [dataset], hasPromptColumn, unused, notices };
  }

  const datasets: Dataset[] = [];
  const perDevice = options.perDeviceTrainBatchSize;
  const leaveOut = (file: string, rows: number, flag: string, threshold: number) =>
    unused.push({ file, rows, why: `fewer than --${flag} ${threshold}` });
  for (const { source, members } of opened) {
    const small: Member[] = [];
    for (const member of members) {
      const { path } = member.file;
      if (member.rows.length >= options.smallThreshold) {
        datasets.push(new Dataset(path, [member], memberBatchSize(member), perDevice, source.noInBatchNeg));
      } else if (source.isDirectory) small.push(member);
      else leaveOut(path, member.rows.length, 'small_threshold', options.smallThreshold);
    }
    if (small.length === 0) continue;
    const size = smallest(small.map(memberBatchSize), perDevice);
    const merged = new Dataset(`${source.path} (small files)`, small, size, perDevice, source.noInBatchNeg);
    if (merged.rowCount >= options.dropThreshold) datasets.push(merged);
    else leaveOut(merged.name, merged.rowCount, 'drop_threshold', options.dropThreshold);
  }
  if (datasets.length === 0)
    throw new InputError(
      `${options.flag}: expected a dataset of at least --small_threshold ${options.smallThreshold} rows, found none`,
    );
  notices.push(...notTheirOwn(files, options.flag));
  if (options.knowledgeDistillation) notices.push(...withoutTeacher(datasets.map(taught), options.flag));
  return { datasets, hasPromptColumn, unused, notices };
}

function subsample(file: RowFile, options: DatasetOptions, fileNumber: number, unused: UnusedRows[]): Member {
  const all = Uint32Array.from({ length: file.rowCount }, (_, i) => i);
  const most = options.maxExampleNumPerDataset;
  if (file.rowCount <= most) return { file, rows: all };
  unused.push({
    file: file.path,
    rows: file.rowCount - most,
    why: `more than --max_example_num_per_dataset ${most}`,
  });
  const random = new CounterRandom(options.seed, [STREAM.subsample, fileNumber]);
  return { file, rows: Uint32Array.from(random.sample(all, most)) };
}

const BATCH_FLAG = '--per_device_train_batch_size';
const FLAG_SIZE: BatchSize = { of: (perDevice) => perDevice, from: BATCH_FLAG };

/** The first row's own batch size; else the flag's, halved (but at least 1) for symmetric types. */
function memberBatchSize({ file, rows }: Member): BatchSize {
  const { batchSize, type } = file.row(rows[0]!);
  if (batchSize !== null) return { of: () => batchSize, from: `"batch_size" of its first row` };
  if (!type?.includes('symmetric')) return FLAG_SIZE;
  return {
    of: (perDevice) => Math.max(1, Math.floor(perDevice / 2)),
    from: `half of ${BATCH_FLAG}, for the type ${show(type)}`,
  };
}

/** Of files that share batches. */
function smallest(sizes: readonly BatchSize[], perDevice: number): BatchSize {
  const { from } = sizes.reduce((a, b) => (b.of(perDevice) < a.of(perDevice) ? b : a));
  return { of: (each) => Math.min(...sizes.map((size) => size.of(each))), from };
}

function taught(dataset: Dataset): { name: string; rows: number; scored: number } {
  let scored = 0;
  for (let i = 0; i < dataset.rowCount; i++) if (dataset.facts(i).scored) scored++;
  return { name: dataset.name, rows: dataset.rowCount, scored };
}

function requireScores(dataset: Dataset): void {
  const faults = new Faults();
  for (let i = 0; i < dataset.rowCount; i++) {
    const { scored, place } = dataset.facts(i);
    if (!scored)
      faults.add(
        new InputError(
          `${placeName(place)}: expected "pos_scores" and "neg_scores" for --knowledge_distillation, found none`,
        ),
      );
  }
  faults.throwIfAny();
}
