/** Dropout: generator against published values, rate, reproducibility, and attention against a masked reference. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { attention, backward, dropout, sum } from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { threefry4x32 } from '../src/kernels/random.js';
import { f32ToF16 } from '../src/tensor/dtype.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { kernelSets } from './kernel-sets.js';

const gpus: Gpu[] = [];
before(async () => {
  gpus.push(await Gpu.open({ kernels: kernelSets[0]! }), await Gpu.open({ kernels: kernelSets[1]! }));
});
after(async () => {
  for (const gpu of gpus) await gpu.close();
});

const hex = (values: Uint32Array) => [...values].map((v) => v.toString(16).padStart(8, '0')).join(' ');

test('Threefry-4x32-20 gives the published values', () => {
  assert.equal(hex(threefry4x32([0, 0, 0, 0], [0, 0, 0, 0])), '9c6ca96a e17eae66 fc10ecd4 5256a7d8');
  const ones = [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff];
  assert.equal(hex(threefry4x32(ones, ones)), '2a881696 57012287 f6c7446e a16a6732');
});

test('the device draws what the host generator says', async () => {
  const gpu = gpus[0]!;
  const p = 0.3;
  const threshold = Math.round(p * 65536);
  await scope(async () => {
    const got = await dropout(Tensor.from(gpu, new Float32Array(64).fill(1), [64]), p, {
      seed: 7,
      stream: 11,
    }).toArray();
    for (let i = 0; i < 64; i++) {
      const words = threefry4x32([7, 11, 0, 0], [Math.floor(i / 8), 0, 0, 0]);
      const bits = i % 8 < 4 ? words[i % 4]! & 0xffff : words[i % 4]! >>> 16;
      const want = bits >= threshold ? 65536 / (65536 - threshold) : 0;
      assert.ok(Math.abs(got[i]! - want) < 1e-6, `element ${i}`);
    }
  });
});

test('rate, independence of streams, and the same mask in the gradient', async () => {
  const gpu = gpus[0]!;
  const n = 1 << 18;
  await scope(async () => {
    const x = Tensor.from(gpu, new Float32Array(n).fill(1), [n]);
    x.requiresGrad = true;
    const a = dropout(x, 0.1, { seed: 1, stream: 1 });
    const b = dropout(x.detach(), 0.1, { seed: 1, stream: 2 });
    const again = dropout(x.detach(), 0.1, { seed: 1, stream: 1 });
    const [ya, yb, yc] = [await a.toArray(), await b.toArray(), await again.toArray()];
    let dropped = 0;
    let both = 0;
    for (let i = 0; i < n; i++) {
      if (ya[i] === 0) dropped++;
      if (ya[i] === 0 && yb[i] === 0) both++;
    }
    // Five standard deviations.
    assert.ok(Math.abs(dropped / n - 0.1) < 5 * Math.sqrt(0.09 / n), `rate ${dropped / n}`);
    assert.ok(Math.abs(both / n - 0.01) < 5 * Math.sqrt(0.0099 / n), `joint rate ${both / n}`);
    assert.deepEqual(ya, yc);
    backward(sum(a));
    assert.deepEqual(await x.grad!.toArray(), ya);
    x.grad!.dispose();
  });
});

/** The mask that the kernels draw for (query, key) of one sequence. */
function keep(
  seed: number,
  stream: number,
  q: number,
  k: number,
  head: number,
  begin: number,
  threshold: number,
): number {
  const words = threefry4x32([seed, stream, 0, 0], [q >> 1, k >> 2, head, begin]);
  const bits = q % 2 === 0 ? words[k & 3]! & 0xffff : words[k & 3]! >>> 16;
  return bits >= threshold ? 65536 / (65536 - threshold) : 0;
}

for (const which of [0, 1])
  test(`attention drops the same probabilities in every kernel: ${which === 0 ? 'subgroup8' : 'fallback'}`, async () => {
    const gpu = gpus[which]!;
    const lengths = [19, 6];
    const [heads, d, H] = [4, 16, 64];
    const tokens = 25;
    const p = 0.25;
    const [seed, stream, threshold] = [5, 9, Math.round(p * 65536)];
    const data = Float32Array.from({ length: tokens * 3 * H }, (_, i) => Math.sin(i * 12.9898) * 0.8);
    const weight = Float32Array.from({ length: tokens * H }, (_, i) => Math.cos(i * 78.233));
    const packed = new PackedSequences(gpu, lengths);
    const bounds = packed.bounds;
    const forward = (x: Float64Array) => {
      const out = new Float64Array(tokens * H);
      for (let s = 0; s < lengths.length; s++)
        for (let h = 0; h < heads; h++)
          for (let i = bounds[s]!; i < bounds[s + 1]!; i++) {
            const scores: number[] = [];
            for (let j = bounds[s]!; j < bounds[s + 1]!; j++) {
              let dot = 0;
              for (let e = 0; e < d; e++) dot += x[i * 3 * H + h * d + e]! * x[j * 3 * H + H + h * d + e]!;
              scores.push(Math.exp(dot / 4));
            }
            const total = scores.reduce((a, b) => a + b, 0);
            scores.forEach((score, n) => {
              const mask = keep(seed, stream, i - bounds[s]!, n, h, bounds[s]!, threshold);
              for (let e = 0; e < d; e++)
                out[i * H + h * d + e]! +=
                  (score / total) * mask * x[(bounds[s]! + n) * 3 * H + 2 * H + h * d + e]!;
            });
          }
      return out;
    };
    await scope(async () => {
      const qkv = Tensor.from(gpu, data, [tokens, 3 * H]);
      qkv.requiresGrad = true;
      const out = attention(qkv, packed, heads, { probability: p, seed, stream });
      const got = await out.toArray();
      const x = Float64Array.from(data);
      forward(x).forEach((want, i) => {
        assert.ok(Math.abs(got[i]! - want) < 2e-5, `output ${i}: ${got[i]} instead of ${want}`);
      });
      backward(out, Tensor.from(gpu, weight, [tokens, H]));
      const gradient = await qkv.grad!.toArray();
      const objective = () => forward(x).reduce((total, v, i) => total + v * weight[i]!, 0);
      for (let i = 0; i < data.length; i += 97) {
        const kept = x[i]!;
        x[i] = kept + 1e-5;
        const up = objective();
        x[i] = kept - 1e-5;
        const down = objective();
        x[i] = kept;
        assert.ok(Math.abs(gradient[i]! - (up - down) / 2e-5) < 1e-4, `gradient ${i}`);
      }
      qkv.grad!.dispose();
    });
    packed.dispose();
  });

const ones = (gpu: Gpu, shape: number[], dtype: 'f32' | 'f16' = 'f32') => {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1);
  return dtype === 'f16' ? Tensor.from(gpu, f32ToF16(values), shape, 'f16') : Tensor.from(gpu, values, shape);
};
/** 1 where the value was dropped. */
const mask = async (x: Tensor) => (await x.toFloat32()).map((value) => (value === 0 ? 1 : 0));

for (const rate of [0.1, 0.5])
  test(`statistics of the mask at rate ${rate}: no correlation along it, between streams, or between seeds`, async () => {
    const gpu = gpus[0]!;
    const [rows, cols] = [512, 512];
    const n = rows * cols;
    const draw = (seed: number, stream: number) =>
      scope(() => mask(dropout(ones(gpu, [rows, cols]), rate, { seed, stream })));
    const a = await draw(1, 1);
    // What is dropped has probability in units of 1/65536.
    const p = Math.round(rate * 65536) / 65536;
    const five = 5 * Math.sqrt(1 / n);
    const variance = p * (1 - p);
    const mean = a.reduce((sum, v) => sum + v, 0) / n;
    assert.ok(Math.abs(mean - p) < 5 * Math.sqrt(variance / n), `rate ${mean}`);
    const correlation = (x: Float32Array, y: Float32Array, lag: number) => {
      let sum = 0;
      for (let i = 0; i + lag < n; i++) sum += (x[i]! - p) * (y[i + lag]! - p);
      return sum / (n - lag) / variance;
    };
    // Neighbours, the words and halves of one Threefry block, the next block, the next row.
    for (const lag of [1, 2, 3, 4, 5, 7, 8, 16, cols, 4 * cols]) {
      const r = correlation(a, a, lag);
      assert.ok(Math.abs(r) < five * 1.01, `lag ${lag}: ${r}`);
    }
    for (const [seed, stream] of [
      [1, 2],
      [2, 1],
      [1, 65537],
    ] as const) {
      const r = correlation(a, await draw(seed, stream), 0);
      assert.ok(Math.abs(r) < five, `seed ${seed}, stream ${stream}: ${r}`);
    }
    assert.deepEqual(await draw(1, 1), a);
    // Rows and columns drop their share each: χ² with 511 degrees of freedom stays below 511 + 5·√1022.
    for (const of of [(i: number) => i % cols, (i: number) => Math.floor(i / cols)]) {
      const counts = new Float64Array(512);
      a.forEach((v, i) => {
        counts[of(i)]! += v;
      });
      const chi = counts.reduce((sum, count) => sum + (count - 512 * p) ** 2 / (512 * variance), 0);
      assert.ok(Math.abs(chi - 512) < 5 * Math.sqrt(2 * 512), `χ² ${chi}`);
    }
  });

test('f16 draws the mask of f32, in both kernel families', async () => {
  const draws = [];
  for (const gpu of gpus)
    for (const dtype of ['f32', 'f16'] as const)
      draws.push(await scope(() => mask(dropout(ones(gpu, [33, 20], dtype), 0.3, { seed: 4, stream: 5 }))));
  for (const other of draws.slice(1)) assert.deepEqual(other, draws[0]);
});

test('a tensor beyond a binding draws as one that fits, also from an odd group on', async () => {
  const limited = await Gpu.open({ maxBindingSize: 65536 });
  for (const [rows, cols, firstRow] of [
    [9001, 4, 3],
    [3001, 12, 5],
  ] as const)
    for (const dtype of ['f32', 'f16'] as const) {
      const draw = (gpu: Gpu) =>
        scope(() => mask(dropout(ones(gpu, [rows, cols], dtype), 0.4, { seed: 6, stream: 7, firstRow })));
      assert.deepEqual(await draw(limited), await draw(gpus[0]!), `${rows} × ${cols} ${dtype}`);
    }
  await limited.close();
});

test('rows of part of a batch must be whole groups of 4', () => {
  scope(() =>
    assert.throws(
      () => dropout(ones(gpus[0]!, [3, 6]), 0.4, { seed: 6, stream: 7, firstRow: 1 }),
      /dropout: part of a batch needs rows of whole groups of 4 values: x \[3,6\]/,
    ),
  );
});

for (const cols of [4, 12, 64])
  test(`a part of a batch draws what the whole batch draws for its rows: ${cols} columns`, async () => {
    const gpu = gpus[0]!;
    const random = { seed: 6, stream: 7 };
    const whole = await scope(() => mask(dropout(ones(gpu, [40, cols]), 0.4, random)));
    for (const [from, to] of [
      [0, 40],
      [1, 2],
      [3, 20],
      [17, 40],
      [8, 16],
    ] as const)
      for (const dtype of ['f32', 'f16'] as const) {
        const part = await scope(() =>
          mask(dropout(ones(gpu, [to - from, cols], dtype), 0.4, { ...random, firstRow: from })),
        );
        assert.deepEqual(part, whole.slice(from * cols, to * cols), `rows ${from} to ${to}`);
      }
  });

for (const dtype of ['f32', 'f16'] as const)
  test(`attention drops the same for a sequence alone as for it within the batch: ${dtype}`, async () => {
    for (const gpu of gpus)
      await scope(async () => {
        // Rows of halves fill textures from 128 columns on.
        const [lengths, H] = [[5, 18, 9], 128];
        const values = Float32Array.from({ length: 32 * 3 * H }, (_, i) => Math.sin(i * 0.7331));
        const data = dtype === 'f16' ? f32ToF16(values) : values;
        const random = { seed: 8, stream: 9, probability: 0.3 };
        const run = async (from: number, to: number, sequences: number[], firstRow: number) => {
          const packed = new PackedSequences(gpu, sequences);
          const part = data.subarray(from * 3 * H, to * 3 * H);
          const qkv = Tensor.from(gpu, part, [to - from, 3 * H], dtype);
          qkv.requiresGrad = true;
          const out = attention(qkv, packed, 8, { ...random, firstRow });
          const values = await out.toFloat32();
          backward(out, ones(gpu, [...out.shape], dtype));
          const gradient = await qkv.grad!.toFloat32();
          qkv.grad!.dispose();
          packed.dispose();
          return { values, gradient };
        };
        const whole = await run(0, 32, lengths, 0);
        const alone = await run(5, 23, [18], 5);
        assert.deepEqual(alone.values, whole.values.slice(5 * H, 23 * H));
        assert.deepEqual(alone.gradient, whole.gradient.slice(5 * 3 * H, 23 * 3 * H));
        const moved = await run(5, 23, [18], 6);
        assert.notDeepEqual(moved.values, alone.values);
      });
  });

/**
 * The masks of attention at once, 1 where a probability was dropped: [sequence, query, head, key]. Scores are 0, so
 * that every probability is 1/T, and the value of key j is the unit vector j.
 */
async function attentionMasks(
  gpu: Gpu,
  sequences: number,
  dtype: 'f32' | 'f16',
  random: { seed: number; stream: number; firstRow?: number },
  probability: number,
): Promise<Float32Array> {
  const [T, heads] = [16, 8];
  const H = heads * T;
  const values = new Float32Array(sequences * T * 3 * H);
  for (let i = 0; i < sequences * T; i++)
    for (let head = 0; head < heads; head++) values[i * 3 * H + 2 * H + head * T + (i % T)] = 1;
  return scope(async () => {
    const packed = new PackedSequences(gpu, new Array<number>(sequences).fill(T));
    const shape = [sequences * T, 3 * H];
    const qkv =
      dtype === 'f16' ? Tensor.from(gpu, f32ToF16(values), shape, 'f16') : Tensor.from(gpu, values, shape);
    const result = await mask(attention(qkv, packed, heads, { ...random, probability }));
    packed.dispose();
    return result;
  });
}

for (const rate of [0.1, 0.5])
  test(`statistics of attention's mask at rate ${rate}: queries, keys, heads, sequences, streams and seeds`, async () => {
    const [sequences, T, heads] = [128, 16, 8];
    const draw = (gpu: Gpu, dtype: 'f32' | 'f16', seed: number, stream: number, firstRow = 0) =>
      attentionMasks(gpu, sequences, dtype, { seed, stream, firstRow }, rate);
    const a = await draw(gpus[0]!, 'f32', 3, 4);
    const n = a.length;
    assert.equal(n, sequences * T * heads * T);
    for (const gpu of gpus)
      for (const dtype of ['f32', 'f16'] as const) assert.deepEqual(await draw(gpu, dtype, 3, 4), a);
    const p = Math.round(rate * 65536) / 65536;
    const variance = p * (1 - p);
    const mean = a.reduce((sum, v) => sum + v, 0) / n;
    assert.ok(Math.abs(mean - p) < 5 * Math.sqrt(variance / n), `rate ${mean}`);
    const correlation = (x: Float32Array, y: Float32Array, lag: number) => {
      let sum = 0;
      for (let i = 0; i + lag < n; i++) sum += (x[i]! - p) * (y[i + lag]! - p);
      return sum / (n - lag) / variance;
    };
    const [head, query, sequence] = [T, heads * T, T * heads * T];
    // Keys of one block and the next, the other head, the query that shares the block and the next, the sequence.
    for (const lag of [1, 2, 3, 4, 8, head, query, 2 * query, query + 1, sequence]) {
      const r = correlation(a, a, lag);
      assert.ok(Math.abs(r) < 5 / Math.sqrt(n - lag), `lag ${lag}: ${r}`);
    }
    // Another stream, another seed, and the same at another place of a batch.
    for (const [seed, stream, firstRow] of [
      [3, 5, 0],
      [4, 4, 0],
      [3, 4, 1],
    ] as const) {
      const r = correlation(a, await draw(gpus[0]!, 'f32', seed, stream, firstRow), 0);
      assert.ok(
        Math.abs(r) < 5 / Math.sqrt(n),
        `seed ${seed}, stream ${stream}, first row ${firstRow}: ${r}`,
      );
    }
  });
