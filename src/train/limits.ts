/**
 * What the numbers of a run can mean, whether a flag or a DeepSpeed file gives them. The bounds are those of f32
 * arithmetic, with room: beyond them a run computes infinities or nothing at all, and would blame something else.
 */
import { LARGEST_COUNT } from '../flags.js';

export interface Range {
  readonly least: number;
  readonly most: number;
}

/** Steps, batches, rows. */
export const COUNT: Range = { least: 1, most: LARGEST_COUNT };

/** More than any weight can change by. */
export const LEARNING_RATE: Range = { least: 0, most: 1000 };
export const WEIGHT_DECAY: Range = { least: 0, most: 1000 };

/**
 * AdamW divides by √v + ε, and v underflows to 0 for gradients below 1e-21: with ε of 0 or near it that is 0/0, or a
 * step of any size.
 */
export const ADAM_EPSILON: Range = { least: 1e-20, most: 1000 };

/** f32 knows no number between this and 1 by which 1 − β would be more than rounding. */
export const ADAM_BETA: Range = { least: 0, most: 0.999999 };

/** Gradients clipped to less would leave AdamW's second moment at 0. No clipping is 0, which stands beside the range. */
export const GRADIENT_NORM: Range = { least: 1e-6, most: 1e30 };

/** Scores are divided by it; outside this range f32 cannot tell the scores of two passages apart, or squares overflow. */
export const TEMPERATURE: Range = { least: 1e-6, most: 1e6 };

/** Of 2: the first loss scale. Each halving costs a step, and f16 gradients overflow from 2^16 on. */
export const LOSS_SCALE_POWER: Range = { least: 0, most: 64 };
/** Below, every gradient would be less than the smallest half. */
export const LOSS_SCALE: Range = { least: 2 ** -24, most: 2 ** 64 };
/** Steps that are lost to overflow before the scale goes down. */
export const HYSTERESIS: Range = { least: 1, most: 1000 };

/** Texts of a group; rows repeat negatives to fill it. */
export const GROUP_SIZE: Range = { least: 1, most: 65536 };
/** Columns of a head. */
export const LARGEST_WIDTH = 65536;
/** Passes over the data. */
export const LARGEST_EPOCHS = 1e6;
