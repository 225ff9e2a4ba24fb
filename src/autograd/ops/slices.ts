/**
 * Operations that take parts of a tensor: views where the elements lie one behind the other and the adapter can bind there,
 * else copies. Of every dtype, with gradients for floats.
 */
import { ShapeError } from '../../errors.js';
import { readStrided, writeStrided } from '../../kernels/strided/strided.js';
import { show } from '../../show.js';
import { anyDType, integer, signature, wholeNumber } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { normalizeAxis, stridesOf } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { rangeOf } from '../ranges.js';
import { record } from '../tape.js';
import { stack } from './joins.js';

/** What `slice` takes of an axis. */
export type SliceRange =
  | number
  | null
  | readonly [start?: number | null, stop?: number | null, step?: number | null];

interface Picked {
  readonly start: number;
  readonly step: number;
  readonly count: number;
  /** The axis is left out. */
  readonly single: boolean;
}

/** As Python's slices: bounds beyond an end are that end. */
function picked(x: Tensor, axis: number, range: SliceRange): Picked {
  const extent = x.shape[axis]!;
  const fail = (problem: string): never => {
    throw new ShapeError('slice', `axis ${axis}: ${problem}`, { x });
  };
  if (range === null || range === undefined) return { start: 0, step: 1, count: extent, single: false };
  if (typeof range === 'number') {
    const start = range < 0 ? range + extent : range;
    if (!Number.isInteger(start) || start < 0 || start >= extent) fail(`no element ${range} of ${extent}`);
    return { start, step: 1, count: 1, single: true };
  }
  if (!Array.isArray(range) || range.length > 3)
    return fail(`needs a number, null or [start, stop, step], found ${show(range)}`);
  const [begin, stop, by] = range as (number | null | undefined)[];
  for (const value of [begin, stop, by])
    if (value !== undefined && value !== null && !Number.isSafeInteger(value))
      fail(`start, stop and step are whole numbers, found ${show(range)}`);
  const step = by ?? 1;
  if (step === 0) fail('a step of 0 leads nowhere');
  const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1];
  const bound = (value: number) => Math.min(high, Math.max(low, value < 0 ? value + extent : value));
  const from = begin === undefined || begin === null ? (step > 0 ? low : high) : bound(begin);
  const to = stop === undefined || stop === null ? (step > 0 ? high : low) : bound(stop);
  return { start: from, step, count: Math.max(0, Math.ceil((to - from) / step)), single: false };
}

const SLICE = signature('slice', { x: anyDType('...') });

/**
 * A part of x: for each axis from the first one `[start, stop, step]`, as Python's `start:stop:step` (each may be left out
 * or null, negative bounds count from the end, a negative step walks backwards, what lies beyond an end is left out), a
 * number for one element, whose axis is left out, or null for all. Axes that are not named are taken whole:
 * `slice(x, null, [1, -1], [null, null, -1])`, `slice(x, 0)`. A view where the elements lie one behind the other and the
 * adapter can bind there, else a copy.
 * @throws ShapeError for an element that is not there, a step of 0 and more ranges than axes.
 */
export function slice(x: Tensor, ...ranges: SliceRange[]): Tensor {
  SLICE.check({ x });
  if (ranges.length > x.shape.length)
    throw new ShapeError('slice', `${ranges.length} ranges for ${x.shape.length} axes`, { x });
  const own = x.shape;
  const parts = own.map((_, axis) => picked(x, axis, ranges[axis] ?? null));
  const steps = stridesOf(own);
  const counts = parts.map(({ count }) => count);
  const side = {
    start: counts.includes(0) ? 0 : parts.reduce((sum, { start }, axis) => sum + start * steps[axis]!, 0),
    strides: parts.map(({ step }, axis) => step * steps[axis]!),
  };
  const shape = counts.filter((_, axis) => !parts[axis]!.single);
  return record(
    'slice',
    scope(() => readStrided(x, counts, side).alias(shape)),
    [],
    [
      [
        x,
        (dy) => {
          const dx = Tensor.zeros(dy.gpu, own, dy.dtype);
          writeStrided(dy.alias(counts), dx, side);
          return dx;
        },
      ],
    ],
  );
}

const SPLIT = signature('split', { x: anyDType('...') }, { numbers: { axis: integer } });

/**
 * Parts along an axis: of `sizes` elements each, of which the last may have fewer, or of these sizes, which together are
 * the axis. Each a `slice`. @throws ShapeError.
 */
export function split(x: Tensor, sizes: number | readonly number[], axis = 0): Tensor[] {
  SPLIT.check({ x }, { axis });
  const at = normalizeAxis('split', axis, x);
  const extent = x.shape[at]!;
  const list =
    typeof sizes === 'number' && Number.isInteger(sizes) && sizes > 0
      ? Array.from({ length: Math.max(1, Math.ceil(extent / sizes)) }, (_, i) =>
          Math.min(sizes, extent - i * sizes),
        )
      : sizes;
  const fits =
    Array.isArray(list) &&
    list.every((size) => Number.isSafeInteger(size) && size >= 0) &&
    list.reduce((a, b) => a + b, 0) === extent;
  if (!fits)
    throw new ShapeError('split', `${show(sizes)} are no parts of the ${extent} elements of axis ${at}`, {
      x,
    });
  let start = 0;
  return (list as number[]).map((size) => {
    const range: SliceRange = [start, start + size];
    start += size;
    return slice(x, ...new Array<null>(at).fill(null), range);
  });
}

const CHUNK = signature(
  'chunk',
  { x: anyDType('...') },
  { numbers: { count: wholeNumber(1), axis: integer } },
);

/** `split` into at most `count` parts of one size, of which the last may be smaller. @throws ShapeError. */
export function chunk(x: Tensor, count: number, axis = 0): Tensor[] {
  CHUNK.check({ x }, { count, axis });
  const extent = x.shape[normalizeAxis('chunk', axis, x)]!;
  return split(x, Math.max(1, Math.ceil(extent / count)), axis);
}

const UNFOLD = signature(
  'unfold',
  { x: anyDType('...') },
  { numbers: { axis: integer, size: wholeNumber(1), step: wholeNumber(1) } },
);

/**
 * Windows of `size` elements along an axis, one every `step` (PyTorch's `unfold`): the axis counts the windows, and their
 * elements lie along a new last axis. Of an image, once for rows and once for columns, it gives what a convolution multiplies.
 * Slices, stacked: a copy. @throws ShapeError when a window is longer than the axis.
 */
export function unfold(x: Tensor, axis: number, size: number, step = 1): Tensor {
  UNFOLD.check({ x }, { axis, size, step });
  const at = normalizeAxis('unfold', axis, x);
  const windows = Math.floor((x.shape[at]! - size) / step) + 1;
  if (windows < 1)
    throw new ShapeError('unfold', `no window of ${size} among ${x.shape[at]} of axis ${axis}`, { x });
  const place = (k: number) =>
    slice(
      x,
      ...x.shape.map((_, d) => (d === at ? ([k, k + (windows - 1) * step + 1, step] as const) : null)),
    );
  return scope(() =>
    stack(
      Array.from({ length: size }, (_, k) => place(k)),
      -1,
    ),
  );
}

const SLICE_ROWS = signature(
  'sliceRows',
  { x: anyDType('rows', '...') },
  { numbers: { start: wholeNumber(), end: wholeNumber() } },
);

/** Rows [start, end) of the first dimension: a view where the adapter can bind it, else a copy. */
export function sliceRows(x: Tensor, start: number, end: number): Tensor {
  SLICE_ROWS.check({ x }, { start, end });
  const rows = x.shape[0]!;
  if (start > end || end > rows) throw new ShapeError('sliceRows', `no rows ${start} to ${end}`, { x });
  const width = rows === 0 ? 0 : x.size / rows;
  const shape = [end - start, ...x.shape.slice(1)];
  const y = rangeOf(x, start * width, shape);
  const own = x.shape;
  return record(
    'sliceRows',
    y,
    [],
    [
      [
        x,
        (dy) => {
          const dx = Tensor.zeros(dy.gpu, own, dy.dtype);
          dx.copyUnrecorded(dy, start * width);
          return dx;
        },
      ],
    ],
  );
}
