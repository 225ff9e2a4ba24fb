/**
 * One look at the evaluation data: the loss and its parts over batches as training has them, and how each score ranks
 * the rows' own candidates.
 */
import type { CandidatePart } from '../../data/candidates.js';
import type { RowPlace } from '../../data/rows.js';
import { type BatchLosses, type LossName, lossNames } from '../step/train-step.js';
import { rankMetrics } from './rank-metrics.js';
import { placesOf } from './tally.js';

/** Ranks that count. */
const FIRST = 10;
const NDCG = `ndcg@${FIRST}`;
const MRR = `mrr@${FIRST}`;

/**
 * Everything that an evaluation may log, as it is named there: the loss; with all heads trained the loss of each score
 * before they are weighed; how each score ranks.
 */
export function metricNames({
  unified,
  ranks,
}: {
  readonly unified: boolean;
  readonly ranks: boolean;
}): string[] {
  const trained = unified ? lossNames : (['dense'] as const);
  return [
    'eval_loss',
    ...(unified ? trained.map((name) => `eval_${name}_loss`) : []),
    ...(ranks ? trained.flatMap((name) => [NDCG, MRR].map((metric) => `eval_${name}_${metric}`)) : []),
  ];
}

/** Sums over batches or rows, and how many of them were finite. */
interface Sums {
  readonly sums: number[];
  count: number;
  notFinite: number;
}

export class Evaluation {
  batches = 0;
  notFinite = 0;
  /** A rank was asked to stop: not all batches were looked at. */
  stopped = false;
  private sum = 0;
  private firstRows: readonly RowPlace[] = [];
  private readonly parts = new Map<LossName, Sums>();
  private readonly ranks = new Map<LossName, Sums>();
  /** Scores of rows whose candidates come in several batches. */
  private readonly incomplete = new Map<number, Map<LossName, { scores: Float32Array; missing: number }>>();

  add({ loss, parts }: BatchLosses, rows: readonly RowPlace[]): void {
    this.batches++;
    this.sum += loss;
    for (const [name, value] of parts) count(this.parts, name, [value]);
    if (Number.isFinite(loss)) return;
    if (this.notFinite++ === 0) this.firstRows = rows;
  }

  /** `scores`: [B,G] of each score, row-major; a row is ranked once all of its candidates have theirs. */
  rank(parts: readonly CandidatePart[], group: number, scores: ReadonlyMap<LossName, Float32Array>): void {
    parts.forEach((part, n) => {
      let row = this.incomplete.get(part.row);
      if (!row) this.incomplete.set(part.row, (row = new Map()));
      for (const [name, values] of scores) {
        let own = row.get(name);
        if (!own)
          row.set(name, (own = { scores: new Float32Array(part.candidates), missing: part.candidates }));
        own.scores.set(values.subarray(n * group, n * group + part.count), part.first);
        own.missing -= part.count;
        if (own.missing > 0) continue;
        const metrics = rankMetrics(own.scores, part.positives, FIRST);
        count(this.ranks, name, metrics ? [metrics.ndcg, metrics.reciprocalRank] : [Number.NaN, Number.NaN]);
        this.incomplete.delete(part.row);
      }
    });
  }

  /** Mean over all batches; undefined when one of them was not finite: a mean of the others would pass for it. */
  get loss(): number | undefined {
    return this.notFinite > 0 || this.batches === 0 ? undefined : this.sum / this.batches;
  }

  /** By the names of `metricNames`: those that there are; without what was not finite somewhere. */
  metrics(): Map<string, number> {
    const found = new Map<string, number>();
    if (this.loss !== undefined) found.set('eval_loss', this.loss);
    const mean = (from: ReadonlyMap<LossName, Sums>, name: LossName, n: number, as: string) => {
      const sums = from.get(name);
      if (sums && sums.notFinite === 0) found.set(`eval_${name}_${as}`, sums.sums[n]! / sums.count);
    };
    if (this.parts.size > 1) for (const name of lossNames) mean(this.parts, name, 0, 'loss');
    for (const name of lossNames) {
      mean(this.ranks, name, 0, NDCG);
      mean(this.ranks, name, 1, MRR);
    }
    return found;
  }

  /** What to say of it, one line each. */
  notices(step: number): string[] {
    const lines: string[] = [];
    if (this.notFinite > 0)
      lines.push(
        `evaluation at step ${step}: the loss of ${this.notFinite} of ${this.batches} batches is not finite, ` +
          `first of ${placesOf(this.firstRows)}: no eval_loss`,
      );
    for (const [name, { notFinite, count }] of this.ranks)
      if (notFinite > 0)
        lines.push(
          `evaluation at step ${step}: the ${name} scores of ${notFinite} of ${count} rows are not finite: no eval_${name}_${NDCG}`,
        );
    return lines;
  }
}

function count(into: Map<LossName, Sums>, name: LossName, values: readonly number[]): void {
  let sums = into.get(name);
  if (!sums) into.set(name, (sums = { sums: values.map(() => 0), count: 0, notFinite: 0 }));
  sums.count++;
  if (!values.every(Number.isFinite)) sums.notFinite++;
  for (const [n, value] of values.entries()) sums.sums[n]! += value;
}
