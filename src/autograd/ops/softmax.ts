/** Softmax, and the losses on rows of scores. Losses are means over rows. */
import { ShapeError } from '../../errors.js';
import { binary, unary } from '../../kernels/pointwise.js';
import * as entropy from '../../kernels/softmax/cross-entropy.js';
import * as distillation from '../../kernels/softmax/distillation.js';
import * as groups from '../../kernels/softmax/groups.js';
import * as kernels from '../../kernels/softmax/softmax.js';
import { show } from '../../show.js';
import { floats, requireBeside, signature } from '../../tensor/operands.js';
import { isTaped, scope } from '../../tensor/scope.js';
import { normalizeAxis } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { inF32 } from '../precision.js';
import { record, wantsGradient } from '../tape.js';
import { div, scale } from './pointwise.js';
import { mean, sum } from './reduce.js';
import { transpose } from './shape.js';

const AXIS = {
  softmax: signature('softmax', { x: floats('...', 'C') }),
  logSoftmax: signature('logSoftmax', { x: floats('...', 'C') }),
};

/** The kernels are of the last axis, in f32: another one trades places with it, and back. */
function alongAxis(op: 'softmax' | 'logSoftmax', x: Tensor, axis: number): Tensor {
  AXIS[op].check({ x });
  const at = normalizeAxis(op, axis, x);
  if (at === x.shape.length - 1) return inF32(x, op === 'softmax' ? softmaxOfRows : logSoftmaxOfRows);
  return scope(() => transpose(alongAxis(op, transpose(x, at, -1), -1), at, -1));
}

function softmaxOfRows(x: Tensor): Tensor {
  const y = kernels.softmax(x);
  return record('softmax', y, [y], [[x, (dy) => kernels.softmaxGradient(y, dy)]]);
}

function logSoftmaxOfRows(x: Tensor): Tensor {
  const y = kernels.logSoftmax(x);
  return record('logSoftmax', y, [y], [[x, (dy) => kernels.logSoftmaxGradient(y, dy)]]);
}

/** e^x / Σ e^x along an axis, by default the last, which alone is not copied. x: f32 or f16. @throws ShapeError. */
export const softmax = (x: Tensor, axis = -1): Tensor => alongAxis('softmax', x, axis);

/** x − log Σ e^x along an axis, by default the last, which alone is not copied. x: f32 or f16. @throws ShapeError. */
export const logSoftmax = (x: Tensor, axis = -1): Tensor => alongAxis('logSoftmax', x, axis);

/** Class numbers on the host, one a row. */
export type HostTargets = ArrayLike<number>;

/**
 * mean_r (logsumexp X_r − X_r,target(r)) over the rows whose target is not `ignoreIndex` (−100 as in PyTorch); NaN
 * where no row counts. x: [R,C] f32; targets: R class numbers below C, on the host, or [R] u32 or i32 on the device.
 * @throws ShapeError for shapes, and for a target on the host that is no class. Of targets on the device only the
 * device knows: one that is no class makes the loss NaN.
 */
export function crossEntropy(x: Tensor, targets: Tensor | HostTargets, { ignoreIndex = -100 } = {}): Tensor {
  if (targets instanceof Tensor) {
    return scope(() => {
      const { loss, counted } = crossEntropyRows(x, { targets, ignoreIndex });
      return div(sum(loss), sum(counted));
    });
  }
  requireBeside('crossEntropy', 'targets', 'class numbers, one a row', targets, 'length');
  const numbers = hostTargets(x, targets, ignoreIndex);
  const left = numbers.reduce((n, target) => n + (target === ignoreIndex >>> 0 ? 0 : 1), 0);
  return scope(() => {
    const { loss } = crossEntropyRows(x, {
      targets: Tensor.from(x.gpu, numbers, [numbers.length], 'u32'),
      ignoreIndex,
    });
    if (left === numbers.length) return mean(loss);
    return scale(sum(loss), left === 0 ? Number.NaN : 1 / left);
  });
}

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

/** −mean_r Σ_c P_rc logsoftmax(X)_rc. x, probabilities: [R,C]. */
export function softCrossEntropy(x: Tensor, probabilities: Tensor): Tensor {
  return scope(() => {
    const rows = record(
      'softCrossEntropy',
      entropy.softCrossEntropyRows(x, probabilities),
      [x],
      [
        [x, (dy) => entropy.softCrossEntropyRowsGradient(x, probabilities, dy), [probabilities]],
        [probabilities, (dy) => binary('mul', unary('neg', kernels.logSoftmax(x)), dy.alias([dy.size, 1]))],
      ],
    );
    return mean(rows);
  });
}

/**
 * `m3_kd_loss` (docs/spec/flagembedding-m3.md §4.2), mean over rows. x: [B, ≥B·G], or [B,G] with `ownOnly`;
 * teacher: [B,G] probabilities, without gradient.
 * @throws ShapeError for a teacher that wants one.
 */
export function m3Distillation(x: Tensor, teacher: Tensor, ownOnly: boolean): Tensor {
  if (wantsGradient(teacher) && isTaped())
    throw new ShapeError(
      'm3Distillation',
      'no gradient flows to the teacher, which is on the tape; detach() it',
      { teacher },
    );
  return scope(() => {
    const rows = record(
      'm3Distillation',
      distillation.distillationRows(x, teacher, ownOnly),
      [x, teacher],
      [[x, (dy) => distillation.distillationRowsGradient(x, teacher, ownOnly, dy)]],
    );
    return mean(rows);
  });
}

/** Row r's own columns r·G..r·G+G−1 of a [B, B·G] score matrix → [B,G]. */
export function ownGroup(x: Tensor, group: number): Tensor {
  const cols = x.cols;
  return record('ownGroup', groups.ownGroup(x, group), [], [[x, (dy) => groups.ownGroupGradient(dy, cols)]]);
}
