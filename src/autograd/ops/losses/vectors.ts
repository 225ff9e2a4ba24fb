/**
 * Losses of vectors, which compare directions or distances: as PyTorch or sentence-transformers define them. All are f32,
 * whatever the format of their operands; they are compositions.
 */
import { ShapeError } from '../../../errors.js';
import { OptionNames } from '../../../options.js';
import { show } from '../../../show.js';
import { anyDType, anyNumber, floats, notNegative, positive, signature } from '../../../tensor/operands.js';
import { scope } from '../../../tensor/scope.js';
import { broadcastShapes, normalizeAxis } from '../../../tensor/shape.js';
import { Tensor } from '../../../tensor/tensor.js';
import { raised } from '../in-f32.js';
import { concat } from '../joins.js';
import { matmul } from '../matmul.js';
import { add, clamp, div, eq, mul, relu, scale, sub, where } from '../pointwise.js';
import { norm, sum } from '../reduce.js';
import { normalizeRows } from '../rows.js';
import { expand, reshape, transpose } from '../shape.js';
import { slice } from '../slices.js';
import { crossEntropy } from './cross-entropy.js';
import { checkReduction, type LossOptions, reduced } from './reduction.js';

const COSINE = signature(
  'cosineSimilarity',
  { a: floats('...a'), b: floats('...b') },
  { numbers: { eps: notNegative } },
);

/**
 * a·b / (max(‖a‖, ε)·max(‖b‖, ε)) along an axis, which the result lacks, f32. a, b: f32 or f16; they broadcast. PyTorch's
 * `cosine_similarity`. @throws ShapeError.
 */
export function cosineSimilarity(a: Tensor, b: Tensor, axis = -1, eps = 1e-8): Tensor {
  COSINE.check({ a, b }, { eps });
  const shape = broadcastShapes(a.shape, b.shape);
  if (!shape) throw new ShapeError('cosineSimilarity', 'shapes do not broadcast', { a, b });
  const at = normalizeAxis('cosineSimilarity', axis, { shape, dtype: a.dtype });
  // Lengths are taken along the axis as both have it once they are broadcast.
  const along = (x: Tensor): Tensor => {
    const own = [...new Array<number>(shape.length - x.shape.length).fill(1), ...x.shape];
    return expand(
      reshape(raised(x), own),
      own.map((extent, d) => (d === at ? shape[at]! : extent)),
    );
  };
  return scope(() => {
    const [first, second] = [along(a), along(b)];
    const length = (x: Tensor) => clamp(norm(x, 2, at), { min: eps });
    return div(sum(mul(first, second), at), mul(length(first), length(second)));
  });
}

/** Reduction of `cosineEmbeddingLoss`, and how alike others may be. */
export interface CosineEmbeddingOptions extends LossOptions {
  /** Cosine from which on a pair of others costs something. Default 0. */
  margin?: number;
}

const COSINE_EMBEDDING = signature(
  'cosineEmbeddingLoss',
  { a: floats('...', 'C'), b: floats('...', 'C'), target: anyDType('...') },
  { numbers: { margin: anyNumber } },
);

const COSINE_EMBEDDING_OPTIONS = new OptionNames<CosineEmbeddingOptions>({
  reduction: 'string',
  margin: 'number',
});

/**
 * 1 − cos(a, b) where the target is 1, max(0, cos(a, b) − margin) where it is −1, by default the mean. a, b: [...,C] f32 or
 * f16; target: [...] i32 or floats of 1 and −1. @throws ShapeError.
 */
export function cosineEmbeddingLoss(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  options: CosineEmbeddingOptions = {},
): Tensor {
  const { margin = 0, reduction = 'mean' } = COSINE_EMBEDDING_OPTIONS.read('cosineEmbeddingLoss', options);
  COSINE_EMBEDDING.check({ a, b, target }, { margin });
  checkReduction('cosineEmbeddingLoss', reduction, { a, b, target });
  return scope(() => {
    const cosine = cosineSimilarity(a, b);
    const apart = where(eq(target, -1), relu(sub(cosine, margin)), 0);
    return reduced(where(eq(target, 1), sub(1, cosine), apart), reduction);
  });
}

/** Similarity, scale and symmetry of a ranking loss. */
export interface RankingOptions {
  /** What similarities are multiplied by, one over the temperature. */
  scale?: number;
  /** Cosines, or products of the vectors as they are. */
  similarity?: 'cosine' | 'dot';
  /** Positives must find their anchors among all anchors too; the two losses are averaged. */
  symmetric?: boolean;
}

const RANKING = signature(
  'multipleNegativesRanking',
  { anchors: floats('B', 'D'), candidates: floats('>=B', 'D') },
  { numbers: { scale: positive } },
);

const RANKING_OPTIONS = new OptionNames<RankingOptions>({
  scale: 'number',
  similarity: 'string',
  symmetric: 'boolean',
});

/**
 * Mean cross-entropy of each anchor with its own candidate among all: InfoNCE with the batch's other candidates for negatives
 * (van den Oord et al. 2018), `MultipleNegativesRankingLoss` of sentence-transformers. anchors: [B,D]; candidates: [≥B,D], the
 * positives in the anchors' order, then hard negatives, or a list of such tensors. f32 or f16. @throws ShapeError.
 */
export function multipleNegativesRanking(
  anchors: Tensor,
  candidates: Tensor | readonly Tensor[],
  options: RankingOptions = {},
): Tensor {
  const {
    scale: factor = 20,
    similarity = 'cosine',
    symmetric = false,
  } = RANKING_OPTIONS.read('multipleNegativesRanking', options);
  if (
    Array.isArray(candidates) &&
    (candidates.length === 0 || !candidates.every((each) => each instanceof Tensor))
  )
    throw new ShapeError(
      'multipleNegativesRanking',
      `candidates must be a tensor or a list of tensors, found ${show(candidates)}`,
    );
  return scope(() => {
    const all = Array.isArray(candidates) ? concat(candidates) : (candidates as Tensor);
    RANKING.check({ anchors, candidates: all }, { scale: factor });
    if (similarity !== 'cosine' && similarity !== 'dot')
      throw new ShapeError(
        'multipleNegativesRanking',
        `similarity must be cosine or dot, found ${show(similarity)}`,
        { anchors },
      );
    const vectors = (x: Tensor) => (similarity === 'cosine' ? normalizeRows(raised(x)) : raised(x));
    const scores = scale(matmul(vectors(anchors), vectors(all), { transB: true }), factor);
    const own = Uint32Array.from({ length: anchors.rows }, (_, i) => i);
    const forth = crossEntropy(scores, own);
    if (!symmetric) return forth;
    const back = crossEntropy(transpose(slice(scores, null, [0, anchors.rows])), own);
    return scale(add(forth, back), 0.5);
  });
}

/** Margin and distance of `tripletLoss`. */
export interface TripletOptions extends LossOptions {
  /** By how much the negative must be farther than the positive. Default 1. */
  margin?: number;
  /** ‖a − b + 1e-6‖ as PyTorch's `pairwise_distance`, or 1 − cos(a, b). */
  distance?: 'euclidean' | 'cosine';
}

const TRIPLET = signature(
  'tripletLoss',
  { anchor: floats('...', 'C'), positive: floats('...', 'C'), negative: floats('...', 'C') },
  { numbers: { margin: anyNumber } },
);

const TRIPLET_OPTIONS = new OptionNames<TripletOptions>({
  reduction: 'string',
  margin: 'number',
  distance: 'string',
});

/**
 * max(0, d(anchor, positive) − d(anchor, negative) + margin), by default the mean (Schroff et al. 2015); the margin is 1 as in
 * PyTorch (5 in sentence-transformers). [...,C] each, f32 or f16. @throws ShapeError.
 */
export function tripletLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: TripletOptions = {},
): Tensor {
  const {
    margin = 1,
    distance = 'euclidean',
    reduction = 'mean',
  } = TRIPLET_OPTIONS.read('tripletLoss', options);
  const operands = { anchor, positive, negative };
  TRIPLET.check(operands, { margin });
  checkReduction('tripletLoss', reduction, operands);
  if (distance !== 'euclidean' && distance !== 'cosine')
    throw new ShapeError(
      'tripletLoss',
      `distance must be euclidean or cosine, found ${show(distance)}`,
      operands,
    );
  return scope(() => {
    const apart = (other: Tensor) =>
      distance === 'cosine'
        ? sub(1, cosineSimilarity(anchor, other))
        : norm(add(sub(raised(anchor), raised(other)), 1e-6), 2, -1);
    return reduced(relu(add(sub(apart(positive), apart(negative)), margin)), reduction);
  });
}
