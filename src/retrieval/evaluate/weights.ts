/**
 * The weights of the hybrid sum that are best on queries set aside for it: all points of a grid on the simplex
 * w_dense + w_sparse + w_colbert = 1, since a common factor changes no ranking.
 */
import { ShapeError } from '../../errors.js';
import { type Metric, queryMetrics } from './metrics.js';
import type { Hit, Qrels } from './ranking.js';
import { type Candidates, type HybridWeights, hybridRanking } from './retrieve.js';

/** The hybrid weights that were found, and what they reach. */
export interface TunedWeights {
  /** Of dense, sparse and ColBERT scores. */
  readonly weights: HybridWeights;
  /** Mean of the metric with them. */
  readonly value: number;
  /** Points that were tried, and how many of them reach the same value. */
  readonly tried: number;
  /** Of the points that were tried, those with the same value. */
  readonly equal: number;
}

/** Steps of the grid from 0 to 1. */
const STEPS = 20;

/** Points in a fixed order: dense alone comes first. */
export function simplexGrid(steps: number): HybridWeights[] {
  const points: HybridWeights[] = [];
  for (let dense = steps; dense >= 0; dense--)
    for (let sparse = 0; sparse <= steps - dense; sparse++)
      points.push([dense / steps, sparse / steps, (steps - dense - sparse) / steps]);
  return points;
}

/**
 * The point with the best mean of `metric` over the queries. Of several equally good ones the one nearest to their centre
 * is taken, the earlier of two: on a plateau the middle is the safest.
 * `ids`: of the documents, by index. @throws ShapeError without queries.
 */
export function tuneWeights(
  queries: readonly {
    /** As the judgements have it. */
    readonly id: string;
  }[],
  candidates: readonly Candidates[],
  ids: readonly string[],
  qrels: Qrels,
  metric: Metric,
): TunedWeights {
  if (queries.length === 0) throw new ShapeError('tuneWeights', 'no queries: there is nothing to tune on');
  const points = simplexGrid(STEPS);
  const values = points.map((weights) => {
    let sum = 0;
    queries.forEach(({ id }, q) => {
      const { indices, scores } = hybridRanking(candidates[q]!, weights);
      // A cut-off needs no more than the documents before it, but for those that tie with the last.
      let count = Math.min(indices.length, metric.k);
      while (count < indices.length && scores[count] === scores[count - 1]) count++;
      const hits = Array.from(
        { length: count },
        (_, i): Hit => ({ doc: ids[indices[i]!]!, score: scores[i]! }),
      );
      sum += queryMetrics(qrels.get(id)!, hits, [metric])[0]!;
    });
    return sum / queries.length;
  });
  const best = Math.max(...values);
  const equal = points.filter((_, p) => values[p] === best);
  const centre = [0, 1, 2].map((w) => equal.reduce((sum, point) => sum + point[w]!, 0) / equal.length);
  const distance = (point: HybridWeights) =>
    point.reduce((sum, value, w) => sum + (value - centre[w]!) ** 2, 0);
  let weights = equal[0]!;
  for (const point of equal) if (distance(point) < distance(weights) - 1e-12) weights = point;
  return { weights, value: best, tried: points.length, equal: equal.length };
}
