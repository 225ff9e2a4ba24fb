/** Operations by index tensors beyond the table: indices that are none, long lists, order where numbers are equal or none. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { f32ToF16 } from '../src/tensor/dtype.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open({ guardWords: 8 });
});
after(async () => {
  await gpu.checkGuards();
  await gpu.close();
});

const floats = (values: number[], shape = [values.length]) => Tensor.from(gpu, values, shape);
const ints = (values: number[], shape = [values.length]) => Tensor.from(gpu, Int32Array.from(values), shape);
const numbers = async (x: Tensor) =>
  x.dtype === 'f16' ? [...(await x.toFloat32())] : [...((await x.toArray()) as Float32Array)];

test('an index that is none reads a NaN, adds to nothing and has no gradient', () =>
  scope(async () => {
    const index = ints([1, -1, 2, 3, 1]);
    for (const dtype of ['f32', 'f16'] as const) {
      const values = Float32Array.of(1, 2, 3, 4, 5, 6);
      const x =
        dtype === 'f32'
          ? Tensor.from(gpu, values, [3, 2])
          : Tensor.from(gpu, f32ToF16(values), [3, 2], 'f16');
      x.requiresGrad = true;
      const y = x.indexSelect(0, index);
      assert.deepEqual(await numbers(y), [3, 4, NaN, NaN, 5, 6, NaN, NaN, 3, 4]);
      ops.backward(y.cast('f32').sum());
      assert.deepEqual(await numbers(x.grad!), [0, 0, 2, 2, 1, 1]);
      const z = x.gather(1, ints([1, 2, 0, -5, 7, 0], [3, 2]));
      assert.deepEqual(await numbers(z), [2, NaN, 3, NaN, NaN, 5]);
      x.grad = undefined;
      ops.backward(z.cast('f32').sum());
      assert.deepEqual(await numbers(x.grad!), [0, 1, 1, 0, 1, 0]);
      x.grad!.dispose();
    }
    assert.deepEqual(await numbers(ints([7, 8]).indexSelect(0, ints([1, 2, -1]))), [8, 0, 0]);
    const source = floats([1, 2, 3, 4, 5]);
    source.requiresGrad = true;
    const sum = floats([10, 20, 30]).scatterAdd(0, index, source);
    assert.deepEqual(await numbers(sum), [10, 26, 33]);
    ops.backward(sum, { seed: floats([1, 2, 3]) });
    assert.deepEqual(await numbers(source.grad!), [2, 0, 3, 0, 2]);
    assert.deepEqual(await numbers(ints([1, -1, 5]).oneHot(2)), [0, 1, 0, 0, 0, 0]);
    source.grad!.dispose();
  }));

test('rows of a table by numbers on the device are those by numbers of the host, gradients too', () =>
  scope(async () => {
    const picked = Array.from({ length: 60 }, (_, i) => (i * 7) % 11);
    const host = new RowIndex(gpu, Uint32Array.from(picked));
    const device = Tensor.from(gpu, Uint32Array.from(picked), [5, 12]);
    for (const paddingIndex of [undefined, 3, -1]) {
      const results: number[][] = [];
      for (const index of [host, device]) {
        const table = floats(
          Array.from({ length: 88 }, (_, i) => Math.sin(i)),
          [11, 8],
        );
        table.requiresGrad = true;
        const y = ops.gatherRows(table, index, { paddingIndex });
        assert.deepEqual(y.shape, index === device ? [5, 12, 8] : [60, 8]);
        ops.backward(y.square().sum());
        results.push([...(await numbers(y)), ...(await numbers(table.grad!))]);
        table.grad!.dispose();
      }
      results[0]!.forEach((value, i) => {
        assert.ok(Math.abs(value - results[1]![i]!) < 1e-5, `${i}: ${value} and ${results[1]![i]}`);
      });
    }
    host.dispose();
    assert.throws(
      () => ops.gatherRows(floats([1], [1, 1]), ints([0]), { paddingIndex: 1 }),
      /padding index 1/,
    );
  }));

test('order: a NaN is the largest, equal ones keep their order, both zeros are equal', () =>
  scope(async () => {
    const values = [3, NaN, -0, 0, -Infinity, Infinity, 3, NaN, -0];
    for (const x of [floats(values), Tensor.from(gpu, f32ToF16(Float32Array.from(values)), [9], 'f16')]) {
      assert.deepEqual(await numbers(x.argsort()), [4, 2, 3, 8, 0, 6, 5, 1, 7]);
      assert.deepEqual(await numbers(x.argsort({ descending: true })), [1, 7, 5, 0, 6, 2, 3, 8, 4]);
      const { values: sorted } = x.sort();
      assert.deepEqual(await numbers(sorted), [-Infinity, -0, 0, -0, 3, 3, Infinity, NaN, NaN]);
      for (const k of [0, 3, 9]) {
        const best = x.topk(k);
        assert.deepEqual(await numbers(best.indices), [1, 7, 5, 0, 6, 2, 3, 8, 4].slice(0, k));
        const least = x.topk(k, { largest: false });
        assert.deepEqual(await numbers(least.indices), [4, 2, 3, 8, 0, 6, 5, 1, 7].slice(0, k));
      }
    }
    const extremes = [-(2 ** 31), 2 ** 31 - 1, 0, -1];
    assert.deepEqual(await numbers(ints(extremes).sort().values), [-(2 ** 31), -1, 0, 2 ** 31 - 1]);
    assert.deepEqual(await numbers(ints(extremes).sort({ descending: true }).indices), [1, 2, 3, 0]);
    const large = Tensor.from(gpu, Uint32Array.of(2 ** 32 - 1, 0, 2 ** 31), [3]);
    assert.deepEqual(await numbers(large.argsort()), [1, 2, 0]);
  }));

test('rows of a million, and rows of nothing', () =>
  scope(async () => {
    const length = 1_000_003;
    const values = Float32Array.from({ length }, (_, i) => ((i * 48271) % 65537) - 30000);
    const { values: sorted, indices } = Tensor.from(gpu, values, [length]).sort();
    const [got, at] = [(await sorted.toArray()) as Float32Array, (await indices.toArray()) as Uint32Array];
    assert.deepEqual(got, values.slice().sort());
    for (let i = 1; i < length; i++)
      assert.ok(values[at[i]!] === got[i] && (got[i - 1]! < got[i]! || at[i - 1]! < at[i]!), `${i}`);
    for (const shape of [[0], [3, 0], [0, 3]]) {
      const x = Tensor.empty(gpu, shape);
      assert.deepEqual(x.sort().values.shape, shape);
      assert.deepEqual(x.topk(0).indices.shape, [...shape.slice(0, -1), 0]);
      x.requiresGrad = true;
      ops.backward(x.sort().values.sum());
      assert.equal(x.grad!.size, 0);
    }
    // By the lists of long rows too a NaN is the best, and of equal ones the first.
    const row = Float32Array.from({ length: 6000 }, (_, i) => Math.floor((i * 7919) % 1000));
    row.set([Infinity, NaN, 999, NaN], 3001);
    row[17] = -0;
    const best = Tensor.from(gpu, Float32Array.from([...row, ...row.fill(NaN)]), [2, 6000]).topk(5);
    const firsts = [0, 1, 2, 3, 4];
    assert.deepEqual((await numbers(best.indices)).slice(0, 4), [3002, 3004, 3001, 321]);
    assert.deepEqual((await numbers(best.indices)).slice(5), firsts);
    assert.deepEqual((await numbers(best.values)).slice(0, 4), [NaN, NaN, Infinity, 999]);
    const none = Tensor.empty(gpu, [0], 'u32');
    const x = floats([1, 2, 3, 4], [2, 2]);
    x.requiresGrad = true;
    const y = x.indexSelect(1, none);
    assert.deepEqual(y.shape, [2, 0]);
    ops.backward(y.sum());
    assert.deepEqual(await numbers(x.grad!), [0, 0, 0, 0]);
    x.grad!.dispose();
    assert.deepEqual(await numbers(Tensor.empty(gpu, [0, 2]).indexSelect(0, ints([0]))), [NaN, NaN]);
    assert.deepEqual(await numbers(floats([1, 2]).scatterAdd(0, none, Tensor.empty(gpu, [0]))), [1, 2]);
    assert.deepEqual(none.oneHot(3).shape, [0, 3]);
  }));
