/** Matrix products. */

import { ShapeError } from '../../errors.js';
import { type FloatDType, floatDType } from '../../kernels/launch/formats.js';
import { matmul as matmulKernel } from '../../kernels/matmul/matmul.js';
import { cast as castKernel, unary, unaryGradient } from '../../kernels/pointwise.js';
import { columnSum } from '../../kernels/reduce.js';
import { OptionNames } from '../../options.js';
import { f32, floats, optional, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { broadcastShapes, sizeOf, stridesOf } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { rangeOf, sumToShape } from '../ranges.js';
import { type Input, record, sharedGradient } from '../tape.js';
import { bothInF32 } from './in-f32.js';
import { mul } from './pointwise.js';
import { sum } from './reduce.js';
import { reshape } from './shape.js';

/** Which operands of `matmul` are transposed. */
export interface MatmulFlags {
  /** a is stored [...,K,M]. */
  readonly transA?: boolean;
  /** b is stored [...,N,K]. */
  readonly transB?: boolean;
}

const INNER = { meanings: { K: 'inner dimensions' } };
const VECTOR_B = {
  N: signature('matmul', { a: floats('...', 'K'), b: floats('K') }, INNER),
  T: signature('matmul', { a: floats('...', 'K', 'M'), b: floats('K') }, INNER),
};
const VECTOR_A = {
  N: signature('matmul', { a: floats('K'), b: floats('...', 'K', 'N') }, INNER),
  T: signature('matmul', { a: floats('K'), b: floats('...', 'N', 'K') }, INNER),
};

const FLAGS = new OptionNames<MatmulFlags>({ transA: 'boolean', transB: 'boolean' });

/**
 * The product of the last two dimensions, as torch.matmul: a [...,M,K] or with `transA` [...,K,M], b [...,K,N] or with
 * `transB` [...,N,K], f32 or f16 each; what stands before broadcasts. Returns [...,M,N] of a's dtype, summed in f32; zeros
 * where K is 0. Nothing is copied to be transposed or broadcast, and with a b of two dimensions all of a's are rows of one
 * product.
 *
 * A vector a [K] is a row and a vector b [K] a column, which the result lacks; two vectors give a scalar. Halves are
 * written in fours: an f16 result with other columns is computed in f32, in memory of its own, and rounded.
 * @throws ShapeError where inner dimensions differ, batches do not broadcast, or a vector should be transposed.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulFlags = {}): Tensor {
  const { transA = false, transB = false } = FLAGS.read('matmul', options);
  if (b?.shape?.length === 1) {
    if (transB) throw new ShapeError('matmul', 'a vector has no transpose: transB', { a, b });
    VECTOR_B[transA ? 'T' : 'N'].check({ a, b });
    if (a.shape.length === 1) return dot(a, b);
    return scope(() => {
      const y = matmul(a, reshape(b, [b.size, 1]), { transA });
      return reshape(y, y.shape.slice(0, -1));
    });
  }
  if (a?.shape?.length === 1 && b?.shape?.length > 1 && !transA) {
    VECTOR_A[transB ? 'T' : 'N'].check({ a, b });
    return scope(() => {
      const y = matmul(reshape(a, [1, a.size]), b, { transB });
      return reshape(y, [...y.shape.slice(0, -2), y.shape.at(-1)!]);
    });
  }
  return record(
    'matmul',
    matmulKernel(a, b, { transA, transB }),
    [],
    [
      [
        a,
        (dy) =>
          transA
            ? productGradient(b, dy, a, { transA: transB, transB: true })
            : productGradient(dy, b, a, { transB: !transB }),
        [b],
      ],
      [
        b,
        (dy) =>
          transB
            ? productGradient(dy, a, b, { transA: true, transB: transA })
            : productGradient(a, dy, b, { transA: !transA }),
        [a],
      ],
    ],
  );
}

const DOT = signature('dot', { a: floats('K'), b: floats('K') });

/** Σ aᵢ·bᵢ of two vectors [K], a scalar of a's dtype. */
export function dot(a: Tensor, b: Tensor): Tensor {
  DOT.check({ a, b });
  return bothInF32(a, b, (x, y) => sum(mul(x, y)));
}

const OUTER = signature('outer', { a: floats('M'), b: floats('N') }, { sameDType: ['a', 'b'] });

/** aᵢ·bⱼ of two vectors of one dtype: [M], [N] → [M,N]. */
export function outer(a: Tensor, b: Tensor): Tensor {
  OUTER.check({ a, b });
  return scope(() => mul(reshape(a, [a.size, 1]), b));
}

/**
 * The gradient of an operand of a product, itself a product of x and y, summed over what broadcasting stretched. Where
 * dimensions stand before the rows of both that are summed over, they are rows too, and the kernel adds them up.
 */
function productGradient(x: Tensor, y: Tensor, of: Tensor, options: MatmulFlags): Tensor {
  const dtype = floatDType('matmul', of);
  const [batchX, batchY] = [x.shape.slice(0, -2), y.shape.slice(0, -2)];
  const batch = broadcastShapes(batchX, batchY)!;
  // Dimensions at the end of the batch that the operand lacks and both factors have.
  let folded = 0;
  if (options.transA && !options.transB)
    while (
      folded < Math.min(batchX.length, batchY.length) &&
      batchX.at(-1 - folded) === batchY.at(-1 - folded) &&
      (of.shape.at(-3 - folded) ?? 1) === 1
    )
      folded++;
  const rows = (z: Tensor) =>
    z.alias([...z.shape.slice(0, -2 - folded), sizeOf(z.shape.slice(-2 - folded, -1)), z.shape.at(-1)!]);
  const stretched = batch.slice(0, batch.length - folded);
  const own = of.shape.slice(0, -2);
  const kept = own.slice(0, Math.max(0, own.length - folded));
  const count = sizeOf(stretched);
  const sums = count !== sizeOf(kept);
  const matrix = of.shape.at(-2)! * of.shape.at(-1)!;
  if (sums && sizeOf(kept) === 1 && count * matrix > MOST_SUMMED)
    return summedProducts(rows(x), rows(y), of, stretched, options);
  const product = matmulKernel(rows(x), rows(y), { ...options, dtype: sums ? 'f32' : dtype });
  if (!sums) return product.alias(of.shape);
  const total = sumToShape(product, [...kept, ...of.shape.slice(-2)]);
  return (dtype === 'f32' ? total : castKernel(total, dtype)).alias(of.shape);
}

/** Elements of products that are kept in order to be added up, 64 MB. */
const MOST_SUMMED = 1 << 24;

/** The same towards one matrix that many products share, added up in its memory one after the other. */
function summedProducts(
  x: Tensor,
  y: Tensor,
  of: Tensor,
  batch: readonly number[],
  options: MatmulFlags,
): Tensor {
  const total = Tensor.empty(of.gpu, of.shape.slice(-2));
  const strides = stridesOf(batch);
  for (let i = 0; i < sizeOf(batch); i++) {
    // The matrix that product i reads, of a batch that broadcasts.
    const matrixOf = (z: Tensor) => {
      const extents = z.shape.slice(0, -2);
      const own = stridesOf(extents);
      const at = extents.reduce((sum, extent, d) => {
        const among = d + batch.length - extents.length;
        return sum + (extent === 1 ? 0 : (Math.floor(i / strides[among]!) % extent) * own[d]!);
      }, 0);
      const shape = z.shape.slice(-2);
      return rangeOf(z, at * sizeOf(shape), shape);
    };
    scope(() => void matmulKernel(matrixOf(x), matrixOf(y), { ...options, out: total, accumulate: i > 0 }));
  }
  return (of.dtype === 'f16' ? castKernel(total, 'f16') : total).alias(of.shape);
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
    [x, (dy) => matmulKernel(dProduct(dy), compute, { dtype: own }).alias(x.shape), weights],
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
  if (x.dtype === 'f16') return copy ?? castKernel(weight, 'f16');
  if (copy === weight)
    throw new ShapeError(op, 'ranks have parts of the weight in f32: only f16 products read its copy', {
      x,
      weight,
    });
  return weight;
}

const linearSignature = (op: string) =>
  signature(op, { x: floats('...', 'in'), weight: floats('out', 'in'), bias: optional(f32('out')) });
const LINEAR = linearSignature('linear');
const LINEAR_GELU = linearSignature('linearGelu');

/**
 * x·Wᵀ + bias, PyTorch's Linear. x: [...,in] f32 or f16; weight: [out,in] f32 (f16 products read its f16 copy); bias: [out] f32.
 * Returns [...,out] of `dtype`, by default x's; in f16 a width of fours needs no memory beside it (see `matmul`).
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
    const dtype = floatDType('linear', x);
    const columns = weight.shape[0]!;
    // The kernel has room for a pre-activation of halves in fours only.
    const fuses = dtype === 'f32' || columns % 4 === 0;
    const u = fuses
      ? Tensor.empty(x.gpu, [...x.shape.slice(0, -1), columns], dtype)
      : matmulKernel(x, compute, { transB: true, bias });
    const y = fuses ? matmulKernel(x, compute, { transB: true, bias, preActivation: u }) : unary('gelu', u);
    // Three gradients start from du.
    const dProduct = sharedGradient((dy) => unaryGradient('gelu', u, dy));
    return record('linearGelu', y, [u], linearGradients(x, weight, compute, bias, dProduct));
  });
}
