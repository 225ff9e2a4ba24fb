/** Long input: memory linear in tokens, and a long sequence that trains; one of 8,192 tokens does in test/long. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { checkLongTraining } from './long-training.js';
import { checkGrowth, modelName, type PlannedModel, perToken, plans } from './memory-growth.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

// Each two of model, precision and recomputation; the other four are in test/long.
const models: readonly PlannedModel[] = [
  { name: 'tiny', layers: 4, fp16: false, recompute: false },
  { name: 'tiny', layers: 4, fp16: true, recompute: true },
  { name: 'bge-m3', layers: 1, fp16: false, recompute: true },
  { name: 'bge-m3', layers: 1, fp16: true, recompute: false },
];
for (const model of models)
  test(`memory grows with the tokens and no faster: ${modelName(model)}`, () => checkGrowth(gpu, model));

test('a query as long as its passage: their token scores are not held', async () => {
  for (const fp16 of [false, true]) await checkGrowth(gpu, { name: 'tiny', fp16, recompute: true }, true);
});

test('bytes a token: halves take little more than half, recomputation a fraction', async () => {
  const figure = async (fp16: boolean, recompute: boolean) =>
    perToken(await plans(gpu, { name: 'tiny', fp16, recompute }), 'activations').at(-1)!;
  const [whole, halves] = [await figure(false, false), await figure(true, false)];
  const [wholeAgain, halvesAgain] = [await figure(false, true), await figure(true, true)];
  const found = `${[whole, halves, wholeAgain, halvesAgain].map(Math.round)} bytes a token`;
  assert.ok(halves <= 0.6 * whole && halvesAgain <= 0.6 * wholeAgain, found);
  assert.ok(wholeAgain <= 0.6 * whole && halvesAgain <= 0.6 * halves, found);
});

test('2,048 tokens train', () => checkLongTraining(gpu, 'f32', 2048));
