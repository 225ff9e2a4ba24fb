/** Elements of a tensor at an index on the device, and the gradient of that: what operations by index share. */
import type { Picks } from '../kernels/indexed/layout.js';
import { scatterAdd } from '../kernels/indexed/scatter.js';
import { take, without } from '../kernels/indexed/take.js';
import { cast } from '../kernels/pointwise.js';
import { sizeOf } from '../tensor/shape.js';
import { type GradientSink, Tensor } from '../tensor/tensor.js';
import { record } from './tape.js';

/** x seen from an axis, with an index for every element or one for all rows. */
export function picksOf(x: Tensor, axis: number, index: Tensor, by: Picks['by']): Picks {
  return {
    outer: sizeOf(x.shape.slice(0, axis)),
    extent: x.shape[axis]!,
    inner: sizeOf(x.shape.slice(axis + 1)),
    picks: by === 'rows' ? index.size : index.shape[axis]!,
    by,
  };
}

/** Sums at the index, of floats in f32: added to a sink's own tensor where it has one, else a tensor of `shape`. */
function addedUp(
  dy: Tensor,
  index: Tensor,
  picks: Picks,
  shape: readonly number[],
  sink?: GradientSink,
): Tensor | undefined {
  const into = sink?.into?.dtype === 'f32' && dy.dtype === 'f32' ? sink.into : undefined;
  const source = dy.dtype === 'f16' ? cast(dy, 'f32') : dy;
  const out = into ?? Tensor.empty(dy.gpu, shape, source.dtype, 'gradients');
  scatterAdd({ source, index, out, picks, accumulate: into !== undefined });
  if (into) return undefined;
  return dy.dtype === 'f16' ? cast(out, 'f16') : out;
}

/** x at the index, as a tensor of `shape`; to place `padding` no gradient flows. */
export function taken(
  op: string,
  x: Tensor,
  index: Tensor,
  picks: Picks,
  shape: readonly number[],
  padding?: number,
): Tensor {
  const own = x.shape;
  const y = take(x, index, picks, shape);
  const counted = () => (padding === undefined ? index : without(index, padding));
  return record(op, y, [], [[x, (dy, sink) => addedUp(dy, counted(), picks, own, sink), [index]]]);
}

/** Rows of x along an axis at an index of any shape, which stands where the axis was; to place `padding` no gradient flows. */
export function selected(op: string, x: Tensor, axis: number, index: Tensor, padding?: number): Tensor {
  const shape = [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)];
  return taken(op, x, index, picksOf(x, axis, index, 'rows'), shape, padding);
}
