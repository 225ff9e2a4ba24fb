/**
 * Scores as search reports them: sums in float64 in one fixed order, rounded to f32. Equal vectors have equal scores
 * wherever they stand, and whichever device found them. The sums are variables of their own, and each value is read once:
 * four of an array taken apart cost four times as long.
 */
import type { Metric } from './neighbours.js';

type Vectors = Float32Array;

/** Σ x², of the `width` values from `at` on; not finite exactly where one of them is not (f32 squared cannot overflow). */
export function squaredLength(x: Vectors, at: number, width: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  const end = at + width;
  let i = at;
  for (; i + 4 <= end; i += 4) {
    const x0 = x[i]!;
    const x1 = x[i + 1]!;
    const x2 = x[i + 2]!;
    const x3 = x[i + 3]!;
    a += x0 * x0;
    b += x1 * x1;
    c += x2 * x2;
    d += x3 * x3;
  }
  for (; i < end; i++) a += x[i]! * x[i]!;
  return a + b + (c + d);
}

/** Σ x·y of the `width` values from `atX` and `atY` on. */
export function innerProduct(x: Vectors, atX: number, y: Vectors, atY: number, width: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 4 <= width; i += 4) {
    a += x[atX + i]! * y[atY + i]!;
    b += x[atX + i + 1]! * y[atY + i + 1]!;
    c += x[atX + i + 2]! * y[atY + i + 2]!;
    d += x[atX + i + 3]! * y[atY + i + 3]!;
  }
  for (; i < width; i++) a += x[atX + i]! * y[atY + i]!;
  return a + b + (c + d);
}

/** Σ (x − y)² of the `width` values from `atX` and `atY` on. */
export function squaredDistance(x: Vectors, atX: number, y: Vectors, atY: number, width: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 4 <= width; i += 4) {
    const x0 = x[atX + i]! - y[atY + i]!;
    const x1 = x[atX + i + 1]! - y[atY + i + 1]!;
    const x2 = x[atX + i + 2]! - y[atY + i + 2]!;
    const x3 = x[atX + i + 3]! - y[atY + i + 3]!;
    a += x0 * x0;
    b += x1 * x1;
    c += x2 * x2;
    d += x3 * x3;
  }
  for (; i < width; i++) a += (x[atX + i]! - y[atY + i]!) ** 2;
  return a + b + (c + d);
}

/**
 * The score of a query with a row of the corpus, rounded to f32. Cosine with a vector of zeros is 0. What is beyond f32 is
 * infinite.
 */
export function scoreOf(
  metric: Metric,
  query: Vectors,
  atQuery: number,
  row: Vectors,
  atRow: number,
  width: number,
): number {
  if (metric === 'l2') return Math.fround(squaredDistance(query, atQuery, row, atRow, width));
  const product = innerProduct(query, atQuery, row, atRow, width);
  if (metric === 'ip') return Math.fround(product);
  const lengths =
    Math.sqrt(squaredLength(query, atQuery, width)) * Math.sqrt(squaredLength(row, atRow, width));
  return lengths === 0 ? 0 : Math.fround(product / lengths);
}

/** Whether a score is better than another. */
export const isBetter = (metric: Metric, a: number, b: number): boolean => (metric === 'l2' ? a < b : a > b);
