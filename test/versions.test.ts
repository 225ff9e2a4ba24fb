/** A tensor that changed after it was recorded: an error, as in PyTorch, and none where the change is of no account. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import * as autograd from '../src/autograd/index.js';
import {
  add,
  attention,
  backward,
  checkpoint,
  concat,
  crossEntropy,
  div,
  dropout,
  exp,
  gatherRows,
  gelu,
  layerNorm,
  linear,
  linearGelu,
  logSoftmax,
  m3Distillation,
  matmul,
  maximum,
  mul,
  normalizeRows,
  relu,
  reshape,
  scale,
  segmentMax,
  sliceRows,
  softmax,
  sqrt,
  square,
  sub,
  sum,
} from '../src/autograd/index.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { addInPlace } from '../src/kernels/pointwise.js';
import type { HostData } from '../src/tensor/host-data.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { golden } from './repository.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const data = (n: number) => Float32Array.from({ length: n }, (_, i) => 0.3 + ((i * 7) % 5) / 5);
const leafOf = (shape: number[]) => {
  const tensor = Tensor.from(gpu, data(shape.reduce((a, b) => a * b, 1)), shape);
  tensor.requiresGrad = true;
  return tensor;
};

/** Ways of writing to a tensor. */
const changes: Record<string, (x: Tensor) => void> = {
  write: (x) => x.write(Float32Array.of(100)),
  copyFrom: (x) => x.copyFrom(Tensor.zeros(gpu, x.shape)),
  fillZero: (x) => x.fillZero(),
  'a kernel': (x) => addInPlace(x, Tensor.zeros(gpu, x.shape)),
  'a view': (x) => x.detach().write(Float32Array.of(100)),
};

test('every way of writing to a tensor that a gradient needs is noticed, and names op and shape', () => {
  for (const [how, change] of Object.entries(changes))
    scope(() => {
      const w = leafOf([2, 4]);
      const y = sum(square(w));
      change(w);
      assert.throws(
        () => backward(y),
        (error: Error) =>
          error instanceof ShapeError && /^square: .*modified in place.* \[2,4\] f32/.test(error.message),
        how,
      );
      assert.equal(w.grad, undefined);
    });
  assert.equal(gpu.memory().liveBuffers, 0);
});

const packed = () => new PackedSequences(gpu, [4]);
type Op = (a: Tensor, b: Tensor) => Tensor;
/**
 * Of two operands [4,4]: does PyTorch refuse when the first, the second, or the result is written after forward?
 * (`which` of the operands want a gradient.)
 */
const ops: [string, Op, 'a' | 'b' | 'both', string][] = [
  ['add', add, 'both', ''],
  ['sub', sub, 'both', ''],
  ['mul', mul, 'both', 'ab'],
  ['mul by a constant', mul, 'a', 'b'],
  ['a constant mul', mul, 'b', 'a'],
  ['div', div, 'both', 'ab'],
  ['div by a constant', div, 'a', 'b'],
  ['maximum', maximum, 'both', 'ab'],
  ['matmul', (a, b) => matmul(a, b), 'both', 'ab'],
  ['matmul with a constant', (a, b) => matmul(a, b), 'a', 'b'],
  ['linear', (a, b) => linear(a, b), 'both', 'ab'],
  ['linear, frozen weight', (a, b) => linear(a, b), 'a', 'b'],
  ['linear, constant input', (a, b) => linear(a, b), 'b', 'a'],
  ['linearGelu', (a, b) => linearGelu(a, b), 'both', 'ab'],
  [
    'a bias',
    (a, b) => linear(Tensor.from(gpu, data(16), [4, 4]), a.detach(), reshape(sliceRows(b, 0, 1), [4])),
    'b',
    '',
  ],
  ['exp', (a) => exp(a), 'a', 'y'],
  ['sqrt', (a) => sqrt(a), 'a', 'y'],
  ['gelu', (a) => gelu(a), 'a', 'a'],
  ['relu', (a) => relu(a), 'a', 'y'],
  ['scale', (a) => scale(a, 2), 'a', ''],
  ['softmax', (a) => softmax(a), 'a', 'y'],
  ['logSoftmax', (a) => logSoftmax(a), 'a', 'y'],
  ['sum', (a) => sum(a, 0), 'a', ''],
  ['concat', (a, b) => concat([a, b]), 'both', ''],
  ['sliceRows', (a) => sliceRows(a, 1, 3), 'a', ''],
  ['normalizeRows', (a) => normalizeRows(a), 'a', 'y'],
  ['layerNorm', (a, b) => layerNorm(a, reshape(sliceRows(b, 0, 1), [4]), Tensor.zeros(gpu, [4])), 'a', 'ab'],
  ['checkpoint', (a, b) => checkpoint((x) => mul(x, b), a), 'both', 'ab'],
  ['checkpoint of a sum', (a, b) => checkpoint((x) => add(x, b), a), 'both', 'ab'],
];

for (const [name, op, which, refused] of ops)
  test(`what backward needs of ${name} must be as forward saw it, and nothing else`, () => {
    for (const target of ['a', 'b', 'y'])
      scope(() => {
        const [a, b] = [leafOf([4, 4]), leafOf([4, 4])];
        a.requiresGrad = which !== 'b';
        b.requiresGrad = which !== 'a';
        const y = op(a, b);
        const loss = sum(y);
        noGrad(() => (target === 'a' ? a : target === 'b' ? b : y).write(Float32Array.of(2)));
        if (refused.includes(target))
          assert.throws(() => backward(loss), /modified in place/, `${name}: ${target}`);
        else backward(loss);
        a.zeroGrad();
        b.zeroGrad();
      });
    assert.equal(gpu.memory().liveBuffers, 0);
  });

test('attention, and a gather: only what is used', () => {
  for (const change of ['qkv', 'out'])
    scope(() => {
      const sequences = packed();
      const qkv = leafOf([4, 24]);
      const out = attention(qkv, sequences, 2);
      noGrad(() => (change === 'qkv' ? qkv : out).write(Float32Array.of(2)));
      assert.throws(() => backward(sum(out)), /^ShapeError: attention: .*modified in place/);
      sequences.dispose();
    });
  scope(() => {
    const table = leafOf([4, 4]);
    const list = new RowIndex(gpu, Uint32Array.of(1, 2));
    const loss = sum(gatherRows(table, list));
    table.write(Float32Array.of(2));
    backward(loss);
    table.zeroGrad();
    list.dispose();
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

for (const precision of ['f32', 'f16'] as const)
  test(`weights updated between forward and backward are an error; others are not: ${precision}`, async () => {
    const store = new ParameterStore(
      gpu,
      ['w', 'v'].map((name) => ({ name, shape: [4, 4], trainable: true, decay: true, product: true })),
      precision,
    );
    for (const { tensor } of store.parameters) tensor.write(data(16));
    const optimizer = new StoreAdamW(store, {
      beta1: 0.9,
      beta2: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      maxGradNorm: 0,
    });
    const [w, v] = [store.get('w'), store.get('v')];
    const x = Tensor.from(gpu, Array.from(data(16)), [4, 4], precision);
    x.requiresGrad = true;
    for (const recompute of [false, true])
      for (const [change, refuses] of [
        [() => w.write(data(16)), true],
        [() => optimizer.step(1e-3), true],
        [() => store.weights!.fillZero(), true],
        // Neighbours in the same flat buffer.
        [() => v.write(data(16)), false],
        [() => w.grad!.write(data(16)), false],
        [() => store.zeroGradients(), false],
        [() => x.detach().dispose(), false],
      ] as const) {
        const loss = scope(() =>
          sum(
            recompute ? checkpoint((y) => linear(y, w, undefined, 'f32'), x) : linear(x, w, undefined, 'f32'),
          ),
        );
        await change();
        if (refuses) assert.throws(() => backward(loss), /modified in place/);
        else backward(loss);
        loss.dispose();
        x.zeroGrad();
      }
    x.dispose();
    optimizer.dispose();
    store.dispose();
    assert.equal(gpu.memory().liveBuffers, 0);
  });

test('what describes an op is what it was when the op was recorded', async () => {
  await scope(async () => {
    const x = Tensor.from(gpu, new Float32Array(64).fill(1), [16, 4]);
    x.requiresGrad = true;
    const random = { seed: 3, stream: 7 };
    const y = dropout(x, 0.5, random);
    random.stream = 8;
    backward(sum(y));
    assert.deepEqual(await x.grad!.toFloat32(), await y.toFloat32());
    x.zeroGrad();
    const results = [];
    for (const changed of [false, true]) {
      const qkv = leafOf([4, 24]);
      const lengths = Uint32Array.of(3, 1);
      const sequences = new PackedSequences(gpu, lengths);
      const drop = { probability: 0.5, seed: 1, stream: 2 };
      const out = attention(qkv, sequences, 2, drop);
      if (changed) {
        drop.stream = 5;
        lengths[0] = 2;
      }
      backward(sum(square(out)));
      results.push(await qkv.grad!.toFloat32());
      qkv.zeroGrad();
      sequences.dispose();
    }
    assert.deepEqual(results[1], results[0]);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('micro-batches add up, frozen weights may be shared by graphs across a step', async () => {
  const store = new ParameterStore(gpu, [
    { name: 'w', shape: [4, 4], trainable: true, decay: true },
    { name: 'v', shape: [4, 4], trainable: true, decay: true },
  ]);
  for (const { tensor } of store.parameters) tensor.write(data(16));
  const optimizer = new StoreAdamW(store, {
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-8,
    weightDecay: 0,
    maxGradNorm: 0,
  });
  const [w, v] = [store.get('w'), store.get('v')];
  v.requiresGrad = false;
  await scope(async () => {
    const x = leafOf([4, 4]);
    const early = sum(mul(x, v));
    for (let n = 0; n < 3; n++) backward(sum(linear(square(w), w)));
    await optimizer.step(1e-2);
    backward(early);
    assert.deepEqual(await x.grad!.toFloat32(), await v.toFloat32());
    x.zeroGrad();
  });
  optimizer.dispose();
  store.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});

interface Program {
  readonly n: number;
  readonly wants: boolean[];
  readonly steps: [op: string, at: number, other?: number][];
  readonly refused?: true;
  readonly gradients?: (number[] | null)[];
}

test("programs with writes in between: PyTorch's gradients, or refused where PyTorch refuses", async () => {
  const programs = JSON.parse(fs.readFileSync(golden('tape', 'programs.json'), 'utf8')) as Program[];
  const unary = {
    ...autograd,
    scale: (x: Tensor) => scale(x, 0.5),
    reshape: (x: Tensor) => reshape(x, [4, 4]),
  };
  for (const { n, wants, steps, refused, gradients } of programs) {
    const told = `program ${n}: ${JSON.stringify(steps)}`;
    await scope(async () => {
      const tensors = wants.map((wanted, k) => {
        const values = Array.from({ length: 16 }, (_, i) => 0.2 + ((7 * i + 3 * k + n) % 9) / 10);
        const leaf = Tensor.from(gpu, values, [4, 4]);
        leaf.requiresGrad = wanted;
        return leaf;
      });
      const leaves = tensors.slice();
      for (const [op, at, other] of steps) {
        const x = tensors[at]!;
        if (op === 'write') noGrad(() => x.write(new Float32Array(16).fill(other!)));
        else if (op === 'detach') tensors.push(x.detach());
        else if (other === undefined)
          tensors.push((unary[op as keyof typeof unary] as (x: Tensor) => Tensor)(x));
        else tensors.push((autograd[op as keyof typeof autograd] as typeof add)(x, tensors[other]!));
      }
      const loss = sum(tensors.at(-1)!);
      if (refused) assert.throws(() => backward(loss), /modified in place/, told);
      else {
        backward(loss);
        for (const [k, want] of gradients!.entries()) {
          const got = await leaves[k]!.grad?.toFloat32();
          assert.equal(got === undefined, want === null, told);
          const top = Math.max(1, ...(want ?? []).map(Math.abs));
          want?.forEach((value, i) => {
            assert.ok(
              Math.abs(got![i]! - value) <= 1e-4 * top,
              `${told}: leaf ${k} at ${i}: ${got![i]}, ${value}`,
            );
          });
        }
      }
      for (const leaf of leaves) leaf.zeroGrad();
    });
  }
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('nothing leaves the tape without a word: views, copies, writes over results', async () => {
  await scope(async () => {
    const w = leafOf([2, 4]);
    const y = exp(w);
    for (const tensor of [w, y]) {
      assert.throws(() => tensor.view([8]), /view: on the tape.*reshape\(\).*detach\(\).* \[2,4\] f32/);
      assert.throws(
        () => Tensor.zeros(gpu, [2, 4]).copyFrom(tensor),
        /copyFrom: the source is on the tape.* \[2,4\] f32/,
      );
      assert.equal(tensor.detach().view([8]).node, undefined);
      noGrad(() => tensor.view([8]));
      assert.throws(() => checkpoint((x) => x.view([8]), w), /view: on the tape/);
    }
    for (const [how, change] of Object.entries(changes))
      if (how !== 'a kernel' && how !== 'a view')
        assert.throws(() => change(y), new RegExp(`${how}: computed by an op.* \\[2,4\\] f32`));
    // Away from the tape all of that is plain work.
    const plain = Tensor.zeros(gpu, [2, 4]);
    plain.view([8]).write(data(8));
    plain.copyFrom(w.detach());
    backward(sum(reshape(y, [8])));
    assert.deepEqual(await w.grad!.toFloat32(), await exp(w.detach()).toFloat32());
    w.zeroGrad();
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('what a checkpoint computes again from must be the same, be it no operand that a gradient flows to', () => {
  const targets = () => Tensor.from(gpu, Uint32Array.of(0, 1), [2]);
  const reads: [string, (x: Tensor, c: Tensor) => Tensor, () => Tensor, HostData][] = [
    ['targets on the device', (x, c) => crossEntropy(x, c), targets, Uint32Array.of(1)],
    ['a teacher', (x, c) => m3Distillation(x, c, false), () => leafOf([2, 2]).detach(), [1]],
    [
      'lists of positions',
      (x, c) => sum(segmentMax(reshape(x, [8]), Tensor.from(gpu, Uint32Array.of(0, 1, 2), [3]), c)),
      () => Tensor.from(gpu, Uint32Array.of(0, 2), [2]),
      Uint32Array.of(0, 1),
    ],
    ['a view', (x, c) => sum(mul(x, c.view([2, 4]))), () => leafOf([8]).detach(), [1]],
    [
      'a copy',
      (x, c) => {
        const copy = Tensor.empty(gpu, [2, 4]);
        copy.copyFrom(c);
        return sum(mul(x, copy));
      },
      () => leafOf([2, 4]).detach(),
      [1],
    ],
    [
      'what wants no gradient',
      (x, c) =>
        sum(
          mul(
            x,
            noGrad(() => square(c)),
          ),
        ),
      () => leafOf([2, 4]).detach(),
      [1],
    ],
  ];
  for (const [what, use, make, written] of reads)
    scope(() => {
      const x = leafOf([2, 4]);
      const constant = make();
      backward(checkpoint((input) => use(input, constant), x));
      const y = checkpoint((input) => use(input, constant), x);
      constant.write(written);
      assert.throws(() => backward(y), /^ShapeError: checkpoint: .*modified in place/, what);
    });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('an operand that was disposed is refused, though its memory lives on in a view or on the tape', () => {
  for (const body of [(use: () => Tensor) => use(), (use: () => Tensor) => noGrad(use), checkpointed])
    scope(() => {
      const w = leafOf([4]);
      const x = square(w);
      const view = x.detach();
      x.dispose();
      // The gradient by way of x would be lost.
      assert.throws(
        () => body(() => add(square(x), w)),
        /^ShapeError: square: an operand was already disposed.* \[4\] f32/,
      );
      assert.equal(view.freed, false);
    });
  assert.equal(gpu.memory().liveBuffers, 0);
});

function checkpointed(use: () => Tensor): Tensor {
  return checkpoint(() => use(), leafOf([4]));
}
