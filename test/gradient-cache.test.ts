/** Gradient caching: the gradients of the whole batch, chunk by chunk, in every loss mode, dropout on; and its memory. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import type { Communicator } from '../src/ranks/communicator.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import type { M3LossBatch } from '../src/train/losses/m3-loss.js';
import { forwardBackward, lossesOf, type StepSettings } from '../src/train/step/train-step.js';
import { checkCachedPeak } from './cached-peak.js';
import { kernelSets } from './kernel-sets.js';
import { drawnBatch, dropoutModel, GROUP, settings } from './training-cases.js';

const gpus: Gpu[] = [];
/** One that binds all of a tensor, and one that binds as much as the weights and a chunk's activations take. */
const bindings: Gpu[] = [];
const LIMIT = 131072;
before(async () => {
  gpus.push(await Gpu.open({ kernels: kernelSets[0]! }), await Gpu.open({ kernels: kernelSets[1]! }));
  bindings.push(await Gpu.open(), await Gpu.open({ maxBindingSize: LIMIT }));
});
after(async () => {
  for (const gpu of [...gpus, ...bindings]) await gpu.close();
});

interface Outcome {
  loss: number;
  counter: number;
  gradients: Map<string, Float32Array>;
}

async function gradientsOf(
  gpu: Gpu,
  step: Partial<StepSettings>,
  more: Partial<M3LossBatch>,
  precision: FloatDType = 'f32',
  communicator?: Communicator,
): Promise<Outcome> {
  const model = dropoutModel(gpu, precision);
  const batch = drawnBatch(model, 4, more);
  const random = new RandomStreams(3, 17);
  const loss = await forwardBackward(model, batch, { ...settings, ...step }, { random, communicator });
  batch.tokens.dispose();
  const gradients = await model.store.readGradients();
  model.dispose();
  return { loss, counter: random.counter, gradients };
}

function same(got: Outcome, want: Outcome, bound: number): void {
  assert.ok(Math.abs(got.loss - want.loss) <= bound * Math.abs(want.loss), `loss ${got.loss}, ${want.loss}`);
  assert.equal(got.counter, want.counter);
  assert.deepEqual([...got.gradients.keys()], [...want.gradients.keys()]);
  const length = (values: ArrayLike<number>) =>
    Math.sqrt(Array.from(values, (v) => v * v).reduce((a, b) => a + b));
  for (const [name, gradient] of want.gradients) {
    const difference = length(got.gradients.get(name)!.map((value, i) => value - gradient[i]!));
    // The true gradient of a key bias is 0; what is there is rounding.
    const size = name.endsWith('key.bias')
      ? length(want.gradients.get(name.replace(/bias$/, 'weight'))!)
      : length(gradient);
    assert.ok(difference <= bound * size, `${name}: off by ${difference / size}`);
  }
}

const modes: [string, Partial<StepSettings>, Partial<M3LossBatch>][] = [
  ['m3_kd_loss, self-distillation', {}, {}],
  ['m3_kd_loss', {}, { selfDistill: false }],
  ['kl_div, self-distillation', { kind: 'kl_div' }, {}],
  ['no teacher, self-distillation', {}, { teacherScores: null }],
  ['no teacher', {}, { teacherScores: null, selfDistill: false }],
  ['no in-batch negatives', {}, { noInBatchNeg: true }],
  ['dense only', { unified: false }, { selfDistill: false }],
  ['dense only, kl_div', { unified: false, kind: 'kl_div' }, { selfDistill: false }],
  ['floored ColBERT', {}, { floor: Array.from({ length: 4 * GROUP }, (_, i) => i % 2 === 0) }],
];

for (const [n, [name, step, more]] of modes.entries()) {
  // Sixteen texts; how they are cut is the same in every mode.
  const sizes = n === 0 ? [5, 3, 1] : [3];
  test(`chunks of ${sizes.join(', ')} give the gradients of the whole batch: ${name}`, async () => {
    const whole = await gradientsOf(gpus[0]!, step, more);
    for (const subBatchSize of sizes)
      same(await gradientsOf(gpus[0]!, { ...step, subBatchSize }, more), whole, 1e-5);
    assert.equal(gpus[0]!.memory().liveBuffers, 0);
  });
}

test('the same with recomputation inside, in f16, and in the other kernels', async () => {
  for (const gpu of gpus)
    for (const precision of ['f32', 'f16'] as const) {
      const whole = await gradientsOf(gpu, {}, {}, precision);
      same(await gradientsOf(gpu, { subBatchSize: 4, recompute: true }, {}, precision), whole, 1e-5);
    }
});

test('two ranks with cross-device negatives', async () => {
  const outcomes = [];
  for (const subBatchSize of [null, 3]) {
    const ranks = new EmulatedRanks(2);
    const play = (rank: number) =>
      gradientsOf(
        gpus[0]!,
        { unified: false, negativesCrossDevice: true, subBatchSize },
        { selfDistill: false },
        'f32',
        ranks.rank(rank),
      );
    outcomes.push(await Promise.all([play(0), play(1)]));
  }
  for (const rank of [0, 1]) same(outcomes[1]![rank]!, outcomes[0]![rank]!, 1e-5);
});

test('validation is the loss without dropout, chunked or not', async () => {
  const model = dropoutModel(gpus[0]!, 'f32');
  const batch = drawnBatch(model, 4);
  const { loss: whole } = await lossesOf(model, batch, settings);
  const { loss: parts } = await lossesOf(model, batch, { ...settings, subBatchSize: 3 });
  assert.ok(Math.abs(parts - whole) <= 1e-6 * whole);
  batch.tokens.dispose();
  model.dispose();
  assert.equal(gpus[0]!.memory().liveBuffers, 0);
});

test('token vectors beyond the binding limit', async () => {
  const outcomes: Outcome[] = [];
  for (const gpu of bindings) {
    // Some 1,800 tokens, 460 kB of vectors.
    const model = dropoutModel(gpu, 'f32');
    const batch = drawnBatch(model, 24);
    assert.ok(batch.tokens.packed.tokens * 64 * 4 > 3 * LIMIT);
    const random = new RandomStreams(3);
    const loss = await forwardBackward(model, batch, { ...settings, subBatchSize: 4 }, { random });
    batch.tokens.dispose();
    outcomes.push({ loss, counter: random.counter, gradients: await model.store.readGradients() });
    model.dispose();
    assert.equal(gpu.memory().liveBuffers, 0);
  }
  same(outcomes[1]!, outcomes[0]!, 1e-5);
});

test('own groups beyond the binding limit', async () => {
  const outcomes: Outcome[] = [];
  for (const gpu of bindings) {
    const model = dropoutModel(gpu, 'f32');
    // One query with 120 passages: their vectors have some 600 kB.
    const drawn = drawnBatch(model, 30);
    const { tokens } = drawn;
    const batch: M3LossBatch = {
      ...drawn,
      tokens: tokens.part(29, 120),
      queries: 1,
      group: 90,
      teacherScores: drawn.teacherScores!,
      noInBatchNeg: true,
    };
    assert.ok(batch.tokens.packed.tokens * 64 * 4 > 3 * LIMIT);
    const random = new RandomStreams(3);
    const loss = await forwardBackward(model, batch, { ...settings, subBatchSize: 4 }, { random });
    batch.tokens.dispose();
    tokens.dispose();
    outcomes.push({ loss, counter: random.counter, gradients: await model.store.readGradients() });
    model.dispose();
    assert.equal(gpu.memory().liveBuffers, 0);
  }
  same(outcomes[1]!, outcomes[0]!, 1e-5);
});

test('peak activations of tiny: 32 queries in chunks of 16 texts at most 1.5 times 16 queries at once', () =>
  checkCachedPeak(gpus[0]!, 32));
