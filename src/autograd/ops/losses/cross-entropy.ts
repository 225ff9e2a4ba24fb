/**
 * Cross-entropies, as PyTorch's of these names define them: with a class for each row, or with probabilities of all. f32,
 * whatever the format of their operands; they have kernels of their own.
 */
import { ShapeError } from '../../../errors.js';
import { filled } from '../../../kernels/make.js';
import { binary, unary } from '../../../kernels/pointwise.js';
import * as entropy from '../../../kernels/softmax/cross-entropy.js';
import { logSoftmax as logSoftmaxKernel } from '../../../kernels/softmax/softmax.js';
import { OptionNames } from '../../../options.js';
import { show } from '../../../show.js';
import {
  f32,
  floats,
  integers,
  optional,
  probability,
  requireBeside,
  signature,
} from '../../../tensor/operands.js';
import { isTaped, scope } from '../../../tensor/scope.js';
import { Tensor } from '../../../tensor/tensor.js';
import { stretch } from '../../ranges.js';
import { record, wantsGradient } from '../../tape.js';
import { raised } from '../in-f32.js';
import { indexSelect } from '../indexing.js';
import { add, div, eq, mul, scale, where } from '../pointwise.js';
import { mean, sum } from '../reduce.js';
import { reshape } from '../shape.js';
import { checkReduction, type LossOptions, type Reduction, reduced } from './reduction.js';

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
    const rows = many ? reshape(raised(x), [x.rows, x.cols]) : raised(x);
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
