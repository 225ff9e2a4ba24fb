/** Matrix products. */
import { matmul as matmulKernel } from '../../kernels/matmul.js';
import { columnSum } from '../../kernels/reduce.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

/** a·b, or with `transB` a·bᵀ. a: [...,K]; b: [K,N], or [N,K]. Returns [...,N]. */
export function matmul(a: Tensor, b: Tensor, { transB = false } = {}): Tensor {
  return record(
    'matmul',
    matmulKernel(a, b, { transB }),
    [a, b],
    [
      [a, (dy) => matmulKernel(dy, b, { transB: !transB }).view(a.shape)],
      [
        b,
        (dy) => {
          const dy2 = dy.view([dy.rows, dy.cols]);
          const a2 = a.view([a.rows, a.cols]);
          return transB ? matmulKernel(dy2, a2, { transA: true }) : matmulKernel(a2, dy2, { transA: true });
        },
      ],
    ],
  );
}

/**
 * x·Wᵀ + bias, PyTorch's Linear. x: [...,in]; weight: [out,in]; bias: [out]. Returns [...,out].
 * dx = dy·W; dW = dyᵀ·x, added to the weight's gradient in the same kernel; dbias = Σ_rows dy.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const y = matmulKernel(x, weight, { transB: true, bias });
  return record(
    'linear',
    y,
    [x, weight],
    [
      [x, (dy) => matmulKernel(dy, weight).view(x.shape)],
      [
        weight,
        (dy, into) => {
          const product = matmulKernel(dy.view([dy.rows, dy.cols]), x.view([x.rows, x.cols]), {
            transA: true,
            out: into,
            accumulate: into !== undefined,
          });
          return into ? undefined : product;
        },
      ],
      ...(bias ? [[bias, (dy: Tensor) => columnSum(dy)] as const] : []),
    ],
  );
}
