/**
 * Which part of a model's trainable state one rank of several answers for: its part of every bucket of gradients, and the
 * rows of tables whose number modulo the ranks is its own. Each element is one rank's.
 */
import { type ElementRange, type GradientBucket, joinedRanges } from '../../autograd/buckets.js';
import { partOf } from '../../ranks/communicator.js';

/** Which part of the parameters a rank updates. */
export interface Ownership {
  /** From 0. */
  readonly rank: number;
  /** How many ranks. */
  readonly size: number;
  /** Of the store's flat buffers, ascending, in multiples of 128 elements. */
  readonly ranges: readonly ElementRange[];
}

/** What `rank` of `size` owns where gradients come in these buckets. */
export function ownershipOf(buckets: readonly GradientBucket[], size: number, rank: number): Ownership {
  return { rank, size, ranges: joinedRanges(buckets.flatMap((bucket) => rangesOfPart(bucket, size, rank))) };
}

/** The part of a bucket that a rank owns (`partOf`, the bucket's ranges side by side), as ranges of the flat buffers. */
export function rangesOfPart(
  { ranges, size: count }: GradientBucket,
  size: number,
  rank: number,
): ElementRange[] {
  const own = partOf(count, size, rank);
  const found: ElementRange[] = [];
  let before = 0;
  for (const { start, end } of ranges) {
    const from = Math.max(own.start - before, 0);
    const to = Math.min(own.end - before, end - start);
    if (to > from) found.push({ start: start + from, end: start + to });
    before += end - start;
  }
  return found;
}

/** Whether the rank answers for the gradient of row `row` of any table. */
export const ownsRow = ({ rank, size }: Ownership, row: number): boolean => row % size === rank;

/**
 * The norm of all parts from the norms of each rank's parts, in rank order: every rank comes to the same bits. Not finite
 * where one of them is not.
 */
export function joinedNorm(parts: readonly number[]): number {
  let squares = 0;
  for (const part of parts) squares += part * part;
  return Math.sqrt(squares);
}
