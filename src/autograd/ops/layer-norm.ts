/** LayerNorm with an optional residual added first. */
import type { FloatDType } from '../../kernels/launch.js';
import * as kernels from '../../kernels/layer-norm.js';
import { columnSum } from '../../kernels/reduce.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

/**
 * LayerNorm(x + residual)·γ + β over the last dimension. x, residual: [...,H], each f32 or f16; gamma, beta: [H] f32.
 * The result is of `dtype`, by default that of x; statistics are f32.
 */
export function layerNorm(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  eps = 1e-5,
  residual?: Tensor,
  dtype?: FloatDType,
): Tensor {
  return scope(() => {
    const { y, sum, stats } = kernels.layerNorm(x, residual, gamma, beta, eps, dtype);
    // x and the residual get the same gradient: computed once, by whichever asks first.
    let shared: Tensor | undefined;
    const dSum = (dy: Tensor) => (shared ??= kernels.layerNormGradient(dy, sum, stats, gamma));
    return record(
      'layerNorm',
      y,
      [],
      [
        [x, dSum, [sum, stats, gamma]],
        ...(residual ? [[residual, dSum, [sum, stats, gamma]] as const] : []),
        [gamma, (dy) => kernels.layerNormGammaGradient(dy, sum, stats), [sum, stats]],
        [beta, (dy) => columnSum(dy)],
      ],
    );
  });
}
