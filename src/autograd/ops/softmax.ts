/** Softmax, and what M3's losses need of matrices of scores beside the losses of losses/. */
import { ShapeError } from '../../errors.js';

import * as distillation from '../../kernels/softmax/distillation.js';
import * as groups from '../../kernels/softmax/groups.js';
import * as kernels from '../../kernels/softmax/softmax.js';
import { show } from '../../show.js';
import { floats, signature } from '../../tensor/operands.js';
import { isTaped, scope } from '../../tensor/scope.js';
import { normalizeAxis } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { record, wantsGradient } from '../tape.js';
import { inF32 } from './in-f32.js';
import { neg } from './pointwise.js';
import { mean } from './reduce.js';
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

const SOFTMIN = signature('softmin', { x: floats('...', 'C') });

/** e⁻ˣ / Σ e⁻ˣ along an axis: `softmax` of −x. @throws ShapeError. */
export function softmin(x: Tensor, axis = -1): Tensor {
  SOFTMIN.check({ x });
  return scope(() => softmax(neg(x), axis));
}

/**
 * `m3_kd_loss` (docs/spec/flagembedding-m3.md §4.2), mean over rows. x: [B, ≥B·G], or [B,G] with `ownOnly`;
 * teacher: [B,G] probabilities, without gradient.
 * @throws ShapeError for a teacher that wants one.
 */
export function m3Distillation(x: Tensor, teacher: Tensor, ownOnly: boolean): Tensor {
  if (typeof ownOnly !== 'boolean')
    throw new ShapeError('m3Distillation', `ownOnly must be true or false, found ${show(ownOnly)}`, {
      x,
      teacher,
    });
  if (teacher instanceof Tensor && wantsGradient(teacher) && isTaped())
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
  const y = groups.ownGroup(x, group);
  const { cols } = x;
  return record('ownGroup', y, [], [[x, (dy) => groups.ownGroupGradient(dy, cols)]]);
}
