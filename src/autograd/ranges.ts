/** What gradients need of shapes: ranges of elements, and sums over what broadcasting stretched. */
import { sumAxis } from '../kernels/reduce.js';
import { type Shape, sameShape } from '../tensor/shape.js';
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
  let result = dy;
  const lead = dy.shape.length - shape.length;
  for (let axis = 0; axis < dy.shape.length; axis++) {
    const wanted = axis < lead ? 1 : shape[axis - lead]!;
    const length = result.shape[axis]!;
    if (wanted === length) continue;
    const outer = result.shape.slice(0, axis).reduce((a, b) => a * b, 1);
    const inner = result.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    result = sumAxis(
      result,
      { outer, length, inner },
      result.shape.map((extent, i) => (i === axis ? 1 : extent)),
    );
  }
  return result.alias(shape);
}
