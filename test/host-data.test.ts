/** Host data into tensors: the format follows the data, what does not fit is refused, neighbours keep their values. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { backward, cast, concat, sliceRows, sum } from '../src/autograd/index.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import type { HostData } from '../src/tensor/host-data.js';
import { scope } from '../src/tensor/scope.js';
import { type DType, Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
let limited: Gpu;
before(async () => {
  gpu = await Gpu.open();
  limited = await Gpu.open({ maxBindingSize: 4096 });
});
after(async () => {
  await gpu.close();
  await limited.close();
});

const dtypes: DType[] = ['f32', 'f16', 'i32', 'u32'];
const halves = (...values: number[]) => f32ToF16(Float32Array.from(values));

test('the format follows the data', async () => {
  await scope(async () => {
    for (const [data, dtype] of [
      [Float32Array.of(1, 2.5), 'f32'],
      [Int32Array.of(-1, 2), 'i32'],
      [Uint32Array.of(1, 2 ** 32 - 1), 'u32'],
      [halves(1, 2.5), 'f16'],
    ] as const) {
      const tensor = Tensor.from(gpu, data, [2]);
      assert.equal(tensor.dtype, dtype);
      assert.deepEqual(await tensor.toArray(), data);
      for (const other of dtypes)
        if (other !== dtype) {
          assert.throws(
            () => Tensor.from(gpu, data, [2], other),
            (error: Error) =>
              error instanceof TypeError &&
              error.message.includes(data.constructor.name) &&
              error.message.includes(other),
          );
          const target = Tensor.zeros(gpu, [2], other);
          assert.throws(() => target.write(data), TypeError);
          assert.ok((await target.toArray()).every((value) => value === 0));
        }
    }
    assert.equal(Tensor.from(gpu, [1, 2], [2]).dtype, 'f32');
  });
});

test('numbers are converted to the format that is asked for, or refused', async () => {
  const least = [-(2 ** 31), -(2 ** 31) - 1];
  /** Numbers that fit, and such as do not. */
  const cases: [DType, number[], unknown[]][] = [
    ['f32', [1.5, -0, 1e30, Number.NaN], ['1', null, undefined, 1n, true, [1]]],
    ['f16', [1.5, -2, 65504, 65520, Number.NaN], ['1', {}]],
    ['i32', [-1, 2 ** 31 - 1, least[0]!], [0.5, 2 ** 31, least[1], Number.NaN, Infinity, '1']],
    ['u32', [0, 2 ** 32 - 1], [-1, 2 ** 32, 1.5, Number.NaN, -Infinity]],
  ];
  await scope(async () => {
    for (const [dtype, fits, refused] of cases) {
      const tensor = Tensor.from(gpu, fits, [fits.length], dtype);
      const want =
        dtype === 'f16'
          ? fits.map((v) => (v > 65519 ? Infinity : v))
          : fits.map((v) => (dtype === 'f32' ? Math.fround(v) : v));
      const got =
        dtype === 'f16' ? f16ToF32((await tensor.toArray()) as Uint16Array) : await tensor.toArray();
      assert.deepEqual([...got], want);
      tensor.write(fits.slice(0, 1), 1);
      for (const value of refused) {
        assert.throws(
          () => Tensor.from(gpu, [value] as number[], [1], dtype),
          TypeError,
          `${value} as ${dtype}`,
        );
        assert.throws(() => tensor.write([value] as number[]), TypeError);
      }
    }
    // A hole is no number either.
    assert.throws(() => Tensor.from(gpu, new Array(2), [2]), /undefined at 0 does not fit a tensor of f32/);
  });
});

test('data of no format of tensors, and formats that there are not', () => {
  for (const data of [
    new Uint8ClampedArray(2),
    new Int16Array(2),
    new BigInt64Array(2),
    new DataView(new ArrayBuffer(8)),
    'ab',
    { length: 2 },
  ])
    for (const dtype of [undefined, ...dtypes])
      assert.throws(() => Tensor.from(gpu, data as unknown as HostData, [2], dtype), TypeError);
  for (const dtype of ['f64', 'bf16', 'toString', 1])
    for (const make of [
      () => Tensor.from(gpu, [1], [1], dtype as DType),
      () => Tensor.empty(gpu, [1], dtype as DType),
      () => Tensor.zeros(gpu, [1], dtype as DType),
    ])
      assert.throws(make, TypeError);
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('item is the number, whatever the format', async () => {
  await scope(async () => {
    for (const [dtype, value] of [
      ['f32', -1.5],
      ['f16', -1.5],
      ['f16', Infinity],
      ['i32', -7],
      ['u32', 2 ** 31],
    ] as const)
      assert.equal(await Tensor.from(gpu, [value], [1], dtype).item(), value);
  });
});

const N = 11;
const before0 = Float32Array.from({ length: N }, (_, i) => 100 + i);

test('halves are written and cleared one by one: no neighbour changes', async () => {
  for (let start = 0; start <= N; start++)
    for (let length = 0; start + length <= N; length++)
      await scope(async () => {
        const tensor = Tensor.from(gpu, f32ToF16(before0), [N]);
        const data = Float32Array.from({ length }, (_, i) => -1 - i);
        tensor.write(f32ToF16(data), start);
        const want = before0.slice();
        want.set(data, start);
        assert.deepEqual(await tensor.toFloat32(), want, `${length} at ${start}`);
      });
  await scope(async () => {
    // A view at the start of another tensor, of an odd number of halves.
    const whole = Tensor.from(gpu, f32ToF16(before0), [N]);
    whole.slot(0, [3]).fillZero();
    whole.slot(0, [5]).write(halves(7, 8, 9, 10, 11));
    assert.deepEqual((await whole.toFloat32()).subarray(0, 7), Float32Array.of(7, 8, 9, 10, 11, 105, 106));
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('halves are copied from any start to any start', async () => {
  const source0 = Float32Array.from({ length: N }, (_, i) => -1 - i);
  await scope(async () => {
    const source = Tensor.from(gpu, f32ToF16(source0), [N]);
    for (let start = 0; start < N; start++)
      for (let from = 0; from < N; from++)
        for (const count of [0, 1, 2, 5, N - Math.max(start, from)]) {
          if (start + count > N || from + count > N) continue;
          const target = Tensor.from(gpu, f32ToF16(before0), [N]);
          target.copyFrom(source, start, from, count);
          const want = before0.slice();
          want.set(source0.subarray(from, from + count), start);
          assert.deepEqual(await target.toFloat32(), want, `${count} from ${from} to ${start}`);
          target.dispose();
        }
  });
  await scope(async () => {
    // Beyond a binding, in pieces.
    const long = f32ToF16(Float32Array.from({ length: 9001 }, (_, i) => i % 2000));
    const target = Tensor.zeros(limited, [9003], 'f16');
    target.copyFrom(Tensor.from(limited, long, [9001]), 1);
    const got = (await target.toArray()) as Uint16Array;
    assert.deepEqual(got.subarray(1, 9002), long);
    assert.deepEqual([got[0], got[9002]], [0, 0]);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('a tensor copied onto itself, and copies and writes that do not fit', async () => {
  await scope(async () => {
    const x = Tensor.from(gpu, [1, 2, 3, 4, 5, 6], [6]);
    x.copyFrom(x.view([2, 3]));
    x.copyFrom(x, 2, 0, 3);
    assert.deepEqual(await x.toFloat32(), Float32Array.of(1, 2, 1, 2, 3, 6));
    for (const bad of [-1, 0.5, Number.NaN, 4]) {
      assert.throws(() => x.write(new Float32Array(3), bad), ShapeError);
      assert.throws(() => x.copyFrom(x.detach(), bad, 0, 3), ShapeError);
      assert.throws(() => x.copyFrom(x.detach(), 0, bad, 3), ShapeError);
    }
    assert.throws(() => x.copyFrom(Tensor.zeros(gpu, [6], 'u32')), /copyFrom: copies no u32 to f32/);
    assert.throws(() => x.copyFrom(Tensor.zeros(limited, [6])), /copyFrom: tensors of two devices/);
    assert.deepEqual(await x.toFloat32(), Float32Array.of(1, 2, 1, 2, 3, 6));
  });
});

test('rows of an odd number of halves are cut and stacked, with gradients', async () => {
  await scope(async () => {
    const x = Tensor.from(gpu, halves(1, 2, 3, 4, 5, 6, 7, 8, 9), [3, 3]);
    x.requiresGrad = true;
    const odd = Tensor.from(gpu, halves(-1, -2, -3), [1, 3]);
    const stacked = concat([odd, sliceRows(x, 1, 3)]);
    assert.deepEqual([...(await stacked.toFloat32())], [-1, -2, -3, 4, 5, 6, 7, 8, 9]);
    backward(sum(cast(sliceRows(stacked, 1, 3), 'f32')));
    assert.deepEqual([...(await x.grad!.toFloat32())], [0, 0, 0, 1, 1, 1, 1, 1, 1]);
    x.grad!.dispose();
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});
