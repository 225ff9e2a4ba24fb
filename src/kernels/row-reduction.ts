/**
 * Sums of rows of values or of their squares, whole or in pieces: the family `rows`. Variants are how the lanes of a row come
 * to one value.
 */

import type { Tensor } from '../tensor/tensor.js';
import { windowed, windowRoom } from './launch/operands.js';
import { laneSum, type RowVariant } from './launch/rows.js';
import { type RowsSize, rowCases, rowShader, rowVariants } from './row-variants.js';
import { Draws, trialOf } from './trials.js';
import { type Family, runVariant, variantOf } from './variants.js';

interface SumForm {
  readonly of: 'values' | 'squares';
}

interface SumOperands {
  readonly x: Tensor;
  /** [rows] f32 */
  readonly out: Tensor;
  readonly sums: RowSums;
}

export interface RowSums {
  /** Of the result. */
  readonly rows: number;
  /** Values of a row of x, which is summed in `pieces` of `piece` values, a row of the result each. */
  readonly length: number;
  readonly piece: number;
  readonly pieces: number;
  readonly scale?: number;
  readonly of?: SumForm['of'];
}

const sumShader = (form: SumForm, reduction: RowVariant) =>
  rowShader('rowSums', form, reduction, ({ of }) => ({
    label: of === 'squares' ? 'squareSums' : 'rowSums',
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
    buffers: { X: 'array<f32>', outY: 'array<f32>' },
    body: `
  let own = p.first + row;
  let start = (own % p.pieces) * p.piece;
  // Where the window begins is taken off modulo 2³².
  let base = (own / p.pieces) * p.length - p.baseX;
  let end = min(p.length, start + p.piece);
  ${laneSum('sum', (c) => (of === 'squares' ? `X[base + ${c}] * X[base + ${c}]` : `X[base + ${c}]`), 'end', { start: 'start' })}
  let total = rowSum(sum, lane);
  if (lane == 0u) { outY[own - p.baseY] = total * p.scale; }`,
  }));

const LENGTHS = [64, 384, 1024, 4096];

const formName = ({ of }: SumForm): string => (of === 'values' ? 'f32' : 'squares f32');

export const rowsFamily: Family<SumForm, RowsSize, SumOperands> = {
  name: 'rows',
  summary: 'sums of rows of values or of their squares',
  variants: rowVariants(sumShader, (shader, _gpu, _form, _size: RowsSize, { x, out, sums }: SumOperands) => {
    const { rows, length, piece, pieces, scale = 1 } = sums;
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
  ...rowCases<SumForm>([{ of: 'values' }, { of: 'squares' }], formName, {
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
  cost: ({ of }, { rows, cols }) => ({
    flops: (of === 'values' ? 1 : 2) * rows * cols,
    bytes: 4 * rows * (cols + 1),
  }),
  // Relative to the largest sum, of values around 1/2.
  tolerance: () => 1e-5,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows * 31 + cols);
    const x = draws.floats([rows, cols], 'f32', 0.5);
    const out = draws.empty([rows]);
    const right = (r: number) => {
      let sum = 0;
      for (const v of x.values.subarray(r * cols, (r + 1) * cols)) sum += form.of === 'values' ? v : v * v;
      return sum;
    };
    const parts = () => [{ start: 0, values: Float64Array.from({ length: rows }, (_, r) => right(r)) }];
    const sums = { rows, length: cols, piece: cols, pieces: 1 };
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, rowsFamily, form, size, name).run(gpu, form, size, { x: x.tensor, out, sums }),
    );
  },
};

/** Values of a row that are summed at once, at most `wanted`, so that one binding sees them. */
export const longestRow = (x: Tensor, wanted: number): number =>
  Math.min(wanted, 2 ** Math.floor(Math.log2(windowRoom(x))));

/** out[r] = scale · Σ of the values of piece r % pieces of row r / pieces of x. x: any shape, f32. */
export function rowSums(x: Tensor, out: Tensor, sums: RowSums): void {
  const { rows, piece, of = 'values' } = sums;
  runVariant(x.gpu, rowsFamily, { of }, { rows, cols: piece }, { x, out, sums });
}
