/**
 * Stochastic gradient descent in one pass over weights, gradient and momentum, with PyTorch's momentum (Sutskever et al.
 * 2013, where the rate is outside of it), and the scaling of gradients by a factor that the device has.
 */
import { f32, optional, signature } from '../tensor/operands.js';
import type { Tensor } from '../tensor/tensor.js';
import { SKIP } from './adamw.js';
import { eachOf } from './elements.js';
import { elementMain, fours, groupsOfFours } from './launch/grid.js';
import { flat, whole } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

export interface SGDSettings {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly momentum: number;
  /** What a gradient counts in the momentum: 1 − dampening, but 1 in the first step. */
  readonly gain: number;
  readonly nesterov: boolean;
}

export interface SGDOperands {
  /** Flat tensors [n], and `momentum` where there is any. */
  readonly weights: Tensor;
  readonly gradients: Tensor;
  readonly momentum?: Tensor | undefined;
  /** [2] of `clipFactor` */
  readonly factor: Tensor;
}

const SGD = signature('sgd', {
  weights: f32('n'),
  gradients: f32('n'),
  momentum: optional(f32('n')),
  factor: f32(2),
});

/**
 * One update of all elements: g = factor·G + λ·w; m = μ·m + gain·g; w −= rate·m, or with Nesterov rate·(g + μ·m); without
 * momentum rate·g.
 */
export function sgd(operands: SGDOperands, settings: SGDSettings): void {
  SGD.check({ ...operands, momentum: operands.momentum });
  const { weights, gradients, momentum, factor } = operands;
  const { learningRate, weightDecay, gain, nesterov } = settings;
  const form = {
    momentum: momentum !== undefined,
    nesterov: momentum !== undefined && nesterov,
    each: eachOf(weights.gpu, 'f32', weights.size),
  };
  shaderOf('sgd', form, ({ momentum, nesterov, each }) => ({
    label: 'sgd',
    params: { count: 'u32', rate: 'f32', decay: 'f32', momentum: 'f32', gain: 'f32' } as const,
    buffers: {
      ioP: 'array<vec4f>',
      G: 'array<vec4f>',
      ...(momentum ? { ioM: 'array<vec4f>' } : {}),
      factor: 'array<f32>',
    },
    body: elementMain(
      each,
      `${SKIP}
  let old = ioP[i];
  let g = G[i] * factor[0] + p.decay * old;
  ${momentum ? 'let m = p.momentum * ioM[i] + p.gain * g;\n  ioM[i] = m;' : ''}
  ioP[i] = old - p.rate * ${momentum ? (nesterov ? '(g + p.momentum * m)' : 'm') : 'g'};`,
    ),
  })).launch(
    weights.gpu,
    {
      ioP: flat(weights),
      G: flat(gradients),
      ...(momentum ? { ioM: flat(momentum) } : {}),
      factor: whole(factor),
    },
    (piece) => ({
      count: fours(piece),
      rate: learningRate,
      decay: weightDecay,
      momentum: settings.momentum,
      gain,
    }),
    groupsOfFours,
  );
}

const SCALE_IN_PLACE = signature('scaleInPlace', { target: f32('...'), factor: f32(2) });

/** target *= factor[0], in place. */
export function scaleInPlace(target: Tensor, factor: Tensor): void {
  SCALE_IN_PLACE.check({ target, factor });
  shaderOf('scaleInPlace', { each: eachOf(target.gpu, 'f32', target.size) }, ({ each }) => ({
    label: 'scaleInPlace',
    params: { count: 'u32' } as const,
    buffers: { ioY: 'array<vec4f>', factor: 'array<f32>' },
    body: elementMain(each, 'ioY[i] = ioY[i] * factor[0];'),
  })).launch(
    target.gpu,
    { ioY: flat(target), factor: whole(factor) },
    (piece) => ({ count: fours(piece) }),
    groupsOfFours,
  );
}
