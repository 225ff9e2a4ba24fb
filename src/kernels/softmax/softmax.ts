/** Softmax and its logarithm over the last dimension, forward and gradient: the family `softmax`. f32 throughout. */
import type { Gpu } from '../../gpu/gpu.js';
import { f32, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import { extremes } from '../extremes.js';
import { byRows, fitsByRows, type Operand } from '../launch/operands.js';
import { laneSum, type RowVariant } from '../launch/rows.js';
import type { Shader } from '../launch/shader.js';
import { binary, unary } from '../pointwise.js';
import { reduceAxes } from '../reduce.js';
import { type RowsSize, rowCases, rowVariants, widthClass } from '../row-variants.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Family, runVariant, variantOf } from '../variants.js';
import { LOG_SUM_EXP, logSoftmaxOf, rowOf, scoresShader } from './kernel.js';
import { eachFour, foursLogSumExp, foursShader, foursSum, foursVariant } from './vec4.js';

interface SoftmaxForm {
  readonly of: 'softmax' | 'logSoftmax';
  readonly part: 'value' | 'gradient';
}

interface SoftmaxOperands {
  /** x, or for the gradient y. */
  readonly x: Tensor;
  readonly dy: Tensor | undefined;
  readonly out: Tensor;
}

const PARAMS = { rows: 'u32', cols: 'u32' } as const;

const BODIES: Record<SoftmaxForm['of'], Record<SoftmaxForm['part'], string>> = {
  softmax: {
    value: `${LOG_SUM_EXP}
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = expOf(X[row * p.cols + c] - top) / total; }`,
    gradient: `
  ${laneSum('part', (c) => `X[row * p.cols + ${c}] * DY[row * p.cols + ${c}]`, 'p.cols')}
  let dot = rowSum(part, lane);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = X[row * p.cols + c] * (DY[row * p.cols + c] - dot); }`,
  },
  logSoftmax: {
    value: `${LOG_SUM_EXP}
  let log = logOf(total);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = (X[row * p.cols + c] - top) - log; }`,
    gradient: `
  ${laneSum('part', (c) => `DY[row * p.cols + ${c}]`, 'p.cols')}
  let sum = rowSum(part, lane);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = DY[row * p.cols + c] - expOf(X[row * p.cols + c]) * sum; }`,
  },
};

const labelOf = ({ of, part }: SoftmaxForm): string => (part === 'value' ? of : `${of}Gradient`);

const softmaxShader = (form: SoftmaxForm, reduction: RowVariant) =>
  scoresShader(labelOf(form), form, reduction, ({ of, part }) => ({
    params: PARAMS,
    buffers: part === 'value' ? ['X', 'outY'] : ['X', 'DY', 'outY'],
    body: BODIES[of][part],
  }));

const FOURS: Record<SoftmaxForm['of'], Record<SoftmaxForm['part'], string>> = {
  softmax: {
    value: `${foursLogSumExp('outY')}${eachFour('outY', 'outY[base + c] / total')}`,
    gradient: `
  let base = row * p.cols;
  ${foursSum('along', (c) => `X[base + ${c}] * DY[base + ${c}]`)}${eachFour('outY', 'X[base + c] * (DY[base + c] - along)')}`,
  },
  logSoftmax: {
    value: `${foursLogSumExp()}
  let log = logOf(vec4f(total));${eachFour('outY', '(X[base + c] - top) - log')}`,
    gradient: `
  let base = row * p.cols;
  ${foursSum('sum', (c) => `DY[base + ${c}]`)}${eachFour('outY', 'DY[base + c] - expOf(X[base + c]) * sum')}`,
  },
};

const fours = (form: SoftmaxForm) =>
  foursShader(labelOf(form), form, ({ of, part }) => ({
    params: PARAMS,
    rows: part === 'value' ? ['X', 'outY'] : ['X', 'DY', 'outY'],
    values: {},
    body: FOURS[of][part],
  }));

function launch(
  shader: Shader<typeof PARAMS>,
  gpu: Gpu,
  _: SoftmaxForm,
  { cols }: RowsSize,
  { x, dy, out }: SoftmaxOperands,
): void {
  const operands: Record<string, Operand> = { X: byRows(x), outY: byRows(out) };
  if (dy) operands['DY'] = byRows(dy);
  shader.launch(
    gpu,
    operands,
    ({ count }) => ({ rows: count, cols }),
    ({ count }) => count,
  );
}

const formName = ({ of, part }: SoftmaxForm): string =>
  `${of === 'softmax' ? '' : 'log '}${part === 'value' ? '' : 'gradient '}f32`;

const FORMS = (['softmax', 'logSoftmax'] as const).flatMap((of) =>
  (['value', 'gradient'] as const).map((part): SoftmaxForm => ({ of, part })),
);

export const softmaxFamily: Family<SoftmaxForm, RowsSize, SoftmaxOperands> = {
  name: 'softmax',
  summary: 'softmax over rows and its logarithm, forward and gradient',
  variants: [...rowVariants(softmaxShader, launch), foursVariant(fours, launch)],
  formName,
  sizeClass: widthClass,
  // Scores of a batch against its passages, as losses see them, and wide rows.
  ...rowCases(FORMS, formName, {
    check: [
      [5, 7],
      [9, 300],
    ],
    bench: [
      [64, 512],
      [1024, 4096],
    ],
  }),
  cost: ({ part }, { rows, cols }) => ({
    flops: (part === 'value' ? 25 : 4) * rows * cols,
    bytes: (part === 'value' ? 8 : 12) * rows * cols,
  }),
  tolerance: () => 1e-5,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], 'f32', 0, 8);
    const dy = form.part === 'gradient' ? draws.floats([rows, cols]) : undefined;
    const out = draws.empty([rows, cols]);
    const right = (r: number): Float64Array => {
      const own = Float64Array.from(rowOf(x.values, cols, r));
      const log = form.of === 'logSoftmax';
      if (!dy) return log ? logSoftmaxOf(own) : logSoftmaxOf(own).map(Math.exp);
      // The gradient takes whatever y it is given.
      const outer = rowOf(dy.values, cols, r);
      const total = outer.reduce((sum, v, c) => sum + (log ? v : own[c]! * v), 0);
      return own.map((y, c) => (log ? outer[c]! - Math.exp(y) * total : y * (outer[c]! - total)));
    };
    const parts = () => probedRows(rows, 16).map((r) => ({ start: r * cols, values: right(r) }));
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, softmaxFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        dy: dy?.tensor,
        out,
      }),
    );
  },
};

/** Of rows that no binding shows: by the reductions, which take what is long in pieces, always the same. */
function byReductions({ of, part }: SoftmaxForm, x: Tensor, dy?: Tensor): Tensor {
  const last = x.shape.length - 1;
  const kept = [...x.shape.slice(0, -1), 1];
  const sum = (values: Tensor) => reduceAxes('sum', values, [last], kept);
  return scope(() => {
    if (part === 'gradient' && dy)
      return of === 'softmax'
        ? binary('mul', x, binary('sub', dy, sum(binary('mul', x, dy))))
        : binary('sub', dy, binary('mul', unary('exp', x), sum(dy)));
    const { values: top } = extremes('max', x, { outer: x.rows, length: x.cols, inner: 1 }, kept);
    const below = binary('sub', x, top);
    const powers = unary('exp', below);
    return of === 'softmax'
      ? binary('div', powers, sum(powers))
      : binary('sub', below, unary('log', sum(powers)));
  });
}

function run(form: SoftmaxForm, x: Tensor, dy?: Tensor): Tensor {
  if (!fitsByRows(x)) return byReductions(form, x, dy);
  const out = Tensor.empty(x.gpu, x.shape);
  runVariant(x.gpu, softmaxFamily, form, { rows: x.rows, cols: x.cols }, { x, dy, out });
  return out;
}

const SOFTMAX = signature('softmax', { x: f32('...', 'C') });

/** Softmax over the last dimension. */
export function softmax(x: Tensor): Tensor {
  SOFTMAX.check({ x });
  return run({ of: 'softmax', part: 'value' }, x);
}

/** dx = y ∘ (dy − Σ dy∘y). */
export const softmaxGradient = (y: Tensor, dy: Tensor): Tensor =>
  run({ of: 'softmax', part: 'gradient' }, y, dy);

const LOG_SOFTMAX = signature('logSoftmax', { x: f32('...', 'C') });

/** x − logsumexp(x) over the last dimension. */
export function logSoftmax(x: Tensor): Tensor {
  LOG_SOFTMAX.check({ x });
  return run({ of: 'logSoftmax', part: 'value' }, x);
}

/** dx = dy − exp(y)·Σ dy. */
export const logSoftmaxGradient = (y: Tensor, dy: Tensor): Tensor =>
  run({ of: 'logSoftmax', part: 'gradient' }, y, dy);
