/**
 * The optimiser's kernels: AdamW (Loshchilov & Hutter 2019, with PyTorch's placing of ε) in one pass over
 * parameter, gradient, moments and the parameter's f16 copy, and the global gradient norm. Unscaling, clipping and
 * whether the step happens at all are read from GPU memory, so nothing waits for the norm.
 */
import { MachineError, ShapeError } from '../errors.js';
import type { Binding } from '../gpu/gpu.js';
import { f16, f32, optional, signature, u32 } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGrid, shaderOf, store4, vec4Type } from './launch.js';
import { flatRanges, rowRanges } from './ranges.js';
import { squareSums, sumAxis } from './reduce.js';

export interface AdamWSettings {
  /** 1-based number of this update, for bias correction. */
  readonly step: number;
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

const PARAMS = {
  count: 'u32',
  rate: 'f32',
  beta1: 'f32',
  beta2: 'f32',
  eps: 'f32',
  decay: 'f32',
  scale2: 'f32',
  width: 'u32',
  perRow: 'u32',
} as const;

/** What `clipFactor` decided: the factor of all gradients, and 1 in the second place if the step must not happen. */
const SKIP = 'if (factor[1] != 0.0) { return; }';

const UPDATE = `
  let old = ioP[i];
  let m = p.beta1 * ioM[i] + (1.0 - p.beta1) * g;
  let v = p.beta2 * ioV[i] + (1.0 - p.beta2) * g * g;
  ioM[i] = m;
  ioV[i] = v;
  // rate = lr / (1 − β1^t), scale2 = 1 / √(1 − β2^t), decay = 1 − lr·λ
  let updated = old * p.decay - p.rate * m / (sqrt(v) * p.scale2 + p.eps);
  ioP[i] = updated;`;

function parameters(settings: AdamWSettings) {
  return {
    rate: settings.learningRate / (1 - settings.beta1 ** settings.step),
    beta1: settings.beta1,
    beta2: settings.beta2,
    eps: settings.eps,
    decay: 1 - settings.learningRate * settings.weightDecay,
    scale2: 1 / Math.sqrt(1 - settings.beta2 ** settings.step),
    width: 0,
    perRow: 0,
  };
}

const ADAMW = signature('adamW', {
  weights: f32('n'),
  gradients: f32('n'),
  moment1: f32('n'),
  moment2: f32('n'),
  factor: f32(2),
  halves: optional(f16('...')),
});
const ADAMW_ROWS = signature('adamWRows', {
  weights: f32('V', 'C'),
  gradients: f32('U', 'C'),
  rowOf: u32('V'),
  moment1: f32('V', 'C'),
  moment2: f32('V', 'C'),
  factor: f32(2),
});

/**
 * One update of `count` elements from `start` of flat, equally laid out tensors. `factor`: [2] of `clipFactor`.
 * `halves`: f16 copies of the same elements, written along. Start is a multiple of 128, count of 4.
 */
export function adamW(
  weights: Tensor,
  gradients: Tensor,
  moment1: Tensor,
  moment2: Tensor,
  factor: Tensor,
  settings: AdamWSettings,
  start = 0,
  count = weights.size,
  halves?: Tensor,
): void {
  ADAMW.check({ weights, gradients, moment1, moment2, factor, halves });
  const shader = shaderOf(`adamW.${halves !== undefined}`, () => ({
    label: 'adamW',
    params: PARAMS,
    buffers: {
      ioP: 'array<vec4f>',
      G: 'array<vec4f>',
      ioM: 'array<vec4f>',
      ioV: 'array<vec4f>',
      factor: 'array<f32>',
      ...(halves ? { outH: vec4Type('f16') } : {}),
    },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${SKIP}
  let g = G[i] * factor[0];
${UPDATE}
  ${halves ? store4('f16', 'outH', 'i', 'updated') : ''}
}`,
  }));
  for (const range of flatRanges(weights, start, count)) {
    const part = (tensor: Tensor) => tensor.bindingRange(range.start, range.count);
    const vecs = Math.ceil(range.count / 4);
    shader.run(
      weights.gpu,
      [
        part(weights),
        part(gradients),
        part(moment1),
        part(moment2),
        factor,
        ...(halves ? [part(halves)] : []),
      ],
      { count: vecs, ...parameters(settings) },
      flatGrid(vecs),
    );
  }
}

/**
 * The same update of a whole [V,C] table whose gradient exists for some rows only: rowOf [V] u32 names the row of
 * `gradients` [U,C], or 0xffffffff; rows [U], ascending, says the same the other way round. Rows without one move by their moments (and decay), exactly as with zeros.
 */
export function adamWRows(
  weights: Tensor,
  gradients: Tensor,
  rows: Uint32Array,
  rowOf: Tensor,
  moment1: Tensor,
  moment2: Tensor,
  factor: Tensor,
  settings: AdamWSettings,
): void {
  ADAMW_ROWS.check({ weights, gradients, rowOf, moment1, moment2, factor });
  const { cols } = weights;
  const vec = cols % 4 === 0;
  const type = vec ? 'vec4f' : 'f32';
  const width = vec ? cols / 4 : cols;
  const shader = shaderOf(`adamWRows.${vec}`, () => ({
    label: 'adamWRows',
    params: { ...PARAMS, firstRow: 'u32', firstGradient: 'u32' } as const,
    buffers: {
      ioP: `array<${type}>`,
      G: `array<${type}>`,
      rowOf: 'array<u32>',
      ioM: `array<${type}>`,
      ioV: `array<${type}>`,
      factor: 'array<f32>',
    },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${SKIP}
  let source = rowOf[p.firstRow + i / p.width];
  var g = ${type}();
  if (source != 0xffffffffu) { g = G[(source - p.firstGradient) * p.width + i % p.width] * factor[0]; }
${UPDATE}
}`,
  }));
  let after = 0;
  // The gradients of a range of rows lie side by side, and are bound from a multiple of 64 of them on.
  for (const range of rowRanges(weights, 64)) {
    const part = (tensor: Tensor): Binding => tensor.bindingRange(range.start * cols, range.count * cols);
    const firstGradient = Math.min(
      Math.floor(after / 64) * 64,
      Math.max(0, Math.floor((gradients.rows - 1) / 64) * 64),
    );
    while (after < rows.length && rows[after]! < range.start + range.count) after++;
    const seen = Math.max(1, after - firstGradient);
    const count = range.count * width;
    shader.run(
      weights.gpu,
      [
        part(weights),
        gradients.bindingRange(firstGradient * cols, seen * cols),
        rowOf,
        part(moment1),
        part(moment2),
        factor,
      ],
      { ...parameters(settings), count, width, firstRow: range.start, firstGradient },
      flatGrid(count),
    );
  }
}

const GLOBAL_NORM = signature('globalNorm', { first: f32('...first'), source: f32('...') });

/** ‖·‖₂ over all sources together → [1]; fixed order. */
export function globalNorm(sources: readonly Tensor[]): Tensor {
  if (sources.length === 0) throw new ShapeError('globalNorm', 'needs at least one tensor');
  for (const source of sources) GLOBAL_NORM.check({ first: sources[0], source });
  const gpu = sources[0]!.gpu;
  const parts: Tensor[] = [];
  for (const source of sources)
    for (const range of flatRanges(source, 0, source.size)) {
      const piece = source.aliasAt(range.start, [range.count]);
      if (!piece)
        throw new MachineError(`globalNorm: ${range.count} values at ${range.start} cannot be bound`);
      parts.push(squareSums(piece));
      piece.dispose();
    }
  const all = Tensor.empty(gpu, [parts.reduce((sum, part) => sum + part.size, 0)]);
  let offset = 0;
  for (const part of parts) {
    all.copyFrom(part, offset);
    offset += part.size;
    part.dispose();
  }
  const total = sumAxis(all, { outer: 1, length: all.size, inner: 1 }, [1]);
  all.dispose();
  const norm = Tensor.empty(gpu, [1]);
  shaderOf('squareRoot', () => ({
    label: 'squareRoot',
    params: { count: 'u32' } as const,
    buffers: { X: 'array<f32>', outY: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i < p.count) { outY[i] = sqrt(X[i]); }
}`,
  })).run(gpu, [total, norm], { count: 1 }, [1]);
  total.dispose();
  return norm;
}

/**
 * [2]: factor = scale · min(1, maxNorm / (scale·norm + 1e-6)), and 0; or, where the norm is not finite (a gradient
 * overflowed), 0 and 1: no step. And [2] for the host: the scaled norm, and that same 1. `scale` averages over
 * accumulated micro-batches and ranks and takes the loss scale out. maxNorm ≤ 0: no clipping.
 */
export function clipFactor(norm: Tensor, scale: number, maxNorm: number): { factor: Tensor; norm: Tensor } {
  const factor = Tensor.empty(norm.gpu, [2]);
  const scaled = Tensor.empty(norm.gpu, [2]);
  shaderOf('clipFactor', () => ({
    label: 'clipFactor',
    params: { scale: 'f32', maxNorm: 'f32' } as const,
    buffers: { N: 'array<f32>', outF: 'array<f32>', outN: 'array<f32>' },
    body: `
@compute @workgroup_size(1)
fn main() {
  let norm = N[0] * p.scale;
  // By its bits: compilers may assume that there are no infinities and no NaN.
  let finite = (bitcast<u32>(N[0]) & 0x7f800000u) != 0x7f800000u;
  let clipped = select(p.scale * min(1.0, p.maxNorm / (norm + 1e-6)), p.scale, p.maxNorm <= 0.0);
  outF[0] = select(0.0, clipped, finite);
  outF[1] = select(1.0, 0.0, finite);
  outN[0] = norm;
  outN[1] = select(1.0, 0.0, finite);
}`,
  })).run(norm.gpu, [norm, factor, scaled], { scale, maxNorm }, [1]);
  return { factor, norm: scaled };
}
