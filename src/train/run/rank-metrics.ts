/** Rank metrics of one query over its candidates, with binary relevance (Järvelin & Kekäläinen 2002 for nDCG). */

export interface RankMetrics {
  /** Σ of 1/log2(rank+1) over the relevant within the first k, by what it is at best. */
  readonly ndcg: number;
  /** 1/rank of the first relevant one, 0 beyond the first k. */
  readonly reciprocalRank: number;
}

/**
 * `scores`: of every candidate, of which the first `relevant` are the relevant ones; at least one. Among equal scores the
 * relevant come last, so that a model that scores everything alike finds nothing.
 * @returns undefined when a score is not finite: then there is no order.
 */
export function rankMetrics(scores: ArrayLike<number>, relevant: number, k: number): RankMetrics | undefined {
  for (let i = 0; i < scores.length; i++) if (!Number.isFinite(scores[i])) return undefined;
  const order = Array.from({ length: scores.length }, (_, i) => i).sort(
    (a, b) => scores[b]! - scores[a]! || b - a,
  );
  let gain = 0;
  let best = 0;
  let first = 0;
  for (let rank = 1; rank <= Math.min(k, order.length); rank++) {
    const discounted = 1 / Math.log2(rank + 1);
    if (rank <= relevant) best += discounted;
    if (order[rank - 1]! >= relevant) continue;
    gain += discounted;
    first ||= rank;
  }
  return { ndcg: gain / best, reciprocalRank: first === 0 ? 0 : 1 / first };
}
