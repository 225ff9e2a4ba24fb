/** Checksums on the device are those of the host, and tell what differs; rows are put where an index says. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { addChecksum, checksumReference } from '../src/kernels/checksum.js';
import { scatterRows } from '../src/kernels/rows/scatter.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
let small: Gpu;
before(async () => {
  gpu = await Gpu.open({ guardWords: 4 });
  small = await Gpu.open({ maxBindingSize: 4096, maxWorkgroupsPerDimension: 2, guardWords: 4 });
});
after(async () => {
  for (const each of [gpu, small]) {
    await each.checkGuards();
    assert.equal(each.memory().liveBuffers, 0);
    await each.close();
  }
});

/** Any bits, those of NaN and of denormals among them. */
function words(count: number, seed: number): Uint32Array {
  const random = new CounterRandom(seed, 0);
  const drawn = Uint32Array.from({ length: count }, () => random.uniform() * 2 ** 32);
  drawn.set([0, 0x80000000, 0x7fc00001, 0xff800000, 1].slice(0, count));
  return drawn;
}

const checksumOf = (on: Gpu, data: Uint32Array, start?: number, count?: number): Promise<number> =>
  scope(async () => {
    const x = Tensor.from(on, new Float32Array(data.buffer), [data.length]);
    const sums = Tensor.zeros(on, [3], 'u32');
    addChecksum(x, sums, 1, start, count);
    const [before, sum, after] = await sums.toArray();
    assert.deepEqual([before, after], [0, 0]);
    return sum!;
  });

test('a checksum is the one of the host, whatever is bound at a time and wherever it begins', async () => {
  for (const on of [gpu, small])
    for (const [size, start, count] of [
      [1, 0, 1],
      [7, 0, 7],
      [7, 5, 2],
      [256, 0, 256],
      [1000, 3, 990],
      [16384, 0, 16384],
      [16385, 0, 16385],
      [50_001, 1021, 48_979],
      [9, 4, 0],
    ] as const) {
      const data = words(size, size);
      const expected = checksumReference(data.subarray(start, start + count));
      assert.equal(await checksumOf(on, data, start, count), expected, `${size} ${start} ${count}`);
    }
});

test('a bit, two values that are exchanged, and the sign of zero change a checksum', async () => {
  const data = words(5000, 1);
  const sums = new Set([await checksumOf(gpu, data)]);
  const random = new CounterRandom(2, 0);
  for (let n = 0; n < 20; n++) {
    const other = data.slice();
    other[random.int(data.length)]! ^= 1 << random.int(32);
    sums.add(await checksumOf(gpu, other));
    const [a, b] = [random.int(data.length), random.int(data.length - 1)];
    const swapped = data.slice();
    [swapped[a], swapped[b]] = [swapped[b]!, swapped[a]!];
    if (a !== b) sums.add(await checksumOf(gpu, swapped));
    else n--;
  }
  const negative = data.slice();
  negative[0] = 0x80000000;
  sums.add(await checksumOf(gpu, negative));
  assert.equal(sums.size, 42);
});

test('rows are put where the index says, in tables of any size', async () => {
  for (const on of [gpu, small])
    for (const [rows, cols, listed] of [
      [10, 4, [9, 0, 3]],
      [33, 5, [32, 1]],
      [300, 64, [299, 7, 8, 150, 63]],
      [300, 64, []],
    ] as const)
      await scope(async () => {
        const random = new CounterRandom(rows, cols);
        const draw = (count: number) => Float32Array.from({ length: count }, () => random.uniform());
        const [before, values] = [draw(rows * cols), draw(listed.length * cols)];
        const table = Tensor.from(on, before, [rows, cols]);
        const index = Tensor.from(on, Uint32Array.from(listed), [listed.length]);
        scatterRows(table, index, Tensor.from(on, values, [listed.length, cols]));
        listed.forEach((row, n) => {
          before.set(values.subarray(n * cols, (n + 1) * cols), row * cols);
        });
        assert.deepEqual(await table.toArray(), before);
      });
});
