/**
 * LayerNorm over the last dimension (Ba, Kiros, Hinton 2016), with the residual added first:
 * s = x + residual, y = (s − mean)·rstd·γ + β. Backward needs s and the two statistics per row.
 */
import { f32, floats, notNegative, optional, signature } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { elementary } from './elementary.js';
import {
  COLUMN_WORKGROUP,
  columnUnit,
  type FloatDType,
  floatDType,
  rowGrid,
  rowMain,
  rowReduction,
  shaderOf,
} from './launch.js';
import { sumAxis } from './reduce.js';

export interface LayerNormResult {
  y: Tensor;
  /** x + residual; x itself (another handle) without a residual. */
  sum: Tensor;
  /** [rows, 2]: mean, 1/√(var + ε). */
  stats: Tensor;
}

const LAYER_NORM = signature(
  'layerNorm',
  { x: floats('...', 'H'), gamma: f32('H'), beta: f32('H'), residual: optional(floats('...', 'H')) },
  { numbers: { eps: notNegative }, foursInF16: ['H'] },
);

/**
 * x, residual: [...,H], each f32 or f16; gamma, beta: [H] f32. y is of `dtype`, by default that of x. The sum, which
 * only backward reads, is of the residual's dtype; y comes from the sum as it was before that was rounded.
 */
export function layerNorm(
  x: Tensor,
  residual: Tensor | undefined,
  gamma: Tensor,
  beta: Tensor,
  eps: number,
  dtype: FloatDType = x.dtype === 'f16' ? 'f16' : 'f32',
): LayerNormResult {
  LAYER_NORM.check({ x, gamma, beta, residual }, { eps }, { result: dtype });
  const { rows, cols } = x;
  const from = floatDType('layerNorm', x);
  const other = residual ? floatDType('layerNorm', residual) : from;
  const y = Tensor.empty(x.gpu, x.shape, dtype);
  const sum = residual ? Tensor.empty(x.gpu, x.shape, other) : x.detach();
  const stats = Tensor.empty(x.gpu, [rows, 2]);
  const reduction = rowReduction(x.gpu);
  const unit = columnUnit('layerNorm', cols, from, other, dtype);
  // An f32 sum is read back; a rounded one is not what y comes from.
  const exact = residual !== undefined && other === 'f32';
  const terms = residual
    ? `(${unit.load(from, 'X', 'at')} + ${unit.load(other, 'R', 'at')})`
    : unit.load(from, 'X', 'at');
  const value = exact ? unit.load(other, 'outS', 'at') : terms;
  const key = `${residual !== undefined}.${from}.${other}.${dtype}.${unit.key}.${reduction.key}`;
  const shader = shaderOf(`layerNorm.${key}`, () => ({
    label: 'layerNorm',
    params: { rows: 'u32', cols: 'u32', units: 'u32', eps: 'f32' } as const,
    buffers: {
      X: unit.type(from),
      gamma: unit.type('f32'),
      beta: unit.type('f32'),
      outY: unit.type(dtype),
      outStats: 'array<vec2f>',
      ...(residual ? { R: unit.type(other), outS: unit.type(other) } : {}),
    },
    subgroups: reduction.subgroups,
    body: `${elementary('f32')}${reduction.prelude}${rowMain(reduction, 'p.rows')}
  var part = 0.0;
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let v = ${terms};
    ${residual ? unit.store(other, 'outS', 'at', 'v') : ''}
    part += ${unit.total('v')};
  }
  var mean = rowSum(part, lane) / f32(p.cols);
  // A second pass over the differences: one pass of sums of squares would cancel for rows far from zero.
  part = 0.0;
  var rest = 0.0;
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let d = ${value} - mean;
    part += ${unit.total('d * d')};
    rest += ${unit.total('d')};
  }
  var variance = rowSum(part, lane) / f32(p.cols);
  // Far from zero the mean's own rounding shows beside the deviation: a row of equal values would not become β.
  let shift = rowSum(rest, lane) / f32(p.cols);
  if (shift * shift > 1e-12 * variance) {
    mean += shift;
    variance = max(0.0, variance - shift * shift);
  }
  // 1/√∞ is 0, which would make zeros of a row whose squares overflow.
  variance += p.eps;
  let rstd = select(inverseSqrt(variance), nanOf(variance), bitcast<u32>(variance) >= 0x7f800000u);
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    ${unit.store(dtype, 'outY', 'at', `(${value} - mean) * rstd * gamma[c] + beta[c]`)}
  }
  if (lane == 0u) { outStats[row] = vec2f(mean, rstd); }
}`,
  }));
  const tensors = [x, gamma, beta, y, stats, ...(residual ? [residual, sum] : [])];
  shader.run(x.gpu, tensors, { rows, cols, units: unit.count, eps }, rowGrid(rows));
  return { y, sum, stats };
}

/** ds = rstd·(γ∘dy − mean(γ∘dy) − x̂·mean(γ∘dy∘x̂)), of sum's dtype; flows to x and to the residual alike. */
export function layerNormGradient(dy: Tensor, sum: Tensor, stats: Tensor, gamma: Tensor): Tensor {
  const { rows, cols } = sum;
  const [outer, own] = [floatDType('layerNorm', dy), floatDType('layerNorm', sum)];
  const ds = Tensor.empty(dy.gpu, sum.shape, own);
  const reduction = rowReduction(dy.gpu);
  const unit = columnUnit('layerNorm', cols, own, outer);
  const shader = shaderOf(`layerNormGradient.${outer}.${own}.${unit.key}.${reduction.key}`, () => ({
    label: 'layerNormGradient',
    params: { rows: 'u32', cols: 'u32', units: 'u32' } as const,
    buffers: {
      DY: unit.type(outer),
      S: unit.type(own),
      stats: 'array<vec2f>',
      gamma: unit.type('f32'),
      outS: unit.type(own),
    },
    subgroups: reduction.subgroups,
    body: `${reduction.prelude}${rowMain(reduction, 'p.rows')}
  let mean = stats[row].x;
  let rstd = stats[row].y;
  var a = 0.0;
  var b = 0.0;
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let g = ${unit.load(outer, 'DY', 'at')} * gamma[c];
    a += ${unit.total('g')};
    b += ${unit.total(`g * (${unit.load(own, 'S', 'at')} - mean)`)};
  }
  let meanG = rowSum(a, lane) / f32(p.cols);
  let meanGx = rowSum(b, lane) * rstd / f32(p.cols);
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let g = ${unit.load(outer, 'DY', 'at')} * gamma[c];
    ${unit.store(own, 'outS', 'at', `rstd * (g - meanG - (${unit.load(own, 'S', 'at')} - mean) * rstd * meanGx)`)}
  }
}`,
  }));
  shader.run(dy.gpu, [dy, sum, stats, gamma, ds], { rows, cols, units: unit.count }, rowGrid(rows));
  return ds;
}

const ROW_CHUNK = 64;

/** dγ = Σ_rows dy∘x̂, f32. Partial sums of 64 rows, then their sum. */
export function layerNormGammaGradient(dy: Tensor, sum: Tensor, stats: Tensor): Tensor {
  const { rows, cols } = sum;
  const [outer, own] = [floatDType('layerNorm', dy), floatDType('layerNorm', sum)];
  const chunks = Math.max(1, Math.ceil(rows / ROW_CHUNK));
  const partial = Tensor.empty(dy.gpu, [chunks, cols]);
  const unit = columnUnit('layerNorm', cols, own, outer);
  const shader = shaderOf(`layerNormGamma.${outer}.${own}.${unit.key}`, () => ({
    label: 'layerNormGamma',
    params: { rows: 'u32', units: 'u32' } as const,
    buffers: {
      DY: unit.type(outer),
      S: unit.type(own),
      stats: 'array<vec2f>',
      outP: unit.type('f32'),
    },
    body: `
@compute @workgroup_size(${COLUMN_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x * ${COLUMN_WORKGROUP}u + lane;
  if (c >= p.units) { return; }
  let end = min(p.rows, (group.y + 1u) * ${ROW_CHUNK}u);
  var sum = ${unit.value}();
  for (var row = group.y * ${ROW_CHUNK}u; row < end; row++) {
    let at = row * p.units + c;
    sum += ${unit.load(outer, 'DY', 'at')} * (${unit.load(own, 'S', 'at')} - stats[row].x) * stats[row].y;
  }
  outP[group.y * p.units + c] = sum;
}`,
  }));
  shader.run(dy.gpu, [dy, sum, stats, partial], { rows, units: unit.count }, [
    Math.ceil(unit.count / COLUMN_WORKGROUP),
    chunks,
  ]);
  const dGamma = sumAxis(partial, { outer: 1, length: chunks, inner: cols }, [cols]);
  partial.dispose();
  return dGamma;
}

/** Float64 reference. */
export function layerNormReference(
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  beta: ArrayLike<number>,
  cols: number,
  eps: number,
): Float64Array {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length / cols; row++) {
    let mean = 0;
    for (let c = 0; c < cols; c++) mean += x[row * cols + c]! / cols;
    let variance = 0;
    for (let c = 0; c < cols; c++) variance += (x[row * cols + c]! - mean) ** 2 / cols;
    for (let c = 0; c < cols; c++)
      y[row * cols + c] = ((x[row * cols + c]! - mean) / Math.sqrt(variance + eps)) * gamma[c]! + beta[c]!;
  }
  return y;
}
