/** What a thousand steps of varying lengths hold, with recomputation and gradient caching. */
import { test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { checkVaryingSteps, varyingSteps } from '../varying-steps.js';

for (const { name, step } of varyingSteps.filter(({ long }) => long))
  test(`a thousand steps of varying lengths leave the pool where it was after a hundred: ${name}`, async () => {
    const gpu = await Gpu.open();
    try {
      await checkVaryingSteps(gpu.capabilities, step);
    } finally {
      await gpu.close();
    }
  });
