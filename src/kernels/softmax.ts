/**
 * Row-wise softmax family and the losses on score matrices, one workgroup a row, f32 throughout.
 * Loss kernels return one value per row; the mean is taken outside.
 */
import { f32, integers, signature, wholeNumber } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { elementary, RANKS } from './elementary.js';
import { byRows, flat, type Operand } from './launch/operands.js';
import { laneSum, type RowVariant, rowMain, rowReductionOf } from './launch/rows.js';
import { type ParamType, shaderOf } from './launch/shader.js';
import { rowVariant } from './row-reduction.js';
import { Draws, probedRows, trialOf } from './trials.js';
import { type Case, choose, type Family, type Variant, variantOf } from './variants.js';

const ROWS = { rows: 'u32', cols: 'u32' } as const;

/**
 * Differences from the largest score come first everywhere: the logarithm of a sum added to a large score would be
 * rounded to that score's units.
 *
 * WGSL: largest value `top` of row `row` of X and `total`, the sum of exp(x − top), over the columns where `keep`
 * holds. As PyTorch: a row of −∞, or with +∞ or a NaN in it, has no softmax and makes `total` a NaN.
 */
const logSumExp = (keep: string) => `
  var best = 0u;
  for (var c = lane; c < p.cols; c += LANES) { if (${keep}) { best = max(best, rank(X[row * p.cols + c])); } }
  let top = unrank(rowMax(best, lane));
  ${laneSum('part', (c) => (keep === 'true' ? `expOf(X[row * p.cols + ${c}] - top)` : `select(0.0, expOf(X[row * p.cols + ${c}] - top), ${keep})`), 'p.cols')}
  let total = rowSum(part, lane);`;
const LOG_SUM_EXP = logSumExp('true');

/** A kernel with one workgroup a row, whose source depends on nothing but its name and the choice for rows. */
function rowShader<P extends Record<string, ParamType>>(
  name: string,
  chosen: RowVariant,
  params: P,
  buffers: Readonly<Record<string, string>>,
  body: () => string,
) {
  return shaderOf(name, { reduction: chosen }, ({ reduction }) => {
    const { prelude, subgroups, lanes } = rowReductionOf(reduction);
    return {
      label: name,
      params,
      buffers,
      subgroups,
      body: `${elementary('f32')}${RANKS}${prelude}${rowMain({ lanes }, 'p.rows')}${body()}
}`,
    };
  });
}

const floatBuffers = (operands: object): Record<string, string> =>
  Object.fromEntries(Object.keys(operands).map((name) => [name, 'array<f32>']));

/** The same with parameters `rows` and `cols` alone: all operands are f32, of the rows of x or of one value a row. */
function launchRows(
  name: string,
  x: Tensor,
  operands: Readonly<Record<string, Operand>>,
  body: () => string,
): void {
  rowShader(name, rowVariant(x.gpu, x.cols), ROWS, floatBuffers(operands), body).launch(
    x.gpu,
    operands,
    ({ count }) => ({ rows: count, cols: x.cols }),
    ({ count }) => count,
  );
}

interface SoftmaxForm {
  readonly part: 'value' | 'gradient';
}

interface RowsSize {
  readonly rows: number;
  readonly cols: number;
}

interface SoftmaxOperands {
  /** x, or for the gradient y. */
  readonly x: Tensor;
  readonly dy: Tensor | undefined;
  readonly out: Tensor;
}

const softmaxShader = ({ part }: SoftmaxForm, reduction: RowVariant) =>
  part === 'value'
    ? rowShader(
        'softmax',
        reduction,
        ROWS,
        { X: 'array<f32>', outY: 'array<f32>' },
        () => `${LOG_SUM_EXP}
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = expOf(X[row * p.cols + c] - top) / total; }`,
      )
    : rowShader(
        'softmaxGradient',
        reduction,
        ROWS,
        { X: 'array<f32>', DY: 'array<f32>', outY: 'array<f32>' },
        () => `
  ${laneSum('part', (c) => `X[row * p.cols + ${c}] * DY[row * p.cols + ${c}]`, 'p.cols')}
  let dot = rowSum(part, lane);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = X[row * p.cols + c] * (DY[row * p.cols + c] - dot); }`,
      );

type SoftmaxVariant = Variant<SoftmaxForm, RowsSize, SoftmaxOperands>;

const softmaxVariant = (
  reduction: RowVariant,
  { why, supports, prior }: Pick<SoftmaxVariant, 'why' | 'supports' | 'prior'>,
): SoftmaxVariant => ({
  name: reduction,
  why,
  supports,
  prior,
  shaders: (_, form) => ({ softmax: softmaxShader(form, reduction) }),
  run(gpu, form, { cols }, { x, dy, out }) {
    const operands: Record<string, Operand> = { X: byRows(x), outY: byRows(out) };
    if (dy) operands['DY'] = byRows(dy);
    softmaxShader(form, reduction).launch(
      gpu,
      operands,
      ({ count }) => ({ rows: count, cols }),
      ({ count }) => count,
    );
  },
});

const softmaxCase = (
  part: SoftmaxForm['part'],
  [rows, cols]: readonly [number, number],
  use: 'check' | 'bench',
): Case<SoftmaxForm, RowsSize> => ({
  name: `${part === 'value' ? '' : 'gradient '}${rows}×${cols} f32`,
  form: { part },
  size: { rows, cols },
  use,
});

export const softmaxFamily: Family<SoftmaxForm, RowsSize, SoftmaxOperands> = {
  name: 'softmax',
  summary: 'softmax over rows, forward and gradient',
  variants: [
    softmaxVariant('workgroup64', {
      why: '64 threads a row, which reduce through workgroup memory',
      supports: () => true,
      prior: () => 0,
    }),
    softmaxVariant('subgroup8', {
      why: '8 lanes a row, which reduce in their subgroup: where barriers are dear, as on lavapipe',
      supports: ({ subgroupMinSize }) => subgroupMinSize >= 8,
      prior: ({ software }) => (software ? 1 : -1),
    }),
  ],
  sizeClass: ({ cols }) => `${Math.ceil(Math.log2(Math.max(1, cols)))}`,
  cases: (['value', 'gradient'] as const).flatMap((part) => [
    softmaxCase(part, [5, 7], 'check'),
    softmaxCase(part, [9, 300], 'check'),
    // Scores of a batch against its passages, as losses see them, and wide rows.
    softmaxCase(part, [64, 512], 'bench'),
    softmaxCase(part, [1024, 4096], 'bench'),
  ]),
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
    const row = (r: number): Float64Array => {
      const own = Float64Array.from(x.values.subarray(r * cols, (r + 1) * cols));
      if (dy) {
        // The gradient takes whatever y it is given.
        const outer = dy.values.subarray(r * cols, (r + 1) * cols);
        const dot = own.reduce((sum, y, c) => sum + y * outer[c]!, 0);
        return own.map((y, c) => y * (outer[c]! - dot));
      }
      const top = Math.max(...own);
      const total = own.reduce((sum, v) => sum + Math.exp(v - top), 0);
      return own.map((v) => Math.exp(v - top) / total);
    };
    const parts = () => probedRows(rows, 16).map((r) => ({ start: r * cols, values: row(r) }));
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, softmaxFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        dy: dy?.tensor,
        out,
      }),
    );
  },
};

function runSoftmax(form: SoftmaxForm, operands: SoftmaxOperands): Tensor {
  const { x, out } = operands;
  const size = { rows: x.rows, cols: x.cols };
  choose(x.gpu, softmaxFamily, form, size).run(x.gpu, form, size, operands);
  return out;
}

const SOFTMAX = signature('softmax', { x: f32('...', 'C') });

/** Softmax over the last dimension. */
export function softmax(x: Tensor): Tensor {
  SOFTMAX.check({ x });
  return runSoftmax({ part: 'value' }, { x, dy: undefined, out: Tensor.empty(x.gpu, x.shape) });
}

/** dx = y ∘ (dy − Σ dy∘y). */
export function softmaxGradient(y: Tensor, dy: Tensor): Tensor {
  return runSoftmax({ part: 'gradient' }, { x: y, dy, out: Tensor.empty(y.gpu, y.shape) });
}

const LOG_SOFTMAX = signature('logSoftmax', { x: f32('...', 'C') });

/** x − logsumexp(x) over the last dimension. */
export function logSoftmax(x: Tensor): Tensor {
  LOG_SOFTMAX.check({ x });
  const y = Tensor.empty(x.gpu, x.shape);
  launchRows(
    'logSoftmax',
    x,
    { X: byRows(x), outY: byRows(y) },
    () => `${LOG_SUM_EXP}
  let log = logOf(total);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = (X[row * p.cols + c] - top) - log; }`,
  );
  return y;
}

/** dx = dy − exp(y)·Σ dy. */
export function logSoftmaxGradient(y: Tensor, dy: Tensor): Tensor {
  const dx = Tensor.empty(y.gpu, y.shape);
  launchRows(
    'logSoftmaxGradient',
    y,
    { Y: byRows(y), DY: byRows(dy), outX: byRows(dx) },
    () => `
  ${laneSum('part', (c) => `DY[row * p.cols + ${c}]`, 'p.cols')}
  let sum = rowSum(part, lane);
  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = DY[row * p.cols + c] - expOf(Y[row * p.cols + c]) * sum; }`,
  );
  return dx;
}

/** What is left out of a loss: rows whose target is `ignoreIndex`. */
export interface CrossEntropyTargets {
  /** [R] u32 or i32. */
  readonly targets: Tensor;
  /** As PyTorch's: a row with this target has loss 0 and no gradient. */
  readonly ignoreIndex: number;
}

const CROSS_ENTROPY = signature(
  'crossEntropy',
  { x: f32('R', 'C'), targets: integers('R') },
  { atLeast: { C: 1 }, numbers: { ignoreIndex: wholeNumber(-(2 ** 31)) } },
);

const TARGETS = { rows: 'u32', cols: 'u32', ignore: 'u32', nan: 'u32' } as const;

function launchTargets(
  name: string,
  x: Tensor,
  { targets, ignoreIndex }: CrossEntropyTargets,
  operands: Readonly<Record<string, Operand>>,
  body: () => string,
): void {
  const buffers = { ...floatBuffers(operands), targets: `array<${targets.dtype}>` };
  rowShader(
    `${name}.${targets.dtype}`,
    rowVariant(x.gpu, x.cols),
    TARGETS,
    buffers,
    () => `
  let target_ = u32(targets[row]);
  let ignored = target_ == p.ignore;
  // What is no class has no loss: not a number, rather than that of another class.
  let known = target_ < p.cols;${body()}`,
  ).launch(
    x.gpu,
    { ...operands, targets: flat(targets) },
    ({ count }) => ({
      rows: count,
      cols: x.cols,
      ignore: ignoreIndex,
      // A constant that is no number would be an error in WGSL.
      nan: 0x7fc00000,
    }),
    ({ count }) => count,
  );
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
  launchTargets(
    'crossEntropy',
    x,
    to,
    { X: byRows(x), outL: flat(loss), outCount: flat(counted) },
    () => `${LOG_SUM_EXP}
  if (lane == 0u) {
    let own = logOf(total) - (X[row * p.cols + min(target_, p.cols - 1u)] - top);
    outL[row] = select(select(bitcast<f32>(p.nan), own, known), 0.0, ignored);
    outCount[row] = select(1.0, 0.0, ignored);
  }`,
  );
  return { loss, counted };
}

/** dX = (softmax(X) − onehot(target)) · dLoss per row; zero in ignored rows, NaN where the target is no class. */
export function crossEntropyRowsGradient(x: Tensor, to: CrossEntropyTargets, dLoss: Tensor): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  launchTargets(
    'crossEntropyGradient',
    x,
    to,
    { X: byRows(x), outX: byRows(dx), DL: flat(dLoss) },
    () => `${LOG_SUM_EXP}
  for (var c = lane; c < p.cols; c += LANES) {
    let own = DL[row] * (expOf(X[row * p.cols + c] - top) / total - select(0.0, 1.0, c == target_));
    outX[row * p.cols + c] = select(select(bitcast<f32>(p.nan), own, known), 0.0, ignored);
  }`,
  );
  return dx;
}

const SOFT_CROSS_ENTROPY = signature(
  'softCrossEntropy',
  { x: f32('R', 'C'), probabilities: f32('R', 'C') },
  { atLeast: { C: 1 } },
);

/** −Σ_c P_rc · logsoftmax(X)_rc per row. X, P: [R,C]; P need not sum to one. */
export function softCrossEntropyRows(x: Tensor, probabilities: Tensor): Tensor {
  SOFT_CROSS_ENTROPY.check({ x, probabilities });
  const loss = Tensor.empty(x.gpu, [x.rows]);
  launchRows(
    'softCrossEntropy',
    x,
    { X: byRows(x), P: byRows(probabilities), outL: flat(loss) },
    () => `${LOG_SUM_EXP}
  let log = logOf(total);
  ${laneSum('sum', (c) => `P[row * p.cols + ${c}] * (log - (X[row * p.cols + ${c}] - top))`, 'p.cols')}
  let loss = rowSum(sum, lane);
  if (lane == 0u) { outL[row] = loss; }`,
  );
  return loss;
}

/** dX = (softmax(X)·ΣP − P) · dLoss per row. */
export function softCrossEntropyRowsGradient(x: Tensor, probabilities: Tensor, dLoss: Tensor): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  launchRows(
    'softCrossEntropyGradient',
    x,
    { X: byRows(x), P: byRows(probabilities), DL: flat(dLoss), outX: byRows(dx) },
    () => `${LOG_SUM_EXP}
  ${laneSum('mass', (c) => `P[row * p.cols + ${c}]`, 'p.cols')}
  let weight = rowSum(mass, lane);
  for (var c = lane; c < p.cols; c += LANES) {
    outX[row * p.cols + c] = DL[row] * (expOf(X[row * p.cols + c] - top) / total * weight - P[row * p.cols + c]);
  }`,
  );
  return dx;
}

const DISTILL_OWN = signature('m3Distillation', { x: f32('B', 'G'), teacher: f32('B', 'G') });
const DISTILL_ALL = signature('m3Distillation', { x: f32('B', '>=B*G'), teacher: f32('B', 'G') });

const DISTILL = { first: 'u32', rows: 'u32', cols: 'u32', group: 'u32', blocks: 'u32' } as const;

/**
 * `m3_kd_loss` per row (docs/spec/flagembedding-m3.md §4.2). Row r owns columns s..s+G−1, s = r·G (or 0 when `ownOnly`:
 * X is then the own block). Loss_r = Σ_i P_ri (logsumexp_{c ∉ [s, s+i)} X_rc − X_r,s+i).
 */
export function distillationRows(x: Tensor, teacher: Tensor, ownOnly: boolean): Tensor {
  (ownOnly ? DISTILL_OWN : DISTILL_ALL).check({ x, teacher });
  const loss = Tensor.empty(x.gpu, [x.rows]);
  launchDistillation(x, teacher, ownOnly, { outL: flat(loss) });
  return loss;
}

export function distillationRowsGradient(
  x: Tensor,
  teacher: Tensor,
  ownOnly: boolean,
  dLoss: Tensor,
): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  launchDistillation(x, teacher, ownOnly, { outX: byRows(dx), DL: flat(dLoss) });
  return dx;
}

/** Of the loss, or where there is an `outX` of its gradient. */
function launchDistillation(
  x: Tensor,
  teacher: Tensor,
  ownOnly: boolean,
  results: Readonly<Record<string, Operand>>,
): void {
  const gradient = 'outX' in results;
  const operands = { X: byRows(x), P: byRows(teacher), ...results };
  rowShader(
    gradient ? 'distillationGradient' : 'distillation',
    rowVariant(x.gpu, x.cols),
    DISTILL,
    floatBuffers(operands),
    () => `
  let start = (p.first + row) * p.group * p.blocks;
  var loss = 0.0;
  ${gradient ? 'for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = 0.0; }' : ''}
  for (var i = 0u; i < p.group; i++) {
    // Candidates: all columns but the row's own first i.
    ${logSumExp('c < start || c >= start + i')}
    let weight = P[row * p.group + i];
    ${
      gradient
        ? `for (var c = lane; c < p.cols; c += LANES) {
      if (c < start || c >= start + i) {
        outX[row * p.cols + c] += DL[row] * weight * (expOf(X[row * p.cols + c] - top) / total - select(0.0, 1.0, c == start + i));
      }
    }`
        : 'loss += weight * (logOf(total) - (X[row * p.cols + start + i] - top));'
    }
  }
  ${gradient ? '' : 'if (lane == 0u) { outL[row] = loss; }'}`,
  ).launch(
    x.gpu,
    operands,
    ({ start, count }) => ({
      first: start,
      rows: count,
      cols: x.cols,
      group: teacher.cols,
      blocks: ownOnly ? 0 : 1,
    }),
    ({ count }) => count,
  );
}

const OWN_GROUP = signature('ownGroup', { x: f32('B', 'B*G') }, { numbers: { G: wholeNumber(1) } });

const OWN_GROUP_PARAMS = { first: 'u32', rows: 'u32', cols: 'u32', group: 'u32' } as const;

/** Row r's own block of a [B, B·G] score matrix: columns r·G..r·G+G−1 → [B,G]. */
export function ownGroup(x: Tensor, group: number): Tensor {
  OWN_GROUP.check({ x }, { G: group });
  const out = Tensor.empty(x.gpu, [x.rows, group]);
  const operands = { X: byRows(x), outY: byRows(out) };
  rowShader(
    'ownGroup',
    rowVariant(x.gpu, x.cols),
    OWN_GROUP_PARAMS,
    floatBuffers(operands),
    () => `
  for (var c = lane; c < p.group; c += LANES) { outY[row * p.group + c] = X[row * p.cols + (p.first + row) * p.group + c]; }`,
  ).launch(
    x.gpu,
    operands,
    ({ start, count }) => ({ first: start, rows: count, cols: x.cols, group }),
    ({ count }) => count,
  );
  return out;
}

export function ownGroupGradient(dy: Tensor, cols: number): Tensor {
  const dx = Tensor.empty(dy.gpu, [dy.rows, cols]);
  const operands = { DY: byRows(dy), outX: byRows(dx) };
  rowShader(
    'ownGroupGradient',
    rowVariant(dx.gpu, dx.cols),
    OWN_GROUP_PARAMS,
    floatBuffers(operands),
    () => `
  for (var c = lane; c < p.cols; c += LANES) {
    let own = c / p.group == p.first + row;
    outX[row * p.cols + c] = select(0.0, DY[row * p.group + c % p.group], own);
  }`,
  ).launch(
    dy.gpu,
    operands,
    ({ start, count }) => ({ first: start, rows: count, cols, group: dy.cols }),
    ({ count }) => count,
  );
  return dx;
}
