/** Order along an axis, and running sums. */
import { ShapeError } from '../../errors.js';
import { cumsum as runningSums } from '../../kernels/cumsum.js';
import { scatterDistinct } from '../../kernels/indexed/scatter.js';
import { take } from '../../kernels/indexed/take.js';
import { cast } from '../../kernels/pointwise.js';
import { bestPositions } from '../../kernels/sort/best.js';
import * as kernels from '../../kernels/sort/merge.js';
import { OptionNames } from '../../options.js';
import { anyDType, integer, numbers, signature, wholeNumber } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { normalizeAxis, sizeOf } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';
import { isNan, where } from './pointwise.js';
import { squeeze, transpose } from './shape.js';
import { slice } from './slices.js';

/** What a sort gives: the values in order, and where each stood. */
export interface Sorted {
  /** Elements in their order; the gradient of each goes where it came from. */
  readonly values: Tensor;
  /** u32: where along the axis each was. */
  readonly indices: Tensor;
}

/** Axis and direction of a sort. */
export interface SortOptions {
  /** Negative: from the end. */
  readonly axis?: number;
  /** The largest first. Default false. */
  readonly descending?: boolean;
}

/** The elements of each line of the last axis at positions that are named once, of the index's shape. */
function picked(op: string, x: Tensor, indices: Tensor): Tensor {
  const own = x.shape;
  const [extent, picks] = [x.cols, indices.cols];
  const size = { outer: x.rows, extent, inner: 1, picks, by: 'elements' } as const;
  const gradient = (dy: Tensor) =>
    dy.dtype === 'f16'
      ? cast(scatterDistinct(cast(dy, 'f32'), indices, size, own), 'f16')
      : scatterDistinct(dy, indices, size, own);
  return record(op, take(x, indices, size, indices.shape), [indices], [[x, gradient]]);
}

const SORT = signature('sort', { x: anyDType('...') }, { numbers: { axis: integer } });
const ARGSORT = signature('argsort', { x: anyDType('...') }, { numbers: { axis: integer } });

const SORT_OPTIONS = new OptionNames<SortOptions>({ axis: 'number', descending: 'boolean' });

/**
 * Elements along an axis, by default the last, in ascending or descending order, and where they were; of equal ones the
 * first stays first. A NaN is the largest, as in PyTorch. x: any dtype. A copy.
 * @throws ShapeError; MachineError where a line, with 8 bytes an element, is larger than a binding.
 */
export function sort(x: Tensor, options: SortOptions = {}): Sorted {
  const { axis = -1, descending = false } = SORT_OPTIONS.read('sort', options);
  SORT.check({ x }, { axis });
  const at = normalizeAxis('sort', axis, x);
  return scope(() => {
    const lines = transpose(x, at, -1);
    const indices = kernels.argsort(lines, descending);
    return { values: transpose(picked('sort', lines, indices), at, -1), indices: transpose(indices, at, -1) };
  });
}

/** The `indices` of `sort` alone: u32, without gradient. @throws as `sort`. */
export function argsort(x: Tensor, options: SortOptions = {}): Tensor {
  const { axis = -1, descending = false } = SORT_OPTIONS.read('argsort', options);
  ARGSORT.check({ x }, { axis });
  const at = normalizeAxis('argsort', axis, x);
  return scope(() => transpose(kernels.argsort(transpose(x.detach(), at, -1), descending), at, -1));
}

/** Axis and kind of `topk`. */
export interface TopKOptions {
  /** Negative: from the end. */
  readonly axis?: number;
  /** Rather than the smallest. */
  readonly largest?: boolean;
}

const TOP_K = signature('topk', { x: anyDType('...') }, { numbers: { k: wholeNumber(), axis: integer } });

const TOP_K_OPTIONS = new OptionNames<TopKOptions>({ axis: 'number', largest: 'boolean' });

/**
 * The k largest or smallest elements along an axis, by default the last, best first, and where they were; of equal ones the
 * first. A NaN is the largest. x: any dtype.
 * @throws ShapeError when k is more than the axis has; MachineError as `sort`.
 */
export function topk(x: Tensor, k: number, options: TopKOptions = {}): Sorted {
  const { axis = -1, largest = true } = TOP_K_OPTIONS.read('topk', options);
  TOP_K.check({ x }, { k, axis });
  const at = normalizeAxis('topk', axis, x);
  if (k > x.shape[at]!) throw new ShapeError('topk', `no ${k} of ${x.shape[at]} elements`, { x });
  return scope(() => {
    const lines = transpose(x, at, -1);
    const indices = bestPositions(lines, k, largest);
    return { values: transpose(picked('topk', lines, indices), at, -1), indices: transpose(indices, at, -1) };
  });
}

const MEDIAN = signature('median', { x: numbers('...') }, { numbers: { axis: integer } });

/**
 * The element in the middle along an axis, of an even number the lower one, as in PyTorch: by `sort`. The gradient goes to
 * it; where one is a NaN it is a NaN. x: f32, f16, i32 or u32.
 * @throws ShapeError of an empty axis; as `sort`.
 */
export function median(x: Tensor, axis = -1, keepDims = false): Tensor {
  MEDIAN.check({ x }, { axis });
  const at = normalizeAxis('median', axis, x);
  const length = x.shape[at]!;
  if (length === 0) throw new ShapeError('median', `nothing along axis ${axis}`, { x });
  return scope(() => {
    const { values } = sort(x, { axis: at });
    const place = (n: number) =>
      slice(values, ...x.shape.map((_, d) => (d === at ? ([n, n + 1] as const) : null)));
    const [middle, last] = [place(Math.floor((length - 1) / 2)), place(length - 1)];
    const y = x.dtype === 'f32' || x.dtype === 'f16' ? where(isNan(last), last, middle) : middle;
    return keepDims ? y : squeeze(y, at);
  });
}

const CUMSUM = signature('cumsum', { x: numbers('...') }, { numbers: { axis: integer } });

/** Direction of `cumsum`. */
export interface CumsumOptions {
  /** Sums from the end: each element is the sum of itself and those behind it. Default false. */
  readonly reverse?: boolean;
}

const CUMSUM_OPTIONS = new OptionNames<CumsumOptions>({ reverse: 'boolean' });

/**
 * Σ of the elements up to each along an axis, itself included; `reverse`: of those from it on. x: f32, f16 (added up in f32),
 * or i32 and u32, whose sums are modulo 2³². A copy. @throws ShapeError.
 */
export function cumsum(x: Tensor, axis: number, options: CumsumOptions = {}): Tensor {
  const { reverse = false } = CUMSUM_OPTIONS.read('cumsum', options);
  CUMSUM.check({ x }, { axis });
  const at = normalizeAxis('cumsum', axis, x);
  const size = {
    outer: sizeOf(x.shape.slice(0, at)),
    length: x.shape[at]!,
    inner: sizeOf(x.shape.slice(at + 1)),
  };
  const running = (of: Tensor, backwards: boolean) =>
    of.dtype === 'f16'
      ? scope(() => cast(runningSums(cast(of, 'f32'), size, backwards), 'f16'))
      : runningSums(of, size, backwards);
  return record('cumsum', running(x, reverse), [], [[x, (dy) => running(dy, !reverse)]]);
}
