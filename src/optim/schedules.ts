/**
 * Learning-rate schedules: a schedule maps the number of optimiser steps already taken (0 for the first step;
 * skipped steps do not count) to a factor of the peak learning rate.
 */

import { OptionNames } from '../options.js';
import { notNegative, positive, signature } from '../tensor/operands.js';

export type Schedule = (completedSteps: number) => number;

/** How many steps a schedule has, and how many of them warm up. */
export interface ScheduleSize {
  /** Default 0. */
  readonly warmupSteps?: number | undefined;
  /** Optimiser steps of the whole run. */
  readonly totalSteps: number;
}

const NAMES = new OptionNames<ScheduleSize>({ warmupSteps: true, totalSteps: true });
const SIZE = signature('schedule', {}, { numbers: { warmupSteps: notNegative, totalSteps: notNegative } });

/** @throws ShapeError for a size that gives no course: the first step would tell of a learning rate that is none. */
function sizeOf(op: string, given: ScheduleSize): Required<ScheduleSize> & { readonly warmupSteps: number } {
  const { warmupSteps = 0, totalSteps } = NAMES.read(op, given);
  SIZE.check({}, { warmupSteps, totalSteps });
  return { warmupSteps, totalSteps };
}

/**
 * Rises from 0 by 1/w a step, then falls to 0 at the end of the run:
 *   c < w: c / w;  else (total − c) / (total − w).   Hugging Face's `linear`.
 */
export function linearSchedule(size: ScheduleSize): Schedule {
  const { warmupSteps, totalSteps } = sizeOf('linearSchedule', size);
  return (completed) =>
    completed < warmupSteps
      ? completed / Math.max(1, warmupSteps)
      : Math.max(0, (totalSteps - completed) / Math.max(1, totalSteps - warmupSteps));
}

/** The same factor at every step. */
export const constantSchedule: Schedule = () => 1;

/** Rises as `linearSchedule`, then stays at 1. */
export function constantWithWarmupSchedule(size: Pick<ScheduleSize, 'warmupSteps'>): Schedule {
  const { warmupSteps } = sizeOf('constantWithWarmupSchedule', { totalSteps: 0, ...size });
  return (completed) => (completed < warmupSteps ? completed / Math.max(1, warmupSteps) : 1);
}

/** Rises as `linearSchedule`, then follows half a cosine from 1 to 0, and stays there. */
export function cosineSchedule(size: ScheduleSize): Schedule {
  const { warmupSteps, totalSteps } = sizeOf('cosineSchedule', size);
  return (completed) => {
    if (completed < warmupSteps) return completed / Math.max(1, warmupSteps);
    const progress = (completed - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    return progress >= 1 ? 0 : 0.5 * (1 + Math.cos(Math.PI * progress));
  };
}

/**
 * DeepSpeed's logarithmic warm-up (`warmup_type: log`), one step late by its own counting: with l = completed − 1
 * and w = max(2, warm-up),
 *   l < 0: 0;  l < w: ln(l + 1) / ln(w);  else (total − l) / (total − w), or 1 when `decay` is false.
 * The first two steps of a run therefore have learning rate 0.
 */
export function logWarmupSchedule(size: ScheduleSize, decay = true): Schedule {
  const { warmupSteps, totalSteps } = sizeOf('logWarmupSchedule', size);
  const warmup = Math.max(2, warmupSteps);
  return (completed) => {
    const last = completed - 1;
    if (last < 0) return 0;
    if (last < warmup) return Math.log(last + 1) / Math.log(warmup);
    return decay ? Math.max(0, (totalSteps - last) / Math.max(1, totalSteps - warmup)) : 1;
  };
}

const CURVE = new OptionNames<{ readonly power?: number; readonly end?: number }>({ power: true, end: true });

/**
 * Rises as `linearSchedule`, then falls from 1 to `end` as a power of what is left: ((1 − end)·(1 − progress)^power + end),
 * and stays there. Hugging Face's `polynomial`, which gives the end as a rate.
 */
export function polynomialSchedule(
  size: ScheduleSize,
  options: {
    /** 1 is a line. Default 1. */
    readonly power?: number;
    /** Factor of the rate at the end. Default 0. */
    readonly end?: number;
  } = {},
): Schedule {
  const { warmupSteps, totalSteps } = sizeOf('polynomialSchedule', size);
  const { power = 1, end = 0 } = CURVE.read('polynomialSchedule', options);
  return (completed) => {
    if (completed < warmupSteps) return completed / Math.max(1, warmupSteps);
    if (completed >= totalSteps) return end;
    const left = 1 - (completed - warmupSteps) / (totalSteps - warmupSteps);
    return (1 - end) * left ** power + end;
  };
}

const STEP = signature('stepSchedule', {}, { numbers: { stepSize: positive, gamma: notNegative } });

/** γ^⌊c / stepSize⌋: falls by the factor every `stepSize` steps. PyTorch's `StepLR`. */
export function stepSchedule(stepSize: number, gamma = 0.1): Schedule {
  STEP.check({}, { stepSize, gamma });
  return (completed) => gamma ** Math.floor(completed / stepSize);
}
