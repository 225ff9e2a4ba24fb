/** Sums, means and maxima, over one axis or everything. */
import { binary, full, unary } from '../../kernels/pointwise.js';
import { sumAxis } from '../../kernels/reduce.js';
import { maxRows, maxRowsGradient } from '../../kernels/rows/max.js';
import { f32, floats, signature, wholeNumber } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { normalizeAxis } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

/** Rows are added up in f32; columns of halves are read in fours. */
const ROWS = { sum: signature('sum', { x: f32('...') }), mean: signature('mean', { x: f32('...') }) };
const columns = (op: string) =>
  signature(op, { x: floats('...') }, { numbers: { inner: wholeNumber() }, foursInF16: ['inner'] });
const COLUMNS = { sum: columns('sum'), mean: columns('mean') };

function reduceSum(
  op: 'sum' | 'mean',
  x: Tensor,
  axis: number | undefined,
  keepDim: boolean,
  average: boolean,
): Tensor {
  let outer = 1;
  let length = x.size;
  let inner = 1;
  let shape: number[] = keepDim ? x.shape.map(() => 1) : [];
  let stretched: number[] = x.shape.map(() => 1);
  if (axis !== undefined) {
    const at = normalizeAxis(op, axis, x);
    outer = x.shape.slice(0, at).reduce((a, b) => a * b, 1);
    length = x.shape[at]!;
    inner = x.shape.slice(at + 1).reduce((a, b) => a * b, 1);
    stretched = x.shape.map((extent, i) => (i === at ? 1 : extent));
    shape = keepDim ? stretched : x.shape.filter((_, i) => i !== at);
  }
  if (inner === 1) ROWS[op].check({ x });
  else COLUMNS[op].check({ x }, { inner });
  const factor = average ? 1 / Math.max(1, length) : 1;
  // The mean of nothing is not a number; the sum is 0.
  const y =
    average && length === 0
      ? full(x, shape, Number.NaN)
      : sumAxis(x, { outer, length, inner }, shape, factor);
  return record(
    op,
    y,
    [],
    [
      [
        x,
        (dy) => {
          const ones = full(dy, x.shape, 1);
          const share = factor === 1 ? dy : unary('scale', dy, factor);
          return binary('mul', ones, share.alias(stretched));
        },
      ],
    ],
  );
}

/** Over `axis` (negative: from the end), or over everything. */
export const sum = (x: Tensor, axis?: number, keepDim = false): Tensor =>
  reduceSum('sum', x, axis, keepDim, false);
export const mean = (x: Tensor, axis?: number, keepDim = false): Tensor =>
  reduceSum('mean', x, axis, keepDim, true);

/** Maximum over the last dimension: [...,C] → [...]. The gradient goes to the first position that has it. */
export function max(x: Tensor): Tensor {
  return scope(() => {
    const { values, indices } = maxRows(x);
    const shape = x.shape;
    return record('max', values, [indices], [[x, (dy) => maxRowsGradient(indices, dy, shape)]]);
  });
}
