/** Two ranks, played by one process, beside one process that takes the batches of both; all steps are in test/long. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { distance, modes, trainRanks, trainShards } from './ranked-runs.js';

const gpus: Gpu[] = [];
before(async () => {
  gpus.push(await Gpu.open(), await Gpu.open());
});
after(async () => {
  for (const gpu of gpus) {
    assert.equal(gpu.memory().liveBuffers, 0);
    await gpu.close();
  }
});

for (const mode of modes)
  test(`two ranks train as one process with both shards: ${mode.name}`, async () => {
    const steps = mode === modes[0] ? 20 : 3;
    const [first, second] = await trainRanks(gpus, { mode, steps });
    const one = await trainShards(gpus[0]!, { mode, steps });
    assert.deepEqual(second, { ...first, steps: second!.steps });
    const { name, relative } = distance(first!.weights, one.weights);
    assert.ok(relative < 1e-5, `${name}: ${relative}`);
    for (const [n, { loss, norm }] of first!.steps.entries()) {
      const want = one.steps[n]!;
      assert.ok(Math.abs(loss - want.loss) <= 1e-5 * want.loss, `step ${n}: loss ${loss}, ${want.loss}`);
      assert.ok(Math.abs(norm - want.norm) <= 1e-5 * want.norm, `step ${n}: norm ${norm}, ${want.norm}`);
    }
  });
