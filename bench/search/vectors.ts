/**
 * Vectors for the search bench: a thousand directions with noise around each, since embeddings lie in clusters; an index of
 * a graph finds little among vectors that all are as far from each other. The same for the same seed and row.
 */

import { isBetter, scoreOf } from '../../src/retrieval/search/float64.js';
import type { Metric, Neighbours } from '../../src/retrieval/search/neighbours.js';
import type { VectorRows } from '../../src/retrieval/vectors/rows.js';

const CLUSTERS = 1000;
const NOISE = 0.7;

/** A number in [−1, 1) of two others: a hash (Wellons 2018, lowbias32) of theirs. */
function noise(row: number, column: number): number {
  let h = Math.imul(row, 0x9e3779b1) ^ Math.imul(column + 1, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return ((h ^ (h >>> 15)) | 0) / 2 ** 31;
}

/** `first`: which of all vectors is row 0, so that queries and corpus are drawn alike and differ. */
export const clusteredRows = (count: number, width: number, first: number): VectorRows => ({
  count,
  width,
  async read(start, end) {
    const values = new Float32Array((end - start) * width);
    for (let r = start; r < end; r++) {
      const row = first + r;
      const cluster = -1 - (((noise(row, -2) + 1) * CLUSTERS) >> 1);
      for (let c = 0; c < width; c++)
        values[(r - start) * width + c] = noise(cluster, c) + NOISE * noise(row, c);
    }
    return values;
  },
});

/** The worst score that one of the k nearest may have, for each k and query, by brute force in float64. */
export async function worstScores(
  metric: Metric,
  queries: Float32Array,
  corpus: VectorRows,
  ks: readonly number[],
): Promise<ReadonlyMap<number, Float32Array>> {
  const { width, count } = corpus;
  const checked = queries.length / width;
  const scores = Array.from({ length: checked }, () => new Float32Array(count));
  for (let first = 0; first < count; first += 8192) {
    const values = await corpus.read(first, Math.min(count, first + 8192));
    for (let q = 0; q < checked; q++)
      for (let r = 0; r < values.length / width; r++)
        scores[q]![first + r] = scoreOf(metric, queries, q * width, values, r * width, width);
  }
  for (const all of scores) all.sort();
  return new Map(
    ks.map((k) => [k, Float32Array.from(scores, (all) => all[metric === 'l2' ? k - 1 : count - k]!)]),
  );
}

/** The share of neighbours that are among the k nearest, by their own rows: a tie with the last is as good. */
export async function recallOf(
  metric: Metric,
  queries: Float32Array,
  corpus: VectorRows,
  { k, indices }: Pick<Neighbours, 'k' | 'indices'>,
  worst: Float32Array,
): Promise<number> {
  const { width } = corpus;
  let right = 0;
  for (let q = 0; q < worst.length; q++) {
    const seen = new Set(indices.subarray(q * k, (q + 1) * k));
    for (const row of seen) {
      if (row >= corpus.count) continue;
      const score = scoreOf(metric, queries, q * width, await corpus.read(row, row + 1), 0, width);
      if (!isBetter(metric, worst[q]!, score)) right++;
    }
  }
  return right / (worst.length * k);
}
