/**
 * Gradients in the order in which backward completes them, cut into buckets: what ranks exchange at once while the
 * rest is still being computed (Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel
 * Training", section 3.2.3).
 */

/** Elements [start, end) of the flat buffers. */
export interface ElementRange {
  /** The first element. */
  readonly start: number;
  /** The element behind the last. */
  readonly end: number;
}

/** Parameters whose gradients are complete together, for reductions during backward. */
export interface GradientBucket {
  /** Its gradients are final when backward has passed this stage and all later ones. */
  readonly stage: number;
  /** Ascending, apart from one another, multiples of 128 elements. */
  readonly ranges: readonly ElementRange[];
  /** Elements of all ranges. */
  readonly size: number;
}

interface StagedRange extends ElementRange {
  readonly stage: number;
}

/**
 * The ranges in buckets, the last stage first. A stage is never cut: stages are joined until they have `bytes` bytes
 * of f32, and a larger one stays whole. `ranges` are disjoint.
 */
export function bucketsOf(ranges: readonly StagedRange[], bytes: number): GradientBucket[] {
  const stages = new Map<number, StagedRange[]>();
  for (const range of ranges) stages.set(range.stage, [...(stages.get(range.stage) ?? []), range]);
  const buckets: GradientBucket[] = [];
  let open: StagedRange[] = [];
  const close = (stage: number) => {
    const joined = joinedRanges(open);
    buckets.push({ stage, ranges: joined, size: sizeOfRanges(joined) });
    open = [];
  };
  const order = [...stages.keys()].sort((a, b) => b - a);
  for (const stage of order) {
    open.push(...stages.get(stage)!);
    if (4 * sizeOfRanges(open) >= bytes || stage === order.at(-1)) close(stage);
  }
  return buckets;
}

/** Elements of all of them. */
export const sizeOfRanges = (ranges: readonly ElementRange[]): number =>
  ranges.reduce((sum, { start, end }) => sum + end - start, 0);

/** Ascending, neighbours as one. */
export function joinedRanges(ranges: readonly ElementRange[]): ElementRange[] {
  const joined: { start: number; end: number }[] = [];
  for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last?.end === start) last.end = end;
    else joined.push({ start, end });
  }
  return joined;
}
