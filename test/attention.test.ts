/** Attention's families: every variant that the adapter supports, against float64, forward and gradient. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { gradientFamily } from '../src/kernels/attention/backward.js';
import { forwardFamily } from '../src/kernels/attention/forward.js';
import type { Trial } from '../src/kernels/variants.js';
import type { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const poison = (output: Tensor) => {
  const word = output.dtype === 'f16' ? 0x7e7e7e7e : 0x7fc12345;
  gpu.upload(output.binding(), new Uint32Array(output.bytes / 4).fill(word));
};

for (const family of [forwardFamily, gradientFamily])
  test(`${family.name}: every variant is right on ragged lengths, and the same twice`, async () => {
    for (const { name, form, size } of family.cases.filter(({ use }) => use === 'check')) {
      const trial: Trial = family.trial(gpu, form, size);
      for (const variant of family.variants.filter((v) => v.supports(gpu.capabilities, form, size))) {
        const results: string[] = [];
        for (let round = 0; round < 2; round++) {
          trial.outputs.forEach(poison);
          trial.run(variant.name);
          const arrays = await Promise.all(trial.outputs.map((output) => output.toArray()));
          results.push(arrays.map((a) => Buffer.from(a.buffer).toString('base64')).join());
        }
        const error = await trial.error();
        assert.ok(error <= family.tolerance(form, size), `${variant.name}, ${name}: error ${error}`);
        assert.equal(results[0], results[1], `${variant.name}, ${name}`);
      }
      trial.dispose();
    }
  });
