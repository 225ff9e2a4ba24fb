/** Largest value of each row and its first position, and the gradient of that: the family `maxRows`. */
import { f32, signature } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { RANKS } from '../elementary.js';
import { byRows, flat, type Operand } from '../launch/operands.js';
import type { RowVariant } from '../launch/rows.js';
import {
  type RowKernel,
  type RowsSize,
  rowCases,
  rowShader,
  rowVariants,
  widthClass,
} from '../row-variants.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Family, runVariant, variantOf } from '../variants.js';

interface MaxForm {
  readonly part: 'value' | 'gradient';
}

interface MaxOperands {
  /** x, or for the gradient dx. */
  readonly x: Tensor;
  /** [rows]: the maxima, or for the gradient dy. */
  readonly values: Tensor;
  /** [rows] u32 */
  readonly indices: Tensor;
}

const KERNELS: Record<MaxForm['part'], RowKernel> = {
  value: {
    label: 'maxRows',
    buffers: { X: 'array<f32>', outV: 'array<f32>', outI: 'array<u32>' },
    functions: RANKS,
    body: `
  var best = 0u;
  var at = 0u;
  for (var c = lane; c < p.cols; c += LANES) { let v = rank(X[row * p.cols + c]); if (v > best) { best = v; at = c; } }
  let top = rowMax(best, lane);
  // The first position: the smallest among the lanes that hold the maximum.
  let first = ~rowMax(select(0u, ~at, best == top), lane);
  if (lane == 0u) { outV[row] = unrank(top); outI[row] = first; }`,
  },
  gradient: {
    label: 'maxRowsGradient',
    buffers: { I: 'array<u32>', DY: 'array<f32>', outX: 'array<f32>' },
    body: `
  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = select(0.0, DY[row], I[row] == c); }`,
  },
};

const maxShader = (form: MaxForm, reduction: RowVariant) =>
  rowShader('maxRows', form, reduction, ({ part }) => ({
    params: { rows: 'u32', cols: 'u32' } as const,
    ...KERNELS[part],
  }));

const formName = ({ part }: MaxForm): string => (part === 'value' ? 'f32' : 'gradient f32');

export const maxFamily: Family<MaxForm, RowsSize, MaxOperands> = {
  name: 'maxRows',
  summary: 'largest value of each row and where it is, and the gradient',
  variants: rowVariants(
    maxShader,
    (shader, gpu, { part }, { cols }: RowsSize, { x, values, indices }: MaxOperands) => {
      const operands: Record<string, Operand> =
        part === 'value'
          ? { X: byRows(x), outV: flat(values), outI: flat(indices) }
          : { I: flat(indices), DY: flat(values), outX: byRows(x) };
      shader.launch(
        gpu,
        operands,
        ({ count }) => ({ rows: count, cols }),
        ({ count }) => count,
      );
    },
  ),
  formName,
  sizeClass: widthClass,
  ...rowCases<MaxForm>([{ part: 'value' }, { part: 'gradient' }], formName, {
    check: [
      [5, 7],
      [33, 260],
    ],
    bench: [[1728, 384]],
  }),
  cost: ({ part }, { rows, cols }) => ({
    flops: part === 'value' ? rows * cols : 0,
    bytes: 4 * rows * (cols + 2),
  }),
  tolerance: () => 0,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows + cols);
    const run = (name: string | undefined, operands: MaxOperands) =>
      variantOf(gpu, maxFamily, form, size, name).run(gpu, form, size, operands);
    if (form.part === 'gradient') {
      const dy = draws.floats([rows]);
      const at = draws.indices(rows, cols);
      const dx = draws.empty([rows, cols]);
      const right = (r: number) =>
        Float64Array.from({ length: cols }, (_, c) => (c === at.values[r] ? dy.values[r]! : 0));
      const parts = () => probedRows(rows, 16).map((r) => ({ start: r * cols, values: right(r) }));
      return trialOf(draws, [{ output: dx, parts }], (name) =>
        run(name, { x: dx, values: dy.tensor, indices: at.tensor }),
      );
    }
    const x = draws.floats([rows, cols]);
    const values = draws.empty([rows]);
    const indices = draws.kept(Tensor.empty(gpu, [rows], 'u32'));
    const probes = (of: (row: Float32Array, top: number) => number) => () =>
      probedRows(rows, 16).map((r) => {
        const row = x.values.subarray(r * cols, (r + 1) * cols);
        return { start: r, values: [of(row, Math.max(...row))] };
      });
    const expected = [
      { output: values, parts: probes((_, top) => top) },
      { output: indices, parts: probes((row, top) => row.indexOf(top)) },
    ];
    return trialOf(draws, expected, (name) => run(name, { x: x.tensor, values, indices }));
  },
};

function run(part: MaxForm['part'], operands: MaxOperands): void {
  const { x } = operands;
  runVariant(x.gpu, maxFamily, { part }, { rows: x.rows, cols: x.cols }, operands);
}

const MAX = signature('max', { x: f32('...', 'C') }, { atLeast: { C: 1 } });

/**
 * Maximum and its first position along the last dimension: values [rows], indices [rows] u32. A NaN wins.
 * @throws ShapeError, of an empty dimension too: nothing has no maximum.
 */
export function maxRows(x: Tensor): { values: Tensor; indices: Tensor } {
  MAX.check({ x });
  const values = Tensor.empty(x.gpu, x.shape.slice(0, -1));
  const indices = Tensor.empty(x.gpu, x.shape.slice(0, -1), 'u32');
  run('value', { x, values, indices });
  return { values, indices };
}

/** dx of `maxRows`: dy at the saved position, zero elsewhere. */
export function maxRowsGradient(indices: Tensor, dy: Tensor, shape: readonly number[]): Tensor {
  const dx = Tensor.empty(dy.gpu, shape);
  run('gradient', { x: dx, values: dy, indices });
  return dx;
}
