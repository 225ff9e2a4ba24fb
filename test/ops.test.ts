/** Every op of the table, in both kernel families: value, gradient, leaks. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { backward } from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { kernelSets, nameOf, runs } from './kernel-sets.js';
import { opTable, pending } from './op-table.js';

/** Deterministic values in [low, high], distinct enough that maxima are unique. */
function values(count: number, [low, high]: [number, number], seed: number): Float32Array {
  let state = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return low + ((high - low) * state) / 2 ** 32;
  });
}

const SAMPLES = 24;

/** Rounding to halves: once in the result, and in what gradients pass through. */
const HALF = { value: 1e-3, gradient: 3e-3 };

for (const kernels of kernelSets)
  describe(`ops with ${nameOf(kernels)} kernels`, () => {
    let gpu: Gpu;
    before(async () => {
      gpu = await Gpu.open({ kernels });
    });
    after(() => gpu.close());
    for (const [number, op] of opTable.entries()) {
      for (const halves of op.halves ? [[], op.halves] : [[]])
        test(`${op.name}${halves.length > 0 ? ' in f16' : ''}`, async (t) => {
          if (!runs(gpu, kernels)) {
            t.skip('the adapter has no subgroups of 8');
            return;
          }
          const half = halves.length > 0;
          const live = gpu.memory().liveBuffers;
          const data = op.inputs.map((shape, i) => {
            const drawn = values(
              shape.reduce((a, b) => a * b, 1),
              op.range ?? [-1, 1],
              number * 10 + i + 1,
            );
            return halves.includes(i) ? f16ToF32(f32ToF16(drawn)) : drawn;
          });
          const doubles = data.map((array) => Float64Array.from(array));
          const expected = op.reference(doubles);
          let seed = values(expected.length, [-1, 1], number + 777);
          if (half) seed = f16ToF32(f32ToF16(seed));
          const { y, grads } = await scope(async () => {
            const inputs = data.map((array, i) => {
              const tensor = halves.includes(i)
                ? Tensor.from(gpu, f32ToF16(array), op.inputs[i]!, 'f16')
                : Tensor.from(gpu, array, op.inputs[i]!);
              tensor.requiresGrad = true;
              return tensor;
            });
            const out = op.run(gpu, inputs);
            assert.equal(out.dtype, half ? 'f16' : 'f32');
            const y = await out.toFloat32();
            backward(
              out,
              half ? Tensor.from(gpu, f32ToF16(seed), out.shape, 'f16') : Tensor.from(gpu, seed, out.shape),
            );
            const grads: Float32Array[] = [];
            for (const input of inputs) {
              assert.ok(input.grad, 'every input gets a gradient');
              assert.equal(input.grad.dtype, input.dtype);
              grads.push(await input.grad.toFloat32());
              input.grad.dispose();
            }
            return { y, grads };
          });
          for (const item of pending.splice(0)) item.dispose();
          const tolerance = Math.max(op.tolerance ?? 2e-5, half ? HALF.value : 0);
          const top = Math.max(1e-3, ...expected.map(Math.abs));
          assert.equal(y.length, expected.length);
          expected.forEach((want, i) => {
            assert.ok(Math.abs(y[i]! - want) <= tolerance * top, `value ${i}: ${y[i]} instead of ${want}`);
          });
          const objective = () => op.reference(doubles).reduce((sum, v, i) => sum + v * seed[i]!, 0);
          const gradientTolerance = Math.max(op.gradientTolerance ?? 5e-5, half ? HALF.gradient : 0);
          for (const [n, array] of doubles.entries()) {
            const step = Math.max(1, Math.floor(array.length / SAMPLES));
            const top = Math.max(1e-2, ...grads[n]!.map(Math.abs));
            for (let i = n % step; i < array.length; i += step) {
              const h = 1e-5;
              const kept = array[i]!;
              array[i] = kept + h;
              const up = objective();
              array[i] = kept - h;
              const down = objective();
              array[i] = kept;
              const want = (up - down) / (2 * h);
              assert.ok(
                Math.abs(grads[n]![i]! - want) <= gradientTolerance * top,
                `gradient of input ${n} at ${i}: ${grads[n]![i]} instead of ${want}`,
              );
            }
          }
          assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
        });
    }
  });
