/** A text of 8,192 tokens trains, in mixed precision too. */
import { test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { checkLongTraining } from '../long-training.js';

for (const precision of ['f32', 'f16'] as const)
  test(`8,192 tokens train: ${precision}`, async () => {
    const gpu = await Gpu.open();
    try {
      await checkLongTraining(gpu, precision, 8192);
    } finally {
      await gpu.close();
    }
  });
