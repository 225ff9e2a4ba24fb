/** Distances between vectors, of the norms of their differences. */
import { floats, signature } from '../../tensor/operands.js';
import type { Tensor } from '../../tensor/tensor.js';
import { bothInF32 } from './in-f32.js';
import { add, sub } from './pointwise.js';
import { norm } from './reduce.js';
import { unsqueeze } from './shape.js';

const PAIRWISE = signature(
  'pairwiseDistance',
  { a: floats('...a', 'C'), b: floats('...b', 'C') },
  { sameDType: ['a', 'b'] },
);

/** ‖a − b + 1e-6‖ of the last axis, PyTorch's `pairwise_distance`; the others broadcast. `p`: as of `norm`. @throws ShapeError. */
export function pairwiseDistance(a: Tensor, b: Tensor, p = 2): Tensor {
  PAIRWISE.check({ a, b });
  return bothInF32(a, b, (x, y) => norm(add(sub(x, y), 1e-6), p, -1));
}

const CDIST = signature(
  'cdist',
  { a: floats('...a', 'm', 'C'), b: floats('...b', 'n', 'C') },
  { sameDType: ['a', 'b'] },
);

/**
 * ‖a_i − b_j‖ of every row of a and every row of b: [..., m, n], with batches that broadcast. `p`: as of `norm`. The
 * differences, [..., m, n, C], are kept for backward. @throws ShapeError.
 */
export function cdist(a: Tensor, b: Tensor, p = 2): Tensor {
  CDIST.check({ a, b });
  return bothInF32(a, b, (x, y) => norm(sub(unsqueeze(x, -2), unsqueeze(y, -3)), p, -1));
}
