/** Whether the bytes of a plan are those that steps take: for the tests of memory, short and long. */
import assert from 'node:assert/strict';
import type { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { planMemory } from '../src/train/memory/memory-plan.js';
import type { StoreAdamWOptions } from '../src/train/optimizer.js';
import { type RunSettings, TrainingRun } from '../src/train/run/run.js';
import { collateAhead } from '../src/train/step/collate.js';
import { drawnBatch, dropoutModel, settings } from './training-cases.js';

export const optimizer: StoreAdamWOptions = {
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0.01,
  maxGradNorm: 1,
};

export type PlannedStep = [precision: FloatDType, recompute: boolean, subBatchSize: number | null];

export const planName = ([precision, recompute, subBatchSize]: PlannedStep): string =>
  `${precision}${recompute ? ', recompute' : ''}${subBatchSize ? `, chunks of ${subBatchSize}` : ''}`;

export async function checkPlan(gpu: Gpu, [precision, recompute, subBatchSize]: PlannedStep): Promise<void> {
  const run: RunSettings = {
    ...{ optimizer, step: { ...settings, recompute, subBatchSize }, window: 1, seed: 1 },
    ...{ learningRate: () => 1e-4, lossScaling: null, selfDistillAfter: -1 },
  };
  const planned = await planMemory(gpu, {
    model: (on) => dropoutModel(on, precision),
    run,
    batches: (model) => [drawnBatch(model, 6)],
  });
  gpu.pool.trim();
  gpu.pool.resetPeak();
  const model = dropoutModel(gpu, precision);
  const taken = new TrainingRun(model, run);
  const batches = collateAhead([6, 6, 6], (queries) => drawnBatch(model, queries));
  for await (const { skipped } of taken.steps(batches, 3)) assert.ok(!skipped);
  const { peak, peakByPurpose } = gpu.memory();
  taken.dispose();
  model.dispose();
  assert.equal(peak, planned.peak);
  assert.deepEqual(peakByPurpose, planned.peakByPurpose);
  assert.equal(gpu.memory().liveBuffers, 0);
}
