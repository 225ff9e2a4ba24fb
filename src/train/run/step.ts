/** What a step of a run takes, and what comes of it. */
import type { CandidatePart } from '../../data/candidates.js';
import type { RowPlace } from '../../data/rows.js';
import type { ScoredBatch } from '../../models/scores.js';
import type { LossScaleEvent } from '../../optim/loss-scale.js';
import type { M3LossBatch } from '../losses/m3-loss.js';
import type { Reduction } from '../ranks/reducer.js';
import type { Cursor } from './cursor.js';
import type { LossParts, StepNumbers } from './step-outcome.js';

/** A packed batch, which the run frees. */
export interface RunBatch extends Omit<M3LossBatch, 'selfDistill'> {
  /** For messages. */
  readonly rows?: readonly RowPlace[];
  /** Where the data goes on after it. */
  readonly next?: Cursor;
}

/** A packed batch of queries with candidates of their rows, which the run frees. */
export interface RankedBatch extends ScoredBatch {
  /** [B] */
  readonly parts: readonly CandidatePart[];
}

/** What became of a step. */
export interface TakenStep {
  /** From 1. */
  readonly number: number;
  /** Mean over the step's batches, of all ranks. */
  readonly loss: number;
  /** Global norm of the gradient before clipping. */
  readonly norm: number;
  /** The gradients overflowed: the weights are as they were. */
  readonly skipped: boolean;
  readonly learningRate: number;
  /** Of the next step. */
  readonly lossScale: number;
  readonly event: LossScaleEvent | undefined;
  /** Of gradients over ranks. */
  readonly reduction?: Reduction | undefined;
  /** The losses of each score, before they are weighed, means as the loss is; none where the loss is that of one score. */
  readonly parts: LossParts;
  /** That the step was trained on, of all ranks. */
  readonly tokens: number;
  /**
   * That this process spent on the step: handing it to the GPU, and waiting for its numbers. While it waits for one step
   * the next is handed over, so that the time between two numbers says little of either; these add up to the time of all.
   */
  readonly seconds: number;
}

/** A step that the GPU was given and whose numbers were not read yet. */
export interface StepInFlight {
  readonly number: number;
  readonly learningRate: number;
  /** Of each batch. */
  readonly rows: readonly (readonly RowPlace[])[];
  /** Until it was handed over. */
  readonly seconds: number;
  numbers(): Promise<StepNumbers>;
}
