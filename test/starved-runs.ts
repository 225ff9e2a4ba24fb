/** Training for which memory ends at a chosen moment: the allocation of that number fails, on a device that only plans. */
import assert from 'node:assert/strict';
import { MachineError } from '../src/errors.js';
import { Gpu, type PlannedDevice } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import type { M3Model } from '../src/models/m3.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import type { M3LossBatch } from '../src/train/losses/m3-loss.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { forwardBackward, type StepSettings } from '../src/train/step/train-step.js';
import { drawnBatch, dropoutModel, settings } from './training-cases.js';

export interface StarvedRun {
  readonly name: string;
  readonly precision: FloatDType;
  readonly settings: StepSettings;
}

export const starvedRuns: readonly StarvedRun[] = [
  { name: 'f32', precision: 'f32', settings },
  { name: 'f16, recomputed', precision: 'f16', settings: { ...settings, recompute: true } },
  { name: 'chunks', precision: 'f32', settings: { ...settings, subBatchSize: 3 } },
];

const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };

/** How many buffers and textures a run takes; `refuse`: the number of the one that it does not get. */
async function allocations(like: PlannedDevice, run: StarvedRun, refuse?: number): Promise<number> {
  const gpu = Gpu.plan(like);
  let count = 0;
  const counted = () => {
    if (count++ === refuse) throw new MachineError('no memory here');
  };
  const { pool } = gpu;
  const allocate = pool.allocate.bind(pool);
  const allocateTexture = pool.allocateTexture.bind(pool);
  pool.allocate = (...asked) => {
    counted();
    return allocate(...asked);
  };
  pool.allocateTexture = (...asked) => {
    counted();
    return allocateTexture(...asked);
  };
  let model: M3Model | undefined;
  let optimizer: StoreAdamW | undefined;
  let batch: M3LossBatch | undefined;
  const training = async () => {
    model = dropoutModel(gpu, run.precision, 1);
    optimizer = new StoreAdamW(model.store, options);
    batch = drawnBatch(model, 2);
    const random = new RandomStreams(1);
    for (let n = 0; n < 2; n++) await forwardBackward(model, batch, run.settings, { random });
    await optimizer.step(1e-3);
  };
  if (refuse === undefined) await training();
  else await assert.rejects(training(), /no memory here/, `${run.name}, ${refuse}`);
  batch?.tokens.dispose();
  optimizer?.dispose();
  model?.dispose();
  assert.equal(gpu.memory().liveBuffers, 0, `${run.name}, allocation ${refuse} refused`);
  await gpu.close();
  return count;
}

/** Refuses the first allocations, with which model and optimiser are made, and then every so manieth. */
export async function checkStarved(like: PlannedDevice, run: StarvedRun, every: number): Promise<void> {
  const all = await allocations(like, run);
  assert.ok(all > 100);
  for (let at = 0; at < all; at += at < 12 ? 1 : every) await allocations(like, run, at);
}
