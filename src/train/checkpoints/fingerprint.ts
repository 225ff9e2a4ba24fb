/**
 * What the numbers of a run follow from: its flags, the DeepSpeed file, the rows, the shapes of the model. A checkpoint
 * keeps it, and a run that goes on from there is held to it: with other data or another learning rate it would be neither
 * the old run nor a new one. What changes no number, and how long the run is, may differ.
 */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import type { DataFingerprint } from '../../data/batches.js';
import { isJsonObject } from '../../files/json.js';
import type { Fields } from '../../files/json-fields.js';
import { camelCase } from '../../flags.js';
import type { EncoderConfig } from '../../models/config.js';
import { printable, show } from '../../show.js';
import { type FinetuneArguments, finetuneFlags } from '../arguments.js';
import type { DeepSpeedSettings } from '../deepspeed.js';

export type FlagName = keyof typeof finetuneFlags;

/**
 * Flags that a run may go on with other values of: each of them changes no number of a step, or is held to in another way
 * (the rows themselves, the shapes of the model, the settings in the DeepSpeed file), or says how long the run is.
 */
export const MAY_CHANGE: ReadonlySet<FlagName> = new Set<FlagName>([
  ...([
    'model_name_or_path',
    'config_name',
    'tokenizer_name',
    'cache_dir',
    'train_data',
    'eval_data',
  ] as const),
  ...(['eval_strategy', 'eval_steps', 'eval_on_start', 'prediction_loss_only'] as const),
  ...(['load_best_model_at_end', 'metric_for_best_model', 'greater_is_better'] as const),
  ...(['early_stopping_patience', 'early_stopping_threshold'] as const),
  ...([
    'num_train_epochs',
    'max_steps',
    'gradient_checkpointing',
    'bf16',
    'deepspeed',
    'shard_optimizer',
  ] as const),
  ...([
    'use_mrl',
    'mrl_dims',
    'token',
    'revision',
    'trust_remote_code',
    'use_fast_tokenizer',
    'cache_path',
  ] as const),
  ...(['output_dir', 'overwrite_output_dir', 'logging_steps', 'save_strategy', 'save_steps'] as const),
  ...(['save_total_limit', 'save_only_model', 'save_dtype', 'max_shard_size'] as const),
  ...(['resume_from_checkpoint', 'dry_run', 'disable_tqdm', 'profile', 'adapter', 'nproc_per_node'] as const),
  ...([
    'report',
    'report_to',
    'logging_dir',
    'progress',
    'adapters',
    'launcher',
    'ddp_timeout',
    'check_replicas',
  ] as const),
  ...(['max_gpu_memory', 'dataloader_num_workers', 'tune', 'debug'] as const),
]);

export interface RunFingerprint {
  /** Values of the flags that may not change. */
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly deepspeed: DeepSpeedSettings | null;
  readonly data: DataFingerprint;
  /** Null: there is no evaluation. With other rows a run may go on, but what was the best on these is not comparable. */
  readonly evaluation: DataFingerprint | null;
  readonly model: Readonly<Record<string, number | string | null>>;
  /** CRC-32 of each of its files: with another one the same rows are other tokens. */
  readonly tokenizer: Readonly<Record<string, number>>;
  readonly world_size: number;
  /** Steps of the whole run: with another number the learning rates are others from there on. */
  readonly total_steps: number;
}

export interface Fingerprinted {
  readonly args: FinetuneArguments;
  readonly deepspeed: DeepSpeedSettings | null;
  readonly data: DataFingerprint;
  readonly evaluation: DataFingerprint | null;
  readonly config: EncoderConfig;
  readonly tokenizer: ReadonlyMap<string, Uint8Array>;
  readonly totalSteps: number;
  /** Of the ranks that there are, which `--nproc_per_node` need not say. */
  readonly worldSize: number;
}

export function fingerprintOf(run: Fingerprinted): RunFingerprint {
  const { args, deepspeed, config } = run;
  const located = (data: DataFingerprint): DataFingerprint => ({
    ...data,
    files: data.files.map((file) => ({ ...file, path: path.resolve(file.path) })),
  });
  const kept = (Object.keys(finetuneFlags) as FlagName[]).filter((name) => !MAY_CHANGE.has(name));
  return {
    arguments: Object.fromEntries(kept.map((name) => [name, flagValue(args, name)])),
    deepspeed,
    data: located(run.data),
    evaluation: run.evaluation && located(run.evaluation),
    model: {
      family: config.family,
      layers: config.layers,
      hidden_size: config.hiddenSize,
      heads: config.heads,
      intermediate_size: config.intermediateSize,
      vocab_size: config.vocabSize,
      max_positions: config.maxPositions,
      type_vocab_size: config.typeVocabSize,
      layer_norm_eps: config.layerNormEps,
      hidden_dropout_prob: config.hiddenDropout,
      attention_probs_dropout_prob: config.attentionDropout,
      pad_token_id: config.padId ?? null,
      activation: config.activation,
    },
    tokenizer: Object.fromEntries([...run.tokenizer].map(([name, bytes]) => [name, crc32(bytes)])),
    world_size: run.worldSize,
    total_steps: run.totalSteps,
  };
}

const BATCH_SIZE = 'per_device_train_batch_size' satisfies FlagName;

/** What a run at another world size has to know of the one that was saved. @throws InputError for what is no fingerprint. */
export function savedSize(saved: Fields): { worldSize: number; perDevice: number; totalSteps: number } {
  return {
    worldSize: saved.count('world_size', 1),
    perDevice: saved.fields('arguments').count(BATCH_SIZE, 1),
    totalSteps: saved.count('total_steps', 1),
  };
}

export interface Differences {
  /** With which the run cannot go on. */
  readonly contradictions: string[];
  readonly notices: string[];
  /** Evaluation is on other rows than it was: metrics of then and now do not compare. */
  readonly otherEvaluation: boolean;
}

/** How a run differs from the one that a checkpoint is of. @throws InputError for what is no fingerprint. */
export function differences(saved: Fields, now: RunFingerprint): Differences {
  const contradictions: string[] = [];
  const notices: string[] = [];
  const expected = (what: string, then: unknown, found: unknown) =>
    contradictions.push(`expected ${what} ${shown(then)}, found ${shown(found)}`);

  const before = saved.fields('arguments');
  const world = saved.count('world_size', 1);
  const batch = before.count('per_device_train_batch_size', 1);
  // More ranks with fewer rows each are the same steps.
  const sameSteps =
    world !== now.world_size && world * batch === now.world_size * Number(now.arguments[BATCH_SIZE]);
  for (const [name, value] of Object.entries(now.arguments)) {
    // A flag that the version which wrote the checkpoint did not have is as it was then: at its default.
    const flag = finetuneFlags[name as FlagName];
    const then = before.names().includes(name) ? before.value(name) : asJson(flag.fallback);
    if (name === BATCH_SIZE && sameSteps) continue;
    if (!isDeepStrictEqual(plain(then), plain(value))) expected(`--${name}`, then, value);
  }

  const settings = saved.value('deepspeed');
  if (!isDeepStrictEqual(plain(settings), plain(now.deepspeed)))
    contradictions.push(
      `expected ${settings === null ? 'no --deepspeed' : `the settings of --deepspeed ${JSON.stringify(settings)}`}, found ${now.deepspeed === null ? 'no --deepspeed' : JSON.stringify(now.deepspeed)}`,
    );

  const data = saved.fields('data');
  const seed = data.number('seed');
  if (seed !== now.data.seed) expected('the seed of the data', seed, now.data.seed);
  const files = data.list('files');
  if (files.length !== now.data.files.length)
    contradictions.push(
      `expected --train_data with ${files.length} files, found ${now.data.files.length} (the first: ${printable(now.data.files[0]?.path ?? 'none')})`,
    );
  else
    files.forEach((file, i) => {
      const { path: found, bytes, rows, crc32 } = now.data.files[i]!;
      const was = file.text('path');
      if (file.count('rows') !== rows || file.count('bytes') !== bytes || file.count('crc32') !== crc32)
        contradictions.push(
          `expected the ${file.count('rows')} rows (${file.count('bytes')} bytes) of ${printable(was)}, found ${rows === file.count('rows') ? 'other ones' : rows} (${bytes} bytes) in ${printable(found)}`,
        );
      else if (was !== found) notices.push(`the rows of ${printable(was)} are read from ${printable(found)}`);
    });

  const model = saved.fields('model');
  for (const [name, value] of Object.entries(now.model))
    if (model.value(name) !== value) expected(`a model of ${name}`, model.value(name), value);

  const tokenizer = saved.fields('tokenizer');
  for (const name of new Set([...tokenizer.names(), ...Object.keys(now.tokenizer)])) {
    const there = Object.hasOwn(now.tokenizer, name);
    if (tokenizer.value(name) === (there ? now.tokenizer[name] : undefined)) continue;
    const was = tokenizer.names().includes(name);
    contradictions.push(
      `expected ${was ? `the ${printable(name)} of the run` : `a tokenizer without ${printable(name)}`}, found ${!there ? 'none' : was ? 'another' : 'one'} in the folder of the model`,
    );
  }

  const rowsOf = (fingerprint: unknown) => {
    const files: unknown = isJsonObject(fingerprint) ? fingerprint['files'] : undefined;
    return Array.isArray(files)
      ? files.map((file: unknown) => (isJsonObject(file) ? [file['rows'], file['crc32']] : null))
      : null;
  };
  const otherEvaluation = !isDeepStrictEqual(
    rowsOf(saved.value('evaluation')),
    rowsOf(plain(now.evaluation)),
  );
  return { contradictions, notices, otherEvaluation };
}

/** As JSON has it. */
export const flagValue = (args: FinetuneArguments, name: FlagName): unknown => asJson(args[camelCase(name)]);

/** Sets as sorted lists, what is undefined as null. */
function asJson(value: unknown): unknown {
  if (value === undefined) return null;
  return value instanceof Set ? [...value].sort() : value;
}

/** As it comes back from a file. */
const plain = (value: unknown): unknown =>
  value === undefined ? undefined : JSON.parse(JSON.stringify(value));

const shown = (value: unknown): string => (value === undefined || value === null ? 'none' : show(value));
