/**
 * A record as it is read again, by reports and by runs that go on: whatever the file holds, the answer is a record whose
 * every field is what its type says, or an InputError of one line that names the file and the field.
 */
import path from 'node:path';
import { InputError } from '../errors.js';
import { readJsonObject } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import { printable, show } from '../show.js';
import {
  amount,
  boolean,
  type Check,
  count,
  date,
  either,
  list,
  Mismatch,
  named,
  number,
  object,
  oneOf,
  optional,
  orNull,
  text,
} from './checks.js';
import {
  type Column,
  type DataFile,
  type LossComponent,
  type MemoryByPurpose,
  type MemoryPoint,
  type RankedExample,
  type RankingSummary,
  type Ranks,
  RUN_RECORD_FILE,
  RUN_RECORD_FORMAT,
  type RunRecord,
  type SamplePassage,
  type SampleText,
  type Setting,
  type SettingValue,
  type StepColumns,
  type TextLengths,
} from './record.js';

/** @param folder the output folder, or one of its checkpoints. @throws InputError. */
export function readRunRecord(folder: string): RunRecord {
  const file = path.join(folder, RUN_RECORD_FILE);
  if (!PositionedFile.exists(file))
    throw new InputError(
      `${printable(folder)}: expected the output folder of a run, found no ${RUN_RECORD_FILE} in it`,
    );
  return checkRunRecord(readJsonObject(file), file);
}

/** @param file begins the message. @throws InputError where the value is no record. */
export function checkRunRecord(value: Readonly<Record<string, unknown>>, file: string): RunRecord {
  const { format } = value;
  if (format !== RUN_RECORD_FORMAT)
    throw new InputError(
      `${printable(file)}: expected "format" to be ${RUN_RECORD_FORMAT}, found ${format === undefined ? 'none' : show(format)}${typeof format === 'number' && format > RUN_RECORD_FORMAT ? '; a newer dawntune wrote this record' : ''}`,
    );
  try {
    return RECORD(value, '');
  } catch (error) {
    if (error instanceof Mismatch) throw new InputError(`${printable(file)}: ${error.message}`);
    throw error;
  }
}

const column: Check<Column> = object({
  mean: list(orNull(number)),
  min: optional(list(orNull(number))),
  max: optional(list(orNull(number))),
  count: optional(list(count)),
});

const componentColumns = optional(column);

const columns: Check<StepColumns> = object({
  from: count,
  stride: count,
  step: list(count),
  loss: column,
  components: object<Partial<Record<LossComponent, Column>>>({
    dense: componentColumns,
    sparse: componentColumns,
    colbert: componentColumns,
    ensemble: componentColumns,
    distillation: componentColumns,
  }),
  learning_rate: column,
  grad_norm: column,
  loss_scale: optional(column),
  skipped: optional(list(count)),
  tokens: column,
  seconds: column,
  tokens_per_second: column,
});

/** As many values in each column as there are points, which ascend. */
const steps: Check<StepColumns> = (value, at) => {
  const checked = columns(value, at);
  const points = checked.step.length;
  const ofPoints = (list: readonly unknown[] | undefined, name: string) => {
    if (list !== undefined && list.length !== points)
      throw new Mismatch(`${at}.${name}`, `as long as "${at}.step" (${points})`, list.length);
  };
  for (let i = 1; i < points; i++)
    if (checked.step[i]! <= checked.step[i - 1]!)
      throw new Mismatch(`${at}.step[${i}]`, `above ${checked.step[i - 1]}`, checked.step[i]);
  const { from: _, stride: __, step: ___, components, skipped, ...others } = checked;
  for (const [name, each] of [
    ...Object.entries(others),
    ...Object.entries(components).map(([name, each]) => [`components.${name}`, each] as const),
  ]) {
    if (each === undefined) continue;
    for (const part of ['mean', 'min', 'max', 'count'] as const) ofPoints(each[part], `${name}.${part}`);
  }
  ofPoints(skipped, 'skipped');
  return checked;
};

const purposes: Check<MemoryByPurpose> = object({
  weights: amount,
  gradients: amount,
  optimizer: amount,
  activations: amount,
  workspace: amount,
});

const memoryPoint: Check<MemoryPoint> = object({ step: count, peak: amount, by_purpose: purposes });

const files: Check<readonly DataFile[]> = list(object<DataFile>({ path: text, rows: count }));

const lengthFields: Check<TextLengths> = object({
  limit: count,
  texts: count,
  tokens: count,
  kept_tokens: count,
  cut: count,
  longest: count,
  histogram: object({ up_to: list(count), count: list(count) }),
});

const lengths: Check<TextLengths> = (value, at) => {
  const checked = lengthFields(value, at);
  const { up_to: upTo, count: counts } = checked.histogram;
  if (upTo.length !== counts.length)
    throw new Mismatch(
      `${at}.histogram.count`,
      `as long as "${at}.histogram.up_to" (${upTo.length})`,
      counts.length,
    );
  return checked;
};

const sampleText = { text, tokens: count, length: count };
const sample: Check<SampleText> = object(sampleText);
const passage: Check<SamplePassage> = object({
  ...sampleText,
  positive: boolean,
  teacher_score: optional(number),
});

const rank = optional(number);
const ranks: Check<Ranks> = object({ dense: rank, sparse: rank, colbert: rank, hybrid: rank });
const ranking: Check<RankingSummary> = object({ step: count, queries: count, first: ranks, mrr: ranks });
const ranked: Check<RankedExample> = object({ ranks, first: orNull(text) });

const settingValue: Check<SettingValue> = either(
  'a text, a number, true, false, null or a list',
  orNull(either('', text, either('', number, boolean))),
  list(either('a text or a number', text, number)),
);

const setting: Check<Setting> = object({
  name: text,
  value: settingValue,
  origin: oneOf('flag', 'config', 'deepspeed', 'model', 'default'),
  group: text,
  default: optional(settingValue),
});

const RECORD: Check<RunRecord> = object<RunRecord>({
  format: oneOf(RUN_RECORD_FORMAT),
  status: oneOf('running', 'stopped', 'finished', 'failed'),
  reason: orNull(text),
  step: count,
  total_steps: count,
  epoch: amount,
  updated: date,
  sessions: list(object({ started: date, from_step: count, to_step: count, seconds: amount })),
  plan: named(either('a number or a text', number, text)),
  settings: list(setting),
  steps,
  memory: object({
    planned: object({ peak: amount, by_purpose: purposes }),
    budget: orNull(amount),
    points: list(memoryPoint),
  }),
  evaluations: list(object({ step: count, epoch: amount, metrics: named(number) })),
  data: object({
    files,
    rows: count,
    dropped: count,
    looked_at: count,
    evaluation: orNull(object({ files, rows: count })),
    queries: lengths,
    passages: lengths,
    samples: list(object({ place: text, query: sample, passages: list(passage) })),
  }),
  retrieval: orNull(
    object({
      passages: count,
      before: orNull(ranking),
      after: orNull(ranking),
      examples: list(object({ query: text, positive: text, before: orNull(ranked), after: orNull(ranked) })),
    }),
  ),
  environment: object({
    dawntune: text,
    node: text,
    platform: text,
    processor: text,
    cores: count,
    memory: amount,
    adapter: object({
      name: text,
      driver: text,
      software: boolean,
      f16: boolean,
      subgroups: boolean,
      matrix_units: boolean,
    }),
    dawn: text,
    ranks: count,
  }),
  model: object({
    base: text,
    folder: text,
    parameters: count,
    trained_parameters: count,
    hidden_size: count,
    layers: count,
    colbert_dim: count,
    vocabulary: count,
    max_length: count,
    use: list(object({ title: text, language: text, code: text })),
  }),
  notices: list(text),
});
