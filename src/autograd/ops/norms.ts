/** Normalisation over the last dimension: LayerNorm with an optional residual added first, and RMSNorm. */
import type { FloatDType } from '../../kernels/launch/formats.js';
import * as kernels from '../../kernels/layer-norm/layer-norm.js';
import * as rms from '../../kernels/rms-norm.js';
import { f32, floats, notNegative, optional, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record, sharedGradient } from '../tape.js';
import { inF32 } from './in-f32.js';
import { cast } from './pointwise.js';

const LAYER_NORM = signature(
  'layerNorm',
  { x: floats('...', 'H'), gamma: f32('H'), beta: f32('H'), residual: optional(floats('...', 'H')) },
  { numbers: { eps: notNegative } },
);

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
  const halves = [x?.dtype, residual?.dtype, dtype].includes('f16');
  if (halves && x.cols % 4 !== 0) {
    LAYER_NORM.check({ x, gamma, beta, residual }, { eps }, { result: dtype });
    // The kernels take halves in fours.
    const full = (of: Tensor) => cast(of, 'f32');
    return scope(() =>
      cast(layerNorm(full(x), gamma, beta, eps, residual && full(residual)), dtype ?? x.dtype),
    );
  }
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

const RMS_NORM = signature(
  'rmsNorm',
  { x: floats('...', 'H'), gamma: f32('H') },
  { numbers: { eps: notNegative } },
);

/**
 * RMSNorm: x/√(mean(x²) + ε)·γ over the last dimension (Zhang & Sennrich 2019), PyTorch's `rms_norm`. x: [...,H] f32 or
 * f16; gamma: [H] f32. The result is of x's format; ε is that of PyTorch for f32. @throws ShapeError.
 */
export function rmsNorm(x: Tensor, gamma: Tensor, eps = 2 ** -23): Tensor {
  RMS_NORM.check({ x, gamma }, { eps });
  // The kernels take halves in fours.
  if (x.cols % 4 !== 0) return scope(() => inF32(x, (own) => rmsNormOfRows(own, gamma, eps)));
  return scope(() => rmsNormOfRows(x, gamma, eps));
}

function rmsNormOfRows(x: Tensor, gamma: Tensor, eps: number): Tensor {
  const { y, stats } = rms.rmsNorm(x, gamma, eps);
  return record(
    'rmsNorm',
    y,
    [],
    [
      [x, (dy) => rms.rmsNormGradient(dy, x, stats, gamma), [x, stats, gamma]],
      [gamma, (dy) => kernels.layerNormAffineGradient(dy, x, stats).dGamma, [x, stats]],
    ],
  );
}
