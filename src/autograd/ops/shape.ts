/**
 * Operations that give all elements another shape or order, or repeat them, and compute nothing: of every dtype, with gradients
 * for floats. Tensors lie in memory without gaps, so most of them are copies; each says which it is. Parts: slices.ts.
 */
import { ShapeError } from '../../errors.js';
import { filled } from '../../kernels/make.js';
import { readStrided, writeStrided } from '../../kernels/strided/strided.js';
import { show } from '../../show.js';
import { anyDType, integer, signature, wholeNumber } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import {
  broadcastShapes,
  formatShape,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
  stridesOf,
} from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { axesOf } from '../axes.js';
import { sumToShape } from '../ranges.js';
import { record } from '../tape.js';
import { concat } from './joins.js';
import { le, where } from './pointwise.js';
import { split } from './slices.js';

const CLONE = signature('clone', { x: anyDType('...') });

/** A copy of x with memory of its own, through which gradients flow; `detach` is another handle to the same memory. */
export function clone(x: Tensor): Tensor {
  CLONE.check({ x });
  const y = Tensor.empty(x.gpu, x.shape, x.dtype);
  y.copyUnrecorded(x);
  return record('clone', y, [], [[x, (dy) => dy]]);
}

// ---- the same elements in the same order: views ------------------------------------------------------------------------

function renamed(op: string, x: Tensor, shape: Shape): Tensor {
  const own = x.shape;
  return record(op, x.alias(shape, op), [], [[x, (dy) => dy.alias(own)]]);
}

const RESHAPE = signature('reshape', { x: anyDType('...') });

/**
 * Same elements in the same order, another shape, in which one extent may be −1: what is left for it. A view.
 * @throws ShapeError when the number of elements differs, or when it does not say what −1 is.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  RESHAPE.check({ x });
  if (!Array.isArray(shape) || !shape.includes(-1)) return renamed('reshape', x, shape);
  const others = sizeOf(shape.filter((extent) => extent !== -1));
  const left = x.size / others;
  if (shape.filter((extent) => extent === -1).length > 1 || !Number.isInteger(left))
    throw new ShapeError('reshape', `${formatShape(shape)} leaves no one extent for -1`, { x });
  return renamed(
    'reshape',
    x,
    shape.map((extent) => (extent === -1 ? left : extent)),
  );
}

const FLATTEN = signature('flatten', { x: anyDType('...') });

/** Axes `start` to `end`, both included and negative from the end, as one; by default all. A view. @throws ShapeError. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  FLATTEN.check({ x });
  if (x.shape.length === 0) return renamed('flatten', x, [1]);
  const [first, last] = [normalizeAxis('flatten', start, x), normalizeAxis('flatten', end, x)];
  if (first > last) throw new ShapeError('flatten', `axis ${start} comes after axis ${end}`, { x });
  return renamed('flatten', x, [
    ...x.shape.slice(0, first),
    sizeOf(x.shape.slice(first, last + 1)),
    ...x.shape.slice(last + 1),
  ]);
}

const SQUEEZE = signature('squeeze', { x: anyDType('...') });

/**
 * Without these axes of extent 1 (negative: from the end); by default without all of them. A view.
 * @throws ShapeError when an axis that is named is longer, as NumPy does.
 */
export function squeeze(x: Tensor, axis?: number | readonly number[]): Tensor {
  SQUEEZE.check({ x });
  const axes = axis === undefined ? undefined : axesOf('squeeze', x, axis);
  const long = axes?.find((at) => x.shape[at] !== 1);
  if (long !== undefined)
    throw new ShapeError('squeeze', `axis ${long} has ${x.shape[long]} elements, not 1`, { x });
  return renamed(
    'squeeze',
    x,
    x.shape.filter((extent, at) => (axes ? !axes.includes(at) : extent !== 1)),
  );
}

const UNSQUEEZE = signature('unsqueeze', { x: anyDType('...') }, { numbers: { axis: integer } });

/** With an axis of extent 1 at `axis` of the result (negative: from its end). A view. @throws ShapeError. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  UNSQUEEZE.check({ x }, { axis });
  const rank = x.shape.length + 1;
  const at = axis < 0 ? axis + rank : axis;
  if (at < 0 || at >= rank)
    throw new ShapeError('unsqueeze', `no axis ${axis} among ${rank} dimensions of the result`, { x });
  return renamed('unsqueeze', x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

// ---- another order -----------------------------------------------------------------------------------------------------

function permuted(op: string, x: Tensor, axes: readonly number[]): Tensor {
  const arranged = (tensor: Tensor, order: readonly number[]) => {
    const strides = stridesOf(tensor.shape);
    const shape = order.map((at) => tensor.shape[at]!);
    return readStrided(tensor, shape, { start: 0, strides: order.map((at) => strides[at]!) });
  };
  const back = axes.map((_, at) => axes.indexOf(at));
  return record(op, arranged(x, axes), [], [[x, (dy) => arranged(dy, back)]]);
}

const TRANSPOSE = signature('transpose', { x: anyDType('...') }, { numbers: { a: integer, b: integer } });

/**
 * With axes a and b exchanged, by default the last two. A copy; a view where no element moves, as where an axis has
 * extent 1. A product needs none: `matmul` takes `transA` and `transB`. @throws ShapeError.
 */
export function transpose(x: Tensor, a = -2, b = -1): Tensor {
  TRANSPOSE.check({ x }, { a, b });
  const [first, second] = [normalizeAxis('transpose', a, x), normalizeAxis('transpose', b, x)];
  const exchanged = (at: number) => (at === first ? second : at === second ? first : at);
  return permuted(
    'transpose',
    x,
    x.shape.map((_, at) => exchanged(at)),
  );
}

const PERMUTE = signature('permute', { x: anyDType('...') });

/**
 * Axis i of the result is axis `axes[i]` of x (negative: from the end); every axis is named once. A copy; a view where no
 * element moves. @throws ShapeError.
 */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  PERMUTE.check({ x });
  if (!Array.isArray(axes) || axes.length !== x.shape.length)
    throw new ShapeError('permute', `axes must be a list of all ${x.shape.length}, found ${show(axes)}`, {
      x,
    });
  return permuted('permute', x, axesOf('permute', x, axes));
}

const FLIP = signature('flip', { x: anyDType('...') });

/** Backwards along these axes, by default along all. A copy. @throws ShapeError. */
export function flip(x: Tensor, axis: number | readonly number[] = x.shape.map((_, at) => at)): Tensor {
  FLIP.check({ x });
  const axes = axesOf('flip', x, axis);
  const flipped = (tensor: Tensor) => {
    const steps = stridesOf(tensor.shape);
    const start = axes.reduce((sum, at) => sum + Math.max(0, tensor.shape[at]! - 1) * steps[at]!, 0);
    const strides = steps.map((step, at) => (axes.includes(at) ? -step : step));
    return readStrided(tensor, tensor.shape, { start, strides });
  };
  return record('flip', flipped(x), [], [[x, flipped]]);
}

const ROLL = signature('roll', { x: anyDType('...') }, { numbers: { shift: integer, axis: integer } });

/** Moved along an axis by so many places, where what leaves at one end comes in at the other. A copy. @throws ShapeError. */
export function roll(x: Tensor, shift: number, axis: number): Tensor {
  ROLL.check({ x }, { shift, axis });
  const at = normalizeAxis('roll', axis, x);
  const extent = Math.max(1, x.shape[at]!);
  const first = ((-shift % extent) + extent) % extent;
  return scope(() => concat(split(x, [first, x.shape[at]! - first], at).reverse(), at));
}

const TRIANGLE = {
  tril: signature('tril', { x: anyDType('...', 'rows', 'cols') }, { numbers: { diagonal: integer } }),
  triu: signature('triu', { x: anyDType('...', 'rows', 'cols') }, { numbers: { diagonal: integer } }),
};

/** x where `keeps(row + diagonal, column)`, else 0. */
function triangle(op: 'tril' | 'triu', x: Tensor, diagonal: number): Tensor {
  TRIANGLE[op].check({ x }, { diagonal });
  const [rows, cols] = x.shape.slice(-2) as [number, number];
  // Beyond the corners nothing changes, and beyond i32 the sums would come round to the other end.
  const first = Math.max(-rows, Math.min(cols, diagonal));
  const counted = (count: number, first: number, shape: Shape) =>
    Tensor.from(
      x.gpu,
      Int32Array.from({ length: count }, (_, i) => first + i),
      shape,
    );
  return scope(() => {
    const [r, c] = [counted(rows, first, [rows, 1]), counted(cols, 0, [1, cols])];
    return where(
      op === 'tril' ? le(c, r) : le(r, c),
      x,
      x.dtype === 'bool' ? Tensor.zeros(x.gpu, [], 'bool') : 0,
    );
  });
}

/** The last two axes' lower triangle, zeros above diagonal number `diagonal` (0: the main one, 1: that above). A copy. @throws ShapeError. */
export const tril = (x: Tensor, diagonal = 0): Tensor => triangle('tril', x, diagonal);
/** The last two axes' upper triangle, zeros below diagonal number `diagonal`. A copy. @throws ShapeError. */
export const triu = (x: Tensor, diagonal = 0): Tensor => triangle('triu', x, diagonal);

// ---- more of the same --------------------------------------------------------------------------------------------------

function stretched(op: string, x: Tensor, shape: Shape): Tensor {
  const own = x.shape;
  if (sameShape(shape, own)) return renamed(op, x, shape);
  const steps = stridesOf(own);
  const lead = shape.length - own.length;
  const strides = shape.map((extent, at) => (at < lead || own[at - lead] !== extent ? 0 : steps[at - lead]!));
  const y = readStrided(x, shape, { start: 0, strides });
  return record(op, y, [], [[x, (dy) => sumToShape(dy, own)]]);
}

const EXPAND = signature('expand', { x: anyDType('...') });

/**
 * x repeated along axes of extent 1, and along new ones before the first, to this shape, in which −1 keeps an axis as it
 * is: NumPy's `broadcast_to`. A copy; elementwise operations broadcast without one. @throws ShapeError.
 */
export function expand(x: Tensor, shape: Shape): Tensor {
  EXPAND.check({ x });
  const lead = Array.isArray(shape) ? shape.length - x.shape.length : -1;
  const to =
    lead < 0 ? [] : shape.map((extent, at) => (extent === -1 && at >= lead ? x.shape[at - lead]! : extent));
  const fits = to.every((extent) => Number.isSafeInteger(extent) && extent >= 0);
  if (lead < 0 || !fits || !sameShape(broadcastShapes(x.shape, to) ?? [-1], to))
    throw new ShapeError('expand', `no ${show(shape)} can be made of it`, { x });
  return stretched('expand', x, to);
}

const TILE = signature('tile', { x: anyDType('...') });

/**
 * x so many times along each axis, one copy behind the other: `repeat` of PyTorch's tensors, NumPy's and TensorFlow's
 * `tile`. `counts` may name more axes than x has; the new ones come first. A copy. @throws ShapeError.
 */
export function tile(x: Tensor, counts: readonly number[]): Tensor {
  TILE.check({ x });
  const lead = Array.isArray(counts) ? counts.length - x.shape.length : -1;
  if (lead < 0 || !Array.from(counts).every((count) => Number.isSafeInteger(count) && count >= 0))
    throw new ShapeError('tile', `needs a whole number of times for each axis, found ${show(counts)}`, { x });
  const own = [...new Array<number>(lead).fill(1), ...x.shape];
  return repeated(
    'tile',
    x,
    own,
    (count, extent) => [count, extent],
    (at) => counts[at]!,
  );
}

const REPEAT_INTERLEAVE = signature(
  'repeatInterleave',
  { x: anyDType('...') },
  { numbers: { count: wholeNumber(), axis: integer } },
);

/** Every element (row, …) of an axis so many times, its copies side by side. A copy. @throws ShapeError. */
export function repeatInterleave(x: Tensor, count: number, axis = 0): Tensor {
  REPEAT_INTERLEAVE.check({ x }, { count, axis });
  const at = normalizeAxis('repeatInterleave', axis, x);
  const times = (d: number) => (d === at ? count : 1);
  return repeated('repeatInterleave', x, x.shape, (count, extent) => [extent, count], times);
}

/** Stretched along an axis beside each that is repeated, which are one in the result. */
function repeated(
  op: string,
  x: Tensor,
  own: Shape,
  pairOf: (count: number, extent: number) => readonly number[],
  times: (at: number) => number,
): Tensor {
  const between = own.flatMap((extent) => pairOf(1, extent));
  const to = own.flatMap((extent, at) => pairOf(times(at), extent));
  const shape = own.map((extent, at) => times(at) * extent);
  return scope(() => renamed(op, stretched(op, renamed(op, x, between), to), shape));
}

const PAD = signature('pad', { x: anyDType('...') });

/**
 * x with `[before, after]` more elements of one value on each axis from the first on; null, and axes that are not named,
 * for none. A copy. @throws ShapeError; TypeError for a value that x's format has not.
 */
export function pad(
  x: Tensor,
  widths: readonly (readonly [before: number, after: number] | null)[],
  value: number | boolean = x.dtype === 'bool' ? false : 0,
): Tensor {
  PAD.check({ x });
  const isWidth = (width: unknown) => Number.isSafeInteger(width) && (width as number) >= 0;
  const fits = (pair: unknown) =>
    pair === null || (Array.isArray(pair) && pair.length === 2 && pair.every(isWidth));
  if (!Array.isArray(widths) || widths.length > x.shape.length || !widths.every(fits))
    throw new ShapeError('pad', `needs [before, after] or null for each axis, found ${show(widths)}`, { x });
  const own = x.shape;
  const shape = own.map((extent, at) => extent + (widths[at]?.[0] ?? 0) + (widths[at]?.[1] ?? 0));
  const strides = stridesOf(shape);
  const side = { start: own.reduce((sum, _, at) => sum + (widths[at]?.[0] ?? 0) * strides[at]!, 0), strides };
  const y = filled(x.gpu, shape, value, x.dtype, 'pad');
  writeStrided(x, y, side);
  return record('pad', y, [], [[x, (dy) => readStrided(dy, own, side)]]);
}
