/**
 * Cross-entropy of rows of scores with a class number each, or with a distribution each: one loss a row, whose mean is
 * taken outside. f32 throughout.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { f32, integers, signature, wholeNumber } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { byRows, flat, type Operand } from '../launch/operands.js';
import { laneSum, type RowVariant } from '../launch/rows.js';
import type { Shader } from '../launch/shader.js';
import { type RowsSize, rowCases, rowVariants, widthClass } from '../row-variants.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Family, runVariant, variantOf } from '../variants.js';
import { LOG_SUM_EXP, logSoftmaxOf, rowOf, scoresShader } from './kernel.js';
import { eachFour, foursLogSumExp, foursShader, foursSum, foursVariant } from './vec4.js';

const PARTS = ['value', 'gradient'] as const;
type PartName = (typeof PARTS)[number];

/** Scores of a batch against its passages, and wide rows. */
const SIZES = {
  check: [
    [5, 12],
    [33, 261],
  ],
  bench: [
    [64, 512],
    [1024, 4096],
  ],
} as const;

const formName = ({ part }: { readonly part: PartName }): string =>
  part === 'value' ? 'f32' : 'gradient f32';

// ---- with class numbers ---------------------------------------------------------------------------------------------

/** What is left out of a loss: rows whose target is `ignoreIndex`. */
export interface CrossEntropyTargets {
  /** [R] u32 or i32. */
  readonly targets: Tensor;
  /** As PyTorch's: a row with this target has loss 0 and no gradient. */
  readonly ignoreIndex: number;
}

interface CrossEntropyForm {
  readonly part: PartName;
  readonly targets: 'u32' | 'i32';
}

interface CrossEntropyOperands {
  readonly x: Tensor;
  readonly to: CrossEntropyTargets;
  /** Of the value: the losses and whether the rows count. Of the gradient: the losses' gradients and dx. */
  readonly a: Tensor;
  readonly b: Tensor;
}

const CLASS_BODIES: Record<PartName, { readonly buffers: readonly string[]; readonly body: string }> = {
  value: {
    buffers: ['X', 'outL', 'outCount'],
    body: `${LOG_SUM_EXP}
  if (lane == 0u) {
    let own = logOf(total) - (X[row * p.cols + min(target_, p.cols - 1u)] - top);
    outL[row] = select(select(bitcast<f32>(p.nan), own, known), 0.0, ignored);
    outCount[row] = select(1.0, 0.0, ignored);
  }`,
  },
  gradient: {
    buffers: ['X', 'outX', 'DL'],
    body: `${LOG_SUM_EXP}
  for (var c = lane; c < p.cols; c += LANES) {
    let own = DL[row] * (expOf(X[row * p.cols + c] - top) / total - select(0.0, 1.0, c == target_));
    outX[row * p.cols + c] = select(select(bitcast<f32>(p.nan), own, known), 0.0, ignored);
  }`,
  },
};

const CLASS_PARAMS = { rows: 'u32', cols: 'u32', ignore: 'u32', nan: 'u32' } as const;

const labelOf = ({ part }: CrossEntropyForm): string =>
  part === 'value' ? 'crossEntropy' : 'crossEntropyGradient';

/** WGSL: the target of a row that has so many columns. */
const targetOf = (columns: string): string => `
  let target_ = u32(targets[row]);
  let ignored = target_ == p.ignore;
  // What is no class has no loss: not a number, rather than that of another class.
  let known = target_ < ${columns};`;

const crossEntropyShader = (form: CrossEntropyForm, reduction: RowVariant) =>
  scoresShader(labelOf(form), form, reduction, ({ part, targets }) => ({
    params: CLASS_PARAMS,
    buffers: CLASS_BODIES[part].buffers,
    types: { targets: `array<${targets}>` },
    body: `${targetOf('p.cols')}${CLASS_BODIES[part].body}`,
  }));

const CLASS_FOURS: Record<PartName, string> = {
  value: `${foursLogSumExp()}
  if (lane == 0u) {
    let at = min(target_, 4u * p.cols - 1u);
    let own = logOf(vec4f(total)).x - (X[base + at / 4u][at % 4u] - top);
    outL[row] = select(select(bitcast<f32>(p.nan), own, known), 0.0, ignored);
    outCount[row] = select(1.0, 0.0, ignored);
  }`,
  gradient: `${foursLogSumExp('outX')}
  let outer = DL[row];
  for (var c = lane; c < p.cols; c += 8u) {
    let own = outer * (outX[base + c] / total - select(vec4f(), vec4f(1.0), vec4u(4u * c) + vec4u(0u, 1u, 2u, 3u) == vec4u(target_)));
    outX[base + c] = select(select(vec4f(bitcast<f32>(p.nan)), own, known), vec4f(), ignored);
  }`,
};

const crossEntropyFours = (form: CrossEntropyForm) =>
  foursShader(labelOf(form), form, ({ part, targets }) => ({
    params: CLASS_PARAMS,
    rows: part === 'value' ? ['X'] : ['X', 'outX'],
    values: {
      ...(part === 'value' ? { outL: 'array<f32>', outCount: 'array<f32>' } : { DL: 'array<f32>' }),
      targets: `array<${targets}>`,
    },
    body: `${targetOf('4u * p.cols')}${CLASS_FOURS[part]}`,
  }));

function launchClasses(
  shader: Shader<typeof CLASS_PARAMS>,
  gpu: Gpu,
  { part }: CrossEntropyForm,
  { cols }: RowsSize,
  { x, to, a, b }: CrossEntropyOperands,
): void {
  const operands: Record<string, Operand> =
    part === 'value' ? { outL: flat(a), outCount: flat(b) } : { outX: byRows(b), DL: flat(a) };
  shader.launch(
    gpu,
    { X: byRows(x), ...operands, targets: flat(to.targets) },
    ({ count }) => ({
      rows: count,
      cols,
      ignore: to.ignoreIndex,
      // A constant that is no number would be an error in WGSL.
      nan: 0x7fc00000,
    }),
    ({ count }) => count,
  );
}

const IGNORED = -100;

export const crossEntropyFamily: Family<CrossEntropyForm, RowsSize, CrossEntropyOperands> = {
  name: 'crossEntropy',
  summary: 'cross-entropy of each row with its class, and its gradient',
  variants: [
    ...rowVariants(crossEntropyShader, launchClasses),
    foursVariant(crossEntropyFours, launchClasses),
  ],
  formName,
  sizeClass: widthClass,
  ...rowCases<CrossEntropyForm>(
    PARTS.map((part) => ({ part, targets: 'u32' })),
    formName,
    SIZES,
  ),
  cost: ({ part }, { rows, cols }) =>
    part === 'value'
      ? { flops: 25 * rows * cols, bytes: 4 * rows * (cols + 3) }
      : { flops: 28 * rows * cols, bytes: 8 * rows * (cols + 1) },
  tolerance: () => 1e-5,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], 'f32', 0, 8);
    const { values: classes } = draws.indices(rows, cols);
    // Some rows count for nothing.
    const target = Int32Array.from(classes, (drawn, r) => (r % 5 === 3 ? IGNORED : drawn));
    const to = {
      targets: draws.kept(
        Tensor.from(gpu, form.targets === 'i32' ? target : Uint32Array.from(target), [rows], form.targets),
      ),
      ignoreIndex: IGNORED,
    };
    const run = (name: string | undefined, a: Tensor, b: Tensor) =>
      variantOf(gpu, crossEntropyFamily, form, size, name).run(gpu, form, size, { x: x.tensor, to, a, b });
    const logs = (r: number) => logSoftmaxOf(rowOf(x.values, cols, r));
    if (form.part === 'gradient') {
      const dLoss = draws.floats([rows], 'f32', 1);
      const dx = draws.empty([rows, cols]);
      const right = (r: number) =>
        logs(r).map((log, c) =>
          target[r] === IGNORED ? 0 : dLoss.values[r]! * (Math.exp(log) - (c === target[r] ? 1 : 0)),
        );
      const parts = () => probedRows(rows, 16).map((r) => ({ start: r * cols, values: right(r) }));
      return trialOf(draws, [{ output: dx, parts }], (name) => run(name, dLoss.tensor, dx));
    }
    const [loss, counted] = [draws.empty([rows]), draws.empty([rows])];
    const lossOf = (r: number) => (target[r] === IGNORED ? 0 : -logs(r)[target[r]!]!);
    return trialOf(
      draws,
      [
        {
          output: loss,
          parts: () => probedRows(rows, 16).map((r) => ({ start: r, values: [lossOf(r)] })),
        },
        {
          output: counted,
          parts: () => [{ start: 0, values: Float64Array.from(target, (t) => (t === IGNORED ? 0 : 1)) }],
        },
      ],
      (name) => run(name, loss, counted),
    );
  },
};

const CROSS_ENTROPY = signature(
  'crossEntropy',
  { x: f32('R', 'C'), targets: integers('R') },
  { atLeast: { C: 1 }, numbers: { ignoreIndex: wholeNumber(-(2 ** 31)) } },
);

function runCrossEntropy(part: PartName, operands: CrossEntropyOperands): void {
  const { x, to } = operands;
  const form = { part, targets: to.targets.dtype as 'u32' | 'i32' };
  runVariant(x.gpu, crossEntropyFamily, form, { rows: x.rows, cols: x.cols }, operands);
}

/**
 * logsumexp(X_r) − X_r,target(r) per row [R], and whether the row counts [R], 1 or 0. X: [R,C]. An ignored row has
 * loss 0; a row whose target is no class below C has loss NaN.
 */
export function crossEntropyRows(x: Tensor, to: CrossEntropyTargets): { loss: Tensor; counted: Tensor } {
  const { targets, ignoreIndex } = to;
  CROSS_ENTROPY.check({ x, targets }, { ignoreIndex });
  const loss = Tensor.empty(x.gpu, [x.rows]);
  const counted = Tensor.empty(x.gpu, [x.rows]);
  runCrossEntropy('value', { x, to, a: loss, b: counted });
  return { loss, counted };
}

/** dX = (softmax(X) − onehot(target)) · dLoss per row; zero in ignored rows, NaN where the target is no class. */
export function crossEntropyRowsGradient(x: Tensor, to: CrossEntropyTargets, dLoss: Tensor): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  runCrossEntropy('gradient', { x, to, a: dLoss, b: dx });
  return dx;
}

// ---- with distributions ---------------------------------------------------------------------------------------------

interface SoftForm {
  readonly part: PartName;
}

interface SoftOperands {
  readonly x: Tensor;
  readonly probabilities: Tensor;
  /** Losses, or their gradients. */
  readonly loss: Tensor;
  /** Of the gradient. */
  readonly dx: Tensor | undefined;
}

const SOFT_BODIES: Record<PartName, { readonly buffers: readonly string[]; readonly body: string }> = {
  value: {
    buffers: ['X', 'P', 'outL'],
    body: `${LOG_SUM_EXP}
  let log = logOf(total);
  ${laneSum('sum', (c) => `P[row * p.cols + ${c}] * (log - (X[row * p.cols + ${c}] - top))`, 'p.cols')}
  let loss = rowSum(sum, lane);
  if (lane == 0u) { outL[row] = loss; }`,
  },
  gradient: {
    buffers: ['X', 'P', 'DL', 'outX'],
    body: `${LOG_SUM_EXP}
  ${laneSum('mass', (c) => `P[row * p.cols + ${c}]`, 'p.cols')}
  let weight = rowSum(mass, lane);
  for (var c = lane; c < p.cols; c += LANES) {
    outX[row * p.cols + c] = DL[row] * (expOf(X[row * p.cols + c] - top) / total * weight - P[row * p.cols + c]);
  }`,
  },
};

const SOFT_PARAMS = { rows: 'u32', cols: 'u32' } as const;

const softLabelOf = ({ part }: SoftForm): string =>
  part === 'value' ? 'softCrossEntropy' : 'softCrossEntropyGradient';

const softShader = (form: SoftForm, reduction: RowVariant) =>
  scoresShader(softLabelOf(form), form, reduction, ({ part }) => ({
    params: SOFT_PARAMS,
    ...SOFT_BODIES[part],
  }));

const SOFT_FOURS: Record<PartName, string> = {
  value: `${foursLogSumExp()}
  let log = logOf(vec4f(total));
  ${foursSum('loss', (c) => `P[base + ${c}] * (log - (X[base + ${c}] - top))`)}
  if (lane == 0u) { outL[row] = loss; }`,
  gradient: `${foursLogSumExp('outX')}
  ${foursSum('weight', (c) => `P[base + ${c}]`)}
  let outer = DL[row];${eachFour('outX', 'outer * (outX[base + c] / total * weight - P[base + c])')}`,
};

const softFours = (form: SoftForm) =>
  foursShader(softLabelOf(form), form, ({ part }) => ({
    params: SOFT_PARAMS,
    rows: part === 'value' ? ['X', 'P'] : ['X', 'P', 'outX'],
    values: { [part === 'value' ? 'outL' : 'DL']: 'array<f32>' },
    body: SOFT_FOURS[part],
  }));

function launchSoft(
  shader: Shader<typeof SOFT_PARAMS>,
  gpu: Gpu,
  _: SoftForm,
  { cols }: RowsSize,
  { x, probabilities, loss, dx }: SoftOperands,
): void {
  const operands: Record<string, Operand> = dx ? { DL: flat(loss), outX: byRows(dx) } : { outL: flat(loss) };
  shader.launch(
    gpu,
    { X: byRows(x), P: byRows(probabilities), ...operands },
    ({ count }) => ({ rows: count, cols }),
    ({ count }) => count,
  );
}

export const softCrossEntropyFamily: Family<SoftForm, RowsSize, SoftOperands> = {
  name: 'softCrossEntropy',
  summary: 'cross-entropy of each row with a distribution, and its gradient',
  variants: [...rowVariants(softShader, launchSoft), foursVariant(softFours, launchSoft)],
  formName,
  sizeClass: widthClass,
  ...rowCases<SoftForm>(
    PARTS.map((part) => ({ part })),
    formName,
    SIZES,
  ),
  cost: ({ part }, { rows, cols }) =>
    part === 'value'
      ? { flops: 28 * rows * cols, bytes: 4 * rows * (2 * cols + 1) }
      : { flops: 30 * rows * cols, bytes: 4 * rows * (3 * cols + 1) },
  tolerance: () => 1e-5,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], 'f32', 0, 8);
    // They need not sum to one.
    const given = draws.floats([rows, cols], 'f32', 1 / cols, 1 / cols);
    const run = (name: string | undefined, loss: Tensor, dx?: Tensor) =>
      variantOf(gpu, softCrossEntropyFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        probabilities: given.tensor,
        loss,
        dx,
      });
    const both = (r: number) =>
      [logSoftmaxOf(rowOf(x.values, cols, r)), rowOf(given.values, cols, r)] as const;
    if (form.part === 'gradient') {
      const dLoss = draws.floats([rows], 'f32', 1);
      const dx = draws.empty([rows, cols]);
      const right = (r: number) => {
        const [logs, own] = both(r);
        const mass = own.reduce((sum, p) => sum + p, 0);
        return logs.map((log, c) => dLoss.values[r]! * (Math.exp(log) * mass - own[c]!));
      };
      const parts = () => probedRows(rows, 16).map((r) => ({ start: r * cols, values: right(r) }));
      return trialOf(draws, [{ output: dx, parts }], (name) => run(name, dLoss.tensor, dx));
    }
    const loss = draws.empty([rows]);
    const lossOf = (r: number) => {
      const [logs, own] = both(r);
      return -logs.reduce((sum, log, c) => sum + own[c]! * log, 0);
    };
    const parts = () => probedRows(rows, 16).map((r) => ({ start: r, values: [lossOf(r)] }));
    return trialOf(draws, [{ output: loss, parts }], (name) => run(name, loss));
  },
};

const SOFT_CROSS_ENTROPY = signature(
  'softCrossEntropy',
  { x: f32('R', 'C'), probabilities: f32('R', 'C') },
  { atLeast: { C: 1 } },
);

function runSoft(part: PartName, operands: SoftOperands): void {
  const { x } = operands;
  runVariant(x.gpu, softCrossEntropyFamily, { part }, { rows: x.rows, cols: x.cols }, operands);
}

/** −Σ_c P_rc · logsoftmax(X)_rc per row. X, P: [R,C]; P need not sum to one. */
export function softCrossEntropyRows(x: Tensor, probabilities: Tensor): Tensor {
  SOFT_CROSS_ENTROPY.check({ x, probabilities });
  const loss = Tensor.empty(x.gpu, [x.rows]);
  runSoft('value', { x, probabilities, loss, dx: undefined });
  return loss;
}

/** dX = (softmax(X)·ΣP − P) · dLoss per row. */
export function softCrossEntropyRowsGradient(x: Tensor, probabilities: Tensor, dLoss: Tensor): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  runSoft('gradient', { x, probabilities, loss: dLoss, dx });
  return dx;
}
