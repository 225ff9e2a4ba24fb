/** The record of each family over rows and elements: every variant that the adapter runs computes its small cases. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { checkTrial, outputValues } from '../src/kernels/check.js';
import { families } from '../src/kernels/families.js';
import { variantsFor } from '../src/kernels/variants.js';

/** Those that have a test of their own. */
const ELSEWHERE = /^(matmul|attention|attentionGradient|maxSim|layerNorm.*)$/;

describe('kernels over rows and elements', () => {
  let gpu: Gpu;
  before(async () => {
    gpu = await Gpu.open();
  });
  after(() => gpu.close());

  for (const family of families.filter(({ name }) => !ELSEWHERE.test(name)))
    test(family.name, async (t) => {
      const computed = new Set<string>();
      for (const { name, form, size } of family.cases.filter(({ use }) => use === 'check')) {
        const trial = family.trial(gpu, form, size);
        let expected: Float32Array[] | undefined;
        for (const variant of variantsFor(family, gpu.capabilities, form, size)) {
          const tolerance = family.tolerance(form, size);
          const { problem } = await checkTrial(trial, tolerance, variant.name, expected);
          assert.equal(problem, undefined, `${name} [${variant.name}]`);
          computed.add(variant.name);
          expected ??= await outputValues(trial);
        }
        trial.dispose();
      }
      t.diagnostic(`computed by ${[...computed].join(', ')}`);
      const others = family.variants.filter((variant) => !computed.has(variant.name));
      if (others.length > 0)
        t.diagnostic(`not on this adapter: ${others.map((each) => each.name).join(', ')}`);
    });
});
