/** Shape algebra: sizes, broadcasting, and the text that errors print. */
import { ShapeError } from '../errors.js';
import { show } from '../show.js';

/** Extents of the dimensions; a scalar has none. */
export type Shape = readonly number[];

/** @throws ShapeError naming `op` unless all extents are whole numbers of at least 0. */
export function checkShape(op: string, shape: Shape, x?: { shape: Shape; dtype: string }): void {
  if (!Array.isArray(shape))
    throw new ShapeError(op, `a shape must be a list of extents, found ${show(shape)}`, { x });
  for (const extent of shape)
    if (!Number.isSafeInteger(extent) || extent < 0)
      throw new ShapeError(op, `bad shape ${show(shape)}: extents are whole numbers of at least 0`, { x });
}

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i]);
}

/** NumPy broadcasting of two shapes; undefined when extents differ and neither is 1. */
export function broadcastShapes(a: Shape, b: Shape): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const result = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    result[i] = x === 1 ? y : x;
  }
  return result;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** `axis` counted from the end when negative. @throws ShapeError when there is no such axis. */
export function normalizeAxis(op: string, axis: number, x: { shape: Shape; dtype: string }): number {
  const rank = x.shape.length;
  const result = Number.isInteger(axis) && axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(result) || result < 0 || result >= rank)
    throw new ShapeError(op, `no axis ${show(axis)} among ${rank} dimensions`, { x });
  return result;
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(',')}]`;
}

/** Rows and columns of a tensor seen as a matrix: everything but the last dimension is rows. */
export function asRows(shape: Shape): { rows: number; cols: number } {
  const cols = shape.length === 0 ? 1 : shape[shape.length - 1]!;
  return { rows: cols === 0 ? sizeOf(shape.slice(0, -1)) : sizeOf(shape) / cols, cols };
}
