/** A text of 8,192 tokens trains, in mixed precision too; memory that grows with the tokens, where the suite does not look. */
import { test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { checkLongTraining } from '../long-training.js';
import { checkGrowth, modelName, type PlannedModel } from '../memory-growth.js';

async function onGpu(body: (gpu: Gpu) => Promise<void>): Promise<void> {
  const gpu = await Gpu.open();
  try {
    await body(gpu);
  } finally {
    await gpu.close();
  }
}

for (const precision of ['f32', 'f16'] as const)
  test(`8,192 tokens train: ${precision}`, () => onGpu((gpu) => checkLongTraining(gpu, precision, 8192)));

const models: readonly PlannedModel[] = [
  { name: 'tiny', layers: 4, fp16: false, recompute: true },
  { name: 'tiny', layers: 4, fp16: true, recompute: false },
  { name: 'bge-m3', layers: 1, fp16: false, recompute: false },
  { name: 'bge-m3', layers: 1, fp16: true, recompute: true },
];
for (const model of models)
  test(`memory grows with the tokens and no faster: ${modelName(model)}`, () =>
    onGpu((gpu) => checkGrowth(gpu, model)));
