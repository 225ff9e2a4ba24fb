/** Moments of tables exist for the rows that move: the same weights to the bit, and no more memory than these rows need. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { TableMoments } from '../src/optim/table-moments.js';
import { CounterRandom } from '../src/tensor/random.js';
import { Tensor } from '../src/tensor/tensor.js';
import { StoreAdamW } from '../src/train/optimizer.js';

let gpu: Gpu;
let small: Gpu;
before(async () => {
  gpu = await Gpu.open();
  small = await Gpu.open({ maxBindingSize: 65536 });
});
after(async () => {
  await gpu.close();
  await small.close();
});

/** Rows with a gradient in each step; all: one for the whole table, as a product with it gives; overflow: no step. */
type Step = Uint32Array | 'all' | 'overflow' | 'frozen';

const drawn = (random: CounterRandom, rows: number, count: number) =>
  Uint32Array.from(new Set(Array.from({ length: count }, () => random.int(rows)))).sort();

const cases: { name: string; rows: number; cols: number; on: () => Gpu; precision?: FloatDType }[] = [
  { name: 'of 4 columns', rows: 300, cols: 4, on: () => gpu },
  { name: 'of 5 columns', rows: 77, cols: 5, on: () => gpu },
  { name: 'of one column', rows: 33, cols: 1, on: () => gpu },
  { name: 'of several bindings and blocks', rows: 1000, cols: 96, on: () => small },
  { name: 'of several bindings, odd columns', rows: 2500, cols: 33, on: () => small },
  { name: 'with a copy in f16', rows: 300, cols: 8, on: () => gpu, precision: 'f16' },
];

for (const { name, rows, cols, on, precision = 'f32' } of cases)
  for (const weightDecay of [0, 0.1])
    test(`a table ${name} trains to the bit as with moments of all rows, decay ${weightDecay}`, async () => {
      const device = on();
      const random = new CounterRandom(7, rows);
      const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
      const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay, maxGradNorm: 0 };
      // The same parameters twice: as tables, and as dense parameters, whose moments are all there.
      const names = ['words', 'others'];
      const stores = [true, false].map((table) => {
        const specs = names.map((each, i) => ({
          ...{ name: each, shape: [rows, cols], table, trainable: true, decay: i === 0 },
          product: precision === 'f16' && i === 0,
        }));
        const dense = { name: 'bias', shape: [7], trainable: true, decay: false };
        return new ParameterStore(device, [...specs, dense], precision);
      });
      for (const each of names) {
        const data = values(rows * cols);
        data.set([0, -0, 1e-40, -1e-40].slice(0, data.length));
        for (const store of stores) store.get(each).write(data);
      }
      const optimizers = stores.map((store) => new StoreAdamW(store, options));
      const few = () => drawn(random, rows, Math.ceil(rows / 10));
      const none = new Uint32Array();
      const steps: Step[] = [few(), none, few(), 'overflow', 'frozen', few(), 'all', none, few()];
      for (const [n, step] of steps.entries()) {
        for (const [i, each] of names.entries()) {
          const listed =
            step === 'all'
              ? Uint32Array.from({ length: rows }, (_, row) => row)
              : typeof step === 'string'
                ? few()
                : i === 1 && n === 0
                  ? none
                  : step;
          const gradient = values(listed.length * cols);
          if (step === 'overflow') gradient[0] = Number.POSITIVE_INFINITY;
          if (step === 'frozen' && i === 0) {
            for (const store of stores) store.get(each).requiresGrad = false;
            continue;
          }
          const [table, dense] = stores.map((store) => store.get(each)) as [Tensor, Tensor];
          const whole = new Float32Array(rows * cols);
          listed.forEach((row, k) => {
            whole.set(gradient.subarray(k * cols, (k + 1) * cols), row * cols);
          });
          dense.grad!.write(whole);
          const sink = table.role!.gradient!;
          if (step === 'all') {
            const part = Tensor.from(device, whole, [rows, cols]);
            sink.add(part);
            part.dispose();
          } else if (listed.length > 0)
            sink.addRows(listed, Tensor.from(device, gradient, [listed.length, cols]).keep());
        }
        const [a, b] = await Promise.all(optimizers.map((each) => each.step(1e-2, 0.5)));
        assert.equal(a!.skipped, step === 'overflow');
        assert.equal(b!.skipped, a!.skipped);
        for (const each of names) {
          const [got, want] = await Promise.all(
            stores.map(async (store) => {
              store.get(each).requiresGrad = true;
              return new Uint32Array((await store.get(each).toFloat32()).buffer);
            }),
          );
          const off = got!.findIndex((bits, i) => bits !== want![i]);
          assert.equal(
            off,
            -1,
            `${each}, step ${n}, value ${off}: bits ${got![off]} instead of ${want![off]}`,
          );
          const [half, wantHalf] = await Promise.all(
            stores.map((store) => store.get(each).role!.half()?.toArray()),
          );
          assert.deepEqual(half, wantHalf);
        }
      }
      for (const each of [...optimizers, ...stores]) each.dispose();
      assert.equal(device.memory().liveBuffers, 0);
    });

const tableOf = (device: Gpu, rows: number, cols: number) => {
  const spec = { name: 'words', shape: [rows, cols], table: true, trainable: true, decay: true };
  const store = new ParameterStore(device, [spec]);
  return { store, table: store.tables[0]! };
};

test('what moments take depends on how many rows move, not on which nor when, and is never more than of all', () => {
  const planned = Gpu.plan(gpu);
  const { store, table } = tableOf(planned, 250_002, 1024);
  const bytes = () => planned.memory().live.optimizer;
  const row = 2 * 4 * 1024;
  const counts = [1, 1000, 1024, 1025, 5000, 20_000, 60_000, 200_000, 250_002];
  const taken = counts.map((count) => {
    const moments = new TableMoments(table);
    moments.reserve(count);
    const atOnce = bytes();
    moments.dispose();
    return atOnce;
  });
  const growing = new TableMoments(table);
  for (const [i, count] of counts.entries()) {
    growing.reserve(count);
    assert.equal(bytes(), taken[i]);
    assert.ok(taken[i]! >= count * row, `${taken[i]} bytes of ${count} rows`);
    // A block of 4 MiB a moment, or a quarter; and what the pool rounds up.
    assert.ok(taken[i]! <= 1.125 * Math.max(1.25 * count * row, count * row + (8 << 20)));
  }
  assert.ok(taken.at(-1)! <= 1.01 * 250_002 * row);
  growing.dispose();
  assert.equal(bytes(), 0);
  store.dispose();
});

test('rows keep their slots when others come, in any order', () => {
  const { store, table } = tableOf(small, 1000, 96);
  const random = new CounterRandom(3, 0);
  const moments = new TableMoments(table);
  const slotsOf = () => {
    const found = new Map<number, string>();
    for (const [b, { rows, slots }] of moments.blocks.entries()) {
      assert.deepEqual(rows, rows.slice().sort());
      rows.forEach((row, i) => {
        assert.ok(!found.has(row));
        found.set(row, `${b}/${slots[i]}`);
      });
    }
    assert.equal(new Set(found.values()).size, found.size);
    return found;
  };
  let before = slotsOf();
  for (let n = 0; n < 30; n++) {
    const rows = drawn(random, 1000, 100);
    const added = moments.without(rows);
    moments.reserve(moments.count + added.length);
    moments.add(added);
    const now = slotsOf();
    for (const [row, slot] of before) assert.equal(now.get(row), slot);
    for (const row of rows) assert.ok(now.has(row));
    assert.equal(now.size, moments.count);
    const mask = moments.mask();
    for (let row = 0; row < 1000; row++)
      assert.equal(((mask[row >>> 5]! >>> (row & 31)) & 1) === 1, now.has(row));
    before = now;
  }
  assert.ok(moments.blocks.length > 3);
  moments.dispose();
  store.dispose();
});
