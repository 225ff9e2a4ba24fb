/** Scores of a query and a passage from their embeddings, on the host (docs/spec/flagembedding-m3.md §6). */
import { ShapeError } from '../errors.js';
import type { M3Embedding } from './embedding.js';

/** @throws ShapeError when the vectors are of two models. */
function sameWidth(op: string, a: Float32Array, b: Float32Array, widthA: number, widthB: number): void {
  if (widthA !== widthB)
    throw new ShapeError(op, 'vectors of two widths', {
      a: { shape: [a.length / widthA, widthA], dtype: 'f32' },
      b: { shape: [b.length / widthB, widthB], dtype: 'f32' },
    });
}

/** Inner product of two dense vectors. */
export function denseScore(a: M3Embedding, b: M3Embedding): number {
  sameWidth('denseScore', a.dense, b.dense, a.dense.length, b.dense.length);
  let sum = 0;
  for (let i = 0; i < a.dense.length; i++) sum += a.dense[i]! * b.dense[i]!;
  return sum;
}

/** Σ over the shared tokens of the products of their weights. */
export function lexicalScore(a: M3Embedding, b: M3Embedding): number {
  let sum = 0;
  for (const [id, weight] of a.lexical) sum += weight * (b.lexical.get(id) ?? 0);
  return sum;
}

/** Mean over the query's vectors of the largest dot product. */
export function colbertScore(query: M3Embedding, passage: M3Embedding): number {
  const width = query.colbert.length / (query.ids.length - 1);
  const q = query.colbert;
  const p = passage.colbert;
  if (p.length > 0) sameWidth('colbertScore', q, p, width, p.length / (passage.ids.length - 1));
  let sum = 0;
  for (let i = 0; i < q.length; i += width) {
    let best = Number.NEGATIVE_INFINITY;
    for (let j = 0; j < p.length; j += width) {
      let dot = 0;
      for (let c = 0; c < width; c++) dot += q[i + c]! * p[j + c]!;
      // A NaN stays one.
      best = Math.max(best, dot);
    }
    sum += best;
  }
  return sum / Math.max(1, q.length / width);
}

/** Weighted means of the single scores, as FlagEmbedding's `compute_score`; weights [dense, sparse, ColBERT]. */
export function hybridScores(
  query: M3Embedding,
  passage: M3Embedding,
  [wd, ws, wc]: readonly [number, number, number] = [1, 1, 1],
): {
  /** The inner product of the dense vectors. */
  dense: number;
  /** Σ of the products of the weights of common token ids. */
  sparse: number;
  /** The mean of each query token's best inner product. */
  colbert: number;
  /** Their weighted mean. */
  'sparse+dense': number;
  /** The weighted mean of all three. */
  'colbert+sparse+dense': number;
} {
  const dense = denseScore(query, passage);
  const sparse = lexicalScore(query, passage);
  const colbert = colbertScore(query, passage);
  return {
    dense,
    sparse,
    colbert,
    'sparse+dense': (wd * dense + ws * sparse) / (wd + ws),
    'colbert+sparse+dense': (wd * dense + ws * sparse + wc * colbert) / (wd + ws + wc),
  };
}
