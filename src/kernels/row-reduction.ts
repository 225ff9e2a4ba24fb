/**
 * How the values of a row come to one: the family `rows`, whose choice all kernels with one workgroup a row follow
 * (softmax, losses, norms, maxima), with sums of rows as what is measured.
 */
import type { Capabilities } from '../gpu/capabilities.js';
import type { Gpu } from '../gpu/gpu.js';
import { CounterRandom } from '../tensor/random.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { windowed, windowRoom } from './launch/operands.js';
import { laneSum, type RowVariant, rowMain, rowReductionOf } from './launch/rows.js';
import { shaderOf } from './launch/shader.js';
import { type Case, choose, type Family, type Variant } from './variants.js';

/** The choice holds for whatever is reduced. */
type RowsForm = Readonly<Record<string, never>>;

interface RowsSize {
  readonly rows: number;
  readonly length: number;
}

interface RowsOperands {
  /** [rows, length] f32 */
  readonly x: Tensor;
  /** [rows] f32 */
  readonly y: Tensor;
}

const FORM: RowsForm = {};

function rowsVariant(
  name: RowVariant,
  why: string,
  supports: (facts: Capabilities) => boolean,
  prior: (facts: Capabilities) => number,
): Variant<RowsForm, RowsSize, RowsOperands> {
  return {
    name,
    why,
    supports,
    prior,
    shaders: () => ({ rows: rowSumsShader(name, false) }),
    run: (_, __, { rows, length }, { x, y }) =>
      rowSums(x, y, { rows, length, piece: length, pieces: 1, reduction: name }),
  };
}

const LENGTHS = [64, 384, 1024, 4096];

const caseOf = (rows: number, length: number, use: 'check' | 'bench'): Case<RowsForm, RowsSize> => ({
  name: `${rows}×${length} f32`,
  form: FORM,
  size: { rows, length },
  use,
});

export const rowsFamily: Family<RowsForm, RowsSize, RowsOperands> = {
  name: 'rows',
  summary: 'reductions across the lanes that share a row, timed as sums',
  variants: [
    rowsVariant(
      'workgroup64',
      '64 threads reduce through workgroup memory, for subgroups of any size',
      () => true,
      () => 1,
    ),
    rowsVariant(
      'subgroup8',
      '8 lanes reduce in their subgroup: where barriers are dear, as on lavapipe; most of a wave of a GPU would idle',
      ({ subgroupMinSize }) => subgroupMinSize >= 8,
      ({ software }) => (software ? 2 : -1),
    ),
  ],
  sizeClass: ({ length }) => `${LENGTHS.find((least) => length <= least) ?? 'longer'}`,
  cases: [
    ...[1, 7, 64, 70, 300].map((length) => caseOf(5, length, 'check')),
    ...[64, 384, 1024, 4096].map((length) => caseOf(1728, length, 'bench')),
  ],
  sizes: {
    spelled: 'RxC',
    read: ([rows, length, ...more]) =>
      rows && length && more.length === 0 ? caseOf(rows, length, 'bench') : undefined,
  },
  cost: (_, { rows, length }) => ({ flops: rows * length, bytes: 4 * rows * (length + 1) }),
  // Relative to the largest sum, of values around 1/2.
  tolerance: () => 1e-5,
  trial(gpu, _, { rows, length }) {
    const random = new CounterRandom(rows * 31 + length, 0);
    const values = Float32Array.from({ length: rows * length }, () => random.uniform());
    const x = Tensor.from(gpu, values, [rows, length]).keep();
    const y = Tensor.empty(gpu, [rows]).keep();
    return {
      outputs: [y],
      run: (variant) =>
        scope(() =>
          rowSums(x, y, {
            rows,
            length,
            piece: length,
            pieces: 1,
            reduction: (variant ?? rowVariant(gpu, length)) as RowVariant,
          }),
        ),
      async error() {
        const got = await y.toFloat32();
        let top = 1e-6;
        let worst = 0;
        for (let row = 0; row < rows; row++) {
          let sum = 0;
          for (let c = 0; c < length; c++) sum += values[row * length + c]!;
          top = Math.max(top, Math.abs(sum));
          const off = Math.abs(got[row]! - sum);
          worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
        }
        return worst / top;
      },
      dispose() {
        x.dispose();
        y.dispose();
      },
    };
  },
};

/** The variant for rows of `length` values. */
export function rowVariant(gpu: Gpu, length: number): RowVariant {
  return choose(gpu, rowsFamily, FORM, { rows: 1, length }).name as RowVariant;
}

const rowSumsShader = (reduction: RowVariant, square: boolean) =>
  shaderOf('rowSums', { reduction, square }, (form) => {
    const { prelude, subgroups, lanes } = rowReductionOf(form.reduction);
    return {
      label: form.square ? 'squareSums' : 'rowSums',
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
      subgroups,
      body: `${prelude}${rowMain({ lanes }, 'p.rows')}
  let own = p.first + row;
  let start = (own % p.pieces) * p.piece;
  // Where the window begins is taken off modulo 2³².
  let base = (own / p.pieces) * p.length - p.baseX;
  let end = min(p.length, start + p.piece);
  ${laneSum('sum', (c) => (form.square ? `X[base + ${c}] * X[base + ${c}]` : `X[base + ${c}]`), 'end', { start: 'start' })}
  let total = rowSum(sum, lane);
  if (lane == 0u) { outY[own - p.baseY] = total * p.scale; }
}`,
    };
  });

export interface RowSums {
  /** Of the result. */
  readonly rows: number;
  /** Values of a row of x, which is summed in `pieces` of `piece` values, a row of the result each. */
  readonly length: number;
  readonly piece: number;
  readonly pieces: number;
  readonly scale?: number;
  /** Of squares. */
  readonly square?: boolean;
  readonly reduction?: RowVariant;
}

/** Values of a row that are summed at once, at most `wanted`, so that one binding sees them. */
export const longestRow = (x: Tensor, wanted: number): number =>
  Math.min(wanted, 2 ** Math.floor(Math.log2(windowRoom(x))));

/** out[r] = scale · Σ of the values of piece r % pieces of row r / pieces of x. x: any shape, f32. */
export function rowSums(
  x: Tensor,
  out: Tensor,
  { rows, length, piece, pieces, scale = 1, square = false, reduction }: RowSums,
): void {
  const begin = (row: number) => Math.floor(row / pieces) * length + (row % pieces) * piece;
  const end = (row: number) => begin(row) + Math.max(0, Math.min(piece, length - (row % pieces) * piece));
  rowSumsShader(reduction ?? rowVariant(x.gpu, piece), square).launch(
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
}
