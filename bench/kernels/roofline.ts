/**
 * What the adapter can do at most, as far as kernels of this package find out: the rate of the copy kernel and of the
 * kernel that does nothing but multiply and add, measured in the same run as the rows that are held against them.
 */
import { MachineError } from '../../src/errors.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import type { Roofline } from '../../src/gpu/profile-report.js';
import { checkTrial } from '../../src/kernels/check.js';
import type { Family } from '../../src/kernels/variants.js';
import { clockOf, measure, samplesBy } from './measure.js';

/** Names of the families whose best bench cases are the peaks. */
const COPY = 'copy';
const ARITHMETIC = 'fmaPeak';

/** Of samples of each variant. */
const SECONDS = 0.3;

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

/** A case that takes less is followed by the next larger one. */
const LONG_ENOUGH = 2e-3;

/** The highest rate over the variants of a family, at the first of its bench cases that takes long enough. */
async function best(
  gpu: Gpu,
  family: Family,
  work: (cost: ReturnType<Family['cost']>) => number,
): Promise<number> {
  let most = 0;
  for (const { name, form, size, use } of family.cases) {
    if (use !== 'bench') continue;
    const variants = family.variants
      .filter((variant) => variant.supports(gpu.capabilities, form, size))
      .map((variant) => variant.name);
    const trial = family.trial(gpu, form, size);
    try {
      for (const variant of variants) {
        const { problem } = await checkTrial(trial, family.tolerance(form, size), variant);
        if (problem)
          throw new MachineError(`${family.name} ${name} [${variant}] ${problem}: no roofline without it`);
      }
      const times = await measure(gpu, trial, variants, SECONDS);
      // A peak is what was reached at best.
      const seconds = [...times.values()].map((each) => samplesBy(clockOf(gpu), each)[0]!);
      const least = Math.min(...seconds);
      most = Math.max(most, work(family.cost(form, size)) / least);
      if (least >= LONG_ENOUGH) break;
    } finally {
      trial.dispose();
    }
  }
  return most;
}
