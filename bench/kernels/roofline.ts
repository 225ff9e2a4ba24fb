/**
 * What the adapter can do at most, as far as kernels of this package find out: the rate of the copy kernel and of the
 * kernel that does nothing but multiply and add, measured in the same run as the rows that are held against them.
 */
import { MachineError } from '../../src/errors.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import type { Roofline } from '../../src/gpu/profile-report.js';
import { checkTrial } from '../../src/kernels/check.js';
import { choose, type Family } from '../../src/kernels/variants.js';
import { quantile } from '../report/statistics.js';
import { measure } from './measure.js';

/** Names of the families whose best bench cases are the peaks. */
const COPY = 'copy';
const ARITHMETIC = 'fmaPeak';

const SECONDS = 0.25;

/** Null where the families of the peaks are not among `families`. @throws MachineError when one computes a wrong result. */
export async function measurePeaks(gpu: Gpu, families: readonly Family[]): Promise<Roofline | null> {
  const copy = families.find(({ name }) => name === COPY);
  const arithmetic = families.find(({ name }) => name === ARITHMETIC);
  if (!copy || !arithmetic) return null;
  return {
    peakFlops: await best(gpu, arithmetic, ({ flops }) => flops),
    copyBandwidth: await best(gpu, copy, ({ bytes }) => bytes),
  };
}

/** The highest rate over the bench cases of a family, by the GPU's clock where it has one. */
async function best(
  gpu: Gpu,
  family: Family,
  work: (cost: ReturnType<Family['cost']>) => number,
): Promise<number> {
  let most = 0;
  for (const { name, form, size, use } of family.cases) {
    if (use !== 'bench') continue;
    const variant = choose(gpu, family, form, size).name;
    const trial = family.trial(gpu, form, size);
    try {
      const { problem } = await checkTrial(trial, family.tolerance(form, size), variant);
      if (problem)
        throw new MachineError(`${family.name} ${name} [${variant}] ${problem}: no roofline without it`);
      const times = (await measure(gpu, trial, [variant], SECONDS)).get(variant)!;
      const seconds = times.gpuSeconds ?? quantile(times.samples, 0.5);
      most = Math.max(most, work(family.cost(form, size)) / seconds);
    } finally {
      trial.dispose();
    }
  }
  return most;
}
