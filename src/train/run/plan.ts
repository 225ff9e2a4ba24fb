/**
 * Everything about a run that is decided before its first step: how long it is, when it logs, saves and evaluates, at which
 * rates, in which precision, what trains. A function of the flags, the DeepSpeed file and the size of the data alone.
 */

import type { LogEntry } from '../../console/reporter.js';
import { InputError } from '../../errors.js';
import { decaysByDefault } from '../../models/m3-parameters.js';
import type { LossScaling } from '../../optim/loss-scale.js';
import { defaultLossScaling } from '../../optim/loss-scale.js';
import type { Schedule } from '../../optim/schedules.js';
import { show } from '../../show.js';
import { type FinetuneArguments, intervalInSteps } from '../arguments.js';
import type { DeepSpeedSettings } from '../deepspeed.js';
import { learningRateOf, warmupOf } from '../schedules.js';
import type { StepSettings } from '../step/train-step.js';
import type { BestSettings } from './best.js';
import { metricNames } from './evaluation.js';
import { forecast, type RunSize, runSize } from './forecast.js';
import type { RunSettings } from './run.js';

export interface DataSize {
  readonly rows: number;
  /** Of each rank. */
  readonly batchesPerEpoch: number;
  /** Ranks that share each step; 1 where none is given. */
  readonly worldSize?: number;
  /** Rows to evaluate on that have candidates to rank; undefined where there are no such data. */
  readonly ranked: number | undefined;
}

export class RunPlan implements RunSize {
  readonly worldSize: number;
  readonly batchesPerEpoch: number;
  readonly window: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  readonly loggingSteps: number;
  readonly saveSteps: number;
  readonly evalStrategy: 'no' | 'steps' | 'epoch';
  readonly evalSteps: number;
  /** Evaluation ranks the candidates of rows. */
  readonly ranks: boolean;
  /** Null: nobody asks which model is best. */
  readonly best: BestSettings | null;
  readonly learningRate: Schedule;
  readonly warmup: number;
  readonly precision: 'f32' | 'f16';
  readonly lossScaling: LossScaling | null;
  readonly run: RunSettings;
  /** One line for each thing that the run will do less of than was asked. */
  readonly notices: readonly string[];

  /** @throws InputError when the run would be longer than any, or what is best cannot be told. */
  constructor(
    readonly args: FinetuneArguments,
    private readonly deepspeed: DeepSpeedSettings | null,
    readonly data: DataSize,
    /** Steps by which the run is further in its data than it took steps: some took more rows, at another world size. */
    private readonly ahead = 0,
    /** Steps that the run has taken at another world size, and keeps. */
    private readonly taken = 0,
  ) {
    const size = runSize(args, data.batchesPerEpoch, ahead, taken);
    this.worldSize = data.worldSize ?? 1;
    this.batchesPerEpoch = size.batchesPerEpoch;
    this.window = size.window;
    this.stepsPerEpoch = size.stepsPerEpoch;
    this.totalSteps = size.totalSteps;
    this.loggingSteps = intervalInSteps(args.loggingSteps, size.totalSteps);
    this.saveSteps = intervalInSteps(args.saveSteps, size.totalSteps);
    this.evalStrategy = data.ranked === undefined ? 'no' : (args.evalStrategy ?? 'epoch');
    this.evalSteps = intervalInSteps(args.evalSteps ?? args.loggingSteps, size.totalSteps);
    this.ranks = this.evalStrategy !== 'no' && !args.predictionLossOnly && data.ranked! > 0;
    this.best = this.bestSettings();
    this.learningRate = learningRateOf(args, size.totalSteps, deepspeed);
    this.warmup = warmupOf(args, size.totalSteps, deepspeed);
    this.notices = forecast(args, size, this.learningRate, this.warmup);
    const half = (deepspeed?.precision ?? (args.fp16 ? 'float16' : 'float32')) === 'float16';
    this.precision = half ? 'f16' : 'f32';
    this.lossScaling = half ? (deepspeed?.lossScaling ?? defaultLossScaling) : null;
    const adam = deepspeed?.optimizer;
    this.run = {
      optimizer: {
        beta1: adam?.betas[0] ?? args.adamBeta1,
        beta2: adam?.betas[1] ?? args.adamBeta2,
        eps: adam?.epsilon ?? args.adamEpsilon,
        weightDecay: adam?.weightDecay ?? args.weightDecay,
        maxGradNorm: deepspeed?.maxGradNorm ?? args.maxGradNorm,
      },
      step: stepSettings(args),
      window: size.window,
      learningRate: this.learningRate,
      lossScaling: this.lossScaling,
      seed: args.seed,
      selfDistillAfter: args.useSelfDistill ? args.selfDistillStartStep : null,
      shardOptimizer: args.shardOptimizer,
      wire: args.reduceDtype,
    };
  }

  /** The same run with other values of some flags, and `batchesPerEpoch` where these change how data is cut. */
  with(changes: Partial<FinetuneArguments>, batchesPerEpoch = this.data.batchesPerEpoch): RunPlan {
    const { args, deepspeed, data, ahead, taken } = this;
    return new RunPlan({ ...args, ...changes }, deepspeed, { ...data, batchesPerEpoch }, ahead, taken);
  }

  /** A DeepSpeed file decides it, or may. */
  get precisionIsGiven(): boolean {
    return this.deepspeed !== null;
  }

  /** The same run where it goes on, `ahead` steps further in its data than it took steps; it has `taken` steps at least. */
  goingOn(ahead: number, taken: number): RunPlan {
    if (ahead === 0 && taken <= this.totalSteps) return this;
    return new RunPlan(this.args, this.deepspeed, this.data, ahead, taken);
  }

  /** Epochs of the data that are behind the run after so many steps. */
  epochsAfter(step: number): number {
    return (step + this.ahead) / this.stepsPerEpoch;
  }

  /** All of it as one record: what the flags, the DeepSpeed file and the data come to. */
  describe(): LogEntry {
    const { args, run, lossScaling, totalSteps } = this;
    const rate = (completed: number) => this.learningRate(completed);
    const warmest = Math.min(this.warmup, totalSteps - 1);
    return {
      ...{ rows: this.data.rows, batches_per_epoch: this.batchesPerEpoch, batches_per_step: this.window },
      ...(this.worldSize > 1
        ? { ranks: this.worldSize, optimizer_shards: args.shardOptimizer ? this.worldSize : 1 }
        : {}),
      ...{ steps_per_epoch: this.stepsPerEpoch, total_steps: totalSteps, logging_steps: this.loggingSteps },
      ...(args.saveStrategy === 'steps' ? { save_steps: this.saveSteps } : {}),
      ...{ save_strategy: args.saveStrategy, checkpoints_kept: this.checkpointsKept },
      ...{ warmup_steps: this.warmup, learning_rate_first: rate(0), learning_rate_warm: rate(warmest) },
      learning_rate_last: rate(totalSteps - 1),
      ...{ precision: this.precision === 'f16' ? 'float16' : 'float32' },
      ...(lossScaling
        ? { loss_scale: lossScaling.kind === 'static' ? lossScaling.scale : lossScaling.initialScale }
        : {}),
      ...{
        adam_beta1: run.optimizer.beta1,
        adam_beta2: run.optimizer.beta2,
        adam_epsilon: run.optimizer.eps,
      },
      ...{ weight_decay: run.optimizer.weightDecay, max_grad_norm: run.optimizer.maxGradNorm },
      ...(run.selfDistillAfter === null ? {} : { self_distill_start_step: run.selfDistillAfter }),
    };
  }

  /** Heads train only in unified fine-tuning; otherwise they get no gradient and must not decay either. */
  trains(name: string): boolean {
    const { args } = this;
    if (/^(colbert|sparse)_linear/.test(name)) return args.unifiedFinetuning;
    if (args.fixEncoder) return false;
    return !(args.fixPositionEmbedding && name.includes('position_embeddings'));
  }

  decays(name: string): boolean {
    return this.deepspeed?.optimizer.decaysEverything ? true : decaysByDefault(name);
  }

  // ---- what happens after a step, which is counted from 1 ---------------------------------------------------

  logsAt(step: number): boolean {
    return step % this.loggingSteps === 0 || step === this.totalSteps;
  }

  /** Before the first step. */
  get evaluatesAtStart(): boolean {
    return this.args.evalOnStart && this.evalStrategy !== 'no';
  }

  evaluatesAt(step: number): boolean {
    if (this.evalStrategy === 'no') return false;
    return (
      step === this.totalSteps ||
      (this.evalStrategy === 'steps' ? step % this.evalSteps === 0 : this.endsEpoch(step))
    );
  }

  savesAt(step: number): boolean {
    const { saveStrategy } = this.args;
    if (saveStrategy === 'no' || step > this.totalSteps) return false;
    return (
      step === this.totalSteps ||
      (saveStrategy === 'steps' ? step % this.saveSteps === 0 : this.endsEpoch(step))
    );
  }

  private endsEpoch(step: number): boolean {
    return (step + this.ahead) % this.stepsPerEpoch === 0;
  }

  /** The model is looked at or saved after this step, before the next one begins. */
  pausesAt(step: number): boolean {
    return this.evaluatesAt(step) || this.savesAt(step) || step === this.totalSteps;
  }

  /** @throws InputError where no evaluation gives the metric, or checkpoints are written that were not evaluated. */
  private bestSettings(): BestSettings | null {
    const { args } = this;
    const { loadBestModelAtEnd: load, earlyStoppingPatience: patience } = args;
    if (!load && patience === null) return null;
    const flag = load ? '--load_best_model_at_end' : `--early_stopping_patience ${patience}`;
    if (this.evalStrategy === 'no')
      throw new InputError(
        `${flag}: expected --eval_data${args.evalData ? ' with an --eval_strategy' : ''}, found none`,
      );
    const known = metricNames({ unified: args.unifiedFinetuning, ranks: this.ranks });
    const asked = args.metricForBestModel ?? 'loss';
    const metric = asked.startsWith('eval_') ? asked : `eval_${asked}`;
    if (!known.includes(metric))
      throw new InputError(
        `--metric_for_best_model: expected one of ${known.map((name) => name.slice('eval_'.length)).join(', ')}, found ${show(asked)}`,
      );
    if (load) this.requireEvaluatedSaves();
    return {
      metric,
      greaterIsBetter: args.greaterIsBetter ?? !metric.endsWith('loss'),
      ...{ load, patience, threshold: args.earlyStoppingThreshold },
    };
  }

  private requireEvaluatedSaves(): void {
    const { args, evalStrategy } = this;
    const { saveStrategy } = args;
    if (saveStrategy === 'no')
      throw new InputError('--load_best_model_at_end: expected checkpoints, found --save_strategy no');
    const every = { steps: this.evalSteps, epoch: this.stepsPerEpoch, no: 0 }[evalStrategy];
    const saves = saveStrategy === 'steps' ? this.saveSteps : this.stepsPerEpoch;
    if (saves % every === 0 || saves >= this.totalSteps) return;
    throw new InputError(
      `--load_best_model_at_end: expected an evaluation whenever a checkpoint is written, found one every ${every} steps and checkpoints every ${saves}`,
    );
  }

  /** How many checkpoints the run leaves. */
  get checkpointsKept(): number {
    const { saveStrategy, saveTotalLimit } = this.args;
    if (saveStrategy === 'no') return 0;
    const all = Math.ceil(this.totalSteps / (saveStrategy === 'epoch' ? this.stepsPerEpoch : this.saveSteps));
    return Math.min(all, saveTotalLimit ?? all);
  }
}

/** Each of them, so that none of the command's is forgotten. */
function stepSettings(args: FinetuneArguments): Required<Omit<StepSettings, 'weights'>> {
  return {
    temperature: args.temperature,
    unified: args.unifiedFinetuning,
    kind: args.kdLossType,
    negativesCrossDevice: args.negativesCrossDevice,
    compat: args.flagembeddingCompat,
    recompute: args.gradientCheckpointing,
    subBatchSize: args.subBatchSize,
  };
}
