/**
 * Every op on tensors without rows, and without columns where PyTorch allows those: forward and backward run, shapes
 * are right, and the gradient of what was used by no row is zero.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { sparseMatches } from '../src/kernels/sparse-matches.js';
import { f32ToF16 } from '../src/tensor/dtype.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { sizeOf } from '../src/tensor/shape.js';
import { Tensor } from '../src/tensor/tensor.js';
import { kernelSets, nameOf, runs } from './kernel-sets.js';

interface Empty {
  inputs: number[][];
  run: (inputs: Tensor[], gpu: Gpu) => Tensor;
  shape: number[];
  /** All values of the result, where it has any. */
  value?: number;
  /** Also in f16. */
  half?: boolean;
  /** Of all gradients, where not 0. */
  gradient?: number;
}

const drop = { seed: 1, stream: 2 };
const cases: Record<string, Empty> = {
  'linear, no rows': {
    inputs: [[0, 8], [4, 8], [4]],
    run: ([x, w, b]) => ops.linear(x!, w!, b),
    shape: [0, 4],
    half: true,
  },
  'linear, no rows in three dimensions': {
    inputs: [[2, 0, 8], [4, 8], [4]],
    run: ([x, w, b]) => ops.linear(x!, w!, b),
    shape: [2, 0, 4],
  },
  'linear, nothing in': {
    inputs: [
      [3, 0],
      [4, 0],
    ],
    run: ([x, w]) => ops.linear(x!, w!),
    shape: [3, 4],
    value: 0,
  },
  'linear, nothing in but a bias': {
    inputs: [[3, 0], [4, 0], [4]],
    run: ([x, w, b]) => ops.linear(x!, w!, b),
    shape: [3, 4],
    value: 2,
    gradient: 3,
  },
  'linear, nothing out': {
    inputs: [[3, 8], [0, 8], [0]],
    run: ([x, w, b]) => ops.linear(x!, w!, b),
    shape: [3, 0],
  },
  'linearGelu, no rows': {
    inputs: [[0, 8], [4, 8], [4]],
    run: ([x, w, b]) => ops.linearGelu(x!, w!, b),
    shape: [0, 4],
    half: true,
  },
  'linearGelu, nothing in': {
    inputs: [
      [3, 0],
      [4, 0],
    ],
    run: ([x, w]) => ops.linearGelu(x!, w!),
    shape: [3, 4],
    value: 0,
  },
  'matmul, no rows': {
    inputs: [
      [0, 8],
      [8, 4],
    ],
    run: ([a, b]) => ops.matmul(a!, b!),
    shape: [0, 4],
  },
  'matmul, nothing between': {
    inputs: [
      [3, 0],
      [0, 5],
    ],
    run: ([a, b]) => ops.matmul(a!, b!),
    shape: [3, 5],
    value: 0,
  },
  'matmul, no batch': {
    inputs: [
      [0, 3, 8],
      [0, 8, 4],
    ],
    run: ([a, b]) => ops.matmul(a!, b!),
    shape: [0, 3, 4],
  },
  'matmul, no batch of one operand': {
    inputs: [
      [3, 8],
      [0, 8, 4],
    ],
    run: ([a, b]) => ops.matmul(a!, b!),
    shape: [0, 3, 4],
  },
  'matmul of many, nothing between': {
    inputs: [
      [2, 3, 0],
      [2, 0, 5],
    ],
    run: ([a, b]) => ops.matmul(a!, b!),
    shape: [2, 3, 5],
    value: 0,
  },
  'dot of nothing': { inputs: [[0], [0]], run: ([a, b]) => ops.dot(a!, b!), shape: [], value: 0 },
  'einsum over nothing': {
    inputs: [
      [2, 0],
      [0, 3],
    ],
    run: ([a, b]) => ops.einsum('ij,jk->ki', a!, b!),
    shape: [3, 2],
    value: 0,
  },
  'matmul, no columns': {
    inputs: [
      [3, 8],
      [8, 0],
    ],
    run: ([a, b]) => ops.matmul(a!, b!),
    shape: [3, 0],
  },
  'matmul transposed, no rows': {
    inputs: [
      [0, 8],
      [4, 8],
    ],
    run: ([a, b]) => ops.matmul(a!, b!, { transB: true }),
    shape: [0, 4],
  },
  'matmul transposed, no columns': {
    inputs: [
      [3, 8],
      [0, 8],
    ],
    run: ([a, b]) => ops.matmul(a!, b!, { transB: true }),
    shape: [3, 0],
  },
  'layerNorm, no rows': {
    inputs: [[0, 8], [8], [8]],
    run: ([x, g, b]) => ops.layerNorm(x!, g!, b!),
    shape: [0, 8],
    half: true,
  },
  'layerNorm with a residual, no rows': {
    inputs: [[0, 8], [8], [8], [0, 8]],
    run: ([x, g, b, r]) => ops.layerNorm(x!, g!, b!, 1e-5, r),
    shape: [0, 8],
  },
  'layerNorm, no columns': {
    inputs: [[3, 0], [0], [0]],
    run: ([x, g, b]) => ops.layerNorm(x!, g!, b!),
    shape: [3, 0],
  },
  'attention, no tokens': {
    inputs: [[0, 24]],
    run: ([x], gpu) => ops.attention(x!, new PackedSequences(gpu, []), 2),
    shape: [0, 8],
    half: true,
  },
  'attention with dropout and textures, no tokens': {
    inputs: [[0, 192]],
    run: ([x], gpu) => ops.attention(x!, new PackedSequences(gpu, []), 2, { ...drop, probability: 0.1 }),
    shape: [0, 64],
  },
  'dropout, no rows': {
    inputs: [[0, 8]],
    run: ([x]) => ops.dropout(x!, 0.5, drop),
    shape: [0, 8],
    half: true,
  },
  'softmax, no rows': { inputs: [[0, 8]], run: ([x]) => ops.softmax(x!), shape: [0, 8] },
  'softmax, no columns': { inputs: [[3, 0]], run: ([x]) => ops.softmax(x!), shape: [3, 0] },
  'logSoftmax, no rows': { inputs: [[0, 8]], run: ([x]) => ops.logSoftmax(x!), shape: [0, 8] },
  'logSoftmax, no columns': { inputs: [[3, 0]], run: ([x]) => ops.logSoftmax(x!), shape: [3, 0] },
  'crossEntropy, no rows': {
    inputs: [[0, 8]],
    run: ([x]) => ops.crossEntropy(x!, []),
    shape: [],
    value: Number.NaN,
  },
  'crossEntropy, no rows on the device': {
    inputs: [[0, 8]],
    run: ([x], gpu) => ops.crossEntropy(x!, Tensor.empty(gpu, [0], 'u32')),
    shape: [],
    value: Number.NaN,
  },
  'softCrossEntropy, no rows': {
    inputs: [[0, 8]],
    run: ([x], gpu) => ops.softCrossEntropy(x!, Tensor.empty(gpu, [0, 8])),
    shape: [],
    value: Number.NaN,
  },
  'm3Distillation, no rows': {
    inputs: [[0, 8]],
    run: ([x], gpu) => ops.m3Distillation(x!, Tensor.empty(gpu, [0, 8]), true),
    shape: [],
    value: Number.NaN,
  },
  'ownGroup, no rows': { inputs: [[0, 0]], run: ([x]) => ops.ownGroup(x!, 3), shape: [0, 3] },
  'sum of nothing': { inputs: [[0, 8]], run: ([x]) => ops.sum(x!), shape: [], value: 0 },
  'sum over no rows': { inputs: [[0, 8]], run: ([x]) => ops.sum(x!, 0), shape: [8], value: 0 },
  'sum over no columns': { inputs: [[3, 0]], run: ([x]) => ops.sum(x!, -1), shape: [3], value: 0 },
  'sum over a middle of nothing': {
    inputs: [[2, 0, 3]],
    run: ([x]) => ops.sum(x!, 1, true),
    shape: [2, 1, 3],
    value: 0,
  },
  'sum over rows of nothing': { inputs: [[3, 0]], run: ([x]) => ops.sum(x!, 0), shape: [0] },
  'mean of nothing': { inputs: [[0, 8]], run: ([x]) => ops.mean(x!), shape: [], value: Number.NaN },
  'mean over no rows': { inputs: [[0, 8]], run: ([x]) => ops.mean(x!, 0), shape: [8], value: Number.NaN },
  'mean over no columns': { inputs: [[3, 0]], run: ([x]) => ops.mean(x!, 1), shape: [3], value: Number.NaN },
  'mean over columns of no rows': { inputs: [[0, 8]], run: ([x]) => ops.mean(x!, 1), shape: [0] },
  'max, no rows': { inputs: [[0, 8]], run: ([x]) => ops.max(x!, 1), shape: [0] },
  'gatherRows, none': {
    inputs: [[5, 4]],
    run: ([t], gpu) => ops.gatherRows(t!, new RowIndex(gpu, new Uint32Array(0))),
    shape: [0, 4],
  },
  'gatherRows, none of none': {
    inputs: [[0, 4]],
    run: ([t], gpu) => ops.gatherRows(t!, new RowIndex(gpu, new Uint32Array(0))),
    shape: [0, 4],
  },
  'gatherRows, no columns': {
    inputs: [[5, 0]],
    run: ([t], gpu) => ops.gatherRows(t!, new RowIndex(gpu, Uint32Array.of(4, 0))),
    shape: [2, 0],
  },
  'concat, none first': {
    inputs: [
      [0, 4],
      [2, 4],
    ],
    run: ([a, b]) => ops.concat([a!, b!]),
    shape: [2, 4],
    value: 2,
    gradient: 1,
  },
  'concat, none last': {
    inputs: [
      [64, 4],
      [0, 4],
    ],
    run: ([a, b]) => ops.concat([a!, b!]),
    shape: [64, 4],
    value: 2,
    gradient: 1,
  },
  'concat, none at all': {
    inputs: [
      [0, 4],
      [0, 4],
    ],
    run: ([a, b]) => ops.concat([a!, b!]),
    shape: [0, 4],
    half: true,
  },
  'sliceRows, none of some': {
    inputs: [[64, 4]],
    run: ([x]) => ops.sliceRows(x!, 64, 64),
    shape: [0, 4],
    half: true,
  },
  'sliceRows, none of none': { inputs: [[0, 4]], run: ([x]) => ops.sliceRows(x!, 0, 0), shape: [0, 4] },
  'sliceRows, no columns': { inputs: [[3, 0]], run: ([x]) => ops.sliceRows(x!, 1, 3), shape: [2, 0] },
  'reshape, nothing': { inputs: [[0, 4]], run: ([x]) => ops.reshape(x!, [2, 0, 7]), shape: [2, 0, 7] },
  'segmentMean, no sequences': {
    inputs: [[0, 4]],
    run: ([x], gpu) => ops.segmentMean(x!, new PackedSequences(gpu, [])),
    shape: [0, 4],
  },
  'normalizeRows, no rows': { inputs: [[0, 4]], run: ([x]) => ops.normalizeRows(x!), shape: [0, 4] },
  'normalizeRows, no columns': { inputs: [[3, 0]], run: ([x]) => ops.normalizeRows(x!), shape: [3, 0] },
  'segmentMax, no groups': {
    inputs: [[3]],
    run: ([x], gpu) => ops.segmentMax(x!, Tensor.empty(gpu, [0], 'u32'), Tensor.zeros(gpu, [1], 'u32')),
    shape: [0],
  },
  'sparseScores, nothing in common': {
    inputs: [[4]],
    run: ([w], gpu) =>
      ops.sparseScores(
        w!,
        sparseMatches(new PackedSequences(gpu, [2, 2]), Uint32Array.of(1, 2, 3, 4), {
          queries: 1,
          special: [],
        }).matches,
      ),
    shape: [1, 1],
    value: 0,
  },
  'add, no rows': {
    inputs: [
      [0, 4],
      [0, 4],
    ],
    run: ([a, b]) => ops.add(a!, b!),
    shape: [0, 4],
    half: true,
  },
  'cast, nothing': { inputs: [[0, 4]], run: ([x]) => ops.cast(x!, 'f32'), shape: [0, 4], half: true },
  'shift, nothing': { inputs: [[0, 4]], run: ([x]) => ops.shift(x!, 1), shape: [0, 4] },
  'scale, nothing': { inputs: [[0, 4]], run: ([x]) => ops.scale(x!, 3), shape: [0, 4] },
  'scaleGradient, nothing': { inputs: [[0, 4]], run: ([x]) => ops.scaleGradient(x!, 3), shape: [0, 4] },
  'checkpoint, nothing': {
    inputs: [[0, 4]],
    run: ([x]) => ops.checkpoint((t) => ops.exp(t), x!),
    shape: [0, 4],
  },
};
for (const name of ['add', 'sub', 'mul', 'div', 'maximum'] as const) {
  cases[`${name}, a row to no rows`] = {
    inputs: [[0, 4], [4]],
    run: ([a, b]) => ops[name](a!, b!),
    shape: [0, 4],
  };
  cases[`${name}, no rows to a row`] = {
    inputs: [
      [1, 4],
      [0, 1],
    ],
    run: ([a, b]) => ops[name](a!, b!),
    shape: [0, 4],
  };
  cases[`${name}, a scalar to nothing`] = {
    inputs: [[], [3, 0]],
    run: ([a, b]) => ops[name](a!, b!),
    shape: [3, 0],
  };
}
for (const name of [
  'neg',
  'exp',
  'log',
  'sqrt',
  'square',
  'reciprocal',
  'tanh',
  'sigmoid',
  'relu',
  'abs',
  'gelu',
  'geluTanh',
] as const)
  cases[`${name}, nothing`] = { inputs: [[0, 4]], run: ([x]) => ops[name](x!), shape: [0, 4], half: true };

for (const kernels of kernelSets)
  describe(`empty tensors with ${nameOf(kernels)} kernels`, () => {
    let gpu: Gpu;
    before(async () => {
      gpu = await Gpu.open({ kernels });
    });
    after(() => gpu.close());
    for (const [name, { inputs: shapes, run, shape, value, half, gradient = 0 }] of Object.entries(cases))
      for (const dtype of half ? (['f32', 'f16'] as const) : (['f32'] as const))
        test(`${name} (${dtype})`, async (t) => {
          if (!runs(gpu, kernels)) {
            t.skip('the adapter has no subgroups of 8');
            return;
          }
          await scope(async () => {
            const inputs = shapes.map((extents, i) => {
              const data = new Float32Array(sizeOf(extents)).fill(2);
              // Weights stay f32 in mixed precision; what has rows to lose is f16.
              const asHalf = dtype === 'f16' && (i === 0 || extents.includes(0) || name.startsWith('concat'));
              const tensor = asHalf
                ? Tensor.from(gpu, f32ToF16(data), extents, 'f16')
                : Tensor.from(gpu, data, extents);
              tensor.requiresGrad = true;
              return tensor;
            });
            const y = run(inputs, gpu);
            assert.deepEqual([...y.shape], shape);
            const values = await y.toFloat32();
            assert.equal(values.length, sizeOf(shape));
            for (const v of values) assert.ok(Object.is(v, value), `${values}`);
            const seed = new Float32Array(values.length).fill(1);
            ops.backward(
              y,
              y.dtype === 'f16'
                ? Tensor.from(gpu, f32ToF16(seed), shape, 'f16')
                : Tensor.from(gpu, seed, shape),
            );
            for (const input of inputs) {
              assert.ok(input.grad, 'every input gets a gradient');
              assert.deepEqual(input.grad.shape, input.shape);
              for (const v of await input.grad.toFloat32()) assert.equal(v === 0 ? 0 : v, gradient);
              // And once more on top of it.
            }
            const again = run(inputs, gpu);
            ops.backward(
              again,
              again.dtype === 'f16'
                ? Tensor.from(gpu, f32ToF16(seed), shape, 'f16')
                : Tensor.from(gpu, seed, shape),
            );
            for (const input of inputs)
              for (const v of await input.grad!.toFloat32()) assert.equal(v === 0 ? 0 : v, 2 * gradient);
            for (const input of inputs) input.grad?.dispose();
          });
        });
  });
