/** A text of 8,192 tokens trains in mixed precision too. */
import { test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { checkLongTraining } from '../long-training.js';

test('8,192 tokens train: f16', async () => {
  const gpu = await Gpu.open();
  try {
    await checkLongTraining(gpu, 'f16');
  } finally {
    await gpu.close();
  }
});
