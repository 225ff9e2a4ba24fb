/** Softmax, and the losses on rows of scores. Losses are means over rows. */
import * as kernels from '../../kernels/softmax.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';
import { mean } from './reduce.js';

/** Over the last dimension. */
export function softmax(x: Tensor): Tensor {
  const y = kernels.softmax(x);
  return record('softmax', y, [y], [[x, (dy) => kernels.softmaxGradient(y, dy)]]);
}

/** Over the last dimension. */
export function logSoftmax(x: Tensor): Tensor {
  const y = kernels.logSoftmax(x);
  return record('logSoftmax', y, [y], [[x, (dy) => kernels.logSoftmaxGradient(y, dy)]]);
}

/** mean_r (logsumexp X_r − X_r,target(r)). x: [R,C]; targets: [R] u32. */
export function crossEntropy(x: Tensor, targets: Tensor): Tensor {
  const rows = record(
    'crossEntropy',
    kernels.crossEntropyRows(x, targets),
    [x, targets],
    [[x, (dy) => kernels.crossEntropyRowsGradient(x, targets, dy)]],
  );
  return mean(rows);
}

/** −mean_r Σ_c P_rc logsoftmax(X)_rc. x, probabilities: [R,C]; no gradient flows to the probabilities. */
export function softCrossEntropy(x: Tensor, probabilities: Tensor): Tensor {
  const rows = record(
    'softCrossEntropy',
    kernels.softCrossEntropyRows(x, probabilities),
    [x, probabilities],
    [[x, (dy) => kernels.softCrossEntropyRowsGradient(x, probabilities, dy)]],
  );
  return mean(rows);
}

/**
 * `m3_kd_loss` (spec flagembedding-m3 §4.2), mean over rows. x: [B, ≥B·G], or [B,G] with `ownOnly`;
 * teacher: [B,G] probabilities, without gradient.
 */
export function m3Distillation(x: Tensor, teacher: Tensor, ownOnly: boolean): Tensor {
  const rows = record(
    'm3Distillation',
    kernels.distillationRows(x, teacher, ownOnly),
    [x, teacher],
    [[x, (dy) => kernels.distillationRowsGradient(x, teacher, ownOnly, dy)]],
  );
  return mean(rows);
}

/** Row r's own columns r·G..r·G+G−1 of a [B, B·G] score matrix → [B,G]. */
export function ownGroup(x: Tensor, group: number): Tensor {
  const cols = x.cols;
  return record(
    'ownGroup',
    kernels.ownGroup(x, group),
    [],
    [[x, (dy) => kernels.ownGroupGradient(dy, cols)]],
  );
}
