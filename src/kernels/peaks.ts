/**
 * What an adapter reaches at best, as kernels see it: the rate of a copy, and that of multiplying and adding without
 * memory. Nothing is trained with them; they are the two lines of the roofline (Williams, Waterman, Patterson 2009) that the
 * bench holds every other kernel against.
 */
import type { Gpu } from '../gpu/gpu.js';
import { CounterRandom } from '../tensor/random.js';
import { Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { flat } from './launch/operands.js';
import { type Shader, shaderOf } from './launch/shader.js';
import { type Case, type Family, type Trial, type Variant, variantOf } from './variants.js';

interface PeakForm {
  readonly dtype: 'f32';
}

interface PeakSize {
  /** Values of the result, in whole groups of 16. */
  readonly count: number;
}

interface PeakOperands {
  readonly x: Tensor;
  readonly y: Tensor;
}

type PeakVariant = Variant<PeakForm, PeakSize, PeakOperands>;

const FORM: PeakForm = { dtype: 'f32' };

const PARAMS = { units: 'u32' } as const;

/** A kernel with a thread for every `width` vec4s; `body` has X, outY, p.units and its unit `i`. */
function peakVariant(
  family: string,
  {
    name,
    why,
    width,
    prior,
  }: { name: string; why: string; width: number; prior: (software: boolean) => number },
  body: string,
): PeakVariant {
  const shader = (): Shader<typeof PARAMS> =>
    shaderOf(`${family}.${name}`, FORM, () => ({
      label: `${family}.${name}`,
      params: PARAMS,
      buffers: { X: 'array<vec4f>', outY: 'array<vec4f>' },
      body: `${FLAT_MAIN}
  if (i >= p.units) { return; }
${body}
}`,
    }));
  return {
    name,
    why,
    supports: (_, __, { count }) => count % (4 * width) === 0,
    prior: ({ software }) => prior(software),
    shaders: () => ({ [family]: shader() }),
    run: (gpu, _, __, { x, y }) =>
      shader().launch(
        gpu,
        { X: flat(x), outY: flat(y) },
        ({ count }) => ({ units: Math.floor(count / 4 / width) }),
        ({ count }) => flatGroups(Math.floor(count / 4 / width)),
      ),
  };
}

function caseOf(use: 'check' | 'bench', count: number): Case<PeakForm, PeakSize> {
  const name = count < 2 ** 20 ? `${count} values` : `${count / 2 ** 20} Mi values`;
  return { name: `${name} f32`, form: FORM, size: { count }, use };
}

/** A prime, so that what is off by some number of whole vectors, threads or workgroups shows. */
const PERIOD = 65521;

/** Values in ±0.5. They repeat: to draw millions of them would take longer than to measure what is done with them. */
function drawn(count: number): Float32Array<ArrayBuffer> {
  const random = new CounterRandom(1, 0);
  const values = new Float32Array(count);
  const first = Math.min(count, PERIOD);
  for (let i = 0; i < first; i++) values[i] = random.uniform() - 0.5;
  for (let done = first; done < count; done *= 2) values.copyWithin(done, 0, Math.min(done, count - done));
  return values;
}

/** Results at the first, the last and some elements between. */
function trialOf(
  gpu: Gpu,
  family: Family<PeakForm, PeakSize, PeakOperands>,
  size: PeakSize,
  wanted: (x: Float32Array, i: number) => number,
): Trial {
  const values = drawn(size.count);
  const x = Tensor.from(gpu, values, [size.count]).keep();
  const y = Tensor.empty(gpu, [size.count]).keep();
  return {
    outputs: [y],
    run(name) {
      variantOf(gpu, family, FORM, size, name).run(gpu, FORM, size, { x, y });
    },
    async error() {
      const got = await y.toFloat32();
      let [top, worst] = [1e-6, 0];
      for (let probe = 0; probe < 1024; probe++) {
        const i = Math.floor((probe * (size.count - 1)) / 1023);
        const want = wanted(values, i);
        top = Math.max(top, Math.abs(want));
        const error = Math.abs(got[i]! - want);
        if (!(error <= worst)) worst = error;
      }
      return worst / top;
    },
    dispose() {
      x.dispose();
      y.dispose();
    },
  };
}

// ---- copy ------------------------------------------------------------------------------------------------------

export const copyFamily: Family<PeakForm, PeakSize, PeakOperands> = {
  name: 'copy',
  summary: 'y = x, through storage buffers: what memory gives kernels at best',
  variants: [
    peakVariant(
      'copy',
      { name: 'vec4', why: 'one vec4 a thread', width: 1, prior: () => 0 },
      '  outY[i] = X[i];',
    ),
    peakVariant(
      'copy',
      {
        name: 'vec4x4',
        why: 'four vec4s a thread, a workgroup apart: fewer threads, more loads on their way',
        width: 4,
        prior: (software) => (software ? -1 : 1),
      },
      `  let at = (i / 256u) * 1024u + i % 256u;
  for (var j = 0u; j < 4u; j++) { outY[at + 256u * j] = X[at + 256u * j]; }`,
    ),
    peakVariant(
      'copy',
      {
        name: 'vec4x4-lane',
        why: 'four vec4s a thread, side by side and written out: what CPUs stream best, as loops there cost by the lane',
        width: 4,
        prior: (software) => (software ? 1 : -1),
      },
      `  let at = 4u * i;
${[0, 1, 2, 3].map((j) => `  outY[at + ${j}u] = X[at + ${j}u];`).join('\n')}`,
    ),
  ],
  sizeClass: () => 'any',
  // Beyond the caches of CPUs, and half of the smallest binding.
  cases: [caseOf('check', 4096), caseOf('bench', 2 ** 24)],
  cost: (_, { count }) => ({ flops: 0, bytes: 8 * count }),
  tolerance: () => 0,
  trial: (gpu, _, size) => trialOf(gpu, copyFamily, size, (x, i) => x[i]!),
};

// ---- multiplying and adding ------------------------------------------------------------------------------------

/** Multiplications with an addition, of vec4s, a thread. */
const STEPS = 960;
/**
 * Turns of all sums in the body of the loop. On lavapipe one turn pays for the mask of running lanes, and of twelve the
 * compiler makes long chains: 41, 79 and 66 GFLOP/s with four sums on two cores.
 */
const TURNS = 4;

/** Sums s = s/2 + x end at 2x, so that rounding does not add up; `sums` of them are independent of each other. */
const multiplyAdd = (sums: number, why: string): PeakVariant => {
  const all = Array.from({ length: sums }, (_, i) => i);
  const turn = all.map((s) => `s${s} = fma(s${s}, half, x);`).join(' ');
  return peakVariant(
    'fmaPeak',
    { name: `sums${sums}`, why, width: 1, prior: () => 0 },
    `  // One value for all lanes, and a factor that no compiler can know: registers are for the sums.
  let x = vec4f(X[i].x);
  let half = vec4f(select(0.0, 0.5, p.units > 0u));
  ${all.map((s) => `var s${s} = X[i] * ${s}.0;`).join(' ')}
  for (var step = 0u; step < ${STEPS}u; step += ${TURNS * sums}u) {
    ${Array.from({ length: TURNS }, () => turn).join('\n    ')}
  }
  outY[i] = (${all.map((s) => `s${s}`).join(' + ')}) * ${1 / sums};`,
  );
};

export const fmaPeakFamily: Family<PeakForm, PeakSize, PeakOperands> = {
  name: 'fmaPeak',
  summary:
    'multiplying and adding in registers: what arithmetic gives f32 kernels at best, matrix units aside',
  variants: [
    multiplyAdd(4, 'four independent sums of vec4s a thread: 16 registers'),
    multiplyAdd(6, 'six: 24 registers'),
    multiplyAdd(8, 'eight, where registers are many and the pipeline is deep'),
  ],
  sizeClass: () => 'any',
  // The second is for adapters that finish the first in less than a millisecond.
  cases: [caseOf('check', 4096), caseOf('bench', 2 ** 18), caseOf('bench', 2 ** 22)],
  cost: (_, { count }) => ({ flops: 2 * STEPS * count, bytes: 8 * count }),
  tolerance: () => 1e-6,
  trial: (gpu, _, size) => trialOf(gpu, fmaPeakFamily, size, (x, i) => 2 * x[i - (i % 4)]!),
};
