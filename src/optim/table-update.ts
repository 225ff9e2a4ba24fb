/** One AdamW update of an embedding table, whose gradient and moments exist for some of its rows only. */
import type { RowGradient } from '../autograd/gradients.js';
import type { AdamWSettings } from '../kernels/adamw.js';
import { adamWRows, decayRows } from '../kernels/adamw-rows.js';
import { Tensor } from '../tensor/tensor.js';
import type { TableMoments } from './table-moments.js';

export type TableUpdate = (factor: Tensor, settings: AdamWSettings) => void;

/**
 * Asks for all memory that the update takes, in the caller's scope, and returns what does it: so nothing was updated when
 * there is none. `gradient` undefined: no row has any, and those with moments move by them. `decays`: all rows.
 */
export function prepareTableUpdate(
  weights: Tensor,
  gradient: RowGradient | undefined,
  moments: TableMoments,
  decays: boolean,
): TableUpdate {
  const { gpu, rows: count, cols } = weights;
  const rows = gradient?.rows ?? new Uint32Array();
  const added = moments.without(rows);
  moments.reserve(moments.count + added.length);
  const workspace = (shape: readonly number[]) => Tensor.empty(gpu, shape, 'u32', 'workspace');
  // As large for one row as for all that there is room for: a plan knows how many there are at most.
  const entries = workspace([moments.capacity, 4]);
  const except = decays ? workspace([Math.ceil(count / 32)]) : undefined;
  const values = gradient?.values ?? Tensor.zeros(gpu, [1, cols]);
  return (factor, settings) => {
    moments.add(added);
    adamWRows({ weights, gradients: values, rows, blocks: moments.blocks, entries, factor }, settings);
    if (except && moments.count < weights.rows) {
      except.write(moments.mask());
      decayRows({ weights, except, factor }, settings);
    }
  };
}
