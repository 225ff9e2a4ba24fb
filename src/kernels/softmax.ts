/**
 * Row-wise softmax family and the losses on score matrices, one workgroup a row, f32 throughout.
 * Loss kernels return one value per row; the mean is taken outside.
 */
import { f32, integers, signature, wholeNumber } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { elementary, RANKS } from './elementary.js';
import { laneSum, rowGrid, rowMain, rowReduction, shaderOf } from './launch.js';

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

function rowShader(name: string, buffers: Record<string, string>, x: Tensor, body: string) {
  const reduction = rowReduction(x.gpu);
  return shaderOf(`${name}.${reduction.key}`, () => ({
    label: name,
    params: ROWS,
    buffers,
    subgroups: reduction.subgroups,
    body: `${elementary('f32')}${RANKS}${reduction.prelude}${rowMain(reduction, 'p.rows')}${body}
}`,
  }));
}

const SOFTMAX = signature('softmax', { x: f32('...', 'C') });

/** Softmax over the last dimension. */
export function softmax(x: Tensor): Tensor {
  SOFTMAX.check({ x });
  const y = Tensor.empty(x.gpu, x.shape);
  rowShader(
    'softmax',
    { X: 'array<f32>', outY: 'array<f32>' },
    x,
    `${LOG_SUM_EXP}
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = expOf(X[row * p.cols + c] - top) / total; }`,
  ).run(x.gpu, [x, y], { rows: x.rows, cols: x.cols }, rowGrid(x.rows));
  return y;
}

/** dx = y ∘ (dy − Σ dy∘y). */
export function softmaxGradient(y: Tensor, dy: Tensor): Tensor {
  const dx = Tensor.empty(y.gpu, y.shape);
  rowShader(
    'softmaxGradient',
    { Y: 'array<f32>', DY: 'array<f32>', outX: 'array<f32>' },
    y,
    `
  ${laneSum('part', (c) => `Y[row * p.cols + ${c}] * DY[row * p.cols + ${c}]`, 'p.cols')}
  let dot = rowSum(part, lane);
  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = Y[row * p.cols + c] * (DY[row * p.cols + c] - dot); }`,
  ).run(y.gpu, [y, dy, dx], { rows: y.rows, cols: y.cols }, rowGrid(y.rows));
  return dx;
}

const LOG_SOFTMAX = signature('logSoftmax', { x: f32('...', 'C') });

/** x − logsumexp(x) over the last dimension. */
export function logSoftmax(x: Tensor): Tensor {
  LOG_SOFTMAX.check({ x });
  const y = Tensor.empty(x.gpu, x.shape);
  rowShader(
    'logSoftmax',
    { X: 'array<f32>', outY: 'array<f32>' },
    x,
    `${LOG_SUM_EXP}
  let log = logOf(total);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = (X[row * p.cols + c] - top) - log; }`,
  ).run(x.gpu, [x, y], { rows: x.rows, cols: x.cols }, rowGrid(x.rows));
  return y;
}

/** dx = dy − exp(y)·Σ dy. */
export function logSoftmaxGradient(y: Tensor, dy: Tensor): Tensor {
  const dx = Tensor.empty(y.gpu, y.shape);
  rowShader(
    'logSoftmaxGradient',
    { Y: 'array<f32>', DY: 'array<f32>', outX: 'array<f32>' },
    y,
    `
  ${laneSum('part', (c) => `DY[row * p.cols + ${c}]`, 'p.cols')}
  let sum = rowSum(part, lane);
  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = DY[row * p.cols + c] - expOf(Y[row * p.cols + c]) * sum; }`,
  ).run(y.gpu, [y, dy, dx], { rows: y.rows, cols: y.cols }, rowGrid(y.rows));
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

const targetParameters = (x: Tensor, ignoreIndex: number) => ({
  rows: x.rows,
  cols: x.cols,
  ignore: ignoreIndex,
  // A constant that is no number would be an error in WGSL.
  nan: 0x7fc00000,
});

function targetShader(name: string, { targets }: CrossEntropyTargets, x: Tensor, out: string, body: string) {
  const reduction = rowReduction(x.gpu);
  return shaderOf(`${name}.${targets.dtype}.${reduction.key}`, () => ({
    label: name,
    params: TARGETS,
    buffers: {
      X: 'array<f32>',
      targets: `array<${targets.dtype}>`,
      [out]: 'array<f32>',
      ...(out === 'outL' ? { outCount: 'array<f32>' } : { DL: 'array<f32>' }),
    },
    subgroups: reduction.subgroups,
    body: `${elementary('f32')}${RANKS}${reduction.prelude}${rowMain(reduction, 'p.rows')}
  let target_ = u32(targets[row]);
  let ignored = target_ == p.ignore;
  // What is no class has no loss: not a number, rather than that of another class.
  let known = target_ < p.cols;${body}
}`,
  }));
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
  targetShader(
    'crossEntropy',
    to,
    x,
    'outL',
    `${LOG_SUM_EXP}
  if (lane == 0u) {
    let own = logOf(total) - (X[row * p.cols + min(target_, p.cols - 1u)] - top);
    outL[row] = select(select(bitcast<f32>(p.nan), own, known), 0.0, ignored);
    outCount[row] = select(1.0, 0.0, ignored);
  }`,
  ).run(x.gpu, [x, targets, loss, counted], targetParameters(x, ignoreIndex), rowGrid(x.rows));
  return { loss, counted };
}

/** dX = (softmax(X) − onehot(target)) · dLoss per row; zero in ignored rows, NaN where the target is no class. */
export function crossEntropyRowsGradient(x: Tensor, to: CrossEntropyTargets, dLoss: Tensor): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  targetShader(
    'crossEntropyGradient',
    to,
    x,
    'outX',
    `${LOG_SUM_EXP}
  for (var c = lane; c < p.cols; c += LANES) {
    let own = DL[row] * (expOf(X[row * p.cols + c] - top) / total - select(0.0, 1.0, c == target_));
    outX[row * p.cols + c] = select(select(bitcast<f32>(p.nan), own, known), 0.0, ignored);
  }`,
  ).run(x.gpu, [x, to.targets, dx, dLoss], targetParameters(x, to.ignoreIndex), rowGrid(x.rows));
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
  rowShader(
    'softCrossEntropy',
    { X: 'array<f32>', P: 'array<f32>', outL: 'array<f32>' },
    x,
    `${LOG_SUM_EXP}
  let log = logOf(total);
  ${laneSum('sum', (c) => `P[row * p.cols + ${c}] * (log - (X[row * p.cols + ${c}] - top))`, 'p.cols')}
  let loss = rowSum(sum, lane);
  if (lane == 0u) { outL[row] = loss; }`,
  ).run(x.gpu, [x, probabilities, loss], { rows: x.rows, cols: x.cols }, rowGrid(x.rows));
  return loss;
}

/** dX = (softmax(X)·ΣP − P) · dLoss per row. */
export function softCrossEntropyRowsGradient(x: Tensor, probabilities: Tensor, dLoss: Tensor): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  rowShader(
    'softCrossEntropyGradient',
    { X: 'array<f32>', P: 'array<f32>', DL: 'array<f32>', outX: 'array<f32>' },
    x,
    `${LOG_SUM_EXP}
  ${laneSum('mass', (c) => `P[row * p.cols + ${c}]`, 'p.cols')}
  let weight = rowSum(mass, lane);
  for (var c = lane; c < p.cols; c += LANES) {
    outX[row * p.cols + c] = DL[row] * (expOf(X[row * p.cols + c] - top) / total * weight - P[row * p.cols + c]);
  }`,
  ).run(x.gpu, [x, probabilities, dLoss, dx], { rows: x.rows, cols: x.cols }, rowGrid(x.rows));
  return dx;
}

const DISTILL_OWN = signature('m3Distillation', { x: f32('B', 'G'), teacher: f32('B', 'G') });
const DISTILL_ALL = signature('m3Distillation', { x: f32('B', '>=B*G'), teacher: f32('B', 'G') });

const DISTILL = { rows: 'u32', cols: 'u32', group: 'u32', blocks: 'u32' } as const;

/**
 * `m3_kd_loss` per row (spec flagembedding-m3 §4.2). Row r owns columns s..s+G−1, s = r·G (or 0 when `ownOnly`:
 * X is then the own block). Loss_r = Σ_i P_ri (logsumexp_{c ∉ [s, s+i)} X_rc − X_r,s+i).
 */
export function distillationRows(x: Tensor, teacher: Tensor, ownOnly: boolean): Tensor {
  const group = teacher.cols;
  (ownOnly ? DISTILL_OWN : DISTILL_ALL).check({ x, teacher });
  const loss = Tensor.empty(x.gpu, [x.rows]);
  distillationShader(x, false).run(
    x.gpu,
    [x, teacher, loss],
    { rows: x.rows, cols: x.cols, group, blocks: ownOnly ? 0 : 1 },
    rowGrid(x.rows),
  );
  return loss;
}

export function distillationRowsGradient(
  x: Tensor,
  teacher: Tensor,
  ownOnly: boolean,
  dLoss: Tensor,
): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  distillationShader(x, true).run(
    x.gpu,
    [x, teacher, dx, dLoss],
    { rows: x.rows, cols: x.cols, group: teacher.cols, blocks: ownOnly ? 0 : 1 },
    rowGrid(x.rows),
  );
  return dx;
}

function distillationShader(x: Tensor, gradient: boolean) {
  const reduction = rowReduction(x.gpu);
  return shaderOf(`distillation.${gradient}.${reduction.key}`, () => ({
    label: gradient ? 'distillationGradient' : 'distillation',
    params: DISTILL,
    buffers: {
      X: 'array<f32>',
      P: 'array<f32>',
      [gradient ? 'outX' : 'outL']: 'array<f32>',
      ...(gradient ? { DL: 'array<f32>' } : {}),
    },
    subgroups: reduction.subgroups,
    body: `${elementary('f32')}${RANKS}${reduction.prelude}${rowMain(reduction, 'p.rows')}
  let start = row * p.group * p.blocks;
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
  ${gradient ? '' : 'if (lane == 0u) { outL[row] = loss; }'}
}`,
  }));
}

const OWN_GROUP = signature('ownGroup', { x: f32('B', 'B*G') }, { numbers: { G: wholeNumber(1) } });

/** Row r's own block of a [B, B·G] score matrix: columns r·G..r·G+G−1 → [B,G]. */
export function ownGroup(x: Tensor, group: number): Tensor {
  OWN_GROUP.check({ x }, { G: group });
  const out = Tensor.empty(x.gpu, [x.rows, group]);
  rowShader(
    'ownGroup',
    { X: 'array<f32>', outY: 'array<f32>' },
    x,
    `
  let group_ = p.cols / p.rows;
  for (var c = lane; c < group_; c += LANES) { outY[row * group_ + c] = X[row * p.cols + row * group_ + c]; }`,
  ).run(x.gpu, [x, out], { rows: x.rows, cols: x.cols }, rowGrid(x.rows));
  return out;
}

export function ownGroupGradient(dy: Tensor, cols: number): Tensor {
  const dx = Tensor.empty(dy.gpu, [dy.rows, cols]);
  rowShader(
    'ownGroupGradient',
    { DY: 'array<f32>', outX: 'array<f32>' },
    dy,
    `
  let group_ = p.cols / p.rows;
  for (var c = lane; c < p.cols; c += LANES) {
    let own = c / group_ == row;
    outX[row * p.cols + c] = select(0.0, DY[row * group_ + c % group_], own);
  }`,
  ).run(dy.gpu, [dy, dx], { rows: dy.rows, cols }, rowGrid(dy.rows));
  return dx;
}
