/** Shape operations beyond the table: other formats, ends and empties, views, and what is refused. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const counted = (...shape: number[]) =>
  Tensor.from(
    gpu,
    Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
    shape,
  );
const numbers = async (x: Tensor) => [...(await x.toArray())];

test('numbers of every format are moved by their bits', () =>
  scope(async () => {
    const ints = Tensor.from(gpu, Int32Array.of(1, -2, 3, 4, 5, -6), [2, 3]);
    assert.deepEqual(await numbers(ints.transpose()), [1, 4, -2, 5, 3, -6]);
    const bools = Tensor.from(gpu, [true, false, false, true, true, true], [2, 3]);
    assert.deepEqual(await numbers(bools.transpose()), [1, 1, 0, 1, 0, 1]);
    // A NaN keeps its payload.
    const bits = Tensor.from(
      gpu,
      Float32Array.from(new Float32Array(Uint32Array.of(0x7fc12345, 0).buffer)),
      [2, 1],
    );
    const flipped = (await bits.flip().toArray()) as Float32Array;
    assert.deepEqual([...new Uint32Array(flipped.buffer)], [0, 0x7fc12345]);
  }));

test('slices are those of Python', () =>
  scope(async () => {
    const x = counted(7);
    const cases: [ops.SliceRange, number[]][] = [
      [[], [0, 1, 2, 3, 4, 5, 6]],
      [[2], [2, 3, 4, 5, 6]],
      [[-3], [4, 5, 6]],
      [
        [null, -5],
        [0, 1],
      ],
      [
        [1, 100, 3],
        [1, 4],
      ],
      [
        [-100, 2],
        [0, 1],
      ],
      [
        [null, null, -1],
        [6, 5, 4, 3, 2, 1, 0],
      ],
      [
        [4, null, -2],
        [4, 2, 0],
      ],
      [
        [4, 0, -2],
        [4, 2],
      ],
      [
        [100, -100, -3],
        [6, 3, 0],
      ],
      [[5, 2], []],
      [[7], []],
    ];
    for (const [range, wanted] of cases) {
      assert.deepEqual(await numbers(x.slice(range)), wanted, JSON.stringify(range));
      assert.deepEqual(x.slice(range).shape, [wanted.length]);
    }
    assert.deepEqual(x.slice(-1).shape, []);
    assert.deepEqual(
      await numbers(counted(2, 3, 4).slice(1, null, [null, null, 3])),
      [12, 15, 16, 19, 20, 23],
    );
  }));

test('views where no element moves', () =>
  scope(() => {
    const x = counted(64, 1, 4);
    for (const view of [
      x.reshape([-1]),
      x.flatten(0, 1),
      x.squeeze(),
      x.squeeze(1),
      x.unsqueeze(-1),
      x.transpose(0, 1),
      x.permute([1, 0, 2]),
      x.slice([0, 32]),
      x.slice(16),
      x.expand([1, 64, 1, 4]),
    ])
      assert.ok(view.sharesStorage(x), `[${view.shape}]`);
    assert.deepEqual(x.unsqueeze(-1).shape, [64, 1, 4, 1]);
    assert.deepEqual(x.flatten().shape, [256]);
    assert.deepEqual(Tensor.scalar(gpu, 1).flatten().shape, [1]);
    for (const copy of [x.transpose(0, 2), x.slice(null, null, [1]), x.expand([2, 64, 1, 4])])
      assert.ok(!copy.sharesStorage(x), `[${copy.shape}]`);
  }));

test('nothing, and an empty axis among others', () =>
  scope(async () => {
    const x = Tensor.empty(gpu, [3, 0, 2]);
    x.requiresGrad = true;
    for (const [y, shape] of [
      [x.transpose(), [3, 2, 0]],
      [x.flip(), [3, 0, 2]],
      [x.slice([1], null, 1), [2, 0]],
      [x.slice([2, 2]), [0, 0, 2]],
      [x.expand([2, 3, 0, 2]), [2, 3, 0, 2]],
      [x.tile([1, 4, 0]), [3, 0, 0]],
      [x.reshape([0, 7]), [0, 7]],
      [ops.concat([x, x], 1), [3, 0, 2]],
      [ops.stack([x, x], -1), [3, 0, 2, 2]],
    ] as const) {
      assert.deepEqual(y.shape, shape);
      ops.backward(y.sum());
      assert.deepEqual(x.grad?.shape, [3, 0, 2]);
    }
    const y = Tensor.from(gpu, [1, 2], [2, 1]);
    y.requiresGrad = true;
    ops.backward(y.expand([2, 0]).sum());
    assert.deepEqual(await numbers(y.grad!), [0, 0]);
    y.zeroGrad();
    y.grad = undefined;
    assert.deepEqual(
      counted(5)
        .split(2)
        .map(({ size }) => size),
      [2, 2, 1],
    );
    assert.deepEqual(
      counted(5)
        .chunk(4)
        .map(({ size }) => size),
      [2, 2, 1],
    );
  }));
