/** Halves are a format of memory: what is computed of them is computed in f32, and rounded once. */
import type { Tensor } from '../tensor/tensor.js';
import { cast } from './ops/pointwise.js';

/** f of x in f32, rounded to x's format: for operations whose kernels, or the steps that they are made of, are f32 alone. */
export const inF32 = (x: Tensor, f: (x: Tensor) => Tensor): Tensor =>
  x.dtype === 'f16' ? cast(f(cast(x, 'f32')), 'f16') : f(x);
