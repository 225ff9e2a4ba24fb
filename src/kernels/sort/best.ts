/** Positions of the best entries of rows: by the running lists of `topK` where rows are long, else by sorting them. */
import type { Tensor } from '../../tensor/tensor.js';
import { readStrided } from '../strided/strided.js';
import { disposeTopK, finishTopK, scanTopK, startTopK, topKCapacity } from '../top-k/top-k.js';
import { argsort } from './merge.js';

/** The k largest or smallest of each row, best first, of equal ones the lower position first; a NaN is the largest. [..., k] u32. */
export function bestPositions(x: Tensor, k: number, largest: boolean): Tensor {
  const { gpu, rows, cols } = x;
  const shape = [...x.shape.slice(0, -1), k];
  // A list has room for a thousand entries and more, which for rows that are not longer would take more than it saves.
  if (x.dtype === 'f32' && largest && k > 0 && cols >= 2 * topKCapacity(k)) {
    const lists = startTopK(gpu, rows, k);
    scanTopK(x.alias([rows, cols]), lists, { first: 0, nans: true });
    const { scores, indices } = finishTopK(lists);
    disposeTopK(lists);
    scores.dispose();
    return indices.alias(shape);
  }
  const order = argsort(x, largest);
  return readStrided(order, [rows, k], { start: 0, strides: [cols, 1] }).alias(shape);
}
