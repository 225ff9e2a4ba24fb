/**
 * The two lines of an adapter's roofline, measured on it in a second or two: the best rate of the copy kernel, and that of
 * the kernel that does nothing but multiply and add. Profiles hold training's kernels against them.
 */
import type { Gpu, Roofline } from '../gpu/gpu.js';
import { scope } from '../tensor/scope.js';
import { type AnyFamily, familyNamed } from './families.js';
import { type Cost, choose } from './variants.js';

const RUNS = 4;
/** Seconds of a run from which a larger case would tell nothing else. */
const LONG_ENOUGH = 5e-3;

/**
 * Undefined where the adapter has no timestamps. Takes some hundred megabytes of memory for the time of the measurement.
 * @throws MachineError when the memory budget has no room for the operands.
 */
export async function measureRoofline(gpu: Gpu): Promise<Roofline | undefined> {
  const [copy, arithmetic] = [familyNamed('copy'), familyNamed('fmaPeak')];
  if (!gpu.capabilities.timestamps || !copy || !arithmetic) return undefined;
  return {
    peakFlops: await bestRate(gpu, arithmetic, ({ flops }) => flops),
    copyBandwidth: await bestRate(gpu, copy, ({ bytes }) => bytes),
  };
}

/** Of the family's bench cases, smaller ones first, by the GPU's clock; the first run warms up. */
async function bestRate(gpu: Gpu, family: AnyFamily, amount: (cost: Cost) => number): Promise<number> {
  let best = 0;
  for (const { form, size, use } of family.cases) {
    if (use !== 'bench') continue;
    const variant = choose(gpu, family, form, size).name;
    const trial = family.trial(gpu, form, size);
    try {
      scope(() => trial.run(variant));
      await gpu.startProfile();
      for (let run = 0; run < RUNS; run++) scope(() => trial.run(variant));
      const { dispatches } = await gpu.stopProfile();
      const perRun = dispatches.length / RUNS;
      const runs = Array.from({ length: RUNS }, (_, run) =>
        dispatches
          .slice(run * perRun, (run + 1) * perRun)
          .reduce((sum, { begin, end }) => sum + (end - begin) / 1e9, 0),
      );
      const seconds = Math.min(...runs);
      best = Math.max(best, amount(family.cost(form, size)) / seconds);
      if (seconds >= LONG_ENOUGH) break;
    } finally {
      trial.dispose();
    }
  }
  return best;
}
