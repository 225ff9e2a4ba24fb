/**
 * Reductions over axes: `axis` is one or a list of them, negative from the end; undefined means all, an empty list none.
 * With `keepDims` reduced axes stay, with an extent of 1. Floats of both formats are reduced in f32, in a fixed order, and
 * rounded once.
 */
import { ShapeError } from '../../errors.js';
import { axisSteps, type ReducedAxis } from '../../kernels/axis-passes.js';
import { type Extreme, extremes, extremesGradient } from '../../kernels/extremes.js';
import { filled } from '../../kernels/make.js';
import { binary } from '../../kernels/pointwise.js';
import { reduceAxes } from '../../kernels/reduce.js';
import { bools, floats, numbers, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type Axes, reducedShape } from '../axes.js';
import { stretch } from '../ranges.js';
import { record } from '../tape.js';

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

function extreme(of: Extreme, x: Tensor, axis: Axes, keepDims: boolean): Tensor {
  EXTREME[of].check({ x });
  const { axes, length, shape } = reducedShape(of, x, axis, keepDims);
  checkExtreme(of, x, length);
  const steps = axisSteps(x.shape, axes);
  return scope(() => {
    let y = x;
    const found: {
      readonly positions: Tensor;
      readonly axis: ReducedAxis;
      readonly shape: readonly number[];
    }[] = [];
    for (const [i, step] of steps.entries()) {
      const from = y.shape;
      const { values, positions } = extremes(of, y, step.axis, i === steps.length - 1 ? shape : step.extents);
      found.push({ positions, axis: step.axis, shape: from });
      y = values;
    }
    const gradient = (dy: Tensor) =>
      found.reduceRight((d, { positions, axis, shape }) => extremesGradient(positions, d, axis, shape), dy);
    return record(of, y, [], [[x, gradient, found.map(({ positions }) => positions)]]);
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
