/**
 * Which part of a model's trainable state one rank of several answers for: ranges of the store's flat buffers, and the
 * rows of tables whose number modulo the ranks is its own. Each element is one rank's.
 */

/** Elements [start, end). */
export interface ElementRange {
  readonly start: number;
  readonly end: number;
}

export interface Ownership {
  readonly rank: number;
  readonly size: number;
  /** Of the store's flat buffers, ascending; they begin and end at multiples of 128, or at the end of the buffer. */
  readonly ranges: readonly ElementRange[];
}

/** Whether the rank answers for row `row` of any table. */
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
