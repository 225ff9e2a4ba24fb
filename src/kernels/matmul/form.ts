/**
 * What the variants of the matrix product share: what a source is made for, the extents, the operands, and the pieces
 * that a product is computed in. C[M,N] = op(A) · op(B) (+ bias) (+ C); op transposes, by a flag.
 */
import type { Binding, Gpu } from '../../gpu/gpu.js';
import { bytesPerElement, type Tensor } from '../../tensor/tensor.js';
import type { FloatDType } from '../launch/formats.js';
import type { Variant } from '../variants.js';

/** What a shader is made for. */
export interface MatmulForm {
  /** A is stored [K,M]. */
  readonly transA: boolean;
  /** B is stored [N,K]. */
  readonly transB: boolean;
  readonly a: FloatDType;
  readonly b: FloatDType;
  readonly c: FloatDType;
  /** gelu(A·B + bias) is wanted, and A·B + bias beside it. */
  readonly gelu: boolean;
  /** Many products at once, of operands that fit a binding whole. */
  readonly batched?: true | undefined;
}

/** Product i of many reads matrix ⌊i / eachA⌋ mod ofA of A, the same of B, and writes matrix i of C. */
export interface Batches {
  readonly batches: number;
  readonly eachA: number;
  readonly ofA: number;
  readonly eachB: number;
  readonly ofB: number;
}

/** M, N and K are those of one product; of a form that is not batched there is one. */
export interface MatmulSize extends Partial<Batches> {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

export interface MatmulOperands {
  readonly a: Tensor;
  readonly b: Tensor;
  /** M·N elements. */
  readonly c: Tensor;
  /** [N] f32. */
  readonly bias?: Tensor | undefined;
  /** M·N elements, for a variant that fuses GELU and a form that wants it. */
  readonly preActivation?: Tensor | undefined;
  /** Add to `c` instead of overwriting it. */
  readonly accumulate: boolean;
}

export type MatmulVariant = Variant<MatmulForm, MatmulSize, MatmulOperands>;

/** `NN`, `NT`, `TN` or `TT`: T for an operand that is stored the other way round. */
export type Layout = `${'N' | 'T'}${'N' | 'T'}`;

export const layoutOf = ({ transA, transB }: Pick<MatmulForm, 'transA' | 'transB'>): Layout =>
  `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`;

export const whole = (n: number): boolean => n % 4 === 0;

/**
 * Parameters of a product of parts: of the M×K part of op(A) and the K×N part of op(B) that begin at elements `startA`
 * and `startB` of what is bound, whose stored rows are `lda` and `ldb` elements long; C likewise.
 */
export const PARAMS = {
  M: 'u32',
  N: 'u32',
  K: 'u32',
  lda: 'u32',
  ldb: 'u32',
  ldc: 'u32',
  startA: 'u32',
  startB: 'u32',
  startC: 'u32',
  hasBias: 'u32',
  accumulate: 'u32',
} as const;

/** Parameters of batched forms beside the others; what they start from is of the first matrix. */
const BATCH_PARAMS = { eachA: 'u32', ofA: 'u32', eachB: 'u32', ofB: 'u32' } as const;

/** Those of a form. A shader finds its parameters by name, so what others give beside them does no harm. */
export const paramsOf = <P extends Record<string, 'u32'>>(
  { batched }: Pick<MatmulForm, 'batched'>,
  params: P,
): P => (batched ? { ...params, ...BATCH_PARAMS } : params);

export const batchesOf = ({ batches = 1, eachA = 1, ofA = 1, eachB = 1, ofB = 1 }: MatmulSize): Batches => ({
  batches,
  eachA,
  ofA,
  eachB,
  ofB,
});

/**
 * WGSL: the elements that a product's matrices begin at. Parameters where there is one product; with batches, of which
 * `group.z` is one, variables of the module (`declared`), which `main` sets first (`set`).
 */
export const startsOf = ({ batched }: Pick<MatmulForm, 'batched'>) =>
  batched
    ? {
        A: 'startA',
        B: 'startB',
        C: 'startC',
        declared: 'var<private> startA: u32; var<private> startB: u32; var<private> startC: u32;\n',
        set: `startA = p.startA + group.z / p.eachA % p.ofA * (p.M * p.K);
  startB = p.startB + group.z / p.eachB % p.ofB * (p.N * p.K);
  startC = p.startC + group.z * (p.M * p.N);
  `,
      }
    : { A: 'p.startA', B: 'p.startB', C: 'p.startC', declared: '', set: '' };

/** A part of a product: rows, columns and inner dimension, each with its start. */
export interface Piece extends MatmulSize {
  readonly m0: number;
  readonly n0: number;
  readonly k0: number;
}

/** [start, count] in steps of whole `unit`s, of at most `most` where one unit is no more than that. */
function cuts(extent: number, most: number, unit: number): { start: number; count: number }[] {
  if (extent <= most) return [{ start: 0, count: extent }];
  const step = Math.max(unit, Math.floor(most / unit) * unit);
  const list: { start: number; count: number }[] = [];
  for (let start = 0; start < extent; start += step)
    list.push({ start, count: Math.min(step, extent - start) });
  return list;
}

/** Bytes at whose multiples every adapter can bind. */
const ALIGNMENT = 256;

/** Rows of `bytes` bytes at whose multiples every adapter can bind: a power of two. */
function bindableRows(bytes: number): number {
  let rows = 1;
  while (rows < ALIGNMENT && (rows * bytes) % ALIGNMENT !== 0) rows *= 2;
  return rows;
}

/**
 * The pieces of a product such that each one's rows of A, B and C fit a binding, and no extent exceeds `limits`. Those that
 * share rows and columns of C follow each other; their products add up.
 */
export function piecesOf(
  gpu: Gpu,
  { transA, transB, a, b, c }: MatmulForm,
  { M, N, K }: MatmulSize,
  limits: Partial<MatmulSize> = {},
): Piece[] {
  const bytes = {
    a: (transA ? M : K) * bytesPerElement[a],
    b: (transB ? K : N) * bytesPerElement[b],
    c: N * bytesPerElement[c],
  };
  // An extent along which rows are bound is cut such that they fit and can be bound at each start; the bias is f32 along N.
  const along = (extent: number, limit: number | undefined, least: number, ...rows: number[]) =>
    cuts(
      extent,
      Math.min(limit ?? extent, ...rows.map((row) => Math.floor(gpu.capabilities.maxBindingSize / row))),
      Math.max(least, ...rows.map(bindableRows)),
    );
  const alongM = along(M, limits.M, 8, bytes.c, ...(transA ? [] : [bytes.a]));
  const alongN = along(N, limits.N, ALIGNMENT / 4, ...(transB ? [bytes.b] : []));
  const alongK = along(K, limits.K, 8, ...(transA ? [bytes.a] : []), ...(transB ? [] : [bytes.b]));
  return alongM.flatMap((m) =>
    alongN.flatMap((n) =>
      alongK.map((k) => ({ m0: m.start, M: m.count, n0: n.start, N: n.count, k0: k.start, K: k.count })),
    ),
  );
}

/** Stored rows [start, start+count) of an operand with `cols` columns; the tensor itself when they are all of it. */
export const rowsOf = (tensor: Tensor, cols: number, start: number, count: number): Tensor | Binding =>
  start === 0 && count * cols === tensor.size ? tensor : tensor.bindingRange(start * cols, count * cols);

/** What a piece binds, and the parameters that say where it lies in that; of batched forms there is one piece. */
export function partsOf(
  { transA, transB, batched }: MatmulForm,
  size: MatmulSize,
  { a, b, c, bias, preActivation, accumulate }: MatmulOperands,
  piece: Piece,
) {
  const { M, N, K } = size;
  const [lda, ldb] = [transA ? M : K, transB ? K : N];
  const { m0, n0, k0 } = piece;
  return {
    A: batched ? a : rowsOf(a, lda, transA ? k0 : m0, transA ? piece.K : piece.M),
    B: batched ? b : rowsOf(b, ldb, transB ? n0 : k0, transB ? piece.N : piece.K),
    // Without a bias something must be bound all the same.
    bias: bias ? (n0 === 0 && piece.N === N ? bias : bias.bindingRange(n0, piece.N)) : notRead(b),
    C: batched ? c : rowsOf(c, N, m0, piece.M),
    U: preActivation && rowsOf(preActivation, N, m0, piece.M),
    params: {
      M: piece.M,
      N: piece.N,
      K: piece.K,
      lda,
      ldb,
      ldc: N,
      startA: transA ? m0 : k0,
      startB: transB ? k0 : n0,
      startC: n0,
      hasBias: bias && k0 === 0 ? 1 : 0,
      accumulate: accumulate || k0 > 0 ? 1 : 0,
      ...(batched ? batchesOf(size) : undefined),
    },
  };
}

const notRead = (tensor: Tensor): Binding => ({ ...tensor.bindingRange(0, 4), dtype: undefined });

/** Workgroups for tiles of `rows`×`columns` of each product. */
export const tileGrid = (
  { M, N }: Pick<MatmulSize, 'M' | 'N'>,
  rows: number,
  columns: number,
  batches = 1,
): [number, number, number] => [Math.ceil(N / columns), Math.ceil(M / rows), batches];
