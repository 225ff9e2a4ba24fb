/** For compositions of two operands whose steps should not round halves one after the other. */
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { cast } from './pointwise.js';

/** `f` of both in f32, rounded once to the dtype of `a`. */
export function inF32(a: Tensor, b: Tensor, f: (a: Tensor, b: Tensor) => Tensor): Tensor {
  const wide = (x: Tensor) => (x.dtype === 'f16' ? cast(x, 'f32') : x);
  return scope(() => {
    const y = f(wide(a), wide(b));
    return a.dtype === 'f16' ? cast(y, 'f16') : y;
  });
}
