/**
 * The optimiser's kernels: AdamW (Loshchilov & Hutter 2019, with PyTorch's placing of ε) in one pass over
 * parameter, gradient, moments and the parameter's f16 copy, and the global gradient norm. Unscaling, clipping and
 * whether the step happens at all are read from GPU memory, so nothing waits for the norm. Tables: adamw-rows.ts.
 */
import { ShapeError } from '../errors.js';
import { f16, f32, optional, signature } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { store4, vec4Type } from './launch/formats.js';
import { type Each, elementMain, FLAT_MAIN, groupsOfFours } from './launch/grid.js';
import { flat, whole } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { squareSums, sumAxis } from './reduce.js';
import { Draws, trialOf } from './trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from './variants.js';

export interface AdamWSettings {
  /** 1-based number of this update, for bias correction. */
  readonly step: number;
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Adam's decay (Kingma & Ba 2015): λ·w is added to the gradient, and the moments see it. In place of `weightDecay`; default 0. */
  readonly penalty?: number;
}

export const PARAMS = {
  count: 'u32',
  rate: 'f32',
  beta1: 'f32',
  beta2: 'f32',
  eps: 'f32',
  decay: 'f32',
  scale2: 'f32',
  width: 'u32',
} as const;

/** What `clipFactor` decided: the factor of all gradients, and 1 in the second place if the step must not happen. */
export const SKIP = 'if (factor[1] != 0.0) { return; }';

/** Of weight `i`, whose moments are `k`. */
export const updateOf = (i: string, k: string) => `
  let old = ioP[${i}];
  let m = p.beta1 * ioM[${k}] + (1.0 - p.beta1) * g;
  let v = p.beta2 * ioV[${k}] + (1.0 - p.beta2) * g * g;
  ioM[${k}] = m;
  ioV[${k}] = v;
  // rate = lr / (1 − β1^t), scale2 = 1 / √(1 − β2^t), decay = 1 − lr·λ
  let updated = old * p.decay - p.rate * m / (sqrt(v) * p.scale2 + p.eps);
  ioP[${i}] = updated;`;

export function parameters(settings: AdamWSettings) {
  return {
    rate: settings.learningRate / (1 - settings.beta1 ** settings.step),
    beta1: settings.beta1,
    beta2: settings.beta2,
    eps: settings.eps,
    decay: 1 - settings.learningRate * settings.weightDecay,
    scale2: 1 / Math.sqrt(1 - settings.beta2 ** settings.step),
    width: 0,
  };
}

const ADAMW = signature('adamW', {
  weights: f32('w'),
  gradients: f32('n'),
  moment1: f32('k'),
  moment2: f32('k'),
  factor: f32(2),
  halves: optional(f16('...')),
});
/** Flat tensors [n] f32, laid out alike, and weights and moments [k] f32 of some or all of their elements. */
export interface AdamWOperands {
  readonly weights: Tensor;
  readonly gradients: Tensor;
  readonly moment1: Tensor;
  readonly moment2: Tensor;
  /** [2] of `clipFactor` */
  readonly factor: Tensor;
  /** f16 copies of the elements that are updated, laid out as the gradients, written along. */
  readonly halves?: Tensor | undefined;
}

interface AdamWForm {
  readonly halves: boolean;
  /** With a `penalty`. */
  readonly coupled?: true;
}

interface AdamWSize {
  readonly count: number;
}

interface AdamWRun extends AdamWOperands {
  readonly settings: AdamWSettings;
  readonly range: AdamWRange;
}

/** Elements of the gradients whose weights are updated. */
export interface AdamWRange {
  /** The first one, a multiple of 128. */
  readonly start: number;
  /** A multiple of 4. */
  readonly count: number;
  /** Elements of the moments and of the weights that are of `start`, multiples of 128 too; by default `start` itself. */
  readonly momentsStart?: number;
  readonly weightsStart?: number;
}

const adamWShader = (form: AdamWForm, each: Each) =>
  shaderOf('adamW', { ...form, each }, ({ halves, coupled, each }) => ({
    label: 'adamW',
    params: { ...PARAMS, ...(coupled ? { penalty: 'f32' as const } : {}) },
    buffers: {
      ioP: 'array<vec4f>',
      G: 'array<vec4f>',
      ioM: 'array<vec4f>',
      ioV: 'array<vec4f>',
      factor: 'array<f32>',
      ...(halves ? { outH: vec4Type('f16') } : {}),
    },
    body: elementMain(
      each,
      `${SKIP}
  let g = G[i] * factor[0]${coupled ? ' + p.penalty * ioP[i]' : ''};
${updateOf('i', 'i')}
  ${halves ? store4('f16', 'outH', 'i', 'updated') : ''}`,
    ),
  }));

type AdamWVariant = Variant<AdamWForm, AdamWSize, AdamWRun>;

const variant = (each: Each, own: Pick<AdamWVariant, 'name' | 'why' | 'prior'>): AdamWVariant => ({
  ...own,
  supports: () => true,
  shaders: (_, form) => ({ adamW: adamWShader(form, each) }),
  run(gpu, form, _, { weights, gradients, moment1, moment2, factor, halves, settings, range }) {
    const { start, count, momentsStart = start, weightsStart = start } = range;
    const part = (tensor: Tensor, from = start) => flat(tensor, { start: from, count });
    adamWShader(form, each).launch(
      gpu,
      {
        ioP: part(weights, weightsStart),
        G: part(gradients),
        ioM: part(moment1, momentsStart),
        ioV: part(moment2, momentsStart),
        factor: whole(factor),
        ...(halves ? { outH: part(halves) } : {}),
      },
      (piece) => ({
        ...parameters(settings),
        ...(form.coupled ? { penalty: settings.penalty! } : {}),
        count: Math.ceil(piece.count / 4),
      }),
      groupsOfFours,
    );
  },
});

const caseOf = (count: number, form: AdamWForm, use: 'check' | 'bench'): Case<AdamWForm, AdamWSize> => ({
  name: `${count} f32${form.halves ? ' and halves' : ''}${form.coupled ? ', coupled decay' : ''}`,
  form,
  size: { count },
  use,
});

export const adamWFamily: Family<AdamWForm, AdamWSize, AdamWRun> = {
  name: 'adamW',
  summary: 'one update of weights and moments, and of the f16 copy of the weights where there is one',
  variants: [
    variant(1, {
      name: 'one',
      why: 'a group of four values a thread, neighbours side by side: what GPUs coalesce',
      prior: () => 0,
    }),
    variant(4, {
      name: 'four',
      why: 'four groups a thread in a loop: on CPUs a thread costs about as much as a load',
      prior: ({ software }) => (software ? 1 : -1),
    }),
  ],
  sizeClass: () => 'any',
  cases: [
    ...[false, true].flatMap((halves) => [
      caseOf(1044, { halves }, 'check'),
      caseOf(1 << 22, { halves }, 'bench'),
    ]),
    caseOf(1044, { halves: false, coupled: true }, 'check'),
  ],
  cost: ({ halves }, { count }) => ({ flops: 16 * count, bytes: (halves ? 30 : 28) * count }),
  // Of the halves: half a unit in their last place.
  tolerance: ({ halves }) => (halves ? 1e-3 : 1e-5),
  /**
   * The updates of all runs are followed, and what is checked is where they have led: what a run writes it has read, so
   * no output may be overwritten before, and no two runs write the same.
   */
  trial(gpu, form, size) {
    const { count } = size;
    const draws = new Draws(gpu, count);
    const [weights, gradients] = [draws.floats([count]), draws.floats([count])];
    const moments = [draws.floats([count], 'f32', 0, 0.1), draws.floats([count], 'f32', 0.3, 0.5)] as const;
    const factor = draws.kept(Tensor.from(gpu, [0.5, 0], [2]));
    const halves = form.halves ? draws.empty([count], 'f16') : undefined;
    const settings = {
      step: 3,
      learningRate: 1e-3,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weightDecay: 0.01,
      penalty: form.coupled ? 0.1 : 0,
    };
    let runs = 0;
    const probes = Math.min(count, 1024);
    const updated = (from: number) => {
      const { rate, decay, scale2 } = parameters(settings);
      const { beta1, beta2, eps, penalty } = settings;
      return Float64Array.from({ length: probes }, (_, i) => {
        let [w, m, v] = [weights, ...moments].map(({ values }) => values[from + i]!) as [
          number,
          number,
          number,
        ];
        for (let run = 0; run < runs; run++) {
          const g = gradients.values[from + i]! * 0.5 + penalty * w;
          m = beta1 * m + (1 - beta1) * g;
          v = beta2 * v + (1 - beta2) * g * g;
          w = w * decay - (rate * m) / (Math.sqrt(v) * scale2 + eps);
        }
        return w;
      });
    };
    const parts = () => [0, count - probes].map((start) => ({ start, values: updated(start) }));
    const operands: AdamWRun = {
      weights: weights.tensor,
      gradients: gradients.tensor,
      moment1: moments[0].tensor,
      moment2: moments[1].tensor,
      factor,
      halves,
      settings,
      range: { start: 0, count },
    };
    const results = halves ? [weights.tensor, halves] : [weights.tensor];
    const expected = results.map((output) => ({ output, parts }));
    const trial = trialOf(draws, expected, (name) => {
      runs++;
      variantOf(gpu, adamWFamily, form, size, name).run(gpu, form, size, operands);
    });
    return { ...trial, outputs: [] };
  },
};

/** One update of the elements in `range`, by default of all. */
export function adamW(
  operands: AdamWOperands,
  settings: AdamWSettings,
  range: AdamWRange = { start: 0, count: operands.gradients.size },
): void {
  const { weights, gradients, moment1, moment2, factor, halves } = operands;
  ADAMW.check({ weights, gradients, moment1, moment2, factor, halves });
  const { gpu } = weights;
  const form: AdamWForm = { halves: halves !== undefined, ...(settings.penalty ? { coupled: true } : {}) };
  runVariant(gpu, adamWFamily, form, { count: range.count }, { ...operands, settings, range });
}

const GLOBAL_NORM = signature('globalNorm', { first: f32('...first'), source: f32('...') });

/** ‖·‖₂ over all sources together → [1]; fixed order. */
export function globalNorm(sources: readonly Tensor[]): Tensor {
  if (sources.length === 0) throw new ShapeError('globalNorm', 'needs at least one tensor');
  for (const source of sources) GLOBAL_NORM.check({ first: sources[0], source });
  const gpu = sources[0]!.gpu;
  const parts = sources.map(squareSums);
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
  shaderOf('squareRoot', {}, () => ({
    label: 'squareRoot',
    params: { count: 'u32' } as const,
    buffers: { X: 'array<f32>', outY: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i < p.count) { outY[i] = sqrt(X[i]); }
}`,
  })).launch(
    gpu,
    { X: whole(total), outY: whole(norm) },
    () => ({ count: 1 }),
    () => 1,
  );
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
  shaderOf('clipFactor', {}, () => ({
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
  })).launch(
    norm.gpu,
    { N: whole(norm), outF: whole(factor), outN: whole(scaled) },
    () => ({ scale, maxNorm }),
    () => 1,
  );
  return { factor, norm: scaled };
}
