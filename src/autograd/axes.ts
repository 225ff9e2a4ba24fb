/** Which axes an operation reduces, and what that leaves of a shape. */
import { ShapeError } from '../errors.js';
import { show } from '../show.js';
import { normalizeAxis, type Shape, sizeOf } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';

/** An axis or several, counted from the end where negative; undefined: all; an empty list: none. */
export type Axes = number | readonly number[] | undefined;

export interface ReducedShape {
  /** Ascending. */
  readonly axes: readonly number[];
  /** Values that become one. */
  readonly length: number;
  /** With extents of 1 where axes were reduced. */
  readonly kept: Shape;
  /** Of the result. */
  readonly shape: Shape;
}

/** Distinct axes in the order given, from 0 on. @throws ShapeError for one that x does not have, or that is named twice. */
export function axesOf(op: string, x: Tensor, axis: number | readonly number[]): number[] {
  const named = typeof axis === 'number' ? [axis] : axis;
  if (!Array.isArray(named))
    throw new ShapeError(op, `axis must be a number or a list of numbers, found ${show(axis)}`, { x });
  // Holes of a list too.
  const axes = Array.from(named, (each: number) => normalizeAxis(op, each, x));
  const twice = axes.find((each, i) => axes.indexOf(each) !== i);
  if (twice !== undefined) throw new ShapeError(op, `axis ${twice} is named twice`, { x });
  return axes;
}

/** @throws ShapeError for an axis that x does not have, or that is named twice, and for `keepDims` that is no boolean. */
export function reducedShape(op: string, x: Tensor, axis: Axes, keepDims: boolean): ReducedShape {
  if (typeof keepDims !== 'boolean')
    throw new ShapeError(op, `keepDims must be true or false, found ${show(keepDims)}`, { x });
  const axes = axis === undefined ? x.shape.map((_, i) => i) : axesOf(op, x, axis).sort((a, b) => a - b);
  const kept = x.shape.map((extent, i) => (axes.includes(i) ? 1 : extent));
  return {
    axes,
    length: sizeOf(axes.map((each) => x.shape[each]!)),
    kept,
    shape: keepDims ? kept : x.shape.filter((_, i) => !axes.includes(i)),
  };
}
