/** Differentiable ops and the tape. */

import './methods.js';

export * from '../tensor/compare.js';
export * from '../tensor/format.js';
export { ValuesDiffer } from '../tensor/mismatch.js';
export {
  type CheckGradientsOptions,
  checkGradients,
  type GradientCheck,
  GradientMismatch,
} from './check-gradients.js';
export { checkpoint } from './checkpoint.js';
export * from './draw.js';
export { type GradOptions, grad, type TensorTree, valueAndGrad } from './grad.js';
export { type CachedBackwardOptions, cachedBackward } from './gradient-cache.js';
export * from './make.js';
export type { MakeOptions } from './make-options.js';
export type { TensorMethods } from './methods.js';
export * from './ops/attention.js';
export * from './ops/diagonals.js';
export * from './ops/distances.js';
export * from './ops/einsum.js';
export * from './ops/indexing.js';
export * from './ops/joins.js';
export * from './ops/losses/cross-entropy.js';
export * from './ops/losses/elementwise.js';
export type { LossOptions, Reduction } from './ops/losses/reduction.js';
export * from './ops/losses/vectors.js';
export * from './ops/matmul.js';
export * from './ops/norms.js';
export * from './ops/on-backward.js';
export * from './ops/order.js';
export * from './ops/pointwise.js';
export * from './ops/reduce.js';
export * from './ops/rows.js';
export * from './ops/scores.js';
export * from './ops/shape.js';
export * from './ops/slices.js';
export * from './ops/softmax.js';
export {
  type BackwardOptions,
  backward,
  backwardAll,
  type Gradient,
  type PropagateOptions,
  propagate,
  record,
  retainGrad,
  sharedGradient,
  wantsGradient,
} from './tape.js';
