/**
 * Plans of every kind of step, and what a thousand steps of varying lengths hold, with recomputation and gradient caching
 * too.
 */
import { after, before, test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { checkPlan, type PlannedStep, planName } from '../planned-steps.js';
import { checkGoldenSteps, checkVaryingSteps, goldenSteps, varyingSteps } from '../varying-steps.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

for (const precision of ['f32', 'f16'])
  for (const recompute of [false, true])
    for (const subBatchSize of [null, 4]) {
      const plan = [precision, recompute, subBatchSize] as PlannedStep;
      test(`a plan is what the steps take: ${planName(plan)}`, () => checkPlan(gpu, plan));
    }

for (const { name, step } of varyingSteps)
  test(`a thousand steps of varying lengths leave the pool where it was after a hundred: ${name}`, () =>
    checkVaryingSteps(gpu.capabilities, step, [100, 1000]));

for (const each of goldenSteps)
  test(`a thousand steps of the golden model, none of them known to be the longest: ${each.name}`, () =>
    checkGoldenSteps(gpu, each, [100, 200, 500, 1000]));
