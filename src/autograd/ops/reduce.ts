/**
 * Reductions over axes: `axis` is one or a list of them, negative from the end; undefined means all, an empty list none.
 * With `keepDims` reduced axes stay, with an extent of 1. Floats of both formats are reduced in f32, in a fixed order, and
 * rounded once.
 */
import { ShapeError } from '../../errors.js';
import { axisSteps, type ReducedAxis } from '../../kernels/axis-passes.js';
import { type Extreme, extremes, extremesGradient } from '../../kernels/extremes.js';
import { filled } from '../../kernels/make.js';
import { binary, elementwise, unary } from '../../kernels/pointwise.js';
import { reduceAxes } from '../../kernels/reduce.js';
import { OptionNames } from '../../options.js';
import { anyDType, bools, floats, notNegative, numbers, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type Axes, reducedShape } from '../axes.js';
import { stretch } from '../ranges.js';
import { record } from '../tape.js';
import { inF32 } from './in-f32.js';
import { abs, ne } from './pointwise.js';

const SUM = signature('sum', { x: numbers('...') });

/** Σ x. x: f32, f16, or i32 and u32, whose sums are modulo 2³². Of nothing 0. */
export function sum(x: Tensor, axis?: Axes, keepDims = false): Tensor {
  SUM.check({ x });
  const { axes, kept, shape } = reducedShape('sum', x, axis, keepDims);
  const own = x.shape;
  return record('sum', reduceAxes('sum', x, axes, shape), [], [[x, (dy) => stretch(dy.alias(kept), own)]]);
}

const MEAN = signature('mean', { x: floats('...') });

/** Σ x / n. x: f32 or f16. Of nothing a NaN. */
export function mean(x: Tensor, axis?: Axes, keepDims = false): Tensor {
  MEAN.check({ x });
  const { axes, length, kept, shape } = reducedShape('mean', x, axis, keepDims);
  const factor = 1 / Math.max(1, length);
  const own = x.shape;
  const y =
    length === 0 ? filled(x.gpu, shape, Number.NaN, x.dtype) : reduceAxes('sum', x, axes, shape, factor);
  return record(
    'mean',
    y,
    [],
    [
      [
        x,
        (dy) => {
          const share = factor === 1 ? dy : binary('mul', dy, factor);
          return stretch(share.alias(kept), own);
        },
      ],
    ],
  );
}

const EXTREME = {
  max: signature('max', { x: numbers('...') }),
  min: signature('min', { x: numbers('...') }),
};

/** @throws ShapeError of an empty axis: nothing has no extreme. */
function checkExtreme(op: string, x: Tensor, length: number): void {
  if (length === 0) throw new ShapeError(op, 'of nothing there is none', { x });
}

/** Where extremes of one step were found. */
interface FoundExtremes {
  readonly positions: Tensor;
  readonly axis: ReducedAxis;
  /** Of what was looked at. */
  readonly shape: readonly number[];
}

/** Step by step, from the last axes to the first: so the first of equals in row-major order is found. */
function extremesAlong(
  of: Extreme,
  x: Tensor,
  axes: readonly number[],
  shape: readonly number[],
): { values: Tensor; found: readonly FoundExtremes[] } {
  const steps = axisSteps(x.shape, axes);
  const found: FoundExtremes[] = [];
  let values = x;
  for (const [i, { axis, extents }] of steps.entries()) {
    const to = i === steps.length - 1 ? shape : extents;
    const step = extremes(of, values, axis, to);
    found.push({ positions: step.positions, axis, shape: values.shape });
    values = step.values;
  }
  return { values, found };
}

function extreme(of: Extreme, x: Tensor, axis: Axes, keepDims: boolean): Tensor {
  EXTREME[of].check({ x });
  const { axes, length, shape } = reducedShape(of, x, axis, keepDims);
  checkExtreme(of, x, length);
  return scope(() => {
    const { values, found } = extremesAlong(of, x, axes, shape);
    const gradient = (dy: Tensor) =>
      found.reduceRight((d, step) => extremesGradient(step.positions, d, step.axis, step.shape), dy);
    return record(of, values, [], [[x, gradient, found.map(({ positions }) => positions)]]);
  });
}

/**
 * The largest value. x: f32, f16, i32 or u32; a NaN wins. The gradient goes to the first of equals in row-major order, as
 * PyTorch's `max` of one axis gives it; its `amax` shares it out.
 * @throws ShapeError of an empty axis: nothing has no largest value.
 */
export const max = (x: Tensor, axis?: Axes, keepDims = false): Tensor => extreme('max', x, axis, keepDims);
/** The smallest value, otherwise as `max`. */
export const min = (x: Tensor, axis?: Axes, keepDims = false): Tensor => extreme('min', x, axis, keepDims);

const POSITION = {
  max: signature('argmax', { x: numbers('...') }),
  min: signature('argmin', { x: numbers('...') }),
};

function position(of: Extreme, x: Tensor, axis: number | undefined, keepDims: boolean): Tensor {
  const op = `arg${of}`;
  POSITION[of].check({ x });
  if (axis !== undefined && typeof axis !== 'number')
    throw new ShapeError(op, 'positions are along one axis, or in row-major order of all', { x });
  const { axes, length, shape } = reducedShape(op, x, axis, keepDims);
  checkExtreme(op, x, length);
  return scope(() => extremes(of, x, axisSteps(x.shape, axes)[0]!.axis, shape).positions);
}

/**
 * Where the largest value is: its position along the axis, or in row-major order of all. u32; the first of equals, or the
 * first NaN. x: f32, f16, i32 or u32.
 * @throws ShapeError of an empty axis.
 */
export const argmax = (x: Tensor, axis?: number, keepDims = false): Tensor =>
  position('max', x, axis, keepDims);
/** Where the smallest value is, otherwise as `argmax`. */
export const argmin = (x: Tensor, axis?: number, keepDims = false): Tensor =>
  position('min', x, axis, keepDims);

const TRUTH = { any: signature('any', { x: bools('...') }), all: signature('all', { x: bools('...') }) };

function truth(of: 'any' | 'all', x: Tensor, axis: Axes, keepDims: boolean): Tensor {
  TRUTH[of].check({ x });
  const { axes, shape } = reducedShape(of, x, axis, keepDims);
  return reduceAxes(of, x, axes, shape);
}

/** Whether one is true. x: bool. Of nothing false. */
export const any = (x: Tensor, axis?: Axes, keepDims = false): Tensor => truth('any', x, axis, keepDims);
/** Whether every one is true. x: bool. Of nothing true. */
export const all = (x: Tensor, axis?: Axes, keepDims = false): Tensor => truth('all', x, axis, keepDims);

const COUNT = signature('countNonzero', { x: anyDType('...') });

/**
 * How many values are not 0, u32; of bools how many are true. x: any format. PyTorch's `count_nonzero`: a NaN counts.
 */
export function countNonzero(x: Tensor, axis?: Axes, keepDims = false): Tensor {
  COUNT.check({ x });
  const { axes, shape } = reducedShape('countNonzero', x, axis, keepDims);
  return scope(() => reduceAxes('sum', x.dtype === 'bool' ? x : ne(x, 0), axes, shape));
}

const PROD = signature('prod', { x: numbers('...') });

/**
 * Π x. x: f32, f16, or i32 and u32, whose products are modulo 2³². Of nothing 1. Zeros have their gradient too: the product of
 * all others.
 */
export function prod(x: Tensor, axis?: Axes, keepDims = false): Tensor {
  PROD.check({ x });
  const { axes, kept, shape } = reducedShape('prod', x, axis, keepDims);
  if (x.dtype === 'f16') return scope(() => inF32(x, (own) => prod(own, axis, keepDims)));
  const y = reduceAxes('product', x, axes, shape);
  const gradient = (dy: Tensor): Tensor => {
    // Without zeros y/x. Of one zero the product of the others, which alone has a gradient; of two nothing.
    const zero = elementwise('eq', { operands: [x, 0] });
    const zeros = reduceAxes('sum', zero, axes, kept);
    const others = reduceAxes('product', elementwise('where', { operands: [zero, 1, x] }), axes, kept);
    const outer = binary('mul', dy.alias(kept), others);
    const one = elementwise('where', { operands: [binary('eq', zeros, 1), outer, 0] });
    const none = elementwise('where', { operands: [binary('eq', zeros, 0), outer, 0] });
    return elementwise('where', { operands: [zero, one, binary('div', none, x)] });
  };
  return record('prod', y, [], [[x, gradient, [x]]]);
}

/** What the squares of `variance` and `std` are divided by. */
export interface VarianceOptions {
  /** Bessel's correction: what is taken off the number of values that the squares are divided by. By default 1. */
  correction?: number;
}

const moment = (op: string) => signature(op, { x: floats('...') }, { numbers: { correction: notNegative } });
const VARIANCE = moment('variance');
const STD = moment('std');

const VARIANCE_OPTIONS = new OptionNames<VarianceOptions>({ correction: 'number' });

/**
 * Σ (x − mean)² / (n − correction), of the differences from the mean in a second pass. x: f32 or f16. Where no more than
 * `correction` values are left it is no number.
 */
export function variance(x: Tensor, axis?: Axes, keepDims = false, options: VarianceOptions = {}): Tensor {
  const { correction = 1 } = VARIANCE_OPTIONS.read('variance', options);
  VARIANCE.check({ x }, { correction });
  return varianceOf('variance', x, axis, keepDims, options);
}

function varianceOf(op: string, x: Tensor, axis: Axes, keepDims: boolean, options: VarianceOptions): Tensor {
  const { correction = 1 } = options;
  if (x.dtype === 'f16') return scope(() => inF32(x, (own) => varianceOf(op, own, axis, keepDims, options)));
  const { axes, length, kept, shape } = reducedShape(op, x, axis, keepDims);
  const factor = 1 / Math.max(0, length - correction);
  return scope(() => {
    const average = reduceAxes('sum', x, axes, kept, 1 / Math.max(1, length));
    const y = reduceAxes('squares', binary('sub', x, average), axes, shape, factor);
    const gradient = (dy: Tensor) =>
      binary('mul', binary('sub', x, average), binary('mul', dy.alias(kept), 2 * factor));
    return record('variance', y, [], [[x, gradient, [x, average]]]);
  });
}

/** √variance, whose gradient where it is 0 is 0. x: f32 or f16. */
export function std(x: Tensor, axis?: Axes, keepDims = false, options: VarianceOptions = {}): Tensor {
  const { correction = 1 } = VARIANCE_OPTIONS.read('std', options);
  STD.check({ x }, { correction });
  return scope(() => inF32(x, (own) => root(varianceOf('std', own, axis, keepDims, options))));
}

/** √x, whose gradient where x is 0 is 0. */
function root(x: Tensor): Tensor {
  const y = unary('sqrt', x);
  return record('std', y, [], [[x, (dy) => whereZero(y, binary('div', binary('mul', dy, 0.5), y)), [y]]]);
}

const NORM = signature(
  'norm',
  { x: floats('...') },
  { numbers: { p: { what: 'a number other than 0', allows: (p) => p !== 0 && !Number.isNaN(p) } } },
);

/**
 * (Σ |x|ᵖ)^(1/p), PyTorch's `vector_norm`: p = 1, 2 (by default), Infinity (the largest |x|), −Infinity (the smallest) or any
 * other number but 0; the number of values that are not 0 is `countNonzero`. x: f32 or f16. Where the norm is 0 its gradient
 * is 0; that of a largest or smallest |x| goes to the first of equals.
 * @throws ShapeError, for the largest or smallest of nothing too.
 */
export function norm(x: Tensor, p = 2, axis?: Axes, keepDims = false): Tensor {
  NORM.check({ x }, { p });
  if (x.dtype === 'f16') return scope(() => inF32(x, (own) => norm(own, p, axis, keepDims)));
  const { axes, length, kept, shape } = reducedShape('norm', x, axis, keepDims);
  if (Math.abs(p) === Number.POSITIVE_INFINITY) checkExtreme('norm', x, length);
  if (p === Number.POSITIVE_INFINITY) return scope(() => max(abs(x), axis, keepDims));
  if (p === Number.NEGATIVE_INFINITY) return scope(() => min(abs(x), axis, keepDims));
  return scope(() => {
    const y = powerSum(x, p, axes, shape);
    // sign(x)·|x|^(p−1) / y^(p−1) · dy
    const gradient = (dy: Tensor): Tensor => {
      if (p === 1) return binary('mul', unary('sign', x), dy.alias(kept));
      const share = p === 2 ? binary('div', dy, y) : binary('mul', dy, binary('pow', y, 1 - p));
      const outer = whereZero(y, share).alias(kept);
      if (p === 2) return binary('mul', x, outer);
      const slope = binary('mul', unary('sign', x), binary('pow', unary('abs', x), p - 1));
      return binary('mul', whereZero(x, slope), outer);
    };
    return record('norm', y, [], [[x, gradient, p === 1 ? [x] : [x, y]]]);
  });
}

function powerSum(x: Tensor, p: number, axes: readonly number[], shape: readonly number[]): Tensor {
  if (p === 1) return reduceAxes('absolutes', x, axes, shape);
  if (p === 2) return unary('sqrt', reduceAxes('squares', x, axes, shape));
  return binary('pow', reduceAxes('sum', binary('pow', unary('abs', x), p), axes, shape), 1 / p);
}

/** `otherwise`, and 0 where x is 0. */
const whereZero = (x: Tensor, otherwise: Tensor): Tensor =>
  elementwise('where', { operands: [binary('eq', x, 0), 0, otherwise] });

const LOG_SUM_EXP = signature('logSumExp', { x: floats('...') });

/**
 * log Σ eˣ, of differences from the largest x. x: f32 or f16. Of nothing, and where all are −∞, −∞, whose gradient is no
 * number, as PyTorch's.
 */
export function logSumExp(x: Tensor, axis?: Axes, keepDims = false): Tensor {
  LOG_SUM_EXP.check({ x });
  if (x.dtype === 'f16') return scope(() => inF32(x, (own) => logSumExp(own, axis, keepDims)));
  const { axes, length, kept, shape } = reducedShape('logSumExp', x, axis, keepDims);
  if (length === 0)
    return record('logSumExp', filled(x.gpu, shape, Number.NEGATIVE_INFINITY), [], [[x, () => undefined]]);
  return scope(() => {
    const { values: top } = extremesAlong('max', x, axes, kept);
    // An infinite x is not taken off: ∞ − ∞ would be no number.
    const off = elementwise('where', { operands: [unary('isFinite', top), top, 0] });
    const total = reduceAxes('sum', unary('exp', binary('sub', x, off)), axes, kept);
    const y = binary('add', unary('log', total), off);
    // Not e^(x − y), which has y's rounding in it.
    const gradient = (dy: Tensor) =>
      binary('mul', unary('exp', binary('sub', x, off)), binary('div', dy.alias(kept), total));
    return record('logSumExp', y.alias(shape), [], [[x, gradient, [x, off, total]]]);
  });
}
