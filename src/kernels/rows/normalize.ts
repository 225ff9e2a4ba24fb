/** Rows divided by their lengths, as embeddings and token vectors are, and the gradient of that: `normalizeRows`. */
import { f32, notNegative, signature } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { elementary } from '../elementary.js';
import { byRows, flat, type Operand } from '../launch/operands.js';
import { laneSum, type RowVariant } from '../launch/rows.js';
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

interface NormalizeForm {
  readonly part: 'value' | 'gradient';
}

interface NormalizeOperands {
  /** x, or for the gradient y. */
  readonly rows: Tensor;
  /** [rows]: a result, or for the gradient what forward found. */
  readonly norms: Tensor;
  readonly dy: Tensor | undefined;
  /** y, or dx. */
  readonly out: Tensor;
  readonly eps: number;
}

const KERNELS: Record<NormalizeForm['part'], RowKernel> = {
  value: {
    label: 'normalizeRows',
    buffers: { X: 'array<f32>', outY: 'array<f32>', outN: 'array<f32>' },
    body: `
  ${laneSum('part', (c) => `X[row * p.cols + ${c}] * X[row * p.cols + ${c}]`, 'p.cols')}
  let norm = sqrt(rowSum(part, lane));
  let scale = 1.0 / maxOf(norm, p.eps);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = X[row * p.cols + c] * scale; }
  if (lane == 0u) { outN[row] = norm; }`,
  },
  gradient: {
    label: 'normalizeRowsGradient',
    buffers: { Y: 'array<f32>', N: 'array<f32>', DY: 'array<f32>', outX: 'array<f32>' },
    body: `
  ${laneSum('part', (c) => `Y[row * p.cols + ${c}] * DY[row * p.cols + ${c}]`, 'p.cols')}
  let along = select(0.0, rowSum(part, lane), N[row] > p.eps);
  let scale = 1.0 / maxOf(N[row], p.eps);
  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = (DY[row * p.cols + c] - Y[row * p.cols + c] * along) * scale; }`,
  },
};

const normalizeShader = (form: NormalizeForm, reduction: RowVariant) =>
  rowShader('normalizeRows', form, reduction, ({ part }) => ({
    params: { rows: 'u32', cols: 'u32', eps: 'f32' } as const,
    functions: elementary('f32'),
    ...KERNELS[part],
  }));

const formName = ({ part }: NormalizeForm): string => (part === 'value' ? 'f32' : 'gradient f32');

export const normalizeFamily: Family<NormalizeForm, RowsSize, NormalizeOperands> = {
  name: 'normalizeRows',
  summary: 'rows divided by their lengths, forward and gradient',
  variants: rowVariants(
    normalizeShader,
    (shader, gpu, _, { cols }: RowsSize, { rows, norms, dy, out, eps }: NormalizeOperands) => {
      const operands: Record<string, Operand> = dy
        ? { Y: byRows(rows), N: flat(norms), DY: byRows(dy), outX: byRows(out) }
        : { X: byRows(rows), outY: byRows(out), outN: flat(norms) };
      shader.launch(
        gpu,
        operands,
        ({ count }) => ({ rows: count, cols, eps }),
        ({ count }) => count,
      );
    },
  ),
  formName,
  sizeClass: widthClass,
  ...rowCases<NormalizeForm>([{ part: 'value' }, { part: 'gradient' }], formName, {
    check: [
      [5, 7],
      [33, 260],
    ],
    // Token vectors of the two models.
    bench: [
      [1728, 384],
      [4096, 1024],
    ],
  }),
  cost: ({ part }, { rows, cols }) => ({
    flops: (part === 'value' ? 3 : 5) * rows * cols,
    bytes: 4 * rows * ((part === 'value' ? 2 : 3) * cols + 1),
  }),
  tolerance: () => 2e-6,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows + cols);
    const own = draws.floats([rows, cols]);
    const out = draws.empty([rows, cols]);
    const eps = 1e-12;
    const rowOf = (values: Float32Array, r: number) => values.subarray(r * cols, (r + 1) * cols);
    const run = (name: string | undefined, norms: Tensor, dy: Tensor | undefined) =>
      variantOf(gpu, normalizeFamily, form, size, name).run(gpu, form, size, {
        rows: own.tensor,
        norms,
        dy,
        out,
        eps,
      });
    const rowsOf = (right: (r: number) => Float64Array) => () =>
      probedRows(rows, 16).map((r) => ({ start: r * cols, values: right(r) }));
    if (form.part === 'gradient') {
      // The gradient takes whatever y and norms it is given.
      const norms = draws.floats([rows], 'f32', 1);
      const dy = draws.floats([rows, cols]);
      const right = (r: number) => {
        const [y, outer] = [rowOf(own.values, r), rowOf(dy.values, r)];
        const along = y.reduce((sum, v, c) => sum + v * outer[c]!, 0);
        return Float64Array.from(y, (v, c) => (outer[c]! - v * along) / norms.values[r]!);
      };
      return trialOf(draws, [{ output: out, parts: rowsOf(right) }], (name) =>
        run(name, norms.tensor, dy.tensor),
      );
    }
    const norms = draws.empty([rows]);
    const lengthOf = (r: number) => Math.sqrt(rowOf(own.values, r).reduce((sum, v) => sum + v * v, 0));
    return trialOf(
      draws,
      [
        {
          output: out,
          parts: rowsOf((r) => Float64Array.from(rowOf(own.values, r), (v) => v / lengthOf(r))),
        },
        {
          output: norms,
          parts: () => probedRows(rows, 16).map((r) => ({ start: r, values: [lengthOf(r)] })),
        },
      ],
      (name) => run(name, norms, undefined),
    );
  },
};

function run(part: NormalizeForm['part'], operands: NormalizeOperands): void {
  const { rows: x } = operands;
  runVariant(x.gpu, normalizeFamily, { part }, { rows: x.rows, cols: x.cols }, operands);
}

const NORMALIZE_ROWS = signature('normalizeRows', { x: f32('...', 'C') }, { numbers: { eps: notNegative } });

/** y = x / max(‖x‖₂, eps) per row, and the norms [rows]. */
export function normalizeRows(x: Tensor, eps = 1e-12): { y: Tensor; norms: Tensor } {
  NORMALIZE_ROWS.check({ x }, { eps });
  const y = Tensor.empty(x.gpu, x.shape);
  const norms = Tensor.empty(x.gpu, [x.rows]);
  run('value', { rows: x, norms, dy: undefined, out: y, eps });
  return { y, norms };
}

/** dx = (dy − y·(y·dy)) / ‖x‖; below eps the norm is a constant and dx = dy / eps. */
export function normalizeRowsGradient(y: Tensor, norms: Tensor, dy: Tensor, eps = 1e-12): Tensor {
  const dx = Tensor.empty(dy.gpu, y.shape);
  run('gradient', { rows: y, norms, dy, out: dx, eps });
  return dx;
}
