/** Of the table of ops: sums, means and what else reduces axes. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { stridesOf } from '../../src/tensor/shape.js';
import type { DType, Tensor } from '../../src/tensor/tensor.js';
import { logSumExp, type OpCase } from './case.js';

type Axis = number | readonly number[] | undefined;

/** The values that become each value of a result, in row-major order. */
export function groupsOf(x: Float64Array, shape: readonly number[], axis: Axis): Float64Array[] {
  const all = shape.map((_, i) => i);
  const axes = (axis === undefined ? all : [axis].flat()).map((each) =>
    each < 0 ? each + shape.length : each,
  );
  const strides = stridesOf(shape);
  const groups = new Map<string, number[]>();
  x.forEach((value, i) => {
    const at = shape.map((extent, d) => (axes.includes(d) ? 0 : Math.floor(i / strides[d]!) % extent));
    const key = String(at);
    const group = groups.get(key) ?? [];
    group.push(value);
    groups.set(key, group);
  });
  return [...groups.values()].map((group) => Float64Array.from(group));
}

const SHAPE = [3, 5, 7];

interface Reduced {
  readonly name: string;
  readonly run: (x: Tensor, axis: Axis) => Tensor;
  readonly of: (values: Float64Array) => number;
  readonly axes: readonly Axis[];
  /** Of x, where it is not f32 or f16. */
  readonly dtype?: DType;
  readonly output?: DType;
  /** Whether it adds up, so that pieces may change the last bits. */
  readonly adds?: boolean;
  readonly range?: [number, number];
  readonly more?: Partial<OpCase>;
}

/** Of axis 0 two rows of what is reduced are more than a binding, of axis 2 a row is within one. */
const largeOf = (axis: Axis): number[] => (axis === 1 ? [3, 40, 30] : [3, 5, 300]);

export const reducedCases = ({ name, run, of, axes, dtype, output, adds, range, more }: Reduced): OpCase[] =>
  axes.map((axis) => ({
    name: `${name} axis ${axis === undefined ? 'undefined' : [axis]}${dtype ? ` ${dtype}` : ''}`,
    inputs: [SHAPE],
    dtypes: dtype && [dtype],
    output: output ?? dtype,
    large: [largeOf(axis)],
    ...(adds && axis !== 2 ? { adds: 'all' as const } : {}),
    ...(range ? { range } : {}),
    halves: dtype || output ? undefined : [0],
    run: (_: Gpu, [x]: Tensor[]) => run(x!, axis),
    reference: ([x]: Float64Array[]) => Float64Array.from(groupsOf(x!, SHAPE, axis), of),
    ...more,
  }));

const total = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
const largest = (values: Float64Array) => Math.max(...values);
const smallest = (values: Float64Array) => Math.min(...values);
const product = (values: Float64Array) => values.reduce((a, b) => a * b, 1);
const deviation = (values: Float64Array, correction: number) => {
  const mean = total(values) / values.length;
  return values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length - correction);
};
/** Runs that need one axis, or all. */
const along =
  (f: (x: Tensor, axis?: number) => Tensor) =>
  (x: Tensor, axis: Axis): Tensor =>
    f(x, axis as number | undefined);

export const reduceCases: OpCase[] = [
  { name: 'sum', run: ops.sum, of: total, axes: [undefined, 0, 1, 2, [0, 2]], adds: true },
  {
    name: 'mean',
    run: (x: Tensor, axis: Axis) => ops.mean(x, axis, true),
    of: (values: Float64Array) => total(values) / values.length,
    axes: [undefined, 0, 1, 2, [-1, 0]],
    adds: true,
  },
  { name: 'sum', run: ops.sum, of: total, axes: [1, 2], dtype: 'i32' as const },
  { name: 'sum', run: ops.sum, of: total, axes: [[0, 2]], dtype: 'u32' as const },
  { name: 'max', run: ops.max, of: largest, axes: [0, 1, 2, [0, 2]] },
  { name: 'min', run: ops.min, of: smallest, axes: [undefined, 1] },
  { name: 'max', run: ops.max, of: largest, axes: [2], dtype: 'i32' as const },
  { name: 'min', run: ops.min, of: smallest, axes: [0], dtype: 'i32' as const },
  { name: 'min', run: ops.min, of: smallest, axes: [1], dtype: 'u32' as const },
  {
    name: 'argmax',
    run: along(ops.argmax),
    of: (values: Float64Array) => values.indexOf(largest(values)),
    axes: [undefined, 0, 1],
    output: 'u32' as const,
  },
  {
    name: 'argmin',
    run: along(ops.argmin),
    of: (values: Float64Array) => values.indexOf(smallest(values)),
    axes: [2],
    dtype: 'i32' as const,
    output: 'u32' as const,
  },
  { name: 'any', run: ops.any, of: largest, axes: [1, 2], dtype: 'bool' as const },
  { name: 'all', run: ops.all, of: smallest, axes: [0, [1, 2]], dtype: 'bool' as const },
  {
    name: 'countNonzero',
    run: ops.countNonzero,
    of: (values: Float64Array) => values.filter((v) => v !== 0).length,
    axes: [[0, 1]],
    dtype: 'i32' as const,
    output: 'u32' as const,
    range: [-1, 1] as [number, number],
  },
  {
    name: 'countNonzero',
    run: ops.countNonzero,
    of: total,
    axes: [2],
    dtype: 'bool' as const,
    output: 'u32' as const,
  },
  {
    name: 'prod',
    run: ops.prod,
    of: product,
    axes: [1, [0, 2]],
    adds: true,
    range: [0.9, 1.1] as [number, number],
  },
  {
    name: 'prod',
    run: ops.prod,
    of: (values: Float64Array) => values.reduce((a, b) => Math.imul(a, b), 1),
    axes: [2],
    dtype: 'i32' as const,
  },
  {
    name: 'variance',
    run: ops.variance,
    of: (values: Float64Array) => deviation(values, 1),
    axes: [2, [0, 1]],
    adds: true,
  },
  {
    name: 'std',
    run: (x: Tensor, axis: Axis) => ops.std(x, axis, true, { correction: 0 }),
    of: (values: Float64Array) => Math.sqrt(deviation(values, 0)),
    axes: [1],
    adds: true,
  },
  ...([1, 2, 3] as const).map((p) => ({
    name: `norm of ${p}`,
    run: (x: Tensor, axis: Axis) => ops.norm(x, p, axis),
    of: (values: Float64Array) => values.reduce((sum, v) => sum + Math.abs(v) ** p, 0) ** (1 / p),
    axes: [[1, 2] as const, 0].slice(0, p === 2 ? 2 : 1),
    adds: true,
  })),
  {
    name: 'norm of Infinity',
    run: (x: Tensor, axis: Axis) => ops.norm(x, Number.POSITIVE_INFINITY, axis),
    of: (values: Float64Array) => largest(values.map(Math.abs)),
    axes: [1],
  },
  {
    name: 'logSumExp',
    run: ops.logSumExp,
    of: (values: Float64Array) => logSumExp([...values]),
    axes: [1, [0, 2]],
    adds: true,
    range: [-5, 5] as [number, number],
  },
].flatMap((each: Reduced) => reducedCases(each));
