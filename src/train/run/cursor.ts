/**
 * Where a run stands in its data. An epoch is a pure function of (seed, epoch) and any batch of it is reached directly
 * (data/batches.ts), so that two numbers say all that comes.
 */
import type { TrainBatch, TrainingData } from '../../data/batches.js';
import type { Fields } from '../../files/json-fields.js';
import type { RunSize } from './forecast.js';

export interface Cursor {
  readonly epoch: number;
  /** Of the next batch within the epoch, from 0. */
  readonly batch: number;
}

export const START: Cursor = { epoch: 0, batch: 0 };

/** @throws InputError for what is no place in the data. */
export function readCursor(fields: Fields): Cursor {
  return { epoch: fields.count('epoch'), batch: fields.count('batch') };
}

export interface PlacedBatch {
  readonly batch: TrainBatch;
  /** Where the run stands once it has taken this batch. */
  readonly next: Cursor;
}

/**
 * The batches of the next `steps` steps from `start` on, epoch after epoch. An epoch gives whole steps and drops the
 * rest; one that is shorter than a step is one (`runSize`).
 */
export function* batchesFrom(
  data: TrainingData,
  { window, stepsPerEpoch }: Pick<RunSize, 'window' | 'stepsPerEpoch'>,
  start: Cursor,
  steps: number,
): Generator<PlacedBatch, void, undefined> {
  const end = window * stepsPerEpoch;
  let left = steps * window;
  for (let { epoch, batch: at } = start; left > 0; epoch++, at = 0) {
    if (at >= end) continue;
    for (const batch of data.epoch(epoch, { startBatch: at })) {
      at++;
      left--;
      yield { batch, next: at === end ? { epoch: epoch + 1, batch: 0 } : { epoch, batch: at } };
      if (at === end || left === 0) break;
    }
  }
}
