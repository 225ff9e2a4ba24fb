/**
 * Broadcasting as kernels see it: the dimensions of the result, those merged that all operands have alike, and which of
 * them an operand has. The others it is stretched along.
 */
import { type Shape, sizeOf } from '../tensor/shape.js';
import type { Range } from './launch/operands.js';

interface BroadcastPlan {
  /** Extents, the outermost first; neighbours differ in which operands have them, so that they are few. */
  readonly dims: readonly number[];
  /** Of each operand: bit k is set where it has the dimension that is the k-th from the last. */
  readonly masks: readonly number[];
}

/** For operands that broadcast to `shape`, which has elements. */
export function broadcastPlan(shape: Shape, operands: readonly Shape[]): BroadcastPlan {
  const dims: number[] = [];
  const masks = operands.map(() => 0);
  let before: readonly boolean[] | undefined;
  for (let i = shape.length - 1; i >= 0; i--) {
    const extent = shape[i]!;
    if (extent === 1) continue;
    // An operand's own dimensions are the last of the result's.
    const has = operands.map((own) => (own[i - shape.length + own.length] ?? 1) !== 1);
    if (before && has.every((own, n) => own === before![n])) {
      dims[0] = dims[0]! * extent;
      continue;
    }
    for (const [n, own] of has.entries()) if (own) masks[n] = masks[n]! | (1 << dims.length);
    dims.unshift(extent);
    before = has;
  }
  return { dims, masks: masks.map((mask) => mask >>> 0) };
}

/** The elements of an operand with this mask that elements [start, start+count) of the result read, as one range. */
export function broadcastRange(
  dims: readonly number[],
  mask: number,
  { start, count }: { readonly start: number; readonly count: number },
): Range {
  if (count === 0) return [0, 0];
  const has = dims.map((_, i) => ((mask >>> (dims.length - 1 - i)) & 1) === 1);
  let stride = dims.reduce((size, extent, i) => (has[i] ? size * extent : size), 1);
  let [first, last] = [0, 0];
  let block = sizeOf(dims);
  let [from, to] = [start, start + count - 1];
  let apart = false;
  for (const [i, extent] of dims.entries()) {
    block /= extent;
    if (has[i]) stride /= extent;
    const own = has[i] ? stride : 0;
    const [low, high] = [Math.floor(from / block), Math.floor(to / block)];
    // Once the two differ, all of the dimensions within is read.
    first += apart ? 0 : low * own;
    last += (apart ? extent - 1 : high) * own;
    apart ||= low !== high;
    from -= low * block;
    to -= high * block;
  }
  return [first, last - first + 1];
}
