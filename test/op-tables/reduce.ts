/** Of the table of ops: sums, means and what else reduces axes. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { OpCase } from './case.js';

function reduceReference(
  x: Float64Array,
  shape: number[],
  axis: number | undefined,
  kind: 'sum' | 'mean',
): Float64Array {
  if (axis === undefined)
    return Float64Array.of(x.reduce((a, b) => a + b, 0) / (kind === 'mean' ? x.length : 1));
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1);
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const length = shape[axis]!;
  const y = new Float64Array(outer * inner);
  for (let o = 0; o < outer; o++)
    for (let l = 0; l < length; l++)
      for (let i = 0; i < inner; i++)
        y[o * inner + i]! += x[(o * length + l) * inner + i]! / (kind === 'mean' ? length : 1);
  return y;
}

export const reduceCases: OpCase[] = (['sum', 'mean'] as const).flatMap((kind) =>
  ([undefined, 0, 1, 2] as const).map((axis) => ({
    name: `${kind} axis ${axis}`,
    inputs: [[3, 5, 7]],
    // Of axis 0 two rows of what is summed are more than a binding, of axis 2 a row is within one.
    large: [axis === 1 ? [3, 40, 30] : [3, 5, 300]],
    adds: axis === 2 ? undefined : 'all',
    run: (_: Gpu, [x]: Tensor[]) => ops[kind](x!, axis),
    reference: ([x]: Float64Array[]) => reduceReference(x!, [3, 5, 7], axis, kind),
  })),
);
