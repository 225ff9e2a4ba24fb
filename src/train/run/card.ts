/** What the model card says of a run: its data, its settings, its losses and its scores so far. */

import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { LogEntry } from '../../console/reporter.js';
import type { TrainingData } from '../../data/batches.js';
import { camelCase } from '../../flags.js';
import { code, codeCell } from '../../models/model-card.js';
import { type FinetuneArguments, finetuneFlags } from '../arguments.js';
import type { FlagName } from '../checkpoints/fingerprint.js';
import type { TrainerState } from './log.js';

/** Rows of one table; of a longer log they are spread over it, its first and its last among them. */
const MOST_ROWS = 12;
const MOST_FILES = 50;

/** What every card tells, whether it was given or not. */
const ALWAYS: ReadonlySet<string> = new Set<FlagName>([
  'learning_rate',
  'num_train_epochs',
  'per_device_train_batch_size',
  'train_group_size',
  'query_max_len',
  'passage_max_len',
  'temperature',
  'sentence_pooling_method',
  'normalize_embeddings',
  'unified_finetuning',
  'seed',
]);
/** What is secret, where files are, and what does not change the model. */
const NEVER: ReadonlySet<string> = new Set<FlagName>([
  'token',
  'resume_from_checkpoint',
  'dry_run',
  'overwrite_output_dir',
  'save_strategy',
  'save_steps',
  'save_total_limit',
  'save_only_model',
  'logging_steps',
  'report',
  'report_to',
  'logging_dir',
  'disable_tqdm',
  'progress',
  'model_name_or_path',
  'train_data',
  'eval_data',
  'output_dir',
  'cache_dir',
  'cache_path',
  'profile',
  'tune',
  'adapter',
  'adapters',
  'launcher',
  'ddp_timeout',
  'check_replicas',
  'dataloader_num_workers',
  'max_shard_size',
  'debug',
  'max_gpu_memory',
]);

export interface RunFacts {
  readonly args: FinetuneArguments;
  readonly data: TrainingData;
  readonly evalData: TrainingData | undefined;
  readonly adapter: string;
}

/**
 * Markdown sections, of a run of `steps` steps that has come as far as `state`. `best`: the earlier checkpoint whose model
 * the folder has.
 */
export function trainingSections(
  { args, data, evalData, adapter }: RunFacts,
  { global_step: step, log_history: log }: TrainerState,
  steps: number,
  best?: string,
): string {
  const losses = log.filter((entry) => typeof entry['loss'] === 'number');
  const scores = log.filter((entry) => Object.keys(entry).some((key) => key.startsWith('eval_')));
  return [
    '## Training data',
    '',
    ...datasets(data),
    ...(evalData ? ['', 'Evaluated on:', '', ...datasets(evalData)] : []),
    '',
    '## Settings',
    '',
    `Trained with dawntune on ${code(adapter)}. What differs from its defaults, and what matters most:`,
    '',
    ...table(['flag', 'value'], settings(args)),
    ...(args.unifiedFinetuning
      ? []
      : [
          '',
          'The sparse and the ColBERT head were not trained: they are those of the base, or random where it had none.',
        ]),
    '',
    '## Losses',
    '',
    `Step ${step} of ${steps}.${best === undefined ? '' : ` The model is that of \`${best}\`, which was the best.`}`,
    ...records(losses, ['step', 'epoch', 'loss', 'grad_norm', 'learning_rate']),
    '',
    '## Scores',
    ...(scores.length === 0
      ? ['', evalData ? 'Not evaluated yet.' : 'No evaluation data were given.']
      : records(scores, ['step', 'epoch'])),
  ].join('\n');
}

function datasets(data: TrainingData): string[] {
  const all = data.datasets.flatMap((dataset) =>
    dataset.files().map(({ path: file, rows }) => ({ file, rows, batchSize: dataset.batchSize })),
  );
  const shown = all.slice(0, MOST_FILES);
  const rest = all.slice(MOST_FILES);
  const line = (name: string, rows: number, batch: string) => [name, `${rows}`, batch];
  return table(
    ['file', 'rows', 'queries a batch'],
    [
      ...shown.map(({ file, rows, batchSize }) => line(codeCell(path.basename(file)), rows, `${batchSize}`)),
      ...(rest.length > 0
        ? [
            line(
              `${rest.length} more`,
              rest.reduce((sum, { rows }) => sum + rows, 0),
              '',
            ),
          ]
        : []),
      line('in all', data.rowCount, ''),
    ],
  );
}

function settings(args: FinetuneArguments): string[][] {
  return Object.entries(finetuneFlags).flatMap(([name, flag]) => {
    const value = (args as Record<string, unknown>)[camelCase(name)];
    if (NEVER.has(name) || flag.inert !== undefined) return [];
    if (!ALWAYS.has(name) && isDeepStrictEqual(value, flag.fallback)) return [];
    const text = value instanceof Set || Array.isArray(value) ? [...value].join(' ') : String(value);
    return [[`\`${name}\``, codeCell(name === 'deepspeed' ? path.basename(text) : text)]];
  });
}

function records(entries: readonly LogEntry[], first: readonly string[]): string[] {
  if (entries.length === 0) return [];
  const wanted = Math.min(MOST_ROWS, entries.length);
  const shown = Array.from(
    { length: wanted },
    (_, i) =>
      entries[wanted === 1 ? entries.length - 1 : Math.round((i * (entries.length - 1)) / (wanted - 1))]!,
  );
  const others = new Set(
    shown.flatMap((entry) => Object.keys(entry).filter((key) => key.startsWith('eval_'))),
  );
  const columns = [...first, ...others].filter((key) => shown.some((entry) => Object.hasOwn(entry, key)));
  return [
    '',
    ...table(
      columns,
      shown.map((entry) => columns.map((key) => (Object.hasOwn(entry, key) ? shownValue(entry[key]!) : ''))),
    ),
  ];
}

/** Six digits: the log itself has all of them, in trainer_state.json. */
const shownValue = (value: number | string) =>
  typeof value === 'number' ? `${Number(value.toPrecision(6))}` : codeCell(value);

function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`);
}
