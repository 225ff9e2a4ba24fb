/** One training run: how often it waits for the GPU, what it tells when, and which batches it takes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { InputError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { defaultLossScaling } from '../src/optim/loss-scale.js';
import { type RunSettings, TrainingRun } from '../src/train/run/run.js';
import type { RunBatch, TakenStep } from '../src/train/run/step.js';
import { collateAhead } from '../src/train/step/collate.js';
import { drawnBatch, dropoutModel, settings } from './training-cases.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const runSettings: RunSettings = {
  optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 },
  step: settings,
  window: 1,
  learningRate: () => 1e-4,
  lossScaling: null,
  seed: 1,
  selfDistillAfter: 1,
};

/** Runs `count` steps; `see` looks at each. Returns how often something was read back. */
async function train(
  more: Partial<RunSettings>,
  count: number,
  see: (step: TakenStep, run: TrainingRun) => Promise<void> | void = () => {},
  pausesAfter?: (step: number) => boolean,
): Promise<number> {
  const run = new TrainingRun(dropoutModel(gpu, more.lossScaling ? 'f16' : 'f32'), {
    ...runSettings,
    ...more,
  });
  const list = Array.from({ length: count * run.settings.window }, (_, n) => 2 + (n % 3));
  const start = gpu.readbackCount;
  const batches = collateAhead(list, (queries): RunBatch => drawnBatch(run.model, queries));
  for await (const step of run.steps(batches, count, pausesAfter)) await see(step, run);
  const readbacks = gpu.readbackCount - start;
  run.dispose();
  run.model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
  return readbacks;
}

test('a step reads back once, however many batches it adds up and chunks it takes', async () => {
  for (const lossScaling of [null, defaultLossScaling])
    for (const [window, subBatchSize] of [
      [1, null],
      [3, null],
      [2, 4],
    ] as const)
      assert.equal(await train({ window, lossScaling, step: { ...settings, subBatchSize } }, 2), 2);
});

test('the numbers of steps are the same whether or not the next one is recorded before they are known', async () => {
  const taken = async (pausesAfter: (step: number) => boolean) => {
    const steps: Omit<TakenStep, 'seconds'>[] = [];
    await train({ window: 2 }, 5, ({ seconds: _, ...step }) => void steps.push(step), pausesAfter);
    return steps;
  };
  const ahead = await taken(() => false);
  assert.deepEqual(
    ahead.map(({ number }) => number),
    [1, 2, 3, 4, 5],
  );
  assert.deepEqual(await taken(() => true), ahead);
});

test('each step has its own time, at a pause too, and not that of what is done between steps', async () => {
  const run = new TrainingRun(dropoutModel(gpu, 'f32'), runSettings);
  const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const batches = (async function* (): AsyncGenerator<RunBatch> {
    for (let n = 0; n < 4; n++) {
      await wait(30);
      yield drawnBatch(run.model, 2 + n);
    }
  })();
  const began = performance.now();
  let between = 0;
  let sum = 0;
  // Two steps are told one after the other where the run pauses: the second one took no less time for it.
  for await (const { number, seconds } of run.steps(batches, 4, (step) => step === 2)) {
    assert.ok(seconds > 0.025, `step ${number} took ${seconds} s`);
    sum += seconds;
    const now = performance.now();
    await wait(40);
    between += performance.now() - now;
  }
  const all = performance.now() - began;
  assert.ok(1000 * sum <= all - between, `${1000 * sum} ms of ${all}, with ${between} between steps`);
  run.dispose();
  run.model.dispose();
});

test('the parts of the loss come with its numbers: weighed, they are the loss, with self-distillation and without', async () => {
  for (const step of [settings, { ...settings, subBatchSize: 4 }]) {
    const names: string[] = [];
    await train({ window: 1, step, selfDistillAfter: 1 }, 3, ({ parts, loss, tokens }) => {
      const [d, s, c, e, k] = (['dense', 'sparse', 'colbert', 'ensemble', 'distillation'] as const).map(
        (name) => parts.get(name),
      );
      const base = (d! + 0.1 * s! + c! + e!) / 4;
      const expected = k === undefined ? base : (base + k) / 2;
      assert.ok(Math.abs(loss - expected) < 1e-6 * Math.abs(loss), `${loss} is not ${expected}`);
      assert.ok(tokens > 0 && Number.isInteger(tokens));
      names.push([...parts.keys()].at(-1)!);
    });
    assert.deepEqual(names, ['ensemble', 'ensemble', 'distillation']);
  }
});

test('after a step at which the run pauses the GPU has done no more than that step', async () => {
  const weights = async (last: number, pausesAfter: (step: number) => boolean) => {
    const seen = new Map<number, Float32Array>();
    await train(
      {},
      last,
      async ({ number }, run) => {
        if (pausesAfter(number)) seen.set(number, await run.model.store.weights!.toFloat32());
      },
      pausesAfter,
    );
    return seen;
  };
  const seen = await weights(5, (step) => step === 2 || step === 5);
  for (const [last, values] of seen)
    assert.deepEqual((await weights(last, (step) => step === last)).get(last), values);
});

test('what is wrong with a batch is told after the step before it', async () => {
  const run = new TrainingRun(dropoutModel(gpu, 'f32'), runSettings);
  const batches = collateAhead([2, 3, 0, 2], (queries): RunBatch => {
    if (queries === 0) throw new InputError('a text of no use');
    return drawnBatch(run.model, queries);
  });
  const numbers: number[] = [];
  await assert.rejects(async () => {
    for await (const { number } of run.steps(batches, 4)) numbers.push(number);
  }, /a text of no use/);
  assert.deepEqual(numbers, [1, 2]);
  run.dispose();
  run.model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('batches are made one ahead of the one that is used, in order, and not beyond', async () => {
  const made: number[] = [];
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const ahead = collateAhead([1, 2, 3, 4, 5], async (n) => {
    made.push(n);
    return n;
  });
  assert.deepEqual(made, []);
  assert.equal((await ahead.next()).value, 1);
  await turn();
  await turn();
  assert.deepEqual(made, [1, 2]);
  assert.equal((await ahead.next()).value, 2);
  await ahead.return();
  await turn();
  await turn();
  assert.ok(made.length <= 3, `${made}`);
});
