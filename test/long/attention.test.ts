/** Attention with heads of up to 128 components: every variant that the adapter supports, against float64. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { gradientFamily } from '../../src/kernels/attention/backward.js';
import { forwardFamily } from '../../src/kernels/attention/forward.js';
import { checkTrial } from '../../src/kernels/check.js';

for (const headDim of [4, 36, 96, 128])
  test(`attention and its gradient, heads of ${headDim}`, async () => {
    const gpu = await Gpu.open();
    const heads = headDim < 64 ? 32 : 4;
    // Rows of whole 256 bytes, so that those who read from textures take part.
    const size = { tokens: 135, hidden: heads * headDim, longest: 70 };
    for (const family of [forwardFamily, gradientFamily])
      for (const dtype of ['f32', 'f16'] as const) {
        const form = { headDim, dtype, dropout: dtype === 'f32' };
        const trial = family.trial(gpu, form, size);
        for (const variant of family.variants.filter((v) => v.supports(gpu.capabilities, form, size))) {
          const { problem } = await checkTrial(trial, family.tolerance(form, size), variant.name);
          assert.equal(problem, undefined, `${family.name}, ${variant.name}, ${dtype}: ${problem}`);
        }
        trial.dispose();
      }
    await gpu.close();
  });
