/**
 * Losses, as PyTorch's of these names define them. All are f32, whatever the format of their operands, and mean, sum or, with
 * `reduction: 'none'`, one value a row or an element. Cross-entropies have kernels of their own; the others are compositions.
 */
import { ShapeError } from '../../errors.js';
import { filled } from '../../kernels/make.js';
import { binary, unary } from '../../kernels/pointwise.js';
import * as entropy from '../../kernels/softmax/cross-entropy.js';
import { logSoftmax as logSoftmaxKernel } from '../../kernels/softmax/softmax.js';
import { OptionNames } from '../../options.js';
import { show } from '../../show.js';
import {
  anyDType,
  anyNumber,
  f32,
  floats,
  integers,
  notNegative,
  optional,
  positive,
  probability,
  requireBeside,
  signature,
} from '../../tensor/operands.js';
import { isTaped, scope } from '../../tensor/scope.js';
import { broadcastShapes, normalizeAxis } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { stretch } from '../ranges.js';
import { record, wantsGradient } from '../tape.js';
import { indexSelect } from './indexing.js';
import { concat } from './joins.js';
import { matmul } from './matmul.js';
import {
  abs,
  add,
  cast,
  clamp,
  div,
  eq,
  exp,
  log,
  mul,
  neg,
  relu,
  scale,
  softplus,
  square,
  sub,
  where,
} from './pointwise.js';
import { mean, norm, sum } from './reduce.js';
import { normalizeRows } from './rows.js';
import { expand, reshape, slice, transpose } from './shape.js';

/** What a loss makes of its values. */
export type Reduction = 'mean' | 'sum' | 'none';

/** How the values of a loss become one. */
export interface LossOptions {
  reduction?: Reduction;
}

const LOSS_OPTIONS = new OptionNames<LossOptions>({ reduction: 'string' });

function checkReduction(
  op: string,
  reduction: string,
  operands: Readonly<Record<string, Tensor>>,
  allowed: readonly string[] = ['mean', 'sum', 'none'],
): void {
  if (!allowed.includes(reduction))
    throw new ShapeError(op, `reduction must be ${allowed.join(' or ')}, found ${show(reduction)}`, operands);
}

const reduced = (values: Tensor, reduction: Reduction): Tensor =>
  reduction === 'mean' ? mean(values) : reduction === 'sum' ? sum(values) : values;

/** Halves raised: losses are computed and returned in f32. */
const full = (x: Tensor): Tensor => (x.dtype === 'f16' ? cast(x, 'f32') : x);

// ---- classes -----------------------------------------------------------------------------------------------------------

/** Class numbers on the host, one a row. */
export type HostTargets = ArrayLike<number>;

/** Which targets of a cross-entropy count, and how much. */
export interface CrossEntropyOptions extends LossOptions {
  /** Rows with this target count for nothing. */
  ignoreIndex?: number;
  /** [C] f32: what each class weighs. No gradient flows to it. */
  weight?: Tensor;
  /** So much of a target is spread evenly over all classes (Szegedy et al. 2016). */
  labelSmoothing?: number;
}

const CROSS_ENTROPY = signature(
  'crossEntropy',
  { x: floats('...rows', 'C'), targets: optional(integers('...rows')), weight: optional(f32('C')) },
  { numbers: { labelSmoothing: probability } },
);

const CROSS_ENTROPY_OPTIONS = new OptionNames<CrossEntropyOptions>({
  reduction: 'string',
  ignoreIndex: 'number',
  weight: 'any',
  labelSmoothing: 'number',
});

/**
 * logsumexp X_r − X_r,target(r) of each row whose target is not `ignoreIndex` (−100 as in PyTorch), 0 of the others; the mean
 * is over the rows that count, weighted by their classes' weights, and NaN where none counts. x: [R,C], or with more
 * dimensions before the classes, f32 or f16; targets: class numbers below C, one a row, on the host, or u32 or i32 of x's
 * shape without the classes. With `reduction: 'none'` of that shape. Scores, the weighted and the smoothed loss are those of
 * PyTorch's `cross_entropy`, whose classes stand in the second dimension.
 * @throws ShapeError for shapes, and for a target on the host that is no class. Of targets on the device only the
 * device knows: one that is no class makes the loss NaN.
 */
export function crossEntropy(
  x: Tensor,
  targets: Tensor | HostTargets,
  options: CrossEntropyOptions = {},
): Tensor {
  const {
    ignoreIndex = -100,
    weight,
    labelSmoothing = 0,
    reduction = 'mean',
  } = CROSS_ENTROPY_OPTIONS.read('crossEntropy', options);
  const onDevice = targets instanceof Tensor;
  if (!onDevice) requireBeside('crossEntropy', 'targets', 'class numbers, one a row', targets, 'length');
  // Of a matrix the kernels check more.
  const many = x instanceof Tensor && x.shape.length > 2;
  CROSS_ENTROPY.check({ x, targets: onDevice && many ? targets : undefined, weight }, { labelSmoothing });
  checkReduction('crossEntropy', reduction, { x });
  if (weight && wantsGradient(weight) && isTaped())
    throw new ShapeError('crossEntropy', 'no gradient flows to the weights; detach() them', { x, weight });
  return scope(() => {
    const rows = many ? reshape(full(x), [x.rows, x.cols]) : full(x);
    const numbers = onDevice ? undefined : hostTargets(rows, targets as HostTargets, ignoreIndex);
    const device = numbers
      ? Tensor.from(x.gpu, numbers, [numbers.length], 'u32')
      : many
        ? (targets as Tensor).alias([x.rows])
        : (targets as Tensor);
    const { loss, counted } = crossEntropyRows(rows, { targets: device, ignoreIndex });
    if (!weight && labelSmoothing === 0) {
      if (reduction !== 'mean') return shaped(loss, x, reduction);
      if (!numbers) return div(sum(loss), sum(counted));
      const left = numbers.reduce((n, target) => n + (target === ignoreIndex >>> 0 ? 0 : 1), 0);
      if (left === numbers.length) return mean(loss);
      return scale(sum(loss), left === 0 ? Number.NaN : 1 / left);
    }
    const ignored = eq(counted, 0);
    const weights = weight ? mul(indexSelect(weight, 0, where(ignored, 0, device)), counted) : counted;
    let values = weight ? mul(loss, weights) : loss;
    if (labelSmoothing > 0) {
      const classes = x.cols;
      const even = weight
        ? stretch(binary('mul', weight, 1 / classes).alias([1, classes]), rows.shape)
        : filled(x.gpu, rows.shape, 1 / classes);
      const smooth = where(ignored, 0, softCrossEntropyRows(rows, even));
      values = add(scale(values, 1 - labelSmoothing), scale(smooth, labelSmoothing));
    }
    return reduction === 'mean' ? div(sum(values), sum(weights)) : shaped(values, x, reduction);
  });
}

/** One loss a row of x, or their sum. */
const shaped = (rows: Tensor, x: Tensor, reduction: Reduction): Tensor =>
  reduction === 'none' && x.shape.length > 2 ? reshape(rows, x.shape.slice(0, -1)) : reduced(rows, reduction);

function crossEntropyRows(x: Tensor, to: entropy.CrossEntropyTargets): { loss: Tensor; counted: Tensor } {
  const { loss, counted } = entropy.crossEntropyRows(x, to);
  record('crossEntropy', loss, [x, to.targets], [[x, (dy) => entropy.crossEntropyRowsGradient(x, to, dy)]]);
  return { loss, counted };
}

/** The targets as the kernel compares them, modulo 2³². */
function hostTargets(x: Tensor, targets: HostTargets, ignoreIndex: number): Uint32Array {
  const numbers = new Uint32Array(targets.length);
  const classes = x.shape.length === 2 ? x.cols : Infinity;
  for (let row = 0; row < targets.length; row++) {
    const target = targets[row]!;
    const isClass = Number.isInteger(target) && target >= 0 && target < classes;
    if (!isClass && target !== ignoreIndex)
      throw new ShapeError(
        'crossEntropy',
        `target ${show(target)} of row ${row} is none of ${classes} classes and not ignoreIndex ${ignoreIndex}`,
        { x },
      );
    numbers[row] = target;
  }
  return numbers;
}

function softCrossEntropyRows(x: Tensor, probabilities: Tensor): Tensor {
  return record(
    'softCrossEntropy',
    entropy.softCrossEntropyRows(x, probabilities),
    [x],
    [
      [x, (dy) => entropy.softCrossEntropyRowsGradient(x, probabilities, dy), [probabilities]],
      [probabilities, (dy) => binary('mul', unary('neg', logSoftmaxKernel(x)), dy.alias([dy.size, 1]))],
    ],
  );
}

/** −mean_r Σ_c P_rc logsoftmax(X)_rc. x, probabilities: [R,C]. */
export function softCrossEntropy(x: Tensor, probabilities: Tensor): Tensor {
  return scope(() => mean(softCrossEntropyRows(x, probabilities)));
}

// ---- distances of values -----------------------------------------------------------------------------------------------

const pair = (op: string) => signature(op, { x: floats('...'), target: floats('...') });
const MSE = pair('mseLoss');
const L1 = pair('l1Loss');

/** (x − target)², by default the mean. x, target: of one shape, f32 or f16. @throws ShapeError. */
export function mseLoss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction = 'mean' } = LOSS_OPTIONS.read('mseLoss', options);
  MSE.check({ x, target });
  checkReduction('mseLoss', reduction, { x, target });
  return scope(() => reduced(square(sub(full(x), full(target))), reduction));
}

/** |x − target|, by default the mean. x, target: of one shape, f32 or f16. @throws ShapeError. */
export function l1Loss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction = 'mean' } = LOSS_OPTIONS.read('l1Loss', options);
  L1.check({ x, target });
  checkReduction('l1Loss', reduction, { x, target });
  return scope(() => reduced(abs(sub(full(x), full(target))), reduction));
}

/** Reduction of `huberLoss`, and where it turns from squares to lines. */
export interface HuberOptions extends LossOptions {
  delta?: number;
}

const HUBER = signature(
  'huberLoss',
  { x: floats('...'), target: floats('...') },
  { numbers: { delta: positive } },
);

const HUBER_OPTIONS = new OptionNames<HuberOptions>({ reduction: 'string', delta: 'number' });

/**
 * ½d² where d = |x − target| is at most `delta`, else delta·(d − ½delta) (Huber 1964), by default the mean. x, target: of one
 * shape, f32 or f16. @throws ShapeError.
 */
export function huberLoss(x: Tensor, target: Tensor, options: HuberOptions = {}): Tensor {
  const { delta = 1, reduction = 'mean' } = HUBER_OPTIONS.read('huberLoss', options);
  HUBER.check({ x, target }, { delta });
  checkReduction('huberLoss', reduction, { x, target });
  return scope(() => {
    const distance = abs(sub(full(x), full(target)));
    const within = clamp(distance, { max: delta });
    return reduced(mul(within, sub(distance, scale(within, 0.5))), reduction);
  });
}

const SMOOTH_L1 = pair('smoothL1Loss');

/** `huberLoss` with delta 1, which it is for PyTorch's `beta` of 1. x, target: of one shape, f32 or f16. @throws ShapeError. */
export function smoothL1Loss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction = 'mean' } = LOSS_OPTIONS.read('smoothL1Loss', options);
  SMOOTH_L1.check({ x, target });
  checkReduction('smoothL1Loss', reduction, { x, target });
  return huberLoss(x, target, { reduction });
}

// ---- probabilities -----------------------------------------------------------------------------------------------------

/** Weights of `bceWithLogits`. */
export interface BceOptions extends LossOptions {
  /** Of each value; broadcasts to x's shape. */
  weight?: Tensor;
  /** Of positive targets; broadcasts to x's shape. */
  posWeight?: Tensor;
}

const BCE = signature('bceWithLogits', {
  x: floats('...'),
  target: floats('...'),
  weight: optional(floats('...weight')),
  posWeight: optional(floats('...posWeight')),
});

const BCE_OPTIONS = new OptionNames<BceOptions>({ reduction: 'string', weight: 'any', posWeight: 'any' });

/**
 * −p·t·log σ(x) − (1 − t)·log(1 − σ(x)) with p = `posWeight`, times `weight`, by default the mean: PyTorch's
 * `binary_cross_entropy_with_logits`, which no large x overflows. x, target: of one shape, f32 or f16. @throws ShapeError.
 */
export function bceWithLogits(x: Tensor, target: Tensor, options: BceOptions = {}): Tensor {
  const { weight, posWeight, reduction = 'mean' } = BCE_OPTIONS.read('bceWithLogits', options);
  BCE.check({ x, target, weight, posWeight });
  checkReduction('bceWithLogits', reduction, { x, target });
  return scope(() => {
    const [logit, truth] = [full(x), full(target)];
    // log(1 + e⁻ˣ) once for both classes: (1 − t)·x + (1 + (p − 1)·t)·softplus(−x).
    const negative = softplus(neg(logit));
    const weighed = posWeight ? mul(add(mul(sub(full(posWeight), 1), truth), 1), negative) : negative;
    const values = add(mul(sub(1, truth), logit), weighed);
    return reduced(weight ? mul(values, full(weight)) : values, reduction);
  });
}

/** Form and reduction of `klDivergence`. */
export interface KlOptions {
  /** The target is logarithms too. */
  logTarget?: boolean;
  /** 'batchmean': the sum, by the extent of the first dimension, which is the divergence's definition. */
  reduction?: Reduction | 'batchmean';
}

const KL = pair('klDivergence');

const KL_OPTIONS = new OptionNames<KlOptions>({ logTarget: 'boolean', reduction: 'string' });

/**
 * target·(log target − x) for logarithms x, PyTorch's `kl_div`: by default the mean over elements as there, which is not the
 * divergence; 'batchmean' is. x, target: of one shape, f32 or f16. @throws ShapeError.
 */
export function klDivergence(x: Tensor, target: Tensor, options: KlOptions = {}): Tensor {
  const { logTarget = false, reduction = 'mean' } = KL_OPTIONS.read('klDivergence', options);
  KL.check({ x, target });
  checkReduction('klDivergence', reduction, { x, target }, ['mean', 'sum', 'none', 'batchmean']);
  if (reduction === 'batchmean' && x.shape.length === 0)
    throw new ShapeError('klDivergence', 'a scalar has no batch', { x, target });
  return scope(() => {
    const [logits, truth] = [full(x), full(target)];
    // 0·log 0 is 0, and its gradient is a number.
    const logs = logTarget ? truth : log(where(eq(truth, 0), 1, truth));
    const values = mul(logTarget ? exp(truth) : truth, sub(logs, logits));
    return reduction === 'batchmean' ? scale(sum(values), 1 / x.shape[0]!) : reduced(values, reduction);
  });
}

// ---- vectors -----------------------------------------------------------------------------------------------------------

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
      reshape(full(x), own),
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
    const vectors = (x: Tensor) => (similarity === 'cosine' ? normalizeRows(full(x)) : full(x));
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
        : norm(add(sub(full(anchor), full(other)), 1e-6), 2, -1);
    return reduced(relu(add(sub(apart(positive), apart(negative)), margin)), reduction);
  });
}
