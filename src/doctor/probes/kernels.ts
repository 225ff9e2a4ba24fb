/**
 * The kernels that training lives by, checked against a reference and timed, in about two seconds: a product of matrices
 * as the layers of bge-m3 have them, in f32 and in halves, and a copy. `dawntune bench kernels` has all of them.
 */
import { Gpu } from '../../gpu/gpu.js';
import { checkTrial } from '../../kernels/check.js';
import { familyNamed } from '../../kernels/families.js';
import { formOf } from '../../kernels/matmul/cases.js';
import { choose } from '../../kernels/variants.js';
import { scope } from '../../tensor/scope.js';
import type { CheckedKernel } from '../facts.js';

interface Case {
  readonly name: string;
  readonly family: 'matmul' | 'copy';
  readonly form: object;
  readonly size: object;
  readonly words: string;
}

const product = (dtype: 'f32' | 'f16', M: number, K: number, N: number): Case => ({
  name: `matrix product ${dtype}`,
  family: 'matmul',
  form: formOf('NT', dtype, dtype, dtype),
  size: { M, K, N },
  words: `${M}×${K}×${N}`,
});

const copy = (count: number): Case => ({
  name: 'copy f32',
  family: 'copy',
  form: { dtype: 'f32' },
  size: { count },
  words: `${count / 2 ** 20} Mi values`,
});

/** `software`: on an adapter that computes on the processor. Halves are stored packed where the adapter has none. */
const casesFor = (software: boolean): Case[] => {
  const [M, K, N] = software ? ([1024, 1024, 1024] as const) : ([2048, 1024, 4096] as const);
  return [product('f32', M, K, N), product('f16', M, K, N), copy(2 ** 24)];
};

/** Of each kernel, behind its check, which with the making of operands takes more than half of the two seconds. */
const SECONDS = 0.2;
/** Short runs are repeated until they take so long, since a wait for the device takes some hundredths of a millisecond. */
const LEAST_BATCH = 0.02;
const MOST_REPEATS = 512;

/** @throws MachineError where the adapter cannot be opened, or loses its device. */
export async function probeKernels({ wanted }: { wanted: string | null }): Promise<CheckedKernel[]> {
  const gpu = await Gpu.open(wanted === null ? {} : { adapter: wanted });
  try {
    const checked: CheckedKernel[] = [];
    for (const each of casesFor(gpu.capabilities.software)) checked.push(await checkedKernel(gpu, each));
    return checked;
  } finally {
    await gpu.close();
  }
}

async function checkedKernel(
  gpu: Gpu,
  { name, family: of, form, size, words }: Case,
): Promise<CheckedKernel> {
  const family = familyNamed(of)!;
  const variant = choose(gpu, family, form, size).name;
  const trial = family.trial(gpu, form, size);
  const unit = of === 'matmul' ? 'GFLOP/s' : 'GB/s';
  try {
    const { problem } = await checkTrial(trial, family.tolerance(form, size), variant);
    if (problem !== undefined) return { name, size: words, variant, problem, rate: null, unit };
    const seconds = await bestOf(gpu, () => scope(() => trial.run(variant)));
    const { flops, bytes } = family.cost(form, size);
    const rate = (of === 'matmul' ? flops : bytes) / seconds / 1e9;
    return { name, size: words, variant, problem: null, rate: Number(rate.toPrecision(3)), unit };
  } finally {
    trial.dispose();
  }
}

/** Seconds of a run, at best. */
async function bestOf(gpu: Gpu, run: () => void): Promise<number> {
  const timed = async (repeats: number) => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) run();
    await gpu.finish();
    return (performance.now() - start) / 1e3;
  };
  let repeats = 1;
  let took = await timed(1);
  while (took < LEAST_BATCH && repeats < MOST_REPEATS) {
    repeats = Math.min(MOST_REPEATS, repeats * Math.max(2, Math.ceil(LEAST_BATCH / took)));
    took = await timed(repeats);
  }
  let best = took / repeats;
  const end = performance.now() + SECONDS * 1e3;
  while (performance.now() < end) best = Math.min(best, (await timed(repeats)) / repeats);
  return best;
}
