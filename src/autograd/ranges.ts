/** What gradients need of shapes: ranges of elements, and broadcasting forth and back. */
import { reduceAxes } from '../kernels/reduce.js';
import { readStrided } from '../kernels/strided/strided.js';
import { type Shape, sameShape, stridesOf } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';

/** Elements from `start` on as a tensor of `shape`: a view where the adapter can bind there, else a copy. */
export function rangeOf(x: Tensor, start: number, shape: Shape): Tensor {
  const view = x.aliasAt(start, shape);
  if (view) return view;
  const copy = Tensor.empty(x.gpu, shape, x.dtype);
  copy.copyUnrecorded(x, 0, start, copy.size);
  return copy;
}

/** Sums a gradient over the dimensions that broadcasting stretched. */
export function sumToShape(dy: Tensor, shape: Shape): Tensor {
  if (sameShape(dy.shape, shape)) return dy;
  const lead = dy.shape.length - shape.length;
  const axes = dy.shape.flatMap((extent, i) => (extent === (i < lead ? 1 : shape[i - lead]) ? [] : [i]));
  return axes.length === 0 ? dy.alias(shape) : reduceAxes('sum', dy, axes, shape);
}

/** The opposite: `x`, of as many dimensions as `shape`, repeated where its extents are 1. */
export function stretch(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const strides = stridesOf(x.shape).map((step, i) => (x.shape[i] === shape[i] ? step : 0));
  return readStrided(x, shape, { start: 0, strides });
}
