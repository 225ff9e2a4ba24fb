/** Forms and sizes to check and to time, what they cost, and how exact they must be. */

import { bytesPerElement } from '../../tensor/tensor.js';
import type { FloatDType } from '../launch/formats.js';
import type { Case, Cost } from '../variants.js';
import {
  type Batches,
  batchesOf,
  type Layout,
  layoutOf,
  type MatmulForm,
  type MatmulSize,
  whole,
} from './form.js';

export const formOf = (
  layout: Layout,
  a: FloatDType,
  b: FloatDType,
  c: FloatDType,
  gelu = false,
  batched = false,
): MatmulForm => ({
  transA: layout[0] === 'T',
  transB: layout[1] === 'T',
  a,
  b,
  c,
  gelu,
  ...(batched && { batched }),
});

type MatmulCase = Case<MatmulForm, MatmulSize>;

const batchNames = ({ batches, ofA, ofB }: Batches): string =>
  `${batches}${ofA < batches ? ` (a: ${ofA})` : ''}${ofB < batches ? ` (b: ${ofB})` : ''}`;

export function caseOf(
  use: MatmulCase['use'],
  form: MatmulForm,
  [M, K, N]: readonly [number, number, number],
  batches?: Batches,
): MatmulCase {
  const dtypes = new Set([form.a, form.b, form.c]);
  const dtype = dtypes.size === 1 ? form.a : `${form.a}·${form.b}→${form.c}`;
  return {
    name: `${batches ? `${batchNames(batches)} of ` : ''}${M}×${K}×${N} ${layoutOf(form)} ${dtype}${form.gelu ? ' GELU' : ''}`,
    form,
    size: { M, N, K, ...batches },
    use,
  };
}

/** Ragged against every tile, and where a dimension is a single one. */
const CHECKED: readonly (readonly [number, number, number])[] = [
  [33, 40, 28],
  // Whole 256 bytes along K.
  [40, 128, 28],
  [70, 36, 52],
  [1, 68, 4],
  [13, 1, 24],
  [5, 7, 3],
  [37, 50, 1],
  // Long enough for two parts of K, the second not whole.
  [24, 328, 40],
];

/** Every layout, every format of an operand and the result; a kernel that is not yet known takes a second to compile. */
const CHECKED_FORMS: readonly MatmulForm[] = [
  formOf('NN', 'f32', 'f32', 'f32'),
  formOf('NT', 'f32', 'f32', 'f32'),
  formOf('TN', 'f32', 'f32', 'f32'),
  formOf('TT', 'f32', 'f32', 'f32'),
  formOf('NN', 'f16', 'f16', 'f16'),
  formOf('NT', 'f16', 'f16', 'f16'),
  formOf('TN', 'f16', 'f16', 'f32'),
  formOf('NN', 'f32', 'f16', 'f32'),
  formOf('NT', 'f16', 'f32', 'f16'),
];

/** Tokens × inner × outer width of the models' largest Linear layers, minilm's and bge-m3's. */
const LINEARS = [
  [1728, 384, 1536],
  [1728, 1024, 4096],
] as const;

export const batchesWith = (
  batches: number,
  a: readonly [each: number, of: number] = [1, batches],
  b = a,
): Batches => ({
  batches,
  eachA: a[0],
  ofA: a[1],
  eachB: b[0],
  ofB: b[1],
});

/** Batches, each with matrices of its own, and with those that several products share; not all formats of all, which compile. */
const BATCHES: readonly (readonly [MatmulForm, readonly [number, number, number], Batches])[] = [
  [formOf('NN', 'f32', 'f32', 'f32', false, true), [33, 40, 28], batchesWith(6, [1, 6], [2, 3])],
  [formOf('TT', 'f32', 'f32', 'f32', false, true), [5, 7, 3], batchesWith(4)],
  [formOf('NT', 'f16', 'f16', 'f16', false, true), [33, 40, 28], batchesWith(6, [2, 3], [1, 2])],
  [formOf('NT', 'f16', 'f16', 'f16', false, true), [13, 128, 24], batchesWith(4)],
  [formOf('TN', 'f16', 'f16', 'f32', false, true), [13, 128, 24], batchesWith(6, [2, 3], [1, 2])],
];

/** Scores and values of 4 sequences in 32 heads, the gradient of the keys; and a few matrices of some size. */
const HEADS: readonly (readonly [Layout, readonly [number, number, number], number])[] = [
  ['NT', [128, 32, 128], 128],
  ['NN', [128, 128, 32], 128],
  ['TN', [128, 128, 32], 128],
  ['NN', [512, 512, 512], 8],
];

export const CASES: readonly MatmulCase[] = [
  ...CHECKED_FORMS.flatMap((form) =>
    // Halves are written in fours.
    CHECKED.filter(([, , N]) => form.c === 'f32' || whole(N)).map((shape) => caseOf('check', form, shape)),
  ),
  ...(['f32', 'f16'] as const).flatMap((dtype) =>
    (
      [
        [33, 40, 28],
        [24, 328, 40],
      ] as const
    ).map((shape) => caseOf('check', formOf('NT', dtype, dtype, dtype, true), shape)),
  ),
  ...LINEARS.flatMap(([T, K, N]) =>
    (['f32', 'f16'] as const).flatMap((dtype) => [
      caseOf('bench', formOf('NT', dtype, dtype, dtype), [T, K, N]),
      caseOf('bench', formOf('NN', dtype, dtype, dtype), [T, N, K]),
      // Gradients of weights are f32 in mixed precision too.
      caseOf('bench', formOf('TN', dtype, dtype, 'f32'), [N, T, K]),
    ]),
  ),
  ...BATCHES.map(([form, shape, batches]) => caseOf('check', form, shape, batches)),
  ...(['f32', 'f16'] as const).flatMap((dtype) =>
    HEADS.map(([layout, shape, batches]) =>
      caseOf('bench', formOf(layout, dtype, dtype, dtype, false, true), shape, batchesWith(batches)),
    ),
  ),
  // The gradient of a small square weight: few tiles and a long sum.
  caseOf('bench', formOf('TN', 'f32', 'f32', 'f32'), [384, 1728, 384]),
  ...[512, 1024].map((n) => caseOf('bench', formOf('NN', 'f32', 'f32', 'f32'), [n, n, n])),
];

export function cost({ a, b, c, gelu }: MatmulForm, size: MatmulSize): Cost {
  const { M, N, K } = size;
  const { batches, ofA, ofB } = batchesOf(size);
  const width = bytesPerElement;
  return {
    flops: 2 * M * N * K * batches,
    bytes: ofA * M * K * width[a] + ofB * K * N * width[b] + batches * M * N * width[c] * (gelu ? 2 : 1),
  };
}

/** Relative to the largest value of the result, operands uniform in [−½, ½). */
export const tolerance = ({ c }: MatmulForm): number => (c === 'f16' ? 2e-3 : 1e-4);
