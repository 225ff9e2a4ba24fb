/** f16 as a format of memory: rounding, overflow, NaN, odd ends, and what is refused. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  add,
  attention,
  backward,
  cast,
  exp,
  gatherRows,
  layerNorm,
  linear,
  matmul,
  mul,
  scale,
  sliceRows,
  sum,
} from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { RowIndex } from '../src/tensor/row-index.js';
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

test('every finite half survives the way through f32 and back; numbers round to the nearest', async () => {
  const gpu = gpus[0]!;
  await scope(async () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((bits) => (bits & 0x7c00) !== 0x7c00);
    const tensor = Tensor.from(gpu, all, [all.length], 'f16');
    const wide = cast(tensor, 'f32');
    const numbers = (await wide.toArray()) as Float32Array;
    const same = (a: number, b: number) => Object.is(a, b) || (a === 0 && b === 0);
    f16ToF32(all).forEach((want, i) => {
      // Drivers may flush what is below the smallest normal half.
      if (Math.abs(want) >= 2 ** -14) assert.ok(same(numbers[i]!, want), `${numbers[i]} instead of ${want}`);
    });
    const back = (await cast(wide, 'f16').toArray()) as Uint16Array;
    all.forEach((bits, i) => {
      if ((bits & 0x7fff) >= 0x400) assert.equal(back[i], bits);
    });
    const drawn = Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i * 12.9898) * 10 ** ((i % 9) - 4));
    const rounded = await cast(Tensor.from(gpu, drawn, [4096]), 'f16').toFloat32();
    drawn.forEach((value, i) => {
      const unit = 2 ** (Math.floor(Math.log2(Math.max(Math.abs(value), 2 ** -14))) - 10);
      assert.ok(Math.abs(rounded[i]! - value) <= 0.51 * unit, `${value} became ${rounded[i]}`);
    });
  });
});

test('beyond the largest half is infinity, a NaN stays one, and both reach the end of a product', async () => {
  for (const gpu of gpus)
    await scope(async () => {
      const x = Tensor.from(gpu, [65504, -65504, 65520, -65520, 1e30, -1e30, Number.NaN, 3], [8]);
      const y = await cast(x, 'f16').toFloat32();
      assert.deepEqual([...y], [65504, -65504, Infinity, -Infinity, Infinity, -Infinity, Number.NaN, 3]);
      // 4 · 200 · 200 is 160,000.
      const big = Tensor.from(gpu, f32ToF16(new Float32Array(16).fill(200)), [4, 4], 'f16');
      const product = await linear(big, Tensor.from(gpu, new Float32Array(16).fill(200), [4, 4])).toFloat32();
      assert.ok(product.every((value) => value === Infinity));
      assert.ok((await mul(cast(x, 'f16'), cast(x, 'f16')).toFloat32()).some((value) => Number.isNaN(value)));
    });
});

test('attention in f16: large logits do not overflow, a mask is no number', async () => {
  for (const gpu of gpus)
    await scope(async () => {
      const [tokens, H] = [11, 128];
      const data = Float32Array.from({ length: tokens * 3 * H }, (_, i) => 30 * Math.sin(i * 1.618));
      const packed = new PackedSequences(gpu, [7, 4]);
      const qkv = Tensor.from(gpu, f32ToF16(data), [tokens, 3 * H], 'f16');
      qkv.requiresGrad = true;
      const out = attention(qkv, packed, 4);
      assert.ok((await out.toFloat32()).every((value) => Math.abs(value) <= 30));
      backward(sum(cast(out, 'f32')));
      assert.ok((await qkv.grad!.toFloat32()).every(Number.isFinite));
      qkv.grad!.dispose();
      packed.dispose();
    });
});

test('mixed operands and formats that do not fit are errors that name op and format', () => {
  const gpu = gpus[0]!;
  scope(() => {
    const half = Tensor.from(gpu, new Uint16Array(8), [2, 4], 'f16');
    const single = Tensor.from(gpu, new Float32Array(8), [2, 4]);
    assert.throws(
      () => add(half, single),
      /add: a and b must be of one dtype, to which cast\(\) converts: a \[2,4\] f16 · b \[2,4\] f32/,
    );
  });
});

test('formats are checked in pieces too, and gradients come back in the format of their input', async () => {
  const limited = await Gpu.open({ maxBindingSize: 4096 });
  scope(() => {
    const half = Tensor.from(limited, new Uint16Array(4096), [4096], 'f16');
    const single = Tensor.from(limited, new Float32Array(4096), [4096]);
    assert.throws(() => add(single, half), /add: a and b must be of one dtype/);
  });
  await limited.close();
  const gpu = gpus[0]!;
  await scope(async () => {
    const half = Tensor.from(gpu, f32ToF16(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8)), [2, 4], 'f16');
    half.requiresGrad = true;
    const index = new RowIndex(gpu, Uint32Array.of(1, 0));
    assert.throws(() => gatherRows(half, index), /gatherRows: table must be f32.*f16/);
    index.dispose();
    backward(sum(cast(sliceRows(half, 1, 2), 'f32')));
    assert.deepEqual([...(await half.grad!.toFloat32())], [0, 0, 0, 0, 1, 1, 1, 1]);
    half.grad!.dispose();
    half.grad = undefined;
    // One x for an f16 residual and by itself: gradients of both formats meet.
    const x = Tensor.from(gpu, Float32Array.of(1, 2, 4, 3, 5, 8, 6, 7), [2, 4]);
    x.requiresGrad = true;
    const gamma = Tensor.from(gpu, [1, 1, 1, 1], [4]);
    const y = exp(scale(x, 0.1));
    const out = layerNorm(y, gamma, gamma, 1e-5, half, 'f32');
    backward(sum(mul(add(out, y), y)));
    assert.equal(x.grad!.dtype, 'f32');
    assert.equal(half.grad!.dtype, 'f16');
    assert.ok((await x.grad!.toFloat32()).every(Number.isFinite));
    x.grad!.dispose();
    half.grad!.dispose();
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('gradients of halves with any number of columns: what goes forward goes backward', async () => {
  for (const gpu of gpus)
    await scope(async () => {
      const draw = (shape: number[], dtype: 'f16' | 'f32') => {
        const size = shape.reduce((a, b) => a * b, 1);
        // Eighths: sums of their products are exact in halves.
        const leaf = Tensor.from(
          gpu,
          Array.from({ length: size }, (_, i) => ((i * 5) % 7) / 8),
          shape,
          dtype,
        );
        leaf.requiresGrad = true;
        return leaf;
      };
      const products: [string, (x: Tensor, w: Tensor) => Tensor, transposed: boolean][] = [
        ['linear', (x, w) => linear(x, w), true],
        ['matmul', (x, w) => matmul(x, w), false],
        ['matmul, transposed', (x, w) => matmul(x, w, { transB: true }), true],
      ];
      for (const [name, op, transposed] of products)
        for (const inner of [1, 3, 6, 7])
          for (const [a, b] of [
            ['f16', 'f16'],
            ['f16', 'f32'],
            ['f32', 'f16'],
          ] as const) {
            const shape = transposed ? [8, inner] : [inner, 8];
            const [x, w] = [draw([3, inner], a), draw(shape, b)];
            const [x32, w32] = [draw([3, inner], 'f32'), draw(shape, 'f32')];
            backward(sum(cast(op(x, w), 'f32')));
            backward(sum(op(x32, w32)));
            for (const [half, full] of [
              [x, x32],
              [w, w32],
            ] as const)
              assert.deepEqual(
                await half.grad!.toFloat32(),
                await full.grad!.toFloat32(),
                `${name} ${inner} ${a} ${b}`,
              );
          }
    });
});
