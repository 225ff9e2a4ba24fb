/**
 * Reductions of rows, whole or in pieces: the family `rows`. Variants are how the lanes of a row come to one value.
 */

import { bytesPerElement, type DType, type Tensor } from '../tensor/tensor.js';
import type { RowPieces } from './axis-passes.js';
import type { FloatDType } from './launch/formats.js';
import { windowed } from './launch/operands.js';
import { laneSum, type RowVariant, rowCombination } from './launch/rows.js';
import { HALF_AT, type ReductionName, reducedDType, reductions, takenOf, valuesOf } from './reductions.js';
import { type RowsSize, rowCases, rowShader, rowVariants } from './row-variants.js';
import { Draws, trialOf } from './trials.js';
import { type Family, runVariant, variantOf } from './variants.js';

interface RowsForm {
  readonly of: ReductionName;
  /** Of x. */
  readonly dtype: DType;
}

interface RowsOperands {
  readonly x: Tensor;
  /** [rows], of `reducedDType` */
  readonly out: Tensor;
  readonly pieces: RowPieces;
  /** Of sums of floats. */
  readonly scale: number;
}

const rowsShader = (form: RowsForm, reduction: RowVariant) =>
  rowShader('reduceRows', form, reduction, ({ of, dtype }, variant) => {
    const { combine, start, lanes } = reductions[of];
    const own = valuesOf(dtype, 1);
    const to = reducedDType(of, dtype);
    const { type } = valuesOf(to, 1);
    const value = (c: string) => takenOf(of, own.load('X', `base + ${c}`));
    // Sums of floats are rounded: short chains keep that small.
    const part =
      combine === '+'
        ? laneSum('part', value, 'end', { start: 'start', type })
        : `var part = ${type}(${start});
  for (var c = start + lane; c < end; c += LANES) { part = part ${combine} ${value('c')}; }`;
    return {
      label: `${of}OfRows`,
      params: {
        first: 'u32',
        rows: 'u32',
        length: 'u32',
        piece: 'u32',
        pieces: 'u32',
        scale: 'f32',
        baseX: 'u32',
        baseY: 'u32',
      } as const,
      buffers: { X: own.buffer, outY: `array<${type}>` },
      dtypes: { X: dtype, outY: to },
      functions: `${dtype === 'f16' ? HALF_AT : ''}${rowCombination(variant, 'rowTotal', type, `a ${combine} b`, lanes)}`,
      body: `
  let own = p.first + row;
  let start = (own % p.pieces) * p.piece;
  // Where the window begins is taken off modulo 2³².
  let base = (own / p.pieces) * p.length - p.baseX;
  let end = min(p.length, start + p.piece);
  ${part}
  let total = rowTotal(part, lane);
  if (lane == 0u) { outY[own - p.baseY] = total${combine === '+' && to === 'f32' ? ' * p.scale' : ''}; }`,
    };
  });

const LENGTHS = [64, 384, 1024, 4096];

const formName = ({ of, dtype }: RowsForm): string => `${of === 'sum' ? '' : `${of} `}${dtype}`;

const FORMS: readonly RowsForm[] = [
  { of: 'sum', dtype: 'f32' },
  { of: 'squares', dtype: 'f32' },
  { of: 'sum', dtype: 'f16' },
];

export const rowsFamily: Family<RowsForm, RowsSize, RowsOperands> = {
  name: 'rows',
  summary: 'reductions of rows: sums of values or of their squares, products, any and all',
  variants: rowVariants(rowsShader, (shader, _gpu, _form, _size: RowsSize, operands: RowsOperands) => {
    const { x, out, pieces: how, scale } = operands;
    const { rows, length, piece, pieces } = how;
    const begin = (row: number) => Math.floor(row / pieces) * length + (row % pieces) * piece;
    const end = (row: number) => begin(row) + Math.max(0, Math.min(piece, length - (row % pieces) * piece));
    shader.launch(
      x.gpu,
      {
        X: windowed(x, rows, ({ start, count }) =>
          count === 0 ? [0, 0] : [begin(start), end(start + count - 1) - begin(start)],
        ),
        outY: windowed(out, rows, ({ start, count }) => [start, count]),
      },
      ({ start, count }, base) => ({
        first: start,
        rows: count,
        length,
        piece,
        pieces,
        scale,
        baseX: base['X']!,
        baseY: base['outY']!,
      }),
      ({ count }) => count,
    );
  }),
  formName,
  sizeClass: ({ cols }) => `${LENGTHS.find((least) => cols <= least) ?? 'longer'}`,
  ...rowCases<RowsForm>(FORMS, formName, {
    check: [
      [5, 1],
      [5, 7],
      [5, 64],
      [5, 70],
      [5, 300],
    ],
    bench: [
      [1728, 64],
      [1728, 384],
      [1728, 1024],
      [1728, 4096],
    ],
  }),
  cost: ({ of, dtype }, { rows, cols }) => ({
    flops: (of === 'squares' ? 2 : 1) * rows * cols,
    bytes: rows * (bytesPerElement[dtype] * cols + 4),
  }),
  // Relative to the largest sum, of values around 1/2.
  tolerance: () => 1e-5,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows * 31 + cols);
    const x = draws.floats([rows, cols], form.dtype as FloatDType, 0.5);
    const out = draws.empty([rows]);
    const { start, host } = reductions[form.of];
    const right = (r: number) => x.values.subarray(r * cols, (r + 1) * cols).reduce(host, start);
    const parts = () => [{ start: 0, values: Float64Array.from({ length: rows }, (_, r) => right(r)) }];
    const pieces = { rows, length: cols, piece: cols, pieces: 1 };
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, rowsFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        out,
        pieces,
        scale: 1,
      }),
    );
  },
};

/** out[r] = scale · `of` the values of piece r % pieces of row r / pieces of x, which has any shape. */
export function reduceRows(of: ReductionName, x: Tensor, out: Tensor, pieces: RowPieces, scale = 1): void {
  const size = { rows: pieces.rows, cols: pieces.piece };
  runVariant(x.gpu, rowsFamily, { of, dtype: x.dtype }, size, { x, out, pieces, scale });
}
