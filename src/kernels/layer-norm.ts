/**
 * LayerNorm over the last dimension (Ba, Kiros, Hinton 2016), with the residual added first:
 * s = x + residual, y = (s − mean)·rstd·γ + β. Backward needs s and the two statistics per row.
 */
import { ShapeError } from '../errors.js';
import { formatShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { rowGrid, rowMain, rowReduction, shaderOf } from './launch.js';
import { sumAxis } from './reduce.js';

export interface LayerNormResult {
  y: Tensor;
  /** x + residual; x itself (another handle) without a residual. */
  sum: Tensor;
  /** [rows, 2]: mean, 1/√(var + ε). */
  stats: Tensor;
}

/** x, residual: [...,H]; gamma, beta: [H]. */
export function layerNorm(
  x: Tensor,
  residual: Tensor | undefined,
  gamma: Tensor,
  beta: Tensor,
  eps: number,
): LayerNormResult {
  const { rows, cols } = x;
  if (gamma.size !== cols || beta.size !== cols || (residual && residual.size !== x.size))
    throw new ShapeError(
      `layerNorm: x ${formatShape(x.shape)}, residual ${residual ? formatShape(residual.shape) : 'none'}, γ ${formatShape(gamma.shape)}, β ${formatShape(beta.shape)}`,
    );
  const y = Tensor.empty(x.gpu, x.shape);
  const sum = residual ? Tensor.empty(x.gpu, x.shape) : x.detach();
  const stats = Tensor.empty(x.gpu, [rows, 2]);
  const reduction = rowReduction(x.gpu.capabilities);
  const value = residual ? 'outS[row * p.cols + c]' : 'X[row * p.cols + c]';
  const shader = shaderOf(`layerNorm.${residual !== undefined}.${reduction.key}`, () => ({
    label: 'layerNorm',
    params: { rows: 'u32', cols: 'u32', eps: 'f32' } as const,
    buffers: {
      X: 'array<f32>',
      gamma: 'array<f32>',
      beta: 'array<f32>',
      outY: 'array<f32>',
      outStats: 'array<vec2f>',
      ...(residual ? { R: 'array<f32>', outS: 'array<f32>' } : {}),
    },
    subgroups: reduction.subgroups,
    body: `${reduction.prelude}${rowMain(reduction, 'p.rows')}
  var part = 0.0;
  for (var c = lane; c < p.cols; c += LANES) {
    ${residual ? 'let v = X[row * p.cols + c] + R[row * p.cols + c]; outS[row * p.cols + c] = v;' : 'let v = X[row * p.cols + c];'}
    part += v;
  }
  let mean = rowSum(part, lane) / f32(p.cols);
  // A second pass over the differences: one pass of sums of squares would cancel for rows far from zero.
  part = 0.0;
  for (var c = lane; c < p.cols; c += LANES) { let d = ${value} - mean; part += d * d; }
  let rstd = inverseSqrt(rowSum(part, lane) / f32(p.cols) + p.eps);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = (${value} - mean) * rstd * gamma[c] + beta[c]; }
  if (lane == 0u) { outStats[row] = vec2f(mean, rstd); }
}`,
  }));
  const tensors = [x, gamma, beta, y, stats, ...(residual ? [residual, sum] : [])];
  shader.run(x.gpu, tensors, { rows, cols, eps }, rowGrid(rows));
  return { y, sum, stats };
}

/** ds = rstd·(γ∘dy − mean(γ∘dy) − x̂·mean(γ∘dy∘x̂)); flows to x and to the residual alike. */
export function layerNormGradient(dy: Tensor, sum: Tensor, stats: Tensor, gamma: Tensor): Tensor {
  const { rows, cols } = sum;
  const ds = Tensor.empty(dy.gpu, sum.shape);
  const reduction = rowReduction(dy.gpu.capabilities);
  const shader = shaderOf(`layerNormGradient.${reduction.key}`, () => ({
    label: 'layerNormGradient',
    params: { rows: 'u32', cols: 'u32' } as const,
    buffers: {
      DY: 'array<f32>',
      S: 'array<f32>',
      stats: 'array<vec2f>',
      gamma: 'array<f32>',
      outS: 'array<f32>',
    },
    subgroups: reduction.subgroups,
    body: `${reduction.prelude}${rowMain(reduction, 'p.rows')}
  let mean = stats[row].x;
  let rstd = stats[row].y;
  var a = 0.0;
  var b = 0.0;
  for (var c = lane; c < p.cols; c += LANES) {
    let g = DY[row * p.cols + c] * gamma[c];
    a += g;
    b += g * (S[row * p.cols + c] - mean) * rstd;
  }
  let meanG = rowSum(a, lane) / f32(p.cols);
  let meanGx = rowSum(b, lane) / f32(p.cols);
  for (var c = lane; c < p.cols; c += LANES) {
    let g = DY[row * p.cols + c] * gamma[c];
    outS[row * p.cols + c] = rstd * (g - meanG - (S[row * p.cols + c] - mean) * rstd * meanGx);
  }
}`,
  }));
  shader.run(dy.gpu, [dy, sum, stats, gamma, ds], { rows, cols }, rowGrid(rows));
  return ds;
}

const ROW_CHUNK = 64;

/** dγ = Σ_rows dy∘x̂. Partial sums of 64 rows, then their sum. */
export function layerNormGammaGradient(dy: Tensor, sum: Tensor, stats: Tensor): Tensor {
  const { rows, cols } = sum;
  const chunks = Math.max(1, Math.ceil(rows / ROW_CHUNK));
  const partial = Tensor.empty(dy.gpu, [chunks, cols]);
  const shader = shaderOf('layerNormGamma', () => ({
    label: 'layerNormGamma',
    params: { rows: 'u32', cols: 'u32' } as const,
    buffers: { DY: 'array<f32>', S: 'array<f32>', stats: 'array<vec2f>', outP: 'array<f32>' },
    body: `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x * 64u + lane;
  if (c >= p.cols) { return; }
  let end = min(p.rows, (group.y + 1u) * ${ROW_CHUNK}u);
  var sum = 0.0;
  for (var row = group.y * ${ROW_CHUNK}u; row < end; row++) {
    sum += DY[row * p.cols + c] * (S[row * p.cols + c] - stats[row].x) * stats[row].y;
  }
  outP[group.y * p.cols + c] = sum;
}`,
  }));
  shader.run(dy.gpu, [dy, sum, stats, partial], { rows, cols }, [Math.ceil(cols / 64), chunks]);
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
