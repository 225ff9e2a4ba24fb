/**
 * From candidates to neighbours: their scores in float64, rounded to f32 (float64.ts), best first, equal scores by row.
 * Exact and approximate search end here, so that what they report means the same.
 */
import type { VectorRows } from '../vectors/rows.js';
import { isBetter, scoreOf } from './float64.js';
import type { Metric } from './neighbours.js';

/** No row: what stands where there is no candidate more. */
export const NO_ROW = 0xffffffff;

/** Queries with their candidates. */
export interface Candidates {
  /** [queries · width]. */
  readonly queries: Float32Array;
  /** [at least queries · kept] rows of the corpus, `NO_ROW` after the last; put in order here. */
  readonly rows: Uint32Array;
}

/** Bytes of the corpus that are read at once: what stays in a processor's cache while its candidates are scored. */
const BLOCK_BYTES = 1 << 20;

/**
 * Scores of all candidates, [queries · kept] for each of `parts`, whose rows are sorted by them. The corpus is read once, by
 * blocks, those alone in which some lie.
 */
export async function rankCandidates(
  metric: Metric,
  corpus: VectorRows,
  parts: readonly Candidates[],
  kept: number,
): Promise<Float32Array[]> {
  const { width, count } = corpus;
  const blockRows = Math.max(16, Math.floor(BLOCK_BYTES / (4 * width)));
  const counts = parts.map(({ queries }) => (queries.length / width) * kept);
  const scores = counts.map((length) => new Float32Array(length));
  const blockOf = (row: number) => Math.floor(row / blockRows);
  const starts = new Uint32Array(blockOf(count - 1) + 2);
  // By block: which part, and which of its candidates.
  const each = (visit: (part: number, at: number, row: number) => void) => {
    for (const [p, { rows }] of parts.entries())
      for (let at = 0; at < counts[p]!; at++) if (rows[at] !== NO_ROW) visit(p, at, rows[at]!);
  };
  each((_, __, row) => starts[blockOf(row) + 1]!++);
  for (let b = 1; b < starts.length; b++) starts[b]! += starts[b - 1]!;
  const next = starts.slice();
  const [partAt, placeAt] = [new Uint32Array(starts.at(-1)!), new Uint32Array(starts.at(-1)!)];
  each((part, at, row) => {
    const to = next[blockOf(row)]!++;
    [partAt[to], placeAt[to]] = [part, at];
  });
  const memory = new Float32Array(Math.min(count, blockRows) * width);
  for (let b = 0; b + 1 < starts.length; b++) {
    if (starts[b] === starts[b + 1]) continue;
    const first = b * blockRows;
    const values = await corpus.read(first, Math.min(count, first + blockRows), memory);
    for (let i = starts[b]!; i < starts[b + 1]!; i++) {
      const [part, at] = [partAt[i]!, placeAt[i]!];
      const { queries, rows } = parts[part]!;
      const query = Math.floor(at / kept) * width;
      scores[part]![at] = scoreOf(metric, queries, query, values, (rows[at]! - first) * width, width);
    }
  }
  for (const [p, { rows }] of parts.entries())
    for (let start = 0; start < counts[p]!; start += kept)
      sortBest(metric, rows.subarray(start, start + kept), scores[p]!.subarray(start, start + kept));
  return scores;
}

/** Places that a candidate moves by on average before sorting by insertion costs more than by comparisons. */
const FEW_MOVES = 16;

/** Rows and their scores, in place. Where there is no row, all candidates were before. */
function sortBest(metric: Metric, rows: Uint32Array, scores: Float32Array): void {
  const end = rows.indexOf(NO_ROW);
  const count = end < 0 ? rows.length : end;
  const goesBefore = (row: number, score: number, other: number, otherScore: number) =>
    isBetter(metric, score, otherScore) || (score === otherScore && row < other);
  // They come nearly in order, unless f32 took many for equal or told equal ones apart.
  let moves = 0;
  for (let i = 1; i < count && moves <= FEW_MOVES * count; i++) {
    const [row, score] = [rows[i]!, scores[i]!];
    let at = i;
    for (; at > 0 && goesBefore(row, score, rows[at - 1]!, scores[at - 1]!); at--) {
      rows[at] = rows[at - 1]!;
      scores[at] = scores[at - 1]!;
      moves++;
    }
    rows[at] = row;
    scores[at] = score;
  }
  if (moves <= FEW_MOVES * count) return;
  const [ownRows, ownScores] = [rows.slice(), scores.slice()];
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) =>
    goesBefore(ownRows[a]!, ownScores[a]!, ownRows[b]!, ownScores[b]!) ? -1 : 1,
  );
  for (const [to, from] of order.entries()) {
    rows[to] = ownRows[from]!;
    scores[to] = ownScores[from]!;
  }
}
