/** Gathering rows, pooling, and row normalisation. */
import * as kernels from '../../kernels/rows.js';
import type { PackedSequences } from '../../tensor/packed.js';
import type { RowIndex } from '../../tensor/row-index.js';
import { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

/**
 * out[i] = table[index[i]]. table: [V,C], of any size; returns [n,C]. A table that collects `rowGradients` gets
 * its gradient for the touched rows only, any other a dense one.
 */
export function gatherRows(table: Tensor, index: RowIndex): Tensor {
  index.check(table.shape[0]!);
  const shape = table.shape;
  return record(
    'gatherRows',
    kernels.gatherRows(table, index.ids),
    [],
    [
      [
        table,
        (dy, into) => {
          if (table.rowGradients) {
            const values = Tensor.empty(dy.gpu, [index.unique.length, dy.cols], 'f32', 'gradients').keep();
            kernels.segmentSumRows(dy, index.compactSegments(), values, false);
            table.rowGradients.push({ rows: index.unique, values });
            return undefined;
          }
          const target = into ?? Tensor.zeros(dy.gpu, shape);
          kernels.segmentSumRows(dy, index.segments(), target, true);
          return into ? undefined : target;
        },
      ],
    ],
  );
}

/** Mean of each sequence's rows. x: [T,C] → [S,C]. */
export function segmentMean(x: Tensor, sequences: PackedSequences): Tensor {
  const cuSeqlens = sequences.cuSeqlens();
  const tokens = x.rows;
  return record(
    'segmentMean',
    kernels.segmentMean(x, cuSeqlens),
    [],
    [[x, (dy) => kernels.segmentMeanGradient(dy, cuSeqlens, tokens)]],
  );
}

/** x / max(‖x‖₂, eps) per row, as PyTorch's `normalize`. */
export function normalizeRows(x: Tensor, eps = 1e-12): Tensor {
  const { y, norms } = kernels.normalizeRows(x, eps);
  return record(
    'normalizeRows',
    y,
    [y, norms],
    [[x, (dy) => kernels.normalizeRowsGradient(y, norms, dy, eps)]],
  );
}

/** Largest value of each group of positions. x: [n]; groups list positions. The gradient goes to the first maximum. */
export function segmentMax(x: Tensor, order: Tensor, starts: Tensor): Tensor {
  const { values, positions } = kernels.segmentMax(x, order, starts);
  const { size, shape } = x;
  return record(
    'segmentMax',
    values,
    [positions],
    [[x, (dy) => kernels.segmentMaxGradient(positions, dy, size).view(shape)]],
  );
}
