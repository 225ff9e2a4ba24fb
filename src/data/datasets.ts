/**
 * Which rows may share a batch: opens the sources of `--train_data` and arranges their rows in datasets (spec
 * flagembedding-m3 §2.2, §2.3). In the default mode everything is one dataset; in same-dataset mode every file is
 * its own, except that small files of a directory may be merged. Batches themselves are cut in batches.ts.
 */
import { InputError } from '../errors.js';
import { printable, show } from '../show.js';
import { CounterRandom } from '../tensor/random.js';
import { placeName, type RowFacts, RowFile, type TrainRow } from './rows.js';
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

/** Rows of the files given that no batch of an epoch holds. */
export interface UnusedRows {
  /** Or the folder whose small files were merged. */
  readonly file: string;
  readonly rows: number;
  /** For people, e.g. `fewer than --small_threshold 4`. */
  readonly why: string;
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
    /** For people: what set the batch size. */
    readonly batchSizeFrom: string,
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
  const rowOptions = { scores: options.knowledgeDistillation };
  let fileNumber = 0;
  const opened = sources.map((source) => ({
    source,
    members: source.files.map((path) =>
      subsample(new RowFile(path, rowOptions), options, fileNumber++, unused),
    ),
  }));
  const hasPromptColumn = opened.some(({ members }) =>
    members.some(({ file }) => file.columns.has('prompt')),
  );
  const files = opened.flatMap(({ members }) => members.map(({ file }) => file));
  const notices = [...sources.flatMap((source) => source.notices), ...emptyQueries(files, options.flag)];

  if (!options.sameDatasetWithinBatch) {
    const members = opened.flatMap((each) => each.members);
    const dataset = new Dataset('all files', members, options.perDeviceTrainBatchSize, BATCH_FLAG, false);
    if (options.knowledgeDistillation) requireScores(dataset);
    notices.push(...withoutEffect(files, options));
    return { datasets: [dataset], hasPromptColumn, unused, notices };
  }

  const datasets: Dataset[] = [];
  const leaveOut = (file: string, rows: number, flag: string, threshold: number) =>
    unused.push({ file, rows, why: `fewer than --${flag} ${threshold}` });
  for (const { source, members } of opened) {
    const small: Member[] = [];
    for (const member of members) {
      const { path } = member.file;
      if (member.rows.length >= options.smallThreshold) {
        const { size, from } = memberBatchSize(member, options);
        datasets.push(new Dataset(path, [member], size, from, source.noInBatchNeg));
      } else if (source.isDirectory) small.push(member);
      else leaveOut(path, member.rows.length, 'small_threshold', options.smallThreshold);
    }
    if (small.length === 0) continue;
    const { size, from } = small
      .map((member) => memberBatchSize(member, options))
      .reduce((a, b) => (b.size < a.size ? b : a));
    const merged = new Dataset(`${source.path} (small files)`, small, size, from, source.noInBatchNeg);
    if (merged.rowCount >= options.dropThreshold) datasets.push(merged);
    else leaveOut(merged.name, merged.rowCount, 'drop_threshold', options.dropThreshold);
  }
  if (datasets.length === 0)
    throw new InputError(
      `${options.flag}: expected a dataset of at least --small_threshold ${options.smallThreshold} rows, found none`,
    );
  notices.push(...notTheirOwn(files), ...withoutTeacher(datasets, options));
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

/** The first row's own batch size; else the flag's, halved (but at least 1) for symmetric types. */
function memberBatchSize({ file, rows }: Member, options: DatasetOptions): { size: number; from: string } {
  const first = file.row(rows[0]!);
  if (first.batchSize !== null) return { size: first.batchSize, from: `"batch_size" of its first row` };
  if (!first.type?.includes('symmetric')) return { size: options.perDeviceTrainBatchSize, from: BATCH_FLAG };
  const half = Math.max(1, Math.floor(options.perDeviceTrainBatchSize / 2));
  return { size: half, from: `half of ${BATCH_FLAG}, for the type ${show(first.type)}` };
}

/** In the default mode rows are alike: what their fields would say otherwise is not looked at, as upstream. */
function withoutEffect(files: readonly RowFile[], options: DatasetOptions): string[] {
  const fields = (['type', 'batch_size', 'train_group_size'] as const).filter((field) =>
    files.some((file) => file.columns.has(field)),
  );
  const notices: string[] = [];
  if (fields.length > 0)
    notices.push(
      `${options.flag}: ${fields.map(show).join(', ')} of rows: no effect without --same_dataset_within_batch`,
    );
  if (options.queryInstructionForRetrieval === null && files.some((file) => file.columns.has('prompt')))
    notices.push(
      `${options.flag}: "prompt" of rows: no effect without --same_dataset_within_batch or --query_instruction_for_retrieval`,
    );
  return notices;
}

/** In same-dataset mode the first row speaks for others: those that say otherwise are not heard, as upstream. */
function notTheirOwn(files: readonly RowFile[]): string[] {
  return files.flatMap((file) => {
    const notices: string[] = [];
    const batchSize = file.differing.get('batch_size');
    if (batchSize)
      notices.push(
        `${placeName(batchSize)}: "batch_size" differs: that of the file's first row counts for all`,
      );
    const groupSize = file.differing.get('train_group_size');
    if (groupSize && !file.columns.has('type'))
      notices.push(
        `${placeName(groupSize)}: "train_group_size" differs: that of its first row counts for a whole batch`,
      );
    if (file.columns.has('train_group_size') && file.columns.has('type'))
      notices.push(`${printable(file.path)}: "train_group_size": no effect in rows with "type"`);
    return notices;
  });
}

function emptyQueries(files: readonly RowFile[], flag: string): string[] {
  const count = files.reduce((total, file) => total + file.emptyQueries, 0);
  const first = files.find((file) => file.firstEmptyQuery)?.firstEmptyQuery;
  return first ? [`${flag}: ${count} rows with an empty "query" (the first: ${placeName(first)})`] : [];
}

/** Which rows have no scores although distillation is asked for: they train on the plain loss, as upstream. */
function withoutTeacher(datasets: readonly Dataset[], options: DatasetOptions): string[] {
  if (!options.knowledgeDistillation) return [];
  let rows = 0;
  let total = 0;
  const names: string[] = [];
  for (const dataset of datasets) {
    let missing = 0;
    for (let i = 0; i < dataset.rowCount; i++) if (!dataset.facts(i).scored) missing++;
    if (missing > 0) names.push(dataset.name);
    rows += missing;
    total += dataset.rowCount;
  }
  return rows === 0
    ? []
    : [
        `${options.flag}: ${rows} of ${total} rows have no scores and train without a teacher in spite of ` +
          `--knowledge_distillation (${listed(names)})`,
      ];
}

/** A few names for a message. */
function listed(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).map(printable).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

function requireScores(dataset: Dataset): void {
  for (let i = 0; i < dataset.rowCount; i++) {
    const { scored, place } = dataset.facts(i);
    if (!scored)
      throw new InputError(
        `${placeName(place)}: expected "pos_scores" and "neg_scores" for --knowledge_distillation, found none`,
      );
  }
}
