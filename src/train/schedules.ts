/** Which schedule of `src/optim/schedules.ts` a run has, as its flags and its DeepSpeed file say. */
import {
  constantSchedule,
  constantWithWarmupSchedule,
  cosineSchedule,
  linearSchedule,
  logWarmupSchedule,
  type Schedule,
  type ScheduleSize,
} from '../optim/schedules.js';
import type { FinetuneArguments } from './arguments.js';
import type { DeepSpeedSettings } from './deepspeed.js';

/** `warmup_steps` when given, else the share `warmup_ratio` of all steps, rounded up. */
export function warmupStepsOf(
  args: Pick<FinetuneArguments, 'warmupSteps' | 'warmupRatio'>,
  totalSteps: number,
): number {
  return args.warmupSteps > 0 ? args.warmupSteps : Math.ceil(totalSteps * args.warmupRatio);
}

/** The warm-up that a run has, in steps: the DeepSpeed file's scheduler goes before the flags'. */
export function warmupOf(
  args: Pick<FinetuneArguments, 'lrSchedulerType' | 'warmupSteps' | 'warmupRatio'>,
  totalSteps: number,
  deepspeed: DeepSpeedSettings | null = null,
): number {
  const scheduler = deepspeed?.scheduler ?? null;
  if (scheduler) return scheduler.warmupSteps ?? warmupStepsOf(args, totalSteps);
  return args.lrSchedulerType === 'constant' ? 0 : warmupStepsOf(args, totalSteps);
}

/**
 * The learning rate of a run as a function of completed steps. A scheduler in the DeepSpeed file goes before
 * `--lr_scheduler_type`, as in Hugging Face's trainer.
 */
export function learningRateOf(
  args: Pick<FinetuneArguments, 'learningRate' | 'lrSchedulerType' | 'warmupSteps' | 'warmupRatio'>,
  totalSteps: number,
  deepspeed: DeepSpeedSettings | null = null,
): Schedule {
  const scheduler = deepspeed?.scheduler ?? null;
  if (scheduler) {
    const size: ScheduleSize = {
      warmupSteps: warmupOf(args, totalSteps, deepspeed),
      totalSteps: scheduler.totalSteps ?? totalSteps,
    };
    const decay = scheduler.type === 'WarmupDecayLR';
    const linear = decay ? linearSchedule(size) : constantWithWarmupSchedule(size);
    const factor = scheduler.warmupType === 'log' ? logWarmupSchedule(size, decay) : linear;
    const { minimum, maximum } = scheduler;
    return (completed) => minimum + (maximum - minimum) * factor(completed);
  }
  const peak = deepspeed?.optimizer.learningRate ?? args.learningRate;
  const factor = namedSchedule(args.lrSchedulerType, {
    warmupSteps: warmupStepsOf(args, totalSteps),
    totalSteps,
  });
  return (completed) => peak * factor(completed);
}

function namedSchedule(name: FinetuneArguments['lrSchedulerType'], size: ScheduleSize): Schedule {
  switch (name) {
    case 'linear':
      return linearSchedule(size);
    case 'cosine':
      return cosineSchedule(size);
    case 'constant':
      return constantSchedule;
    case 'constant_with_warmup':
      return constantWithWarmupSchedule(size);
  }
}

/** Steps after which the search for a first rate above 0 gives up; no warm-up begins with as many zeros. */
const MOST_ZEROS = 100_000;

/**
 * How many steps at the start and at the end of a run have a learning rate of 0 in f32. A rate that is 0 after its
 * first value above 0 is taken to stay 0, as it does in every schedule here. `first` is all when no step has a rate.
 */
export function zeroRates(rate: Schedule, totalSteps: number): { first: number; last: number } {
  const isZero = (completed: number) => Math.fround(rate(completed)) === 0;
  let first = 0;
  while (first < totalSteps && first < MOST_ZEROS && isZero(first)) first++;
  if (first === totalSteps || first === MOST_ZEROS) return { first: totalSteps, last: 0 };
  if (!isZero(totalSteps - 1)) return { first, last: 0 };
  // The rate at `above` is not 0, that at `below` is.
  let [above, below] = [first, totalSteps - 1];
  while (below - above > 1) {
    const middle = Math.floor((above + below) / 2);
    if (isZero(middle)) below = middle;
    else above = middle;
  }
  return { first, last: totalSteps - below };
}
