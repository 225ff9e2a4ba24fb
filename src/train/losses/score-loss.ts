/**
 * The loss of one score matrix (docs/spec/flagembedding-m3.md §4.1, §4.2).
 *
 * | teacher | kind       | loss                                                                   |
 * |---------|------------|------------------------------------------------------------------------|
 * | none    | –          | CE: mean_b (logsumexp X_b − X_b,positive)                              |
 * | given   | kl_div     | −mean_b Σ_j P_bj logsoftmax(own group)_j, plus the CE                  |
 * | given   | m3_kd_loss | Σ_i mean_b P_bi (logsumexp of X_b without own 0..i−1 − X_b,own i)      |
 *
 * X is [B, B·G] (all passages of the batch) or [B,G] (own groups only, `no_in_batch_neg`). P is [B,G].
 */
import { add, crossEntropy, m3Distillation, ownGroup, softCrossEntropy } from '../../autograd/index.js';
import { ShapeError } from '../../errors.js';
import type { Gpu } from '../../gpu/gpu.js';
import { show } from '../../show.js';
import { Tensor } from '../../tensor/tensor.js';

/** The loss by which a teacher's scores are learnt, by FlagEmbedding's names. */
export type DistillationKind = 'kl_div' | 'm3_kd_loss';

/** mean_b (logsumexp X_b − X_b,b·step): the positive of row b is column b·step (step 0: own groups only). */
export function positiveCrossEntropy(scores: Tensor, step: number): Tensor {
  return crossEntropy(
    scores,
    Array.from({ length: scores.rows }, (_, row) => row * step),
  );
}

/** The table above. `group`: G; `own`: X holds own groups only. */
export function scoreLoss(
  scores: Tensor,
  {
    group,
    own,
    teacher,
    kind,
  }: { group: number; own: boolean; teacher: Tensor | undefined; kind: DistillationKind },
): Tensor {
  if (kind !== 'kl_div' && kind !== 'm3_kd_loss')
    throw new ShapeError('scoreLoss', `kind must be kl_div or m3_kd_loss, found ${show(kind)}`);
  if (!teacher) return positiveCrossEntropy(scores, own ? 0 : group);
  if (kind === 'm3_kd_loss') return m3Distillation(scores, teacher, own);
  return add(
    softCrossEntropy(own ? scores : ownGroup(scores, group), teacher),
    positiveCrossEntropy(scores, own ? 0 : group),
  );
}

/** Row softmax over the G raw scores, without temperature (§2.4), in float64. [B·G] → [B,G]. */
export function teacherProbabilities(gpu: Gpu, raw: ArrayLike<number>, group: number): Tensor {
  if (!Number.isInteger(group) || group < 1 || raw.length % group !== 0)
    throw new ShapeError('teacherProbabilities', `${raw.length} scores are no groups of ${group}`);
  const probabilities = new Float32Array(raw.length);
  for (let row = 0; row < raw.length; row += group) {
    let top = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < group; i++) top = Math.max(top, raw[row + i]!);
    let total = 0;
    for (let i = 0; i < group; i++) total += Math.exp(raw[row + i]! - top);
    for (let i = 0; i < group; i++) probabilities[row + i] = Math.exp(raw[row + i]! - top) / total;
  }
  return Tensor.from(gpu, probabilities, [raw.length / group, group]);
}
