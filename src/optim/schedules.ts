/**
 * Learning-rate schedules: a schedule maps the number of optimiser steps already taken (0 for the first step;
 * skipped steps do not count) to a factor of the peak learning rate.
 */

export type Schedule = (completedSteps: number) => number;

/** How many steps a schedule has, and how many of them warm up. */
export interface ScheduleSize {
  /** Default 0. */
  readonly warmupSteps?: number | undefined;
  /** Optimiser steps of the whole run. */
  readonly totalSteps: number;
}

/**
 * Rises from 0 by 1/w a step, then falls to 0 at the end of the run:
 *   c < w: c / w;  else (total − c) / (total − w).   Hugging Face's `linear`.
 */
export function linearSchedule({ warmupSteps = 0, totalSteps }: ScheduleSize): Schedule {
  return (completed) =>
    completed < warmupSteps
      ? completed / Math.max(1, warmupSteps)
      : Math.max(0, (totalSteps - completed) / Math.max(1, totalSteps - warmupSteps));
}

/** The same factor at every step. */
export const constantSchedule: Schedule = () => 1;

/** Rises as `linearSchedule`, then stays at 1. */
export function constantWithWarmupSchedule({ warmupSteps = 0 }: Pick<ScheduleSize, 'warmupSteps'>): Schedule {
  return (completed) => (completed < warmupSteps ? completed / Math.max(1, warmupSteps) : 1);
}

/** Rises as `linearSchedule`, then follows half a cosine from 1 to 0. */
export function cosineSchedule({ warmupSteps = 0, totalSteps }: ScheduleSize): Schedule {
  return (completed) => {
    if (completed < warmupSteps) return completed / Math.max(1, warmupSteps);
    const progress = (completed - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
  };
}

/**
 * DeepSpeed's logarithmic warm-up (`warmup_type: log`), one step late by its own counting: with l = completed − 1
 * and w = max(2, warm-up),
 *   l < 0: 0;  l < w: ln(l + 1) / ln(w);  else (total − l) / (total − w), or 1 when `decay` is false.
 * The first two steps of a run therefore have learning rate 0.
 */
export function logWarmupSchedule({ warmupSteps = 0, totalSteps }: ScheduleSize, decay = true): Schedule {
  const warmup = Math.max(2, warmupSteps);
  return (completed) => {
    const last = completed - 1;
    if (last < 0) return 0;
    if (last < warmup) return Math.log(last + 1) / Math.log(warmup);
    return decay ? Math.max(0, (totalSteps - last) / Math.max(1, totalSteps - warmup)) : 1;
  };
}

/**
 * Rises as `linearSchedule`, then falls from 1 to `end` as a power of what is left: ((1 − end)·(1 − progress)^power + end),
 * and stays there. Hugging Face's `polynomial`, which gives the end as a rate.
 */
export function polynomialSchedule(
  { warmupSteps = 0, totalSteps }: ScheduleSize,
  { power = 1, end = 0 }: { readonly power?: number; readonly end?: number } = {},
): Schedule {
  return (completed) => {
    if (completed < warmupSteps) return completed / Math.max(1, warmupSteps);
    if (completed >= totalSteps) return end;
    const left = 1 - (completed - warmupSteps) / (totalSteps - warmupSteps);
    return (1 - end) * left ** power + end;
  };
}

/** γ^⌊c / stepSize⌋: falls by the factor every `stepSize` steps. PyTorch's `StepLR`. */
export function stepSchedule(stepSize: number, gamma = 0.1): Schedule {
  return (completed) => gamma ** Math.floor(completed / stepSize);
}
