/** Where the loss of a run began and ended, steps left aside whose batches were too small to be compared with the others. */
import type { RunRecord } from '../run-record/record.js';
import { curveOf, LOSS } from './curves.js';

export interface LossCourse {
  readonly first: number;
  readonly last: number;
  /** Both are means, of the first and of the last tenth of the steps: single ones differ by what is in their batches. */
  readonly tenths: boolean;
  /** Steps that were left out. */
  readonly small: number;
}

/** Steps from which on single ones are not taken for the run. */
const MANY_STEPS = 20;

/** Undefined of a run without a loss. */
export function lossCourse(record: RunRecord): LossCourse | undefined {
  const curve = curveOf(record, LOSS);
  const small = smallSteps(record);
  const all = curve?.raw ?? curve?.values ?? [];
  const values = all.filter((value, i): value is number => value !== null && !small.has(i));
  if (values.length === 0) return undefined;
  const tenths = all.filter((value) => value !== null).length >= MANY_STEPS;
  const count = tenths ? Math.max(1, Math.floor(values.length / 10)) : 1;
  const mean = (some: readonly number[]) => some.reduce((sum, value) => sum + value, 0) / some.length;
  return {
    ...{ first: mean(values.slice(0, count)), last: mean(values.slice(-count)) },
    ...{ tenths, small: small.size },
  };
}

/**
 * Points of single steps with less than two thirds of the tokens of the step in the middle: the last batch of an epoch has the
 * rows that are left, and the fewer passages a query is compared with, the smaller the loss, however well it is learned.
 * Where a point stands for several steps a small one counts little.
 */
export function smallSteps({ steps: { stride, tokens } }: RunRecord): ReadonlySet<number> {
  const known = tokens.mean.filter((value) => value !== null).sort((a, b) => a - b);
  const middle = known[Math.floor(known.length / 2)];
  const small = new Set<number>();
  if (stride > 1 || middle === undefined) return small;
  for (const [i, value] of tokens.mean.entries()) if (value !== null && 3 * value < 2 * middle) small.add(i);
  return small;
}
