/** The optimiser's state through a file: training goes on to the bit; what does not fit is refused by name. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { InputError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { CounterRandom } from '../src/tensor/random.js';
import { Tensor } from '../src/tensor/tensor.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { SafetensorsFile, SafetensorsWriter, writeSafetensors } from '../src/weights/safetensors.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-optimizer-'));
let gpu: Gpu;
before(async () => {
  // Tables of several blocks.
  gpu = await Gpu.open({ maxBindingSize: 65536 });
});
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

const WORDS = [900, 64] as const;
const POSITIONS = [30, 64] as const;

function made(precision: FloatDType): { store: ParameterStore; optimizer: StoreAdamW } {
  const part = (name: string, start: number, shape: number[]) => ({ name, start, shape });
  const store = new ParameterStore(
    gpu,
    [
      { name: 'words', shape: [...WORDS], table: true, trainable: true, decay: true },
      { name: 'positions', shape: [...POSITIONS], table: true, trainable: true, decay: true },
      { name: 'frozen', shape: [5, 64], table: true, trainable: false, decay: true },
      {
        ...{ name: 'qk', shape: [10, 33], trainable: true, decay: true, product: true },
        parts: [part('query', 0, [4, 33]), part('key', 4 * 33, [6, 33])],
      },
      { name: 'bias', shape: [7], trainable: true, decay: false },
    ],
    precision,
  );
  const random = new CounterRandom(11, 0);
  for (const { tensor } of store.parameters)
    tensor.write(Float32Array.from({ length: tensor.size }, () => random.uniform() - 0.5));
  const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 0.5 };
  return { store, optimizer: new StoreAdamW(store, options) };
}

/** Steps [from, to): the gradients of each are a function of its number. */
async function train({ store, optimizer }: ReturnType<typeof made>, from: number, to: number) {
  for (let n = from; n < to; n++) {
    const random = new CounterRandom(5, n);
    const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
    for (const { tensor, gradient, table } of store.parameters) {
      if (!gradient) continue;
      if (table) {
        const rows = Uint32Array.from(
          new Set(Array.from({ length: 200 }, () => random.int(tensor.rows))),
        ).sort();
        gradient.addRows(rows, Tensor.from(gpu, values(rows.length * 64), [rows.length, 64]).keep());
      } else tensor.grad!.write(values(tensor.size));
    }
    await optimizer.step(1e-2);
  }
}

async function save(optimizer: StoreAdamW, file: string): Promise<void> {
  const tensors = optimizer.tensors();
  const writer = SafetensorsWriter.create(file, tensors);
  for (const { name, shape, read } of tensors) {
    const count = shape.reduce((a, b) => a * b, 1);
    // In pieces that end anywhere.
    for (let start = 0; start < count; start += 10_007)
      writer.write(name, await read(start, Math.min(10_007, count - start)));
  }
  writer.finish();
}

for (const precision of ['f32', 'f16'] as FloatDType[])
  test(`what is saved and restored goes on to the bit: ${precision}`, async () => {
    const file = path.join(folder, `state-${precision}`);
    const through = made(precision);
    await train(through, 0, 3);
    await save(through.optimizer, file);
    const state = JSON.parse(JSON.stringify(through.optimizer.state()));
    assert.deepEqual(state, { updates: 3 });
    const resumed = made(precision);
    // What it held is forgotten.
    await train(resumed, 7, 9);
    for (const [i, { tensor }] of resumed.store.parameters.entries())
      tensor.write(await through.store.parameters[i]!.tensor.toFloat32());
    const source = SafetensorsFile.open(file);
    assert.deepEqual(
      new Map(source.names().map((name) => [name, source.info(name).shape])).get('query.exp_avg_sq'),
      [4, 33],
    );
    resumed.optimizer.restore(state, source, 'state.json');
    source.close();
    for (const each of [through, resumed]) await train(each, 3, 6);
    for (const [i, { tensor, name }] of resumed.store.parameters.entries())
      assert.deepEqual(
        new Uint32Array((await tensor.toFloat32()).buffer),
        new Uint32Array((await through.store.parameters[i]!.tensor.toFloat32()).buffer),
        name,
      );
    const [a, b] = [through, resumed].map(({ optimizer }) => optimizer.tensors());
    assert.deepEqual(
      a!.map(({ name }) => name),
      ['words', 'positions', 'query', 'key', 'bias'].flatMap((name) => [
        ...(name === 'words' || name === 'positions' ? [`${name}.rows`] : []),
        ...[`${name}.exp_avg`, `${name}.exp_avg_sq`],
      ]),
    );
    for (const [i, tensor] of a!.entries()) {
      assert.deepEqual(b![i]!.shape, tensor.shape);
      assert.deepEqual(await b![i]!.read(), await tensor.read(), tensor.name);
    }
    assert.equal(resumed.optimizer.state().updates, 6);
    for (const { optimizer, store } of [through, resumed]) {
      optimizer.dispose();
      store.dispose();
    }
    assert.equal(gpu.memory().liveBuffers, 0);
  });

test('moments of no step, and of no row, are a state too', async () => {
  const file = path.join(folder, 'nothing');
  const [fresh, restored] = [made('f32'), made('f32')];
  await save(fresh.optimizer, file);
  const source = SafetensorsFile.open(file);
  restored.optimizer.restore(fresh.optimizer.state(), source, 'state.json');
  source.close();
  for (const each of [fresh, restored]) await train(each, 0, 2);
  const [a, b] = await Promise.all([fresh, restored].map(({ store }) => store.get('words').toArray()));
  assert.deepEqual(a, b);
  for (const { optimizer, store } of [fresh, restored]) {
    optimizer.dispose();
    store.dispose();
  }
});

interface Saved {
  name: string;
  dtype: 'f32' | 'f16' | 'u32';
  shape: readonly number[];
  data: Float32Array | Uint32Array;
}

const faults: [name: string, change: (tensors: Map<string, Saved>) => void, message: RegExp][] = [
  [
    'a tensor less',
    (tensors) => tensors.delete('key.exp_avg'),
    /"key\.exp_avg": expected f32 \[6,33\], found no such tensor$/,
  ],
  [
    'a tensor more',
    (tensors) => tensors.set('value.exp_avg', { ...tensors.get('key.exp_avg')!, name: 'value.exp_avg' }),
    /"value\.exp_avg": expected no such tensor: the model does not train it, found one$/,
  ],
  [
    'another shape',
    (tensors) => Object.assign(tensors.get('query.exp_avg')!, { shape: [33, 4] }),
    /"query\.exp_avg": expected f32 \[4,33\], found f32 \[33,4\]$/,
  ],
  [
    'another dtype',
    (tensors) => Object.assign(tensors.get('bias.exp_avg')!, { dtype: 'u32', data: new Uint32Array(7) }),
    /"bias\.exp_avg": expected f32 \[7\], found u32 \[7\]$/,
  ],
  [
    'rows of a larger table',
    (tensors) => tensors.get('positions.rows')!.data.set([30], 3),
    /"positions\.rows": expected rows of a table of 30, found row 30$/,
  ],
  [
    'a row twice',
    (tensors) => {
      const { data } = tensors.get('words.rows')!;
      data[5] = data[0]!;
    },
    /"words\.rows": expected each row once, found row \d+ twice$/,
  ],
  [
    'no rows',
    (tensors) => tensors.delete('words.rows'),
    /"words\.rows": expected u32 \[rows\], found no such tensor$/,
  ],
  [
    'fewer rows than moments',
    (tensors) => {
      const rows = tensors.get('positions.rows')!;
      Object.assign(rows, { shape: [2], data: rows.data.slice(0, 2) });
    },
    /"positions\.exp_avg": expected f32 \[2,64\], found f32 \[\d+,64\]$/,
  ],
  [
    'a moment that is no number',
    (tensors) => tensors.get('words.exp_avg')!.data.set([Number.NaN], 70),
    /"words\.exp_avg": expected a finite number, found NaN$/,
  ],
  [
    'a mean of squares below 0',
    (tensors) => tensors.get('bias.exp_avg_sq')!.data.set([-1], 6),
    /"bias\.exp_avg_sq": expected a finite number from 0, found -1$/,
  ],
];

test('a state that does not fit is refused, with file and tensor', async () => {
  const trained = made('f32');
  await train(trained, 0, 2);
  const saved = await Promise.all(
    trained.optimizer.tensors().map(async (each) => ({ ...each, data: await each.read() })),
  );
  for (const [name, change, message] of faults) {
    const tensors = new Map<string, Saved>(
      saved.map((each) => [each.name, { ...each, data: each.data.slice() }]),
    );
    change(tensors);
    const file = path.join(folder, 'fault');
    writeSafetensors(file, [...tensors.values()]);
    const source = SafetensorsFile.open(file);
    const { store, optimizer } = made('f32');
    assert.throws(
      () => optimizer.restore({ updates: 2 }, source, 'state.json'),
      (error) =>
        error instanceof InputError && error.message.startsWith(`${file}: `) && message.test(error.message),
      name,
    );
    source.close();
    optimizer.dispose();
    store.dispose();
  }
  const source = SafetensorsFile.open(path.join(folder, 'nothing'));
  for (const state of [null, 3, {}, { updates: -1 }, { updates: 1.5 }, { updates: '2' }, [2]])
    assert.throws(
      () => trained.optimizer.restore(state, source, 'state.json'),
      /^InputError: state\.json: expected "updates" of the optimiser to be an integer from 0, found /,
    );
  source.close();
  trained.optimizer.dispose();
  trained.store.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});
