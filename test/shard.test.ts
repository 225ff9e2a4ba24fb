/**
 * The optimiser's state that ranks divide among them, moments and in mixed precision f32 weights: weights, copies and
 * moments to the bit as on ranks that have all of them, and checkpoints that any number of ranks goes on from.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { linear, linearGelu } from '../src/autograd/index.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { joinedNorm, ownershipOf } from '../src/train/ranks/ownership.js';
import { Shard } from '../src/train/ranks/shard.js';
import { SafetensorsFile, SafetensorsWriter } from '../src/weights/safetensors.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-shard-'));
let gpu: Gpu;
before(async () => {
  // Tables of several bindings, and of several blocks of moments.
  gpu = await Gpu.open({ maxBindingSize: 65536, guardWords: 4 });
});
after(async () => {
  await gpu.checkGuards();
  assert.equal(gpu.memory().liveBuffers, 0);
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

interface Settings {
  readonly precision: FloatDType;
  readonly weightDecay: number;
}

interface Model {
  readonly store: ParameterStore;
  readonly optimizer: StoreAdamW;
}

/** Few elements to a bucket: several of them, of which some leave ranks without a part. */
const BUCKET = 4 * 900;
/** And of rows that are exchanged at a time: what moves takes several turns. */
const ROWS = 4 * 64 * 40;

/** `weights`: of each parameter in the order of the store; by default drawn. */
function made(
  { precision, weightDecay }: Settings,
  shard?: (store: ParameterStore) => Shard,
  weights?: readonly Float32Array[],
): Model {
  const part = (name: string, start: number, shape: number[]) => ({ name, start, shape });
  const spec = { trainable: true, decay: true };
  const store = new ParameterStore(
    gpu,
    [
      { ...spec, name: 'words', shape: [700, 33], table: true, stage: 0 },
      { ...spec, name: 'positions', shape: [30, 64], table: true, decay: false, stage: 0 },
      { ...spec, name: 'fixed', shape: [5, 64], table: true, trainable: false },
      {
        ...{ ...spec, name: 'qk', shape: [10, 33], product: true, stage: 1 },
        parts: [part('query', 0, [4, 33]), part('key', 4 * 33, [6, 33])],
      },
      { ...spec, name: 'bias', shape: [7], decay: false, stage: 1 },
      { ...spec, name: 'still', shape: [400], stage: 2 },
      { ...spec, name: 'wide', shape: [61, 70], product: true, stage: 2 },
      { ...spec, name: 'kept', shape: [8, 16], product: true, stage: 2 },
      { ...spec, name: 'scale', shape: [1300], decay: false, stage: 2 },
      { ...spec, name: 'out', shape: [90, 3], stage: 3 },
    ],
    precision,
  );
  const random = new CounterRandom(11, 0);
  for (const [n, { tensor }] of store.parameters.entries())
    tensor.write(weights?.[n] ?? Float32Array.from({ length: tensor.size }, () => random.uniform() - 0.5));
  for (const name of ['still', 'kept']) store.get(name).requiresGrad = false;
  const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay, maxGradNorm: 0.5 };
  return { store, optimizer: new StoreAdamW(store, options, shard?.(store)) };
}

/** As sums over ranks are: the same on all of them, a function of the number of the step. */
function addGradients({ store }: Model, step: number): void {
  const random = new CounterRandom(5, step);
  const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  for (const { name, tensor, gradient, table } of store.parameters) {
    if (!gradient || !tensor.requiresGrad) continue;
    if (!table) {
      const own = values(tensor.size);
      if (step % 5 === 3 && name === 'wide') own[17] = Number.POSITIVE_INFINITY;
      tensor.grad!.write(own);
      continue;
    }
    // None in some steps, and in one of them all.
    const count = step === 4 ? 5000 : name === 'words' && step === 0 ? 0 : 60;
    const rows = Uint32Array.from(
      new Set(Array.from({ length: count }, () => random.int(tensor.rows))),
    ).sort();
    if (rows.length === 0) continue;
    const own = values(rows.length * tensor.cols);
    if (step % 5 === 1 && name === 'words') own[3] = Number.NaN;
    gradient.addRows(rows, Tensor.from(gpu, own, [rows.length, tensor.cols]).keep());
  }
}

const rate = (step: number) => 1e-2 / (step + 1);

/** One rank that has all moments; the norm is joined as `size` ranks join it. */
async function stepsOfOne(model: Model, size: number, from: number, to: number): Promise<number[]> {
  const norms: number[] = [];
  for (let step = from; step < to; step++) {
    addGradients(model, step);
    const buckets = model.store.buckets(BUCKET);
    const parts: number[] = [];
    for (let rank = 0; rank < size; rank++)
      parts.push(await model.optimizer.partialNorm(ownershipOf(buckets, size, rank)));
    const stats = model.optimizer.apply(rate(step), 0.5, { norm: joinedNorm(parts) });
    const [norm, skipped] = await stats.toFloat32();
    stats.dispose();
    if (skipped) model.optimizer.noteSkipped();
    norms.push(norm!);
  }
  return norms;
}

async function ranked(
  ranks: EmulatedRanks,
  settings: Settings,
  work: (model: Model, rank: number) => Promise<void>,
  weights?: readonly Float32Array[],
): Promise<Model[]> {
  const models = Array.from({ length: ranks.size }, (_, rank) =>
    made(settings, (store) => new Shard(ranks.rank(rank), store.buckets(BUCKET), ROWS), weights),
  );
  await Promise.all(models.map(work));
  return models;
}

async function steps(model: Model, from: number, to: number): Promise<number[]> {
  const norms: number[] = [];
  for (let step = from; step < to; step++) {
    addGradients(model, step);
    const { norm, skipped } = await model.optimizer.step(rate(step), 0.5);
    assert.equal(skipped, step % 5 === 3 || (step % 5 === 1 && step > 0));
    norms.push(norm);
  }
  return norms;
}

const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);

/** What each rank has alone, and with `weights` all of it: f32 weights as they are read of several. */
async function requireEqual(got: Model, want: Model, what: string, weights?: Float32Array[]): Promise<void> {
  for (const [n, { name, tensor, isDivided }] of got.store.parameters.entries()) {
    const other = want.store.parameters[n]!;
    if (!isDivided || weights) {
      const [a, b] = await Promise.all([weights?.[n] ?? tensor.toFloat32(), other.tensor.toFloat32()]);
      const off = bits(a!).findIndex((value, i) => value !== bits(b!)[i]);
      assert.equal(off, -1, `${what}: ${name} differs in element ${off}: ${a![off]} instead of ${b![off]}`);
    }
    const halves = [tensor, other.tensor].map((each) => each.role!.half()?.toArray());
    const [c, d] = await Promise.all(halves);
    assert.deepEqual(c, d, `${what}: copy of ${name}`);
  }
  assert.equal(got.optimizer.steps, want.optimizer.steps);
}

/** In f32; of ranks that divide them all call it, and rank 0 gets them. */
function weightsOf({ store, optimizer }: Model): Promise<Float32Array[] | undefined> {
  return optimizer.withTensors(async () => {
    const read: Float32Array[] = [];
    for (const parameter of store.parameters) {
      const { size } = parameter.tensor;
      const values = new Float32Array(size);
      // In pieces that begin and end within what one rank has.
      for (let start = 0; start < size; start += 1000)
        values.set(await parameter.read(start, Math.min(1000, size - start)), start);
      read.push(values);
    }
    return read;
  });
}

/** Of ranks that divide the moments all call it, and rank 0 writes. */
async function save({ optimizer }: Model, file: string): Promise<void> {
  await optimizer.withTensors(async (tensors) => {
    const writer = SafetensorsWriter.create(file, tensors);
    for (const { name, shape, read } of tensors) {
      const count = shape.reduce((a, b) => a * b, 1);
      // In pieces that end anywhere.
      for (let start = 0; start < count; start += 1009)
        writer.write(name, await read(start, Math.min(1009, count - start)));
    }
    writer.finish();
  });
}

function dispose(...models: Model[]): void {
  for (const { store, optimizer } of models) {
    optimizer.dispose();
    store.dispose();
  }
}

describe('ranks with divided moments train to the bit as ranks that have all', () => {
  for (const [size, ...all] of [
    [2, { precision: 'f32', weightDecay: 0.1 }],
    [3, { precision: 'f32', weightDecay: 0 }, { precision: 'f16', weightDecay: 0.1 }],
    [2, { precision: 'f16', weightDecay: 0 }],
  ] as [number, ...Settings[]][])
    for (const settings of all)
      test(`${size} ranks, ${settings.precision}, decay ${settings.weightDecay}`, async () => {
        const one = made(settings);
        const expected = await stepsOfOne(one, size, 0, 7);
        const norms: number[][] = [];
        const weights: (Float32Array[] | undefined)[] = [];
        const models = await ranked(new EmulatedRanks(size), settings, async (model, rank) => {
          norms[rank] = await steps(model, 0, 7);
          weights[rank] = await weightsOf(model);
        });
        assert.deepEqual(
          models[0]!.store.parameters.filter(({ isDivided }) => isDivided).map(({ name }) => name),
          settings.precision === 'f16' ? ['qk', 'wide'] : [],
        );
        for (const [rank, model] of models.entries()) {
          await requireEqual(model, one, `rank ${rank}`, weights[rank]);
          assert.deepEqual(norms[rank], expected);
        }
        dispose(one, ...models);
      });
});

describe('a checkpoint of divided moments is that of one rank, and any number goes on from it', () => {
  for (const precision of ['f32', 'f16'] as FloatDType[])
    test(`of 2 ranks, ${precision}`, async () => {
      const settings = { precision, weightDecay: 0.1 };
      const [whole, divided] = ['one', 'two'].map((name) => path.join(folder, `${name}-${precision}`)) as [
        string,
        string,
      ];
      const one = made(settings);
      await stepsOfOne(one, 2, 0, 3);
      await save(one, whole);
      let weights: Float32Array[] = [];
      const two = await ranked(new EmulatedRanks(2), settings, async (model) => {
        await steps(model, 0, 3);
        await save(model, divided);
        weights = (await weightsOf(model)) ?? weights;
      });
      assert.deepEqual(fs.readFileSync(divided), fs.readFileSync(whole));
      const state = two[0]!.optimizer.state();
      assert.deepEqual(state, one.optimizer.state());

      const source = SafetensorsFile.open(divided);
      const restored = async (model: Model) => {
        model.optimizer.restore(state, source, 'state.json');
      };
      for (const size of precision === 'f32' ? [1, 4] : [3]) {
        const alone = made(settings);
        // What it held is forgotten.
        await stepsOfOne(alone, 1, 4, 5);
        for (const [n, { tensor }] of alone.store.parameters.entries()) tensor.write(weights[n]!);
        await restored(alone);
        await stepsOfOne(alone, size, 3, 6);
        const read: (Float32Array[] | undefined)[] = [];
        const models = await ranked(
          new EmulatedRanks(size),
          settings,
          async (model, rank) => {
            await restored(model);
            await steps(model, 3, 6);
            const file = path.join(folder, `again-${precision}-${size}`);
            await save(model, file);
            read[rank] = await weightsOf(model);
          },
          weights,
        );
        for (const [rank, model] of models.entries())
          await requireEqual(model, alone, `${size} ranks`, read[rank]);
        await save(alone, path.join(folder, `alone-${precision}`));
        assert.deepEqual(
          fs.readFileSync(path.join(folder, `again-${precision}-${size}`)),
          fs.readFileSync(path.join(folder, `alone-${precision}`)),
        );
        dispose(alone, ...models);
      }
      source.close();
      dispose(one, ...two);
    });
});

test('moments take what a rank has of them: of every bucket a part, of the rows that move every W-th', async () => {
  const settings: Settings = { precision: 'f32', weightDecay: 0 };
  const bytes = () => gpu.memory().live.optimizer;
  const one = made(settings);
  const all = bytes();
  const { size } = one.store.weights!;
  const models = await ranked(new EmulatedRanks(3), settings, async () => undefined);
  const counts = models.map(({ store }, rank) =>
    ownershipOf(store.buckets(BUCKET), 3, rank).ranges.reduce((sum, { start, end }) => sum + end - start, 0),
  );
  // What is frozen, 512 and 128 elements with their padding, has none.
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    size - 640,
  );
  assert.ok(Math.max(...counts) <= size / 3 + 128 * one.store.buckets(BUCKET).length, `${counts} of ${size}`);
  assert.ok((bytes() - all) / 3 < all / 2, `${all} bytes of one, ${bytes() - all} of three`);
  dispose(one, ...models);
});

test('f32 weights that products read in f16 take what a rank has of them, and are read while all ranks give theirs', async () => {
  const settings: Settings = { precision: 'f16', weightDecay: 0 };
  const bytes = () => gpu.memory().live.weights;
  const one = made(settings);
  const all = bytes();
  const { halves } = one.store;
  const models = await ranked(new EmulatedRanks(3), settings, async () => undefined);
  const counts = models.map(({ store }) => store.masters!.size);
  // Each is one rank's; what is frozen stays whole on all.
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    halves!.size - 128,
  );
  // Memory is taken in classes of sizes.
  const saved = 4 * (3 * halves!.size - halves!.size);
  const fallen = 3 * all - (bytes() - all);
  assert.ok(Math.abs(fallen - saved) < 0.3 * saved, `${fallen} of ${saved} bytes`);
  for (const { store } of models) {
    const parameter = store.parameters.find(({ name }) => name === 'wide')!;
    assert.equal(parameter.tensor.dtype, 'f16');
    await assert.rejects(parameter.read(), /wide: ranks have parts of it/);
    // Gradients are f32 whatever is here of the weight.
    const [whole, half] = (['f32', 'f16'] as const).map((dtype) => Tensor.zeros(gpu, [61, 70], dtype));
    parameter.tensor.grad = whole;
    assert.throws(() => parameter.setGradient(half), /of its leaf's shape, dtype/);
    whole!.dispose();
    half!.dispose();
    // An f32 product of it would not be what it is on one rank.
    scope(() => {
      const x = (dtype: FloatDType) => Tensor.zeros(gpu, [4, 70], dtype);
      assert.equal(linear(x('f16'), parameter.tensor, undefined, 'f32').dtype, 'f32');
      for (const product of [linear, linearGelu])
        assert.throws(() => product(x('f32'), parameter.tensor), /ranks have parts of the weight in f32/);
    });
  }
  dispose(one, ...models);
});

test('a save that fails on rank 0 fails there alone; reads come one after the other, and end with the work', async () => {
  const results = await Promise.all(
    (
      await ranked(new EmulatedRanks(2), { precision: 'f32', weightDecay: 0 }, async (model) => {
        await steps(model, 0, 2);
      })
    ).map(async (model, rank) => {
      let late: (() => Promise<unknown>) | undefined;
      const failed = await model.optimizer
        .withTensors(async ([, first, second]) => {
          const together = await Promise.all([first!.read(), second!.read(3, 40), first!.read(0, 9)]);
          late = () => first!.read();
          const all = first!.shape.reduce((a, b) => a * b, 1);
          throw new Error(`full after ${together.map(({ length }) => (length === all ? 'all' : length))}`);
        })
        .catch((error: Error) => error.message);
      if (rank === 0) await assert.rejects(late!(), /no other rank answers any more/);
      assert.throws(() => model.optimizer.tensors(), /use withTensors/);
      // All ranks are where they were.
      await steps(model, 2, 3);
      return { model, failed };
    }),
  );
  assert.deepEqual(
    results.map(({ failed }) => failed),
    ['full after all,40,9', undefined],
  );
  dispose(...results.map(({ model }) => model));
});

test('without the norm of all ranks nothing is updated, nor when parameters train whose moments no rank has', async () => {
  const models = await ranked(
    new EmulatedRanks(2),
    { precision: 'f32', weightDecay: 0 },
    async () => undefined,
  );
  const { store, optimizer } = models[0]!;
  assert.throws(() => optimizer.apply(1e-2), /must give the norm of all/);
  store.get('still').requiresGrad = true;
  assert.throws(() => optimizer.apply(1e-2, 1, { norm: 1 }), /did not when the moments were divided/);
  assert.equal(optimizer.steps, 0);
  dispose(...models);
});
