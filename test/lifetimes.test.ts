/** Memory and the tape under stress: small budgets, many sizes, textures, errors, graphs that are dropped. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  add,
  attention,
  backward,
  checkpoint,
  crossEntropy,
  dropout,
  exp,
  gatherRows,
  layerNorm,
  linear,
  linearGelu,
  m3Distillation,
  max,
  mul,
  normalizeRows,
  scale,
  scaleGradient,
  segmentMax,
  segmentMean,
  softCrossEntropy,
  softmax,
  sort,
  sum,
} from '../src/autograd/index.js';
import { MachineError } from '../src/errors.js';
import { Gpu, type GpuOptions } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { golden } from './repository.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const ones = (on: Gpu, count: number) => Tensor.from(on, new Float32Array(count).fill(1), [count]);

test('a full budget frees buffers that the open recording still reads, after submitting it', async () => {
  const small = await Gpu.open({ memoryBudget: 1.2e6 });
  await scope(async () => {
    const b = scale(ones(small, 65536), 3);
    const c = scale(b, 2);
    b.dispose();
    Tensor.empty(small, [140_000]);
    assert.equal((await c.toArray())[65535], 6);
    assert.throws(() => Tensor.empty(small, [300_000]), MachineError);
  });
  await small.close();
});

test('what is pooled does not grow with the number of sizes', async () => {
  const own = await Gpu.open();
  for (let megabytes = 65; megabytes < 110; megabytes++) Tensor.empty(own, [megabytes << 18]).dispose();
  const { pooled, peak } = own.memory();
  assert.ok(pooled <= 2 * Math.max(peak, 256 << 20), `${pooled} bytes pooled, peak ${peak}`);
  await own.close();
});

test('attention over many lengths in one recording', async () => {
  await scope(async () => {
    const inputs = Array.from({ length: 24 }, (_, i) => {
      const tokens = 5 + 17 * i;
      return {
        packed: new PackedSequences(gpu, [tokens]),
        qkv: Tensor.from(gpu, new Float32Array(tokens * 192).fill(0.5), [tokens, 192]),
      };
    });
    const outputs = inputs.map(({ packed, qkv }) => attention(qkv, packed, 2));
    for (const output of outputs) assert.ok(Math.abs((await output.toArray())[0]! - 0.5) < 1e-6);
    for (const { packed } of inputs) packed.dispose();
  });
});

test('a graph is freed when it is dropped, and its leaf takes the gradient along', async () => {
  const live = gpu.memory().liveBuffers;
  await scope(async () => {
    const x = ones(gpu, 8);
    x.requiresGrad = true;
    exp(add(x, x));
    const loss = sum(mul(exp(x), x));
    backward(loss);
    assert.ok(Math.abs((await x.grad!.toArray())[3]! - 2 * Math.E) < 1e-5);
    assert.equal(noGrad(() => exp(x)).node, undefined);
  });
  assert.equal(gpu.memory().liveBuffers, live);
});

test('a graph that is partly used up is refused before any gradient changes', () => {
  const live = gpu.memory().liveBuffers;
  scope(() => {
    const [x, w] = [ones(gpu, 4), ones(gpu, 4)];
    x.requiresGrad = w.requiresGrad = true;
    const y = exp(x);
    backward(sum(y));
    assert.throws(() => backward(sum(mul(y, w))), /already used up/);
    assert.equal(w.grad, undefined);
  });
  assert.equal(gpu.memory().liveBuffers, live);
});

test('errors inside a scope leave nothing behind, and use after free is an error', async () => {
  const live = gpu.memory().liveBuffers;
  await assert.rejects(
    scope(async () => {
      ones(gpu, 64);
      await gpu.finish();
      throw new Error('stop');
    }),
    /stop/,
  );
  assert.equal(gpu.memory().liveBuffers, live);
  const kept = scope(() => ones(gpu, 4).keep());
  kept.dispose();
  assert.throws(() => exp(kept), /freed/);
});

test('a model that does not load leaves no memory behind', () => {
  const live = gpu.memory().liveBuffers;
  assert.throws(
    () => M3Model.load(gpu, golden('model'), { colbertDim: 48 }),
    /--colbert_dim: expected 64, as .*colbert_linear\.pt has, found 48/,
  );
  assert.equal(gpu.memory().liveBuffers, live);
});

test('a tensor beyond the binding limit is an error that names the op', async () => {
  const limited = await Gpu.open({ maxBindingSize: 65536 });
  scope(() =>
    assert.throws(
      () => sort(ones(limited, 20_000)),
      /sort.*: 80\.0 kB of X \[20000\] f32 .* this adapter can bind 65\.5 kB/,
    ),
  );
  await limited.close();
});

test('index lists that are disposed before backward leave nothing behind', async () => {
  const live = gpu.memory().liveBuffers;
  await scope(async () => {
    const table = Tensor.from(gpu, new Float32Array(12).fill(1), [3, 4]);
    table.requiresGrad = true;
    const [index, sequences] = [new RowIndex(gpu, Uint32Array.of(0, 2, 2)), new PackedSequences(gpu, [1, 2])];
    const qkv = Tensor.from(gpu, new Float32Array(36).fill(1), [3, 12]);
    qkv.requiresGrad = true;
    const y = add(sum(segmentMean(gatherRows(table, index), sequences)), sum(attention(qkv, sequences, 1)));
    index.dispose();
    sequences.dispose();
    backward(y);
    assert.deepEqual([...(await table.grad!.toFloat32())], [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]);
    // Used once more after that.
    assert.equal((await scope(() => gatherRows(table, index)).toFloat32()).length, 12);
  });
  assert.equal(gpu.memory().liveBuffers, live);
});

test('the result of an op that changes nothing is another handle; a scope may return what contains itself', async () => {
  const live = gpu.memory().liveBuffers;
  await scope(async () => {
    const x = ones(gpu, 4);
    dropout(x, 0, { seed: 1, stream: 1 }).dispose();
    scaleGradient(x, 1).dispose();
    const knot = scope(() => {
      const result: { x: Tensor; self?: unknown } = { x: exp(x) };
      result.self = result;
      return result;
    });
    assert.equal((await knot.x.toFloat32()).length, 4);
  });
  assert.equal(gpu.memory().liveBuffers, live);
});

test('outside of any scope, whoever disposes of operands and result has disposed of everything', () => {
  const sequences = new PackedSequences(gpu, [1, 3]);
  const order = Tensor.from(gpu, Uint32Array.of(0, 1, 2, 3), [4]);
  const starts = Tensor.from(gpu, Uint32Array.of(0, 2, 4), [3]);
  const teacher = Tensor.from(gpu, new Float32Array(8).fill(0.5), [4, 2]);
  const ops: [op: (...operands: Tensor[]) => Tensor, ...shapes: number[][]][] = [
    [(x, w) => linear(x!, w!), [4, 4], [4, 4]],
    [(x, w) => linearGelu(x!, w!), [4, 4], [4, 4]],
    [(x, w) => linearGelu(x!, w!), [4, 3], [5, 3]],
    [(x, g, b, r) => layerNorm(x!, g!, b!, 1e-5, r), [4, 4], [4], [4], [4, 4]],
    [(x) => attention(x!, sequences, 1), [4, 12]],
    [(x) => normalizeRows(x!), [4, 4]],
    [(x) => max(x!, -1), [4, 4]],
    [(x) => segmentMax(x!, order, starts), [4]],
    [(x) => crossEntropy(x!, order), [4, 4]],
    [(x) => crossEntropy(x!, [0, -100, 2, 3]), [4, 4]],
    [(x, p) => softCrossEntropy(x!, p!), [4, 4], [4, 4]],
    [(x) => m3Distillation(x!, teacher, true), [4, 2]],
    [(x) => checkpoint((y) => softmax(exp(y)), x!), [4]],
  ];
  scope(() => attention(Tensor.zeros(gpu, [4, 12]), sequences, 1));
  const live = gpu.memory().liveBuffers;
  for (const [op, ...shapes] of ops)
    for (const mode of ['forward', 'backward', 'noGrad']) {
      const operands = shapes.map((shape) => Tensor.zeros(gpu, shape));
      for (const operand of operands) operand.requiresGrad = true;
      const y = mode === 'noGrad' ? noGrad(() => op(...operands)) : op(...operands);
      if (mode === 'backward') scope(() => backward(y, Tensor.zeros(gpu, y.shape)));
      for (const tensor of [y, ...operands]) tensor.dispose();
      assert.equal(gpu.memory().liveBuffers, live, `${op} ${mode}`);
    }
  sequences.dispose();
  for (const tensor of [order, starts, teacher]) tensor.dispose();
});

test('options that mean nothing open no device', async () => {
  for (const options of [
    { memoryBudget: Number.NaN },
    { memoryBudget: 0 },
    { memoryBudget: '1e9' },
    { maxBindingSize: -5 },
    { maxBindingSize: 512 },
    { kernels: 'fast' },
    { toggles: 'x' },
    { backend: 'metal' },
    { adapter: 5 },
  ])
    await assert.rejects(Gpu.open(options as GpuOptions), /^TypeError: Gpu\.open: \w+ must be .*, found /);
});
