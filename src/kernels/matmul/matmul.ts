/**
 * Matrix product C[M,N] = op(A) · op(B) (+ bias) (+ C), one or many side by side, in the layouts that training needs:
 * y = x·Wᵀ, dx = dy·W, dW = dyᵀ·x. Transposition is a flag; no transposed copy is ever made of a whole operand for the
 * caller. Each operand and the result is f32 or f16; products are added up in f32. One file beside this one a variant.
 */
import { ShapeError } from '../../errors.js';
import type { Gpu } from '../../gpu/gpu.js';
import { f32, floats, optional, signature } from '../../tensor/operands.js';
import { broadcastShapes } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { type FloatDType, floatDType } from '../launch/formats.js';
import { cast, unary } from '../pointwise.js';
import { choose, type Family, runVariant, variantOf } from '../variants.js';
import { inBatches, levelsOf, oneByOne } from './batches.js';
import { batchesWith, CASES, caseOf, cost, tolerance } from './cases.js';
import {
  batchesOf,
  type Layout,
  type MatmulForm,
  type MatmulOperands,
  type MatmulSize,
  type MatmulVariant,
  piecesOf,
  whole,
} from './form.js';
import { tileCount } from './gpu-tiles.js';
import { packedBuffer, packedTextureChain, packedTextureTree } from './packed.js';
import { ENOUGH_WORKGROUPS } from './split-k.js';
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

const batchedSignature = (transA: boolean, transB: boolean) =>
  signature(
    'matmul',
    {
      a: transA ? floats('...a', 'K', 'M') : floats('...a', 'M', 'K'),
      b: transB ? floats('...b', 'N', 'K') : floats('...b', 'K', 'N'),
    },
    { meanings: { K: 'inner dimensions' } },
  );
const BATCHED_SIGNATURES = {
  NN: batchedSignature(false, false),
  NT: batchedSignature(false, true),
  TN: batchedSignature(true, false),
  TT: batchedSignature(true, true),
};

/**
 * a: [...,K] or with transA [K,M] (leading dimensions are rows); b: [K,N], or [N,K] with transB. Returns [...,N] (with
 * transA [M,N]); an empty inner dimension gives the bias, or zeros.
 *
 * With more dimensions of b, or of a transposed a, those before the last two are batches and broadcast: a [...,M,K] or
 * [...,K,M], b [...,K,N] or [...,N,K] give [...,M,N]. Such products take no option but `dtype`.
 *
 * Kernels write halves in fours: an f16 result with other columns is computed in f32, in memory of its own, and rounded.
 * An f16 `out` or pre-activation must have whole groups of 4 columns. @throws ShapeError.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, bias, out, preActivation } = options;
  const resultDType = out
    ? floatDType('matmul', out)
    : (options.dtype ?? (a?.dtype === 'f16' ? 'f16' : 'f32'));
  const layout: Layout = `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`;
  const many = b?.shape?.length > 2 || (transA && a?.shape?.length > 2);
  const written = out ?? preActivation;
  if (many) {
    BATCHED_SIGNATURES[layout].check({ a, b }, {}, { result: resultDType });
    if (bias || written)
      throw new ShapeError('matmul', 'of many products only the dtype is a choice', { a, b });
  } else
    SIGNATURES[layout].check(
      { a, b, bias, out, preActivation },
      {},
      // Of a new result the columns may be any number.
      { result: !written && resultDType === 'f16' ? undefined : resultDType },
    );
  const dtypes = { a: floatDType('matmul', a), b: floatDType('matmul', b) };
  const columns = b.shape.at(transB ? -2 : -1)!;
  if (resultDType === 'f16' && !whole(columns)) {
    const wide = matmul(a, b, { ...options, dtype: 'f32' });
    const rounded = cast(wide, 'f16');
    wide.dispose();
    return rounded;
  }
  if (many) return batchedProducts(a, b, { transA, transB, ...dtypes, c: resultDType, gelu: false });
  const [M, K] = transA ? [a.cols, a.rows] : [a.rows, a.cols];
  const N = columns;
  if (preActivation && (options.accumulate || out || preActivation.dtype !== resultDType))
    throw new ShapeError('matmul', `a GELU epilogue needs a new result, of the pre-activation's dtype`, {
      a,
      b,
      preActivation,
      out,
    });
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

/**
 * Products of all matrices of a and b, [...,M,N]. Matrices of a that follow each other and meet the same one of b are one
 * product of more rows.
 */
function batchedProducts(a: Tensor, b: Tensor, form: MatmulForm): Tensor {
  const { gpu } = a;
  const { transA, transB } = form;
  const [batchOfA, batchOfB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = broadcastShapes(batchOfA, batchOfB);
  if (!batch) throw new ShapeError('matmul', 'batch dimensions do not broadcast', { a, b });
  const [M, K] = transA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  const N = b.shape.at(transB ? -2 : -1)!;
  const c = Tensor.empty(gpu, [...batch, M, N], form.c);
  if (c.size === 0) return c;
  const levels = levelsOf(batch, batchOfA, batchOfB);
  const last = levels.at(-1);
  const folds = !transA && last?.inA && !last.inB;
  if (folds) levels.pop();
  const each = { M: folds ? M * last.extent : M, N, K };
  const operands = { a, b, c, accumulate: false };
  inBatches(gpu, { ...form, batched: true }, each, levels, operands, (size, own) => {
    const used: MatmulForm = size.batches === undefined ? form : { ...form, batched: true };
    runVariant(gpu, matmulFamily, used, size, own);
  });
  return c;
}

/** Of products this large the launches cost a CPU nothing. */
const LARGE = 1 << 27;

/** One by one, by what is chosen for each. */
const loop: MatmulVariant = {
  name: 'loop',
  why: 'many products, each by itself: large ones, and those with so long a K that others do not take them',
  composed: true,
  supports: (_, form) => form.batched === true,
  prior(facts, _, { M, N, K, batches = 1 }) {
    if (facts.software) return M * N * K >= LARGE ? 40 : facts.subgroupMinSize >= 8 && K > 0 ? 20 : 0;
    // One keeps a GPU busy, or all of them do not unless K is split.
    if (tileCount({ M, N }, { rows: 128, columns: 128 }) >= ENOUGH_WORKGROUPS) return 40;
    return tileCount({ M, N }, { rows: 64, columns: 64 }) * batches < ENOUGH_WORKGROUPS / 2 && K >= 1024
      ? 20
      : 0;
  },
  shaders: () => ({}),
  run(gpu, form, size, operands) {
    const { batched: _, ...one } = form;
    const { M, N, K } = size;
    const variant = choose(gpu, matmulFamily, one, { M, N, K });
    oneByOne(size, batchesOf(size), operands, (own) => variant.run(gpu, one, { M, N, K }, own));
  },
};

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
function sizeClass({ M, N, K, batches = 1 }: MatmulSize): string {
  const name = (n: number) =>
    `${Math.min(16384, 2 ** Math.ceil(Math.log2(Math.max(1, n))))}${whole(n) ? '' : '+'}`;
  return `${batches > 1 ? `${2 ** Math.ceil(Math.log2(batches))} of ` : ''}${name(M)}×${name(K)}×${name(N)}`;
}

export const matmulFamily: Family<MatmulForm, MatmulSize, MatmulOperands> = {
  name: 'matmul',
  summary: 'C[M,N] = op(A) · op(B) (+ bias) (+ C), with GELU on request; one or many',
  formName: ({ transA, transB, a, c, batched }) =>
    `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'} ${a === c ? a : `${a} → ${c}`}${batched ? ' batches' : ''}`,
  variants: [
    tile64,
    packedTextureTree,
    packedTextureChain,
    packedBuffer,
    ...tileVariants,
    ...matrixVariants,
    loop,
  ],
  sizeClass,
  // A product of 1024³ takes as long for a value as a larger one, and the slowest variant ends within a second.
  probe: ({ M, N, K, batches, ofA = 1, ofB = 1 }) => {
    const one = { M: Math.min(M, 1024), N: Math.min(N, 1024), K: Math.min(K, 1024) };
    if (batches === undefined) return one;
    const few = Math.max(1, Math.min(batches, Math.floor(2 ** 30 / (one.M * one.N * one.K))));
    const of = (matrices: number) => (matrices > 1 ? few : 1);
    return { ...one, batches: few, eachA: 1, ofA: of(ofA), eachB: 1, ofB: of(ofB) };
  },
  cases: CASES,
  sizes: {
    spelled: 'MxKxN, or of many products batchxMxKxN',
    read: (numbers, form) => {
      const [batches, M, K, N, ...more] = form.batched ? numbers : [1, ...numbers];
      return batches && M && K && N && more.length === 0 && (form.c === 'f32' || whole(N))
        ? caseOf('bench', form, [M, K, N], form.batched && batchesWith(batches))
        : undefined;
    },
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
