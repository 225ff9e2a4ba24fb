/**
 * Halves are a format of memory: what is computed of them in several steps, or by kernels that are f32 alone, is computed in f32
 * and rounded once.
 */
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { cast } from './pointwise.js';

/** x, f16 as f32. */
export const raised = (x: Tensor): Tensor => (x.dtype === 'f16' ? cast(x, 'f32') : x);

/** f of x in f32, rounded to x's format. */
export const inF32 = (x: Tensor, f: (x: Tensor) => Tensor): Tensor =>
  x.dtype === 'f16' ? cast(f(raised(x)), 'f16') : f(x);

/** f of both in f32, rounded to the format of `a`. */
export function bothInF32(a: Tensor, b: Tensor, f: (a: Tensor, b: Tensor) => Tensor): Tensor {
  return scope(() => {
    const y = f(raised(a), raised(b));
    return a.dtype === 'f16' ? cast(y, 'f16') : y;
  });
}
