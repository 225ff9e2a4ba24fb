/** Memory that ends, at many moments of training: the error is told, and nothing stays behind. */
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { checkStarved, starvedRuns } from './starved-runs.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

for (const run of starvedRuns)
  test(`memory that ends at many moments leaves nothing behind: ${run.name}`, () =>
    checkStarved(gpu, run, 19));
