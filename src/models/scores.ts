/** The four score matrices of M3, all divided by τ (docs/spec/flagembedding-m3.md §3.4). */
import {
  add,
  matmul,
  maxSim,
  ownGroup,
  scale,
  segmentMax,
  sliceRows,
  sparseScores,
} from '../autograd/index.js';
import { maxSimLayout } from '../kernels/maxsim/layout.js';
import { sparseMatches } from '../kernels/sparse-matches.js';
import { Tensor } from '../tensor/tensor.js';
import type { TokenBatch } from './token-batch.js';

/** B queries, then B·G passages query-major, packed in one batch. */
export interface ScoredBatch {
  /** All texts, queries first. */
  readonly tokens: TokenBatch;
  /** B. */
  readonly queries: number;
  /** G, passages of a query. */
  readonly group: number;
  /** Ids that never match: cls, eos, pad, unk. */
  readonly specialIds: readonly number[];
  /** Per passage: upstream padded it, which floors its ColBERT maxima at 0 (compat colbert-floor). */
  readonly floor?: readonly boolean[] | undefined;
}

/** What the scores see of a batch's texts: the model's three outputs, f32. */
export interface Representations {
  /** [S,H], pooled and normalised. */
  readonly dense: Tensor;
  /** [T], one weight a token. Absent where only dense is trained. */
  readonly sparse?: Tensor | undefined;
  /** [T,C], one vector a token. */
  readonly colbert?: Tensor | undefined;
}

/** Dense vectors of the batch: queries [B,H], passages [B·G,H]. */
export interface DenseVectors {
  readonly queries: Tensor;
  readonly passages: Tensor;
}

export function denseVectors(dense: Tensor, batch: ScoredBatch): DenseVectors {
  return {
    queries: sliceRows(dense, 0, batch.queries),
    passages: sliceRows(dense, batch.queries, dense.rows),
  };
}

/** q·pᵀ/τ: [B, passages], or [B,G] of own groups. */
export function denseScores({ queries, passages }: DenseVectors, temperature: number, own?: number): Tensor {
  const scores = scale(matmul(queries, passages, { transB: true }), 1 / temperature);
  return own === undefined ? scores : ownGroup(scores, own);
}

/** Σ over shared ids of the texts' largest weights, /τ. weights: [T]. */
export function lexicalScores(
  weights: Tensor,
  batch: ScoredBatch,
  temperature: number,
  own: boolean,
): Tensor {
  const { groups, matches, groupCount } = sparseMatches(batch.tokens.packed, batch.tokens.ids, {
    queries: batch.queries,
    ownGroup: own,
    special: batch.specialIds,
  });
  if (groupCount === 0) return Tensor.zeros(weights.gpu, matches.shape);
  const largest = segmentMax(weights, groups.order, groups.starts);
  return scale(sparseScores(largest, matches), 1 / temperature);
}

/** Mean over query tokens of the best passage token, /τ. vectors: [T,C]. */
export function colbertScores(
  vectors: Tensor,
  batch: ScoredBatch,
  temperature: number,
  own: boolean,
): Tensor {
  const layout = maxSimLayout(batch.tokens.packed, {
    queries: batch.queries,
    ownGroup: own,
    floor: batch.floor,
    width: vectors.cols,
  });
  return scale(maxSim(vectors, layout), 1 / temperature);
}

/** E = D + 0.3·S + C, on scores that are already divided by τ. */
export function ensembleScores(dense: Tensor, sparse: Tensor, colbert: Tensor): Tensor {
  return add(add(dense, scale(sparse, 0.3)), colbert);
}
