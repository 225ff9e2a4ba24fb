/** The four score matrices of M3, all divided by τ (spec flagembedding-m3 §3.4). */
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
import { Tensor } from '../tensor/tensor.js';
import type { M3Model } from './m3.js';
import { maxSimLayout, sparseMatches } from './score-layout.js';
import type { TokenBatch } from './token-batch.js';

/** B queries, then B·G passages query-major, packed in one batch. */
export interface ScoredBatch {
  readonly tokens: TokenBatch;
  readonly queries: number;
  readonly group: number;
  /** Ids that never match: cls, eos, pad, unk. */
  readonly specialIds: readonly number[];
  /** Per passage: upstream padded it, which floors its ColBERT maxima at 0 (compat colbert-floor). */
  readonly floor?: readonly boolean[] | undefined;
}

/** Dense vectors of the batch: queries [B,H], passages [B·G,H]. */
export interface DenseVectors {
  readonly queries: Tensor;
  readonly passages: Tensor;
}

export function denseVectors(model: M3Model, hidden: Tensor, batch: ScoredBatch): DenseVectors {
  const all = model.dense(hidden, batch.tokens);
  return {
    queries: sliceRows(all, 0, batch.queries),
    passages: sliceRows(all, batch.queries, all.rows),
  };
}

/** q·pᵀ/τ: [B, passages], or [B,G] of own groups. */
export function denseScores({ queries, passages }: DenseVectors, temperature: number, own?: number): Tensor {
  const scores = scale(matmul(queries, passages, { transB: true }), 1 / temperature);
  return own === undefined ? scores : ownGroup(scores, own);
}

/** Σ over shared ids of the texts' largest weights, /τ. */
export function lexicalScores(
  model: M3Model,
  hidden: Tensor,
  batch: ScoredBatch,
  temperature: number,
  own: boolean,
): Tensor {
  const { groups, matches, groupCount } = sparseMatches(batch.tokens.packed, batch.tokens.ids, {
    queries: batch.queries,
    ownGroup: own,
    special: batch.specialIds,
  });
  if (groupCount === 0) return Tensor.zeros(hidden.gpu, matches.shape);
  const weights = segmentMax(model.sparse(hidden), groups.order, groups.starts);
  return scale(sparseScores(weights, matches), 1 / temperature);
}

/** Mean over query tokens of the best passage token, /τ. */
export function colbertScores(
  model: M3Model,
  hidden: Tensor,
  batch: ScoredBatch,
  temperature: number,
  own: boolean,
): Tensor {
  const layout = maxSimLayout(batch.tokens.packed, {
    queries: batch.queries,
    ownGroup: own,
    floor: batch.floor,
  });
  return scale(maxSim(model.colbert(hidden), layout), 1 / temperature);
}

/** E = D + 0.3·S + C, on scores that are already divided by τ. */
export function ensembleScores(dense: Tensor, sparse: Tensor, colbert: Tensor): Tensor {
  return add(add(dense, scale(sparse, 0.3)), colbert);
}
