/**
 * Matrix product C[M,N] = op(A) · op(B) (+ bias) (+ C), in the layouts that training needs:
 * y = x·Wᵀ, dx = dy·W, dW = dyᵀ·x. Transposition is a flag; no transposed copy is ever made of a whole operand for the
 * caller. Each operand and the result is f32 or f16; products are added up in f32. One file beside this one a variant.
 */
import { ShapeError } from '../../errors.js';
import type { Gpu } from '../../gpu/gpu.js';
import { f32, floats, optional, signature } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { type FloatDType, floatDType } from '../launch/formats.js';
import { unary } from '../pointwise.js';
import { choose, type Family, runVariant, variantOf } from '../variants.js';
import { CASES, caseOf, cost, tolerance } from './cases.js';
import {
  type MatmulForm,
  type MatmulOperands,
  type MatmulSize,
  type MatmulVariant,
  piecesOf,
  whole,
} from './form.js';
import { packedBuffer, packedTextureChain, packedTextureTree } from './packed.js';
import { matrixVariants } from './subgroup-matrix.js';
import { tileVariants } from './tile.js';
import { tile64 } from './tile64.js';
import { drawTrial } from './trial.js';

export interface MatmulOptions {
  /** A is stored [K,M]. */
  transA?: boolean;
  /** B is stored [N,K]. */
  transB?: boolean;
  /** [N] f32, added to every row. */
  bias?: Tensor | undefined;
  /** Of a new result; that of `a` by default. */
  dtype?: FloatDType | undefined;
  /** Write here instead of into a new tensor, of M·N elements. */
  out?: Tensor | undefined;
  /** Add to `out` instead of overwriting it. */
  accumulate?: boolean;
  /** Return gelu(A·B + bias), and write A·B + bias here, where the gradient will want it: M·N elements. */
  preActivation?: Tensor | undefined;
}

const matmulSignature = (transA: boolean, transB: boolean) =>
  signature(
    'matmul',
    {
      a: transA ? floats('K', 'M') : floats('...', 'K'),
      b: transB ? floats('N', 'K') : floats('K', 'N'),
      bias: optional(f32('N')),
      out: optional(transA ? floats('M', 'N') : floats('...', 'N')),
      preActivation: optional(transA ? floats('M', 'N') : floats('...', 'N')),
    },
    { meanings: { K: 'inner dimensions' }, foursInF16Result: ['N'] },
  );
const SIGNATURES = {
  NN: matmulSignature(false, false),
  NT: matmulSignature(false, true),
  TN: matmulSignature(true, false),
  TT: matmulSignature(true, true),
};

/**
 * a: [...,K] or with transA [K,M] (leading dimensions are rows); b: [K,N], or [N,K] with transB. An f16 result
 * needs whole groups of 4 columns. Returns [...,N] (with transA [M,N]); an empty inner dimension gives the bias, or
 * zeros. @throws ShapeError.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, bias, out, preActivation } = options;
  const resultDType = out
    ? floatDType('matmul', out)
    : (options.dtype ?? (a?.dtype === 'f16' ? 'f16' : 'f32'));
  SIGNATURES[`${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`].check(
    { a, b, bias, out, preActivation },
    {},
    { result: resultDType },
  );
  const dtypes = { a: floatDType('matmul', a), b: floatDType('matmul', b) };
  const [M, K] = transA ? [a.cols, a.rows] : [a.rows, a.cols];
  const N = transB ? b.shape[0]! : b.shape[1]!;
  if (preActivation && (options.accumulate || out || preActivation.dtype !== resultDType))
    throw new ShapeError('matmul', `a GELU epilogue needs a new result, of the pre-activation's dtype`, {
      a,
      b,
      preActivation,
      out,
    });
  const written = out ?? preActivation;
  // Some variants copy operands before they write, and then would do so between the parts of a large product too.
  if (written && [a, b, bias].some((read) => read?.sharesStorage(written)))
    throw new ShapeError('matmul', 'a result cannot lie in the buffer of an operand', {
      a,
      b,
      bias,
      out,
      preActivation,
    });
  const shape = transA ? [M, N] : [...a.shape.slice(0, -1), N];
  const { gpu } = a;
  if (M === 0 || N === 0) return out ?? Tensor.empty(gpu, shape, resultDType);
  const form: MatmulForm = { transA, transB, ...dtypes, c: resultDType, gelu: preActivation !== undefined };
  const size = { M, N, K };
  const variant = choose(gpu, matmulFamily, form, size);
  return product(gpu, variant, form, size, {
    a,
    b,
    out,
    shape,
    bias,
    preActivation,
    accumulate: options.accumulate ?? false,
  });
}

/** The product by one variant, and the epilogues that it does not fuse. */
function product(
  gpu: Gpu,
  variant: MatmulVariant,
  form: MatmulForm,
  size: MatmulSize,
  {
    out,
    shape,
    preActivation,
    ...operands
  }: Omit<MatmulOperands, 'c'> & { out?: Tensor | undefined; shape: number[] },
): Tensor {
  // Of a product that adds up over pieces the pre-activation is known after the last.
  const fuses = variant.fuses?.has('gelu') && piecesOf(gpu, form, size).every(({ k0 }) => k0 === 0);
  if (preActivation && !fuses) {
    const plain = { ...form, gelu: false };
    runVariant(gpu, matmulFamily, plain, size, { ...operands, c: preActivation }, variant);
    return unary('gelu', preActivation).alias(shape);
  }
  const c = out ?? Tensor.empty(gpu, shape, form.c);
  runVariant(gpu, matmulFamily, form, size, { ...operands, c, preActivation }, variant);
  return c;
}

/** Sizes for which one choice is made: powers of two up to 16384, and which extents come in whole fours. */
function sizeClass({ M, N, K }: MatmulSize): string {
  const name = (n: number) =>
    `${Math.min(16384, 2 ** Math.ceil(Math.log2(Math.max(1, n))))}${whole(n) ? '' : '+'}`;
  return `${name(M)}×${name(K)}×${name(N)}`;
}

export const matmulFamily: Family<MatmulForm, MatmulSize, MatmulOperands> = {
  name: 'matmul',
  summary: 'C[M,N] = op(A) · op(B) (+ bias) (+ C), with GELU on request',
  formName: ({ transA, transB, a, c }) =>
    `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'} ${a === c ? a : `${a} → ${c}`}`,
  variants: [tile64, packedTextureTree, packedTextureChain, packedBuffer, ...tileVariants, ...matrixVariants],
  sizeClass,
  // A product of 1024³ takes as long for a value as a larger one, and the slowest variant ends within a second.
  probe: ({ M, N, K }) => ({ M: Math.min(M, 1024), N: Math.min(N, 1024), K: Math.min(K, 1024) }),
  cases: CASES,
  sizes: {
    spelled: 'MxKxN',
    read: ([M, K, N, ...more], form) =>
      M && K && N && more.length === 0 && (form.c === 'f32' || whole(N))
        ? caseOf('bench', form, [M, K, N])
        : undefined,
  },
  cost,
  tolerance,
  trial: (gpu, form, size) =>
    drawTrial(gpu, form, size, (operands, name) => {
      const variant = variantOf(gpu, matmulFamily, form, size, name);
      const { c, ...others } = operands;
      if (!form.gelu) variant.run(gpu, form, size, operands);
      else c.copyUnrecorded(product(gpu, variant, form, size, { ...others, shape: [size.M, size.N] }));
    }),
};
