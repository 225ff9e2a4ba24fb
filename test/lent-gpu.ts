/**
 * Devices that the runs of one test file take in turn. A new device compiles every kernel again, which is most of what a
 * short run costs. A run must leave nothing on the device that it gives back.
 */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';

const idle: Gpu[] = [];
after(() => Promise.all(idle.map((gpu) => Gpu.prototype.close.call(gpu))));

/** As if it had just been opened; `close` gives it back. For one run after the other, or for ranks beside each other. */
export async function lendGpu(): Promise<Gpu> {
  const gpu = idle.pop() ?? (await Gpu.open());
  gpu.choices.replaceWinners({});
  gpu.pool.trim();
  gpu.pool.resetPeak();
  const { capabilities } = gpu;
  let lent = true;
  gpu.close = async () => {
    if (!lent) return;
    lent = false;
    try {
      await gpu.finish();
    } catch {
      return Gpu.prototype.close.call(gpu);
    }
    assert.equal(gpu.memory().liveBuffers, 0, 'what had the device left buffers there');
    // Tests make it say that it is another one.
    idle.push(Object.assign(gpu, { capabilities }));
  };
  return gpu;
}
