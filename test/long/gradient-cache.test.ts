/** The memory of a batch of 256 queries in chunks. */
import { test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { checkCachedPeak } from '../cached-peak.js';

test('peak activations of tiny: 256 queries in chunks of 16 texts at most 1.5 times 16 queries at once', async () => {
  const gpu = await Gpu.open();
  try {
    await checkCachedPeak(gpu, 256);
  } finally {
    await gpu.close();
  }
});
