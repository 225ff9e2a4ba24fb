/**
 * Losses of values and their targets, element by element, as PyTorch's of these names define them: distances first, then those
 * of probabilities. All are f32, whatever the format of their operands, and mean, sum or, with `reduction: 'none'`, a value an
 * element; they are compositions.
 */
import { ShapeError } from '../../../errors.js';
import { OptionNames } from '../../../options.js';
import { floats, optional, positive, signature } from '../../../tensor/operands.js';
import { scope } from '../../../tensor/scope.js';
import type { Tensor } from '../../../tensor/tensor.js';
import { raised } from '../in-f32.js';
import {
  abs,
  add,
  clamp,
  eq,
  exp,
  log,
  mul,
  neg,
  scale,
  softplus,
  square,
  sub,
  where,
} from '../pointwise.js';
import { sum } from '../reduce.js';
import { checkReduction, LOSS_OPTIONS, type LossOptions, type Reduction, reduced } from './reduction.js';

const pair = (op: string) => signature(op, { x: floats('...'), target: floats('...') });
const MSE = pair('mseLoss');
const L1 = pair('l1Loss');

/** (x − target)², by default the mean. x, target: of one shape, f32 or f16. @throws ShapeError. */
export function mseLoss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction = 'mean' } = LOSS_OPTIONS.read('mseLoss', options);
  MSE.check({ x, target });
  checkReduction('mseLoss', reduction, { x, target });
  return scope(() => reduced(square(sub(raised(x), raised(target))), reduction));
}

/** |x − target|, by default the mean. x, target: of one shape, f32 or f16. @throws ShapeError. */
export function l1Loss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction = 'mean' } = LOSS_OPTIONS.read('l1Loss', options);
  L1.check({ x, target });
  checkReduction('l1Loss', reduction, { x, target });
  return scope(() => reduced(abs(sub(raised(x), raised(target))), reduction));
}

/** Reduction of `huberLoss`, and where it turns from squares to lines. */
export interface HuberOptions extends LossOptions {
  /** Differences below it are squared, others count linearly; above 0. Default 1. */
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
    const distance = abs(sub(raised(x), raised(target)));
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
    const [logit, truth] = [raised(x), raised(target)];
    // log(1 + e⁻ˣ) once for both classes: (1 − t)·x + (1 + (p − 1)·t)·softplus(−x).
    const negative = softplus(neg(logit));
    const weighed = posWeight ? mul(add(mul(sub(raised(posWeight), 1), truth), 1), negative) : negative;
    const values = add(mul(sub(1, truth), logit), weighed);
    return reduced(weight ? mul(values, raised(weight)) : values, reduction);
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
    const [logits, truth] = [raised(x), raised(target)];
    // 0·log 0 is 0, and its gradient is a number.
    const logs = logTarget ? truth : log(where(eq(truth, 0), 1, truth));
    const values = mul(logTarget ? exp(truth) : truth, sub(logs, logits));
    return reduction === 'batchmean' ? scale(sum(values), 1 / x.shape[0]!) : reduced(values, reduction);
  });
}
