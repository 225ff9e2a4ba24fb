/** Matrix products. */
import { matmul as matmulKernel } from '../../kernels/matmul.js';
import { unaryGradient } from '../../kernels/pointwise.js';
import { columnSum } from '../../kernels/reduce.js';
import { Tensor } from '../../tensor/tensor.js';
import { type Gradient, record } from '../tape.js';

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

/** dx = dy·W; dW = dyᵀ·x, added to the weight's gradient in the same kernel; dbias = Σ_rows dy. */
function linearGradients(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  dProduct: (dy: Tensor) => Tensor,
): (readonly [Tensor, Gradient])[] {
  return [
    [x, (dy) => matmulKernel(dProduct(dy), weight).view(x.shape)],
    [
      weight,
      (dy, into) => {
        const product = matmulKernel(dProduct(dy).view([dy.rows, dy.cols]), x.view([x.rows, x.cols]), {
          transA: true,
          out: into,
          accumulate: into !== undefined,
        });
        return into ? undefined : product;
      },
    ],
    ...(bias ? [[bias, (dy: Tensor) => columnSum(dProduct(dy))] as const] : []),
  ];
}

/** x·Wᵀ + bias, PyTorch's Linear. x: [...,in]; weight: [out,in]; bias: [out]. Returns [...,out]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const y = matmulKernel(x, weight, { transB: true, bias });
  return record(
    'linear',
    y,
    [x, weight],
    linearGradients(x, weight, bias, (dy) => dy),
  );
}

/** gelu(x·Wᵀ + bias), the exact GELU in the product's epilogue where the kernel has one. Shapes as in `linear`. */
export function linearGelu(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const u = Tensor.empty(x.gpu, [...x.shape.slice(0, -1), weight.shape[0]!]);
  const y = matmulKernel(x, weight, { transB: true, bias, preActivation: u });
  // Three gradients start from du: computed once, by whichever asks first.
  let shared: Tensor | undefined;
  const dProduct = (dy: Tensor) => (shared ??= unaryGradient('gelu', u, dy));
  return record('linearGelu', y, [x, weight, u], linearGradients(x, weight, bias, dProduct));
}
