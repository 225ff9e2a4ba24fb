/**
 * Reads a DeepSpeed JSON file for what it says about training: loss scaling, optimiser, schedule, clipping. 'auto'
 * takes the flag's value. Of ZeRO's stages 0 and 1 are here; the rest of the file's machinery (communication, timers)
 * is not: keys without effect are reported once, unknown ones too.
 */
import { InputError } from '../errors.js';
import { readJson } from '../files/json.js';
import type { LossScaling } from '../optim/loss-scale.js';
import { printable, show } from '../show.js';
import type { FinetuneArguments } from './arguments.js';
import {
  ADAM_BETA,
  ADAM_EPSILON,
  COUNT,
  GRADIENT_NORM,
  HYSTERESIS,
  LEARNING_RATE,
  LOSS_SCALE,
  LOSS_SCALE_POWER,
  type Range,
  WEIGHT_DECAY,
} from './limits.js';

export interface DeepSpeedSettings {
  readonly precision: 'float32' | 'float16' | 'bfloat16';
  /** Null unless the precision is float16. */
  readonly lossScaling: LossScaling | null;
  readonly optimizer: {
    readonly learningRate: number;
    readonly betas: readonly [number, number];
    readonly epsilon: number;
    readonly weightDecay: number;
    /** The file names an optimiser: DeepSpeed then has one parameter group, and decays biases and norms too. */
    readonly decaysEverything: boolean;
  };
  /** Null: `--lr_scheduler_type` decides. Steps that are null follow from the flags and the length of the run. */
  readonly scheduler: {
    readonly type: 'WarmupDecayLR' | 'WarmupLR';
    readonly warmupType: 'linear' | 'log';
    readonly minimum: number;
    readonly maximum: number;
    readonly warmupSteps: number | null;
    readonly totalSteps: number | null;
  } | null;
  /** 0: none. */
  readonly maxGradNorm: number;
}

/** What a file says. */
export interface DeepSpeedFile {
  /** What the numbers of a run follow from. */
  readonly settings: DeepSpeedSettings;
  /** Stage 1 of ZeRO: ranks divide the optimiser's state, which changes no number. */
  readonly shardsOptimizer: boolean;
  /** The flags in whose place it speaks, by their names, with its values. */
  readonly says: ReadonlyMap<string, boolean | number | string>;
  readonly notices: string[];
}

type Arguments = Pick<
  FinetuneArguments,
  | 'fp16'
  | 'bf16'
  | 'learningRate'
  | 'adamBeta1'
  | 'adamBeta2'
  | 'adamEpsilon'
  | 'weightDecay'
  | 'maxGradNorm'
  | 'perDeviceTrainBatchSize'
  | 'gradientAccumulationSteps'
  | 'flagembeddingCompat'
  | 'lrSchedulerType'
  | 'warmupSteps'
>;

/** @throws InputError naming the file and the key. */
export function readDeepSpeed(file: string, args: Arguments, worldSize = 1): DeepSpeedFile {
  return parseDeepSpeed(readJson(file), file, args, worldSize);
}

/** The same from the file's value; `file` is for messages. */
export function parseDeepSpeed(json: unknown, name: string, args: Arguments, worldSize = 1): DeepSpeedFile {
  const file = printable(name);
  // An absent section is an empty one; the file itself must be there.
  if (json === null || json === undefined)
    throw new InputError(`${file}: expected an object, found ${show(json)}`);
  const root = new Section(file, '', json);
  const notices: string[] = [];
  const says = new Map<string, boolean | number | string>();

  const zero = root.section('zero_optimization');
  const stage = zero.count('stage', { least: 0, most: 3 }) ?? 0;
  if (stage > 1)
    throw zero.wrong(
      'stage',
      `0 or 1 (every rank has the whole ${stage === 2 ? 'gradient' : 'model'} here; 1 divides the optimiser's state)`,
      stage,
    );
  for (const key of zero.unread()) zero.skip(key);
  if (stage === 1) says.set('shard_optimizer', true);

  // precision
  const fp16 = root.section('fp16');
  const bf16 = root.section('bf16');
  const half = fp16.booleanOr('enabled', args.fp16);
  const brain = bf16.booleanOr('enabled', args.bf16);
  for (const [name, enabled, flag] of [
    ['fp16', half, args.fp16] as const,
    ['bf16', brain, args.bf16] as const,
  ])
    if (enabled !== flag) notices.push(`${file}: ${name}.enabled ${enabled} is used, not --${name} ${flag}`);
  if (fp16.decides('enabled')) says.set('fp16', half);
  if (bf16.decides('enabled')) says.set('bf16', brain);
  if (half && brain) throw root.wrong('fp16', 'at most one of fp16 and bf16 enabled', 'both');
  const scale = fp16.number('loss_scale', { ...LOSS_SCALE, least: 0 }) ?? 0;
  if (scale > 0 && scale < LOSS_SCALE.least)
    throw fp16.wrong('loss_scale', `0 (dynamic) or a number of at least ${LOSS_SCALE.least}`, scale);
  const power = fp16.number('initial_scale_power', LOSS_SCALE_POWER) ?? 16;
  const window = fp16.count('loss_scale_window', COUNT) ?? 1000;
  const hysteresis = fp16.count('hysteresis', HYSTERESIS) ?? 2;
  const minimumScale = fp16.number('min_loss_scale', LOSS_SCALE) ?? 1;
  if (scale === 0 && minimumScale > 2 ** power)
    throw fp16.wrong('min_loss_scale', `at most the initial scale, ${2 ** power}`, minimumScale);
  for (const key of ['auto_cast', 'consecutive_hysteresis', 'fp16_master_weights_and_grads']) fp16.skip(key);
  bf16.skip('immediate_grad_update');
  const dynamic = { kind: 'dynamic', initialScale: 2 ** power, window, hysteresis, minimumScale } as const;
  const lossScaling: LossScaling = scale > 0 ? { kind: 'static', scale } : dynamic;

  // optimiser
  const differs = (section: Section, key: string, value: number, flag: string, flagValue: number) => {
    if (value !== flagValue)
      notices.push(`${file}: ${section.path(key)} ${value} is used, not --${flag} ${flagValue}`);
    return value;
  };
  const optimizer = root.section('optimizer');
  const decaysEverything = optimizer.present;
  const optimizerType = optimizer.text('type') ?? 'AdamW';
  if (!['adamw', 'adam'].includes(optimizerType.toLowerCase()))
    throw optimizer.wrong('type', '"AdamW"', optimizerType);
  const adam = optimizer.section('params');
  const flagOr = (section: Section, key: string, range: Range, flag: string, flagValue: number) => {
    const value = section.number(key, range);
    if (value !== null) says.set(flag, value);
    return differs(section, key, value ?? flagValue, flag, flagValue);
  };
  const learningRate = flagOr(adam, 'lr', LEARNING_RATE, 'learning_rate', args.learningRate);
  const epsilon = flagOr(adam, 'eps', ADAM_EPSILON, 'adam_epsilon', args.adamEpsilon);
  const weightDecay = flagOr(adam, 'weight_decay', WEIGHT_DECAY, 'weight_decay', args.weightDecay);
  const betas = adam.pair('betas', ADAM_BETA) ?? [args.adamBeta1, args.adamBeta2];
  if (adam.decides('betas')) says.set('adam_beta1', betas[0]).set('adam_beta2', betas[1]);
  differs(adam, 'betas[0]', betas[0], 'adam_beta1', args.adamBeta1);
  differs(adam, 'betas[1]', betas[1], 'adam_beta2', args.adamBeta2);
  if (adam.boolean('adam_w_mode') === false)
    throw adam.wrong('adam_w_mode', 'true (weight decay is decoupled here)', false);
  for (const key of ['torch_adam', 'bias_correction', 'freeze_step', 'cuda_aware', 'comm_backend_name'])
    adam.skip(key);

  // schedule
  const schedulerSection = root.section('scheduler');
  let scheduler: DeepSpeedSettings['scheduler'] = null;
  if (schedulerSection.present) {
    const type = schedulerSection.text('type') ?? 'WarmupDecayLR';
    if (type !== 'WarmupDecayLR' && type !== 'WarmupLR')
      throw schedulerSection.wrong('type', '"WarmupDecayLR" or "WarmupLR"', type);
    const params = schedulerSection.section('params');
    const named = params.text('warmup_type');
    if (named !== null && named !== 'log' && named !== 'linear')
      throw params.wrong('warmup_type', '"log" or "linear"', named);
    const compat = args.flagembeddingCompat.has('log-warmup');
    scheduler = {
      type,
      warmupType: named ?? (compat ? 'log' : 'linear'),
      minimum: params.number('warmup_min_lr', LEARNING_RATE) ?? 0,
      maximum: params.number('warmup_max_lr', LEARNING_RATE) ?? learningRate,
      warmupSteps: params.count('warmup_num_steps', { ...COUNT, least: 0 }),
      totalSteps: params.count('total_num_steps', COUNT),
    };
    if (args.lrSchedulerType !== 'linear')
      notices.push(
        `${file}: scheduler.type ${type} is used, not --lr_scheduler_type ${args.lrSchedulerType}`,
      );
    const { warmupSteps } = scheduler;
    says.set('lr_scheduler_type', type);
    if (warmupSteps !== null) says.set('warmup_steps', warmupSteps);
    if (warmupSteps !== null && args.warmupSteps > 0)
      differs(params, 'warmup_num_steps', warmupSteps, 'warmup_steps', args.warmupSteps);
    if (scheduler.minimum > scheduler.maximum)
      throw params.wrong('warmup_min_lr', `at most warmup_max_lr, ${scheduler.maximum}`, scheduler.minimum);
    params.skip('last_batch_iteration');
  }

  // sizes that both the file and the flags name: a contradiction has no right answer
  const mustEqual = (key: string, expected: number, because: string) => {
    const value = root.number(key, { least: 1, most: Number.MAX_SAFE_INTEGER });
    if (value !== null && value !== expected)
      throw root.wrong(key, `${expected} or "auto" (${because})`, value);
  };
  const { perDeviceTrainBatchSize: batch, gradientAccumulationSteps: accumulation } = args;
  mustEqual('train_micro_batch_size_per_gpu', batch, '--per_device_train_batch_size');
  mustEqual('gradient_accumulation_steps', accumulation, '--gradient_accumulation_steps');
  mustEqual('train_batch_size', batch * accumulation * worldSize, 'batch size × accumulation × ranks');
  const maxGradNorm = flagOr(
    root,
    'gradient_clipping',
    { ...GRADIENT_NORM, least: 0 },
    'max_grad_norm',
    args.maxGradNorm,
  );
  if (maxGradNorm > 0 && maxGradNorm < GRADIENT_NORM.least)
    throw root.wrong('gradient_clipping', `0 or a number of at least ${GRADIENT_NORM.least}`, maxGradNorm);

  for (const key of inertKeys) root.skip(key);
  const sections = root.tree();
  const skipped = sections.flatMap((section) => section.skipped.map((key) => section.path(key)));
  const unknown = sections.flatMap((section) => section.unread().map((key) => section.path(key)));
  if (skipped.length > 0) notices.push(`${file}: no effect here: ${names(skipped)}`);
  if (unknown.length > 0) notices.push(`${file}: unknown keys, ignored: ${names(unknown)}`);
  return {
    settings: {
      precision: half ? 'float16' : brain ? 'bfloat16' : 'float32',
      lossScaling: half ? lossScaling : null,
      optimizer: { learningRate, betas, epsilon, weightDecay, decaysEverything },
      scheduler,
      maxGradNorm,
    },
    shardsOptimizer: stage === 1,
    says,
    notices,
  };
}

/** DeepSpeed's keys about its own machinery. */
const inertKeys = [
  'steps_per_print',
  'wall_clock_breakdown',
  'dump_state',
  'memory_breakdown',
  'communication_data_type',
  'prescale_gradients',
  'gradient_predivide_factor',
  'sparse_gradients',
  'zero_allow_untested_optimizer',
  'zero_force_ds_cpu_optimizer',
  'activation_checkpointing',
  'flops_profiler',
  'comms_logger',
  'tensorboard',
  'wandb',
  'csv_monitor',
  'checkpoint',
  'data_types',
  'aio',
  'torch_autocast',
];

/** One object of the file. Remembers which keys were read, so that what nobody asked for can be reported. */
class Section {
  readonly present: boolean;
  readonly skipped: string[] = [];
  private readonly entries: Record<string, unknown>;
  private readonly read = new Set<string>();
  private readonly children: Section[] = [];

  constructor(
    private readonly file: string,
    private readonly prefix: string,
    value: unknown,
  ) {
    this.present = value !== undefined && value !== null;
    if (this.present && (typeof value !== 'object' || Array.isArray(value)))
      throw new InputError(
        `${file}: ${prefix === '' ? '' : `${prefix.slice(0, -1)}: `}expected an object, found ${show(value)}`,
      );
    this.entries = (value ?? {}) as Record<string, unknown>;
  }

  path(key: string): string {
    return this.prefix + key;
  }

  wrong(key: string, expected: string, found: unknown): InputError {
    return new InputError(`${this.file}: ${this.path(key)}: expected ${expected}, found ${show(found)}`);
  }

  section(key: string): Section {
    const child = new Section(this.file, `${this.path(key)}.`, this.take(key));
    this.children.push(child);
    return child;
  }

  /** Null when absent or "auto". */
  number(key: string, { least, most }: Range): number | null {
    const value = this.takeUnlessAuto(key);
    if (value === null) return null;
    if (typeof value !== 'number' || !(value >= least && value <= most))
      throw this.wrong(key, `"auto" or a number from ${least} to ${most}`, value);
    return value;
  }

  /** A whole number; null when absent or "auto". */
  count(key: string, { least, most }: Range): number | null {
    const value = this.takeUnlessAuto(key);
    if (value === null) return null;
    if (typeof value !== 'number' || !Number.isInteger(value) || !(value >= least && value <= most))
      throw this.wrong(key, `"auto" or an integer from ${least} to ${most}`, value);
    return value;
  }

  /** Whether it has a value of its own there. */
  decides(key: string): boolean {
    return ![undefined, null, 'auto'].includes(this.entry(key) as never);
  }

  boolean(key: string): boolean | null {
    const value = this.takeUnlessAuto(key);
    if (value !== null && typeof value !== 'boolean') throw this.wrong(key, '"auto", true or false', value);
    return value;
  }

  /** An absent section is off; "auto" asks the flag. */
  booleanOr(key: string, automatic: boolean): boolean {
    if (this.present && this.entry(key) === undefined) return false;
    return this.boolean(key) ?? automatic;
  }

  text(key: string): string | null {
    const value = this.take(key);
    if (value !== undefined && value !== null && typeof value !== 'string')
      throw this.wrong(key, 'a string', value);
    return value ?? null;
  }

  pair(key: string, { least, most }: Range): [number, number] | null {
    const value = this.takeUnlessAuto(key);
    if (value === null) return null;
    const valid = Array.isArray(value) && value.length === 2;
    if (!valid || !value.every((beta) => typeof beta === 'number' && beta >= least && beta <= most))
      throw this.wrong(key, `"auto" or two numbers from ${least} to ${most}`, value);
    return value as [number, number];
  }

  /** Marks a key, if it is there, as known but without effect. */
  skip(key: string): void {
    if (this.entry(key) === undefined || this.read.has(key)) return;
    this.read.add(key);
    this.skipped.push(key);
  }

  unread(): string[] {
    return Object.keys(this.entries).filter((key) => !this.read.has(key));
  }

  /** This section and all that were opened from it. */
  tree(): Section[] {
    return [this, ...this.children.flatMap((child) => child.tree())];
  }

  private take(key: string): unknown {
    this.read.add(key);
    return this.entry(key);
  }

  /** By own names: a file's key must not find what objects inherit. */
  private entry(key: string): unknown {
    return Object.hasOwn(this.entries, key) ? this.entries[key] : undefined;
  }

  private takeUnlessAuto(key: string): unknown {
    const value = this.take(key) ?? null;
    return value === 'auto' ? null : value;
  }
}

/** A few of the keys, for a message. */
function names(keys: readonly string[]): string {
  const most = 8;
  const shown = keys.slice(0, most).map((key) => printable(key.length > 60 ? `${key.slice(0, 60)}…` : key));
  return `${shown.join(', ')}${keys.length > most ? ` and ${keys.length - most} more` : ''}`;
}
