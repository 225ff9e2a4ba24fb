/**
 * Where a run stands in its data. An epoch is a pure function of (seed, epoch) and any batch of it is reached directly
 * (data/batches.ts), so that two numbers say all that comes. At another world size they are other numbers.
 */
import { isDeepStrictEqual } from 'node:util';
import type { EpochLayout, TrainBatch, TrainingData } from '../../data/batches.js';
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

/** How a run reads its data: where one goes on that read them otherwise, its place is another number. */
export interface Reading {
  readonly layout: EpochLayout;
  /** Batches of a step. */
  readonly window: number;
  readonly stepsPerEpoch: number;
}

export interface MovedCursor {
  readonly cursor: Cursor;
  /**
   * `same`: all batches are the ones that would have come. `rows`: no row of the epoch comes twice or is left out for it.
   * `twice`: so many rows of the epoch come again. `others`: the epoch goes on at the same share of it, in another order.
   */
  readonly order: 'same' | 'rows' | { readonly twice: number } | 'others';
}

/** Where a run stands that read its data as `before` says and goes on reading it as `now` says. */
export function movedCursor(cursor: Cursor, before: Reading, now: Reading): MovedCursor {
  const { epoch, batch } = cursor;
  if (isDeepStrictEqual(before, now)) return { cursor, order: 'same' };
  if (batch === 0) return { cursor, order: 'rows' };
  const at = (step: number): Cursor =>
    step < now.stepsPerEpoch ? { epoch, batch: step * now.window } : { epoch: epoch + 1, batch: 0 };
  if (now.layout.shuffled)
    return {
      cursor: at(Math.floor((batch / (before.window * before.stepsPerEpoch)) * now.stepsPerEpoch)),
      order: 'others',
    };
  // Rows are in the order of the epoch, whatever they are cut into.
  const [was, is] = [before.layout.datasets[0]!, now.layout.datasets[0]!];
  const taken = Math.min(batch * was.size, was.rows);
  const perStep = is.size * now.window;
  const moved = at(Math.floor(taken / perStep));
  const twice = moved.epoch === epoch ? taken % perStep : 0;
  return { cursor: moved, order: twice === 0 ? 'rows' : { twice } };
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
  { rank, worldSize }: { readonly rank: number; readonly worldSize: number } = { rank: 0, worldSize: 1 },
): Generator<PlacedBatch, void, undefined> {
  const end = window * stepsPerEpoch;
  let left = steps * window;
  for (let { epoch, batch: at } = start; left > 0; epoch++, at = 0) {
    if (at >= end) continue;
    for (const batch of data.epoch(epoch, { rank, worldSize, startBatch: at })) {
      at++;
      left--;
      yield { batch, next: at === end ? { epoch: epoch + 1, batch: 0 } : { epoch, batch: at } };
      if (at === end || left === 0) break;
    }
  }
}
