/**
 * Vectors that are read by position: of a file, of memory, of whatever can say how many there are. Search, mining and
 * scoring see no more of them, so that a pool may be larger than memory.
 */
import { ShapeError } from '../../errors.js';

/** Vectors that can be read in ranges of rows, from memory or a file. */
export interface VectorRows {
  /** How many vectors. */
  readonly count: number;
  /** Values of a vector. */
  readonly width: number;
  /**
   * [(end − start) · width] f32: rows start to end − 1, one after the other. The caller may keep it, but not change it.
   * `into`: memory of the caller's, of at least so many values, that may be read into and the result be part of; rows that
   * lie in memory are not copied there.
   */
  read(start: number, end: number, into?: Float32Array): Promise<Float32Array>;
}

/** Rows that are in memory. values: [count · width]. @throws ShapeError. */
export function memoryRows(values: Float32Array, width: number): VectorRows {
  if (!Number.isInteger(width) || width < 1 || values.length % width !== 0)
    throw new ShapeError('memoryRows', `${values.length} values are no rows of ${width}`);
  return {
    count: values.length / width,
    width,
    async read(start, end) {
      requireRows('memoryRows', values.length / width, start, end);
      return values.subarray(start * width, end * width);
    },
  };
}

/** @throws ShapeError where there are no rows `start` to `end`. */
export function requireRows(what: string, count: number, start: number, end: number): void {
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || start > end || end > count)
    throw new ShapeError(what, `no rows ${start} to ${end} of ${count}`);
}

/** The first `count` of some rows. */
export const firstRows = (rows: VectorRows, count: number): VectorRows => ({
  ...{ count, width: rows.width },
  read: (start, end, into) => rows.read(start, end, into),
});
