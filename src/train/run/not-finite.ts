/**
 * Whom to blame when a loss or a gradient is not finite. The learning rate can be at fault only once a step with a rate
 * has changed the weights; until then the weights are those of the model folder, which were checked when it was read.
 */
import type { RowPlace } from '../../data/rows.js';
import { placesOf } from './tally.js';

export interface NotFinite {
  /** Some step has changed the weights. */
  readonly moved: boolean;
  /** Of the weights now. */
  readonly weightsFinite: boolean;
  readonly learningRate: number;
  readonly temperature: number;
  readonly half: boolean;
  /** The rows of the batch that was not finite, or of the whole step. */
  readonly rows: readonly RowPlace[];
}

/** What to do, for the end of a message. */
export function adviceOn({ moved, weightsFinite, learningRate, temperature, half, rows }: NotFinite): string {
  const withoutHalf = half ? ', or train without --fp16' : '';
  const others = `the temperature (${temperature}) and rows ${placesOf(rows)}${withoutHalf}`;
  if (!moved)
    return `the weights are still those of the start, so it is not the learning rate: look at ${others}`;
  if (!weightsFinite)
    return `the weights are no longer finite: lower --learning_rate (${learningRate} in this step)${withoutHalf}`;
  return `lower --learning_rate (${learningRate} in this step), or look at ${others}`;
}
