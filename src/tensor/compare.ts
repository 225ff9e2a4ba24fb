/**
 * Whether values are close, as NumPy means it: |a − b| ≤ atol + rtol·|b|, equal infinities, and NaN beside NaN only on
 * request. Both are read back and compared in float64. What is exported here are methods of tensors too.
 */
import { ShapeError } from '../errors.js';
import { OptionNames } from '../options.js';
import { f16ToF32 } from './dtype.js';
import { ValuesDiffer } from './mismatch.js';
import { flatten, type NestedData, readerOf } from './nested.js';
import { broadcastShapes, formatShape, type Shape, sameShape, sizeOf, stridesOf } from './shape.js';
import { Tensor } from './tensor.js';

/** How far apart values may be and count as equal. */
export interface CloseOptions {
  /** Of |b|; by default 1e-5. */
  readonly rtol?: number | undefined;
  /** By default 1e-8. */
  readonly atol?: number | undefined;
  /** NaN is close to NaN; by default to nothing. */
  readonly equalNan?: boolean | undefined;
}

interface Values {
  readonly shape: Shape;
  readonly dtype: string;
  readonly at: (i: number) => number;
}

async function valuesOf(op: string, x: Tensor | NestedData): Promise<Values> {
  if (x instanceof Tensor) {
    const read = readerOf(x.dtype, await x.toArray());
    return { shape: x.shape, dtype: x.dtype, at: (i) => Number(read(i)) };
  }
  const { data, shape } = flatten(op, x);
  const numbers = data instanceof Uint16Array ? f16ToF32(data) : data;
  return { shape, dtype: 'on the host', at: (i) => Number(numbers[i]) };
}

/** Where element i of the shape that two were broadcast to lies in one of them. */
function indexIn(own: Shape, shape: Shape): (i: number) => number {
  if (sameShape(own, shape)) return (i) => i;
  const strides = stridesOf(own);
  const lead = shape.length - own.length;
  return (i) => {
    let index = 0;
    for (let axis = shape.length - 1; axis >= lead; axis--) {
      const extent = shape[axis]!;
      if (own[axis - lead] !== 1) index += (i % extent) * strides[axis - lead]!;
      i = Math.floor(i / extent);
    }
    return index;
  };
}

interface Difference {
  readonly size: number;
  readonly count: number;
  readonly shape: Shape;
  readonly first: { readonly at: number; readonly a: number; readonly b: number } | undefined;
  readonly largest: { readonly at: number; readonly value: number } | undefined;
}

function compare(a: Values, b: Values, shape: Shape, options: CloseOptions): Difference {
  const { rtol = 1e-5, atol = 1e-8, equalNan = false } = options;
  const [inA, inB] = [indexIn(a.shape, shape), indexIn(b.shape, shape)];
  const size = sizeOf(shape);
  let count = 0;
  let first: Difference['first'];
  let largest: Difference['largest'];
  for (let i = 0; i < size; i++) {
    const [x, y] = [a.at(inA(i)), b.at(inB(i))];
    const difference = Math.abs(x - y);
    // Infinities are equal or not: of a difference from one, or of a bound by one, nothing follows.
    const close =
      x === y ||
      (Number.isFinite(y) && difference <= atol + rtol * Math.abs(y)) ||
      (equalNan && Number.isNaN(x) && Number.isNaN(y));
    if (close) continue;
    count++;
    first ??= { at: i, a: x, b: y };
    if (Number.isFinite(difference) && difference > (largest?.value ?? -1))
      largest = { at: i, value: difference };
  }
  return { size, count, shape, first, largest };
}

const OPTIONS = new OptionNames<CloseOptions>({ rtol: 'number', atol: 'number', equalNan: 'boolean' });

function checkTolerances(op: string, options: CloseOptions): void {
  const { rtol = 0, atol = 0 } = OPTIONS.read(op, options);
  for (const [name, value] of Object.entries({ rtol, atol }))
    if (typeof value !== 'number' || !(value >= 0))
      throw new ShapeError(op, `${name} must be a number of at least 0, found ${value}`);
}

/**
 * Whether all of a's values are close to those of b, a tensor or host data, which broadcast to each other. bool counts
 * as 0 and 1. @throws ShapeError when the shapes do not broadcast.
 */
export async function allClose(
  a: Tensor,
  b: Tensor | NestedData,
  options: CloseOptions = {},
): Promise<boolean> {
  const op = 'allClose';
  checkTolerances(op, options);
  const [own, other] = await Promise.all([valuesOf(op, a), valuesOf(op, b)]);
  const shape = broadcastShapes(own.shape, other.shape);
  if (!shape) throw new ShapeError(op, 'shapes do not broadcast', { a: own, b: other });
  return compare(own, other, shape, options).count === 0;
}

const placeOf = (shape: Shape, i: number): number[] =>
  stridesOf(shape).map((stride, axis) => Math.floor(i / stride) % shape[axis]!);

/**
 * The same for tests: says which values are not close, where, and by how much. `expected` is of a's shape, or a number.
 * @throws ValuesDiffer, and ShapeError when the shapes differ.
 */
export async function assertClose(
  a: Tensor,
  expected: Tensor | NestedData,
  options: CloseOptions = {},
): Promise<void> {
  const op = 'assertClose';
  checkTolerances(op, options);
  const [own, other] = await Promise.all([valuesOf(op, a), valuesOf(op, expected)]);
  if (other.shape.length > 0 && !sameShape(own.shape, other.shape))
    throw new ShapeError(op, 'shapes differ', { a: own, expected: other });
  const { size, count, shape, first, largest } = compare(own, other, own.shape, options);
  if (!first) return;
  const { rtol = 1e-5, atol = 1e-8 } = options;
  const place = (i: number) => formatShape(placeOf(shape, i));
  const most = largest ? `; the largest difference is ${largest.value} at ${place(largest.at)}` : '';
  throw new ValuesDiffer(
    `${count} of ${size} values are not within ${atol} + ${rtol}·|expected|: at ${place(first.at)} ${first.a}, expected ${first.b}${most}`,
    count,
    size,
    placeOf(shape, first.at),
    largest?.value ?? Number.NaN,
  );
}
