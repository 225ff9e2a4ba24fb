/** Matrix products. */

import { ShapeError } from '../../errors.js';
import { type FloatDType, floatDType } from '../../kernels/launch/formats.js';
import { type MatmulOptions, matmul as matmulKernel } from '../../kernels/matmul/matmul.js';
import { cast, unaryGradient } from '../../kernels/pointwise.js';
import { columnSum } from '../../kernels/reduce.js';
import { f32, floats, optional, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import { type Input, record, sharedGradient } from '../tape.js';

/**
 * A product that is the gradient of an operand of `dtype`. The kernel writes halves in fours; the operand, which it
 * only reads, may have any number of columns.
 */
function productGradient(a: Tensor, b: Tensor, dtype: FloatDType, options: MatmulOptions): Tensor {
  const columns = b.shape[options.transB ? 0 : 1]!;
  if (dtype === 'f32' || columns % 4 === 0) return matmulKernel(a, b, { ...options, dtype });
  return cast(matmulKernel(a, b, { ...options, dtype: 'f32' }), dtype);
}

/** a·b, or with `transB` a·bᵀ. a: [...,K]; b: [K,N], or [N,K]. Returns [...,N]. */
export function matmul(a: Tensor, b: Tensor, { transB = false } = {}): Tensor {
  return record(
    'matmul',
    matmulKernel(a, b, { transB }),
    [],
    [
      [a, (dy) => productGradient(dy, b, floatDType('matmul', a), { transB: !transB }).alias(a.shape), [b]],
      [
        b,
        (dy) => {
          const dy2 = dy.alias([dy.rows, dy.cols]);
          const a2 = a.alias([a.rows, a.cols]);
          const dtype = floatDType('matmul', b);
          return transB
            ? productGradient(dy2, a2, dtype, { transA: true })
            : productGradient(a2, dy2, dtype, { transA: true });
        },
        [a],
      ],
    ],
  );
}

/**
 * dx = dy·W; dW = dyᵀ·x, added to the weight's gradient in the same kernel; dbias = Σ_rows dy. `compute` is the
 * weight as forward read it; the gradients of weight and bias are f32 whatever x is.
 */
function linearGradients(
  x: Tensor,
  weight: Tensor,
  compute: Tensor,
  bias: Tensor | undefined,
  dProduct: (dy: Tensor) => Tensor,
): Input[] {
  const own = floatDType('linear', x);
  // The weight itself too: an f16 copy is only as good as the weight that it was made of.
  const weights = compute === weight ? [weight] : [compute, weight];
  return [
    [x, (dy) => productGradient(dProduct(dy), compute, own, {}).alias(x.shape), weights],
    [
      weight,
      (dy, sink) => {
        const into = sink?.into;
        const product = matmulKernel(dProduct(dy).alias([dy.rows, dy.cols]), x.alias([x.rows, x.cols]), {
          transA: true,
          dtype: 'f32',
          out: into,
          accumulate: into !== undefined,
        });
        return into ? undefined : product;
      },
      [x],
    ],
    ...(bias ? [[bias, (dy: Tensor) => columnSum(dProduct(dy))] as const] : []),
  ];
}

/**
 * An f16 product reads the weight's f16 copy: the one that the optimiser keeps, else one made here. @throws ShapeError for
 * an f32 product of a weight of which nothing but that copy is here whole (`ParameterStore.divide`).
 */
function computeCopy(op: string, x: Tensor, weight: Tensor): Tensor {
  const copy = x.dtype === 'f16' || weight.dtype === 'f16' ? weight.role?.half() : undefined;
  if (x.dtype === 'f16') return copy ?? cast(weight, 'f16');
  if (copy === weight)
    throw new ShapeError(op, 'ranks have parts of the weight in f32: only f16 products read its copy', {
      x,
      weight,
    });
  return weight;
}

const linearSignature = (op: string) =>
  signature(
    op,
    { x: floats('...', 'in'), weight: floats('out', 'in'), bias: optional(f32('out')) },
    { foursInF16Result: ['out'] },
  );
const LINEAR = linearSignature('linear');
const LINEAR_GELU = linearSignature('linearGelu');

/**
 * x·Wᵀ + bias, PyTorch's Linear. x: [...,in] f32 or f16; weight: [out,in] f32 (f16 products read its f16 copy); bias: [out] f32.
 * Returns [...,out] of `dtype`, by default x's.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, dtype?: FloatDType): Tensor {
  LINEAR.check({ x, weight, bias }, {}, { result: dtype ?? x?.dtype });
  return scope(() => {
    const compute = computeCopy('linear', x, weight);
    const y = matmulKernel(x, compute, { transB: true, bias, dtype });
    return record(
      'linear',
      y,
      [],
      linearGradients(x, weight, compute, bias, (dy) => dy),
    );
  });
}

/** gelu(x·Wᵀ + bias), the exact GELU in the product's epilogue where the kernel has one. Shapes as in `linear`. */
export function linearGelu(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  LINEAR_GELU.check({ x, weight, bias }, {}, { result: x?.dtype });
  return scope(() => {
    const compute = computeCopy('linearGelu', x, weight);
    const u = Tensor.empty(x.gpu, [...x.shape.slice(0, -1), weight.shape[0]!], floatDType('linear', x));
    const y = matmulKernel(x, compute, { transB: true, bias, preActivation: u });
    // Three gradients start from du.
    const dProduct = sharedGradient((dy) => unaryGradient('gelu', u, dy));
    return record('linearGelu', y, [u], linearGradients(x, weight, compute, bias, dProduct));
  });
}
