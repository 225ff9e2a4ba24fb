/** LayerNorm with an optional residual added first. */
import type { FloatDType } from '../../kernels/launch/formats.js';
import * as kernels from '../../kernels/layer-norm/layer-norm.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record, sharedGradient } from '../tape.js';

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
    // x and the residual get the same gradient.
    const dSum = sharedGradient((dy) => kernels.layerNormGradient(dy, sum, stats, gamma));
    // γ's and β's gradients come of one walk over dy.
    const dAffine = sharedGradient((dy) => kernels.layerNormAffineGradient(dy, sum, stats));
    return record(
      'layerNorm',
      y,
      [],
      [
        [x, dSum, [sum, stats, gamma]],
        ...(residual ? [[residual, dSum, [sum, stats, gamma]] as const] : []),
        [gamma, (dy) => dAffine(dy).dGamma, [sum, stats]],
        [beta, (dy) => dAffine(dy).dBeta, [sum, stats]],
      ],
    );
  });
}
