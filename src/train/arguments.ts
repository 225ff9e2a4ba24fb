/**
 * The arguments of `finetune`: FlagEmbedding's flags for M3 (docs/spec/flagembedding-m3.md §1) with its defaults, those
 * of Hugging Face's TrainingArguments that mean something here, and our own. One table; the type of the arguments, the
 * parser and the help text follow from it. Rates and intervals are turned into steps in schedules.ts and here.
 */
import { InputError } from '../errors.js';
import { sameFolder } from '../files/same-folder.js';
import {
  adapterFlag,
  anyText,
  between,
  boolean,
  byteSize,
  choice,
  debugFlag,
  decimal,
  type FlagValues,
  group,
  inert,
  integer,
  listOf,
  type Origin,
  optional,
  type ParsedCommand,
  parseFlags,
  profileFlag,
  progressFlag,
  required,
  text,
  tuneFlag,
  type ValueType,
  withDefault,
} from '../flags.js';
import { accessToken } from '../hub/flags.js';
import { printable, show } from '../show.js';
import {
  ADAM_BETA,
  ADAM_EPSILON,
  COUNT,
  GRADIENT_NORM,
  GROUP_SIZE,
  LARGEST_EPOCHS,
  LARGEST_WIDTH,
  LEARNING_RATE,
  type Range,
  TEMPERATURE,
  WEIGHT_DECAY,
} from './limits.js';
import { checkRankArguments, rankFlags } from './rank-arguments.js';
import {
  embedderNames,
  foreignTrainingArguments,
  habits,
  olderTrainingArgumentAliases,
  olderTrainingArguments,
  trainingArgumentAliases,
} from './training-arguments-names.js';

/** Upstream behaviours that are off by default here; docs/from-flagembedding.md says why. */
export const compatNames = [
  'none-prefix',
  'no-in-batch',
  'cross-device',
  'colbert-floor',
  'log-warmup',
] as const;
export type CompatName = (typeof compatNames)[number];

const compat: ValueType<ReadonlySet<CompatName>> = {
  expects: `True, False or names among ${compatNames.join(', ')}`,
  placeholder: 'True|False|NAME…',
  many: true,
  truths: true,
  choices: ['True', 'False', ...compatNames],
  bare: new Set(compatNames),
  words: (names) => (names.size === 0 ? 'False' : [...names].join(' ')),
  parse(words) {
    const names = words.flatMap((word) => word.split(/[\s,]+/)).filter((name) => name !== '');
    if (names.length === 1 && boolean.parse(names) !== undefined)
      return new Set(boolean.parse(names) ? compatNames : []);
    const known = names.filter((name): name is CompatName =>
      (compatNames as readonly string[]).includes(name),
    );
    return names.length > 0 && known.length === names.length ? new Set(known) : undefined;
  },
};

const positive = integer(1);
const count = integer(COUNT.least, COUNT.most);
const within = ({ least, most }: Range) => between(least, most);
const path = text('a path');
const paths = listOf(path, 'one or more paths');
const share = between(0, 1);
const epochs = decimal(
  `a number above 0 and at most ${LARGEST_EPOCHS}`,
  (value) => value > 0 && value <= LARGEST_EPOCHS,
);
const gradientNorm = decimal(
  `0 or a number from ${GRADIENT_NORM.least} to ${GRADIENT_NORM.most}`,
  (value) => value === 0 || (value >= GRADIENT_NORM.least && value <= GRADIENT_NORM.most),
);
const interval = decimal(
  'a positive number of steps, or a share of all steps below 1',
  (value) => value > 0 && value <= COUNT.most && (value < 1 || Number.isInteger(value)),
);
const maxSteps: ValueType<number> = {
  ...integer(
    -1,
    COUNT.most,
    `a positive integer of at most ${COUNT.most}, or -1 for as many as the epochs have`,
  ),
  parse: ([word]) => {
    const value = integer(-1, COUNT.most).parse([word!]);
    return value === 0 ? undefined : value;
  },
};

/** Of flags that `checkFinetuneArguments` judges beside others. */
const anything = () => true;

const format = (side: string) =>
  withDefault(
    anyText,
    '{}{}',
    `how the ${side} instruction (slot 1) and the text (slot 2) are joined; \\n is a newline`,
  );

export const finetuneFlags = {
  ...group('Model', {
    model_name_or_path: required(
      text('a folder or a hub id'),
      'the model to start from: a folder or a hub id',
    ),
    config_name: inert(
      optional(text(), 'another model configuration'),
      'the configuration comes with the model',
      anything,
    ),
    tokenizer_name: inert(
      optional(text(), 'another tokenizer'),
      'the tokenizer comes with the model',
      anything,
    ),
    revision: optional(
      text('a branch, tag or commit'),
      'which revision of a model of the hub; main if not given',
    ),
    cache_dir: optional(
      path,
      'where models of the hub are kept; by default where HF_HUB_CACHE or HF_HOME say',
    ),
    trust_remote_code: inert(
      withDefault(boolean, false, 'run code of the hub'),
      'no code of a model is ever run',
    ),
    use_fast_tokenizer: inert(withDefault(boolean, true, 'the Rust tokenizer'), 'there is one tokenizer'),
    token: optional(accessToken, 'access token of the hub; by default that of HF_TOKEN or of the token file'),
    colbert_dim: withDefault(
      integer(Number.MIN_SAFE_INTEGER, LARGEST_WIDTH, `an integer of at most ${LARGEST_WIDTH}`),
      -1,
      'width of the ColBERT head; the hidden size if not positive',
    ),
  }),
  ...group('Data', {
    train_data: required(paths, 'JSONL files, and directories of them'),
    cache_path: inert(
      optional(path, 'where prepared data is kept'),
      'rows are read from the files themselves',
    ),
    eval_data: optional(paths, 'JSONL files and directories to evaluate on'),
    train_group_size: withDefault(
      integer(GROUP_SIZE.least, GROUP_SIZE.most),
      8,
      'passages per query: one positive, the rest negatives',
    ),
    query_max_len: withDefault(integer(2, COUNT.most), 32, 'longest query, in tokens'),
    passage_max_len: withDefault(integer(2, COUNT.most), 128, 'longest passage, in tokens'),
    pad_to_multiple_of: optional(
      count,
      'padded lengths are rounded up to this; batches here have no padding',
    ),
    max_example_num_per_dataset: withDefault(
      positive,
      100000000,
      'random sample of at most so many rows a file',
    ),
    query_instruction_for_retrieval: optional(anyText, 'instruction for queries that bring no prompt'),
    query_instruction_format: format('query'),
    passage_instruction_for_retrieval: optional(anyText, 'instruction for passages'),
    passage_instruction_format: format('passage'),
    knowledge_distillation: withDefault(boolean, false, 'learn from pos_scores and neg_scores'),
    shuffle_ratio: withDefault(share, 0, 'how often the parts of a long positive are shuffled'),
    same_dataset_within_batch: withDefault(boolean, false, 'every batch holds rows of one file only'),
    small_threshold: withDefault(integer(0), 0, 'files with fewer rows are merged within their directory'),
    drop_threshold: withDefault(integer(0), 0, 'merged files are dropped below so many rows'),
    data_seed: optional(integer(), 'seed of the data order; --seed by default'),
    dataloader_num_workers: optional(
      integer(0, 64),
      'threads that tokenize ahead of the GPU; by default 1, and 0 (the main one does) where the GPU is the CPU',
    ),
  }),
  ...group('Loss', {
    temperature: withDefault(within(TEMPERATURE), 0.02, 'divides every similarity'),
    negatives_cross_device: withDefault(boolean, false, 'passages of all ranks are negatives'),
    sentence_pooling_method: withDefault(choice(['cls', 'mean', 'last_token']), 'cls', 'the dense vector'),
    normalize_embeddings: withDefault(boolean, true, 'dense and ColBERT vectors have length 1'),
    kd_loss_type: withDefault(choice(['kl_div', 'm3_kd_loss']), 'kl_div', 'the loss against teacher scores'),
    unified_finetuning: withDefault(boolean, false, 'train the sparse and ColBERT heads too'),
    use_self_distill: withDefault(boolean, false, 'the sum of the three scores teaches each of them'),
    self_distill_start_step: withDefault(integer(), -1, 'self-distillation starts after this forward pass'),
    fix_encoder: withDefault(boolean, false, 'train the two heads only'),
    fix_position_embedding: withDefault(boolean, false, 'do not train the position embeddings'),
    use_mrl: withDefault(boolean, false, 'Matryoshka losses; not implemented for M3'),
    mrl_dims: inert(
      withDefault(listOf(positive, 'widths with spaces between them'), [], 'Matryoshka widths'),
      'M3 has no Matryoshka loss',
    ),
  }),
  ...group('Optimisation', {
    learning_rate: withDefault(within(LEARNING_RATE), 5e-5, 'peak learning rate'),
    num_train_epochs: withDefault(epochs, 3, 'passes over the data'),
    max_steps: withDefault(maxSteps, -1, 'optimiser steps, instead of epochs'),
    per_device_train_batch_size: withDefault(count, 8, 'queries per rank and step'),
    gradient_accumulation_steps: withDefault(count, 1, 'batches per optimiser step'),
    sub_batch_size: optional(count, 'encode in chunks of so many texts: less memory, same gradient'),
    dataloader_drop_last: withDefault(boolean, false, 'drop the incomplete last batch of an epoch'),
    lr_scheduler_type: withDefault(
      choice(['linear', 'cosine', 'constant', 'constant_with_warmup']),
      'linear',
      'course of the learning rate',
    ),
    warmup_ratio: withDefault(share, 0, 'share of all steps to warm up in'),
    warmup_steps: withDefault(integer(0, COUNT.most), 0, 'steps to warm up in; goes before --warmup_ratio'),
    weight_decay: withDefault(within(WEIGHT_DECAY), 0, 'decoupled weight decay'),
    adam_beta1: withDefault(within(ADAM_BETA), 0.9, 'decay of the mean of gradients'),
    adam_beta2: withDefault(within(ADAM_BETA), 0.999, 'decay of the mean of squared gradients'),
    adam_epsilon: withDefault(within(ADAM_EPSILON), 1e-8, 'added to the root of the second moment'),
    max_grad_norm: withDefault(gradientNorm, 1, 'gradients are clipped to this norm; 0 for no clipping'),
    seed: withDefault(integer(), 42, 'seed of everything random'),
    fp16: withDefault(boolean, false, 'mixed precision: f16 activations, f32 weights, scaled loss'),
    bf16: withDefault(boolean, false, 'accepted; runs in float32'),
    gradient_checkpointing: withDefault(boolean, false, 'recompute activations: less memory, more time'),
    shard_optimizer: withDefault(
      boolean,
      false,
      'ranks divide the optimiser’s state (ZeRO stage 1): less memory, more to exchange, the same numbers',
    ),
    deepspeed: optional(path, 'DeepSpeed file: optimiser, schedule, loss scaling and ZeRO stage 0 or 1'),
  }),
  ...group('Evaluation', {
    eval_strategy: optional(
      choice(['no', 'steps', 'epoch']),
      'when --eval_data is evaluated: steps and epoch at the last step too; epoch by default',
    ),
    eval_steps: optional(
      interval,
      'steps between two evaluations, below 1 a share of the run; --logging_steps by default',
    ),
    eval_on_start: withDefault(boolean, false, 'evaluate before the first step too'),
    prediction_loss_only: withDefault(
      boolean,
      false,
      'evaluate the loss alone, not how the scores rank the candidates of each row',
    ),
    load_best_model_at_end: withDefault(
      boolean,
      false,
      'the model that is written at the end is that of the best checkpoint',
    ),
    metric_for_best_model: optional(
      text('a name in the log'),
      'what is best: loss, dense_ndcg@10, hybrid_mrr@10, …; loss by default',
    ),
    greater_is_better: optional(boolean, 'a greater metric is better; by default that of all but losses'),
    early_stopping_patience: optional(
      positive,
      'stop after so many evaluations of which none was better than the best before',
    ),
    early_stopping_threshold: withDefault(
      decimal('a number of at least 0', (value) => value >= 0 && value < Number.POSITIVE_INFINITY),
      0,
      'by how much an evaluation must be better to count for --early_stopping_patience',
    ),
  }),
  ...group('Output', {
    output_dir: required(path, 'where the model and its checkpoints go'),
    overwrite_output_dir: inert(
      withDefault(boolean, false, 'write into a directory that is not empty'),
      'an earlier model in the output folder is replaced either way',
      (overwrites) => overwrites,
    ),
    logging_steps: withDefault(interval, 500, 'steps between two log lines; below 1 a share of the run'),
    save_strategy: withDefault(choice(['steps', 'epoch', 'no']), 'steps', 'when checkpoints are written'),
    save_steps: withDefault(interval, 500, 'steps between two checkpoints; below 1 a share of the run'),
    save_total_limit: optional(positive, 'how many checkpoints are kept; all if not given'),
    save_dtype: withDefault(
      choice(['float32', 'float16', 'bfloat16']),
      'float32',
      'format of the weights of the trained model; those of checkpoints are float32',
    ),
    max_shard_size: optional(
      byteSize('GB', 1e5),
      'weights that take more than this are written in several files; 5GB by default',
    ),
    save_only_model: withDefault(
      boolean,
      false,
      'checkpoints hold the model alone: less room, but no run goes on from them',
    ),
    resume_from_checkpoint: optional(
      { ...text('a checkpoint, or True'), truths: true },
      'go on from this checkpoint; True: from the newest one in --output_dir, or from the beginning if there is none',
    ),
    dry_run: withDefault(
      boolean,
      false,
      'tell what the run would be, with its memory, and end before anything is written',
    ),
    report: withDefault(
      boolean,
      true,
      'keep a record of the run in the output folder: run_record.json, and report.html, which shows it',
    ),
    report_to: optional(
      listOf(text('a name'), 'none, all, tensorboard or other loggers'),
      'who else is told: tensorboard, whose event files are written, or none; tensorboard with --report',
    ),
    logging_dir: optional(
      path,
      'folder of TensorBoard’s event files; by default one in runs/ of the output folder',
    ),
    disable_tqdm: optional(boolean, 'no bar but lines, where --progress is auto'),
    ...profileFlag,
  }),
  ...progressFlag,
  ...rankFlags,
  ...adapterFlag,
  ...group('Machine', {
    max_gpu_memory: optional(byteSize('GiB', 1e6), 'the most GPU memory to use, such as 12GB'),
  }),
  ...tuneFlag,
  ...group('Other', {
    flagembedding_compat: withDefault(compat, new Set<CompatName>(), 'FlagEmbedding behaviours to restore'),
  }),
  ...debugFlag,
};

/** Keys are the flags in camel case: `--train_group_size` is `trainGroupSize`. */
export type FinetuneArguments = FlagValues<typeof finetuneFlags>;

/** Arguments of `finetune` as they were given, with what had no effect. */
export interface ParsedArguments extends ParsedCommand<FinetuneArguments> {
  /** Where each value comes from, by the names of the flags. */
  readonly origin: ReadonlyMap<string, Origin>;
}

/**
 * `ranks`: of the run, where a launcher started them; otherwise as many as `--nproc_per_node` says.
 * @throws InputError, one line that names the flag, what was expected and what was found.
 */
export function parseFinetuneArguments(argv: readonly string[], ranks?: number): ParsedArguments {
  const {
    values: args,
    notices,
    origin,
  } = parseFlags(finetuneFlags, argv, {
    foreign: { ...foreignTrainingArguments, ...olderTrainingArguments },
    aliases: { ...trainingArgumentAliases, ...olderTrainingArgumentAliases, ...embedderNames },
    habits,
  });
  return {
    args,
    notices: [...notices, ...checkFinetuneArguments(args, ranks ?? args.nprocPerNode)],
    origin,
  };
}

/** Models of random weights are trained with up to this. */
const HIGH_LEARNING_RATE = 0.01;

/** What no single flag can tell: contradictions are errors, the rest is returned as notices. */
function checkFinetuneArguments(args: FinetuneArguments, ranks: number): string[] {
  for (const [flag, named] of [
    ['config_name', args.configName],
    ['tokenizer_name', args.tokenizerName],
  ] as const)
    if (named !== null && named !== args.modelNameOrPath && !sameFolder(named, args.modelNameOrPath))
      throw new InputError(
        `--${flag}: expected that of the model, ${show(args.modelNameOrPath)}, found ${show(named)}: another one is not supported`,
      );
  if (args.useMrl) throw new InputError('--use_mrl: expected False, found True: not implemented for M3');
  if (args.fp16 && args.bf16)
    throw new InputError('--fp16 and --bf16: expected at most one of them, found both');
  if (args.fixEncoder && !args.unifiedFinetuning)
    throw new InputError(
      '--fix_encoder True: expected --unified_finetuning True with it; else nothing is trained',
    );

  if (args.evalData === null)
    for (const [flag, given] of [
      [`--eval_strategy ${args.evalStrategy}`, args.evalStrategy !== null && args.evalStrategy !== 'no'],
      ['--eval_on_start', args.evalOnStart],
    ] as const)
      if (given) throw new InputError(`${flag}: expected --eval_data with it, found none`);

  const notices: string[] = [];
  if (args.evalSteps !== null && (args.evalData === null || args.evalStrategy !== 'steps'))
    notices.push(
      `--eval_steps ${args.evalSteps} has no effect without ${args.evalData === null ? '--eval_data and ' : ''}--eval_strategy steps`,
    );
  if (args.evalData !== null && args.evalStrategy === 'no')
    notices.push('--eval_data has no effect with --eval_strategy no');
  const chooses = args.loadBestModelAtEnd || args.earlyStoppingPatience !== null;
  for (const [flag, given, needed] of [
    ['metric_for_best_model', args.metricForBestModel !== null, chooses],
    ['greater_is_better', args.greaterIsBetter !== null, chooses],
    ['early_stopping_threshold', args.earlyStoppingThreshold > 0, args.earlyStoppingPatience !== null],
  ] as const)
    if (given && !needed)
      notices.push(
        `--${flag} has no effect without ${flag === 'early_stopping_threshold' ? '' : '--load_best_model_at_end True or '}--early_stopping_patience`,
      );
  if (args.bf16) notices.push('--bf16: training runs in float32');
  if (args.learningRate > HIGH_LEARNING_RATE)
    notices.push(
      `--learning_rate ${args.learningRate} is far above what a pretrained model keeps its knowledge at (1e-6 to 1e-4 mostly)`,
    );
  if (args.maxSteps > 0 && args.numTrainEpochs !== finetuneFlags.num_train_epochs.fallback)
    notices.push(
      `--num_train_epochs ${args.numTrainEpochs} has no effect beside --max_steps ${args.maxSteps}`,
    );
  const others = (args.reportTo ?? []).filter((name) => !['none', 'all', 'tensorboard'].includes(name));
  if (others.length > 0 && !args.reportTo!.includes('none'))
    notices.push(
      `--report_to ${others.map(printable).join(' ')} has no effect here: the log goes to standard output, into trainer_state.json and to TensorBoard`,
    );
  if (args.loggingDir !== null && !tellsTensorBoard(args))
    notices.push('--logging_dir has no effect without --report_to tensorboard');
  notices.push(...checkRankArguments(args, ranks));
  if (args.negativesCrossDevice && ranks === 1)
    notices.push('--negatives_cross_device: one rank already sees all passages of its batch');
  if (args.useSelfDistill && !args.unifiedFinetuning)
    notices.push('--use_self_distill has no effect here without --unified_finetuning True');
  if (args.kdLossType !== finetuneFlags.kd_loss_type.fallback && !args.knowledgeDistillation)
    notices.push(`--kd_loss_type ${args.kdLossType} has no effect without --knowledge_distillation True`);
  if (args.lrSchedulerType === 'constant' && args.deepspeed === null)
    for (const [flag, value] of [
      ['warmup_steps', args.warmupSteps],
      ['warmup_ratio', args.warmupRatio],
    ] as const)
      if (value > 0)
        notices.push(
          `--${flag} ${value} has no effect with --lr_scheduler_type constant; constant_with_warmup has a warm-up`,
        );
  if (args.warmupSteps > 0 && args.warmupRatio > 0)
    notices.push(
      `--warmup_ratio ${args.warmupRatio} has no effect beside --warmup_steps ${args.warmupSteps}`,
    );
  if (args.saveTotalLimit !== null && args.saveStrategy === 'no')
    notices.push(`--save_total_limit ${args.saveTotalLimit} has no effect with --save_strategy no`);
  if (args.dryRun && args.profile !== null)
    notices.push('--profile has no effect with --dry_run: no step is taken');
  if (args.saveOnlyModel && args.saveStrategy === 'no')
    notices.push('--save_only_model has no effect with --save_strategy no');
  return notices;
}

/** Whether event files are written. */
export function tellsTensorBoard({ reportTo, report }: FinetuneArguments): boolean {
  if (reportTo === null) return report;
  return !reportTo.includes('none') && reportTo.some((name) => name === 'tensorboard' || name === 'all');
}

/** What `--resume_from_checkpoint` says: a folder, true for the newest checkpoint of the output folder, or null. */
export function resumeWish({ resumeFromCheckpoint: word }: FinetuneArguments): string | true | null {
  const said = word === null ? false : boolean.parse([word]);
  return said === undefined ? word : said ? true : null;
}

/** `--logging_steps` and `--save_steps` in steps: below 1 they are a share of the run, rounded up. */
export function intervalInSteps(interval: number, totalSteps: number): number {
  return interval < 1 ? Math.max(1, Math.ceil(interval * totalSteps)) : interval;
}
