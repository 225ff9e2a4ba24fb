/**
 * What the numbers of a run say before its first step: how long it is, and where it does less than its flags seem to
 * ask (batches that are dropped, rates of 0, intervals and starts that are never reached), one line each.
 */
import { InputError } from '../../errors.js';
import type { Schedule } from '../../optim/schedules.js';
import { type FinetuneArguments, finetuneFlags, intervalInSteps } from '../arguments.js';
import { COUNT } from '../limits.js';
import { warmupOf, zeroRates } from '../schedules.js';

export interface RunSize {
  /** Batches that an epoch gives. */
  readonly batchesPerEpoch: number;
  /** Batches that an optimiser step takes: those asked for, or an epoch's when that has fewer. */
  readonly window: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
}

type SizeArguments = Pick<FinetuneArguments, 'gradientAccumulationSteps' | 'maxSteps' | 'numTrainEpochs'>;

/**
 * `ahead`: by how many steps the run is further in its data than the steps it took, because some of them took more rows
 * than a step takes now. `taken`: steps that it has taken already, of which it has no fewer. @throws InputError when the run
 * would be longer than any.
 */
export function runSize(args: SizeArguments, batchesPerEpoch: number, ahead = 0, taken = 0): RunSize {
  const window = Math.min(args.gradientAccumulationSteps, batchesPerEpoch);
  const stepsPerEpoch = Math.floor(batchesPerEpoch / window);
  const totalSteps =
    args.maxSteps > 0
      ? args.maxSteps
      : Math.max(Math.ceil(args.numTrainEpochs * stepsPerEpoch) - ahead, taken);
  if (totalSteps > COUNT.most)
    throw new InputError(
      `--num_train_epochs ${args.numTrainEpochs}: expected at most ${COUNT.most} steps in all, found ${totalSteps} of ${stepsPerEpoch} an epoch`,
    );
  return { batchesPerEpoch, window, stepsPerEpoch, totalSteps };
}

type ForecastArguments = SizeArguments &
  Pick<
    FinetuneArguments,
    | 'warmupSteps'
    | 'warmupRatio'
    | 'lrSchedulerType'
    | 'saveStrategy'
    | 'saveSteps'
    | 'loggingSteps'
    | 'useSelfDistill'
    | 'selfDistillStartStep'
  >;

/**
 * One line for each thing that the run will do less of than was asked. `rate`: by completed steps, with a warm-up of
 * `warmup` steps.
 */
export function forecast(
  args: ForecastArguments,
  size: RunSize,
  rate: Schedule,
  warmup = warmupOf(args, size.totalSteps),
): string[] {
  const { batchesPerEpoch, window, stepsPerEpoch, totalSteps } = size;
  const lines: string[] = [];
  const accumulation = args.gradientAccumulationSteps;
  if (window < accumulation)
    lines.push(
      `--gradient_accumulation_steps ${accumulation}: an epoch has ${batchesPerEpoch} batches, so a step takes ${window}`,
    );
  const tail = batchesPerEpoch - stepsPerEpoch * window;
  if (tail > 0)
    lines.push(
      `--gradient_accumulation_steps ${accumulation}: the last ${tail} of the ${batchesPerEpoch} batches of an epoch fill no step and are dropped`,
    );
  if (totalSteps < stepsPerEpoch)
    lines.push(
      `${args.maxSteps > 0 ? `--max_steps ${args.maxSteps}` : `--num_train_epochs ${args.numTrainEpochs}`}: the run has ${totalSteps} of the ${stepsPerEpoch} steps of an epoch: the other rows are not used`,
    );
  lines.push(...rateNotices(totalSteps, rate, warmup));

  // Intervals that nobody gave are longer than many a short run.
  const unreached = (flag: 'save_steps' | 'logging_steps', value: number, what: string) => {
    if (intervalInSteps(value, totalSteps) > totalSteps && value !== finetuneFlags[flag].fallback)
      lines.push(`--${flag} ${value}: the run has ${totalSteps} steps: ${what} at its end only`);
  };
  unreached('logging_steps', args.loggingSteps, 'it is logged');
  if (args.saveStrategy === 'steps') unreached('save_steps', args.saveSteps, 'a checkpoint is written');
  const forwards = totalSteps * window;
  if (args.useSelfDistill && args.selfDistillStartStep >= forwards - 1)
    lines.push(
      `--self_distill_start_step ${args.selfDistillStartStep}: the run has ${forwards} forward passes: self-distillation never starts`,
    );
  return lines;
}

function rateNotices(totalSteps: number, rate: Schedule, warmup: number): string[] {
  const zero = zeroRates(rate, totalSteps);
  const steps = totalSteps === 1 ? 'the only step' : `all ${totalSteps} steps`;
  if (zero.first === totalSteps)
    return [
      `the learning rate is 0 in ${steps}${warmup > 0 ? ` (a warm-up of ${warmup} begins at 0)` : ''}: nothing will be learnt`,
    ];
  const lines: string[] = [];
  if (warmup >= totalSteps)
    lines.push(
      `a warm-up of ${warmup} steps in a run of ${totalSteps}: the learning rate ends at ${rate(totalSteps - 1)}`,
    );
  if (zero.last > 0)
    lines.push(
      `the learning rate is 0 in the last ${zero.last} of ${totalSteps} steps: they will change nothing`,
    );
  return lines;
}
