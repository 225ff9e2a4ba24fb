/**
 * Each op with operands that do not fit: the error names op, shapes and dtypes, nothing was allocated before it, and
 * the same device goes on to compute what is right.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { maxSimLayout } from '../src/kernels/maxsim/layout.js';
import { type FormulaName, formulas } from '../src/kernels/pointwise.js';
import { sparseMatches } from '../src/kernels/sparse-matches.js';
import type { M3Model } from '../src/models/m3.js';
import { evaluateRetrieval } from '../src/retrieval/evaluate/one-relevant.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { sizeOf } from '../src/tensor/shape.js';
import { Tensor } from '../src/tensor/tensor.js';
import type { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { teacherProbabilities } from '../src/train/losses/score-loss.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { collate } from '../src/train/step/collate.js';
import { elementwiseWrong } from './op-tables/elementwise-wrong.js';
import { factoriesWrong } from './op-tables/factories-wrong.js';
import { layersWrong } from './op-tables/layers-wrong.js';
import { lossesWrong } from './op-tables/losses-wrong.js';
import { callsWithOptions, callsWithout } from './op-tables/options.js';
import { reductionsWrong } from './op-tables/reductions-wrong.js';
import { shapesWrong } from './op-tables/shapes-wrong.js';
import { devices, drop, ids, packed, tensor, type Wrong } from './op-tables/wrong-operands.js';

let gpu: Gpu;
let other: Gpu;
before(async () => {
  gpu = await Gpu.open();
  other = await Gpu.open();
  Object.assign(devices, { gpu, other });
});
after(async () => {
  await gpu.close();
  await other.close();
});

/** By op. */
const wrong: Record<string, Wrong[]> = {
  ...factoriesWrong(() => gpu),
  ...layersWrong,
  ...lossesWrong,
  ...reductionsWrong,
  ...shapesWrong,
  ...elementwiseWrong,
};

for (const [op, cases] of Object.entries(wrong))
  test(`${op} refuses what does not fit`, async () => {
    for (const { operands, call, says } of cases) {
      const tensors = operands.map(tensor);
      const live = gpu.memory().liveBuffers + other.memory().liveBuffers;
      const where = `${op}(${operands.join(', ')})`;
      assert.throws(
        () => call(...tensors),
        (error: unknown) => {
          assert.ok(error instanceof ShapeError, `${where}: ${error}`);
          assert.equal(error.op, op, where);
          assert.match(error.message, says, where);
          for (const text of operands) {
            const [shape, dtype] = text.split(' ');
            assert.ok(error.message.includes(`${shape} ${dtype}`), `${where}: ${error.message}`);
          }
          return true;
        },
        where,
      );
      assert.equal(gpu.memory().liveBuffers + other.memory().liveBuffers, live, `${where}: buffers`);
      for (const each of tensors) each.dispose();
    }
    const [a, b] = [Tensor.from(gpu, [1, 2], [1, 2]), Tensor.from(gpu, [3, 4], [2, 1])];
    const c = ops.matmul(a, b);
    assert.equal(await c.item(), 11);
    for (const each of [a, b, c]) each.dispose();
  });

test('every exported op is in the table or takes anything', () => {
  const noOperands = [
    ...['backward', 'backwardAll', 'propagate', 'record', 'wantsGradient', 'checkpoint', 'retainGrad'],
    ...['allClose', 'assertClose', 'ValuesDiffer', 'format', 'print'],
    ...['sharedGradient', 'grad', 'valueAndGrad', 'checkGradients', 'GradientMismatch', 'cachedBackward'],
  ];
  for (const name of Object.keys(ops)) assert.ok(name in wrong || noOperands.includes(name), name);
});

test('host functions refuse what does not fit', () => {
  const tokenizer = {} as Tokenizer;
  const options = { queryMaxLen: 8, passageMaxLen: 8, colbertFloor: false };
  const config = {} as Parameters<typeof collate>[2];
  const live = gpu.memory().liveBuffers;
  const plain = { decay: false, trainable: true };
  const cases: [op: string, RegExp, () => unknown][] = [
    [
      'collate',
      /3 passages are no equal groups for 2 queries/,
      () => collate(gpu, tokenizer, config, ['a', 'b'], ['c', 'd', 'e'], options),
    ],
    ['collate', /0 passages/, () => collate(gpu, tokenizer, config, ['a'], [], options)],
    ['collate', /for 0 queries/, () => collate(gpu, tokenizer, config, [], ['a'], options)],
    ['PackedSequences', /sequence 1 of 2 .* not 0/, () => packed(2, 0)],
    ['PackedSequences', /not 1.5/, () => packed(1.5)],
    ['PackedSequences', /not -1/, () => packed(-1)],
    ['PackedSequences', /not NaN/, () => packed(Number.NaN)],
    ['PackedSequences', /more than 32 bits/, () => packed(2 ** 31, 2 ** 31)],
    ['RowIndex', /must be a Uint32Array/, () => new RowIndex(gpu, [1, 2] as unknown as Uint32Array)],
    [
      'maxSim',
      /3 passages are no equal groups for 2 queries/,
      () => maxSimLayout(packed(2, 2, 2, 2, 2), { queries: 2, ownGroup: true }),
    ],
    ['maxSim', /6 queries among 5/, () => maxSimLayout(packed(2, 2, 2, 2, 2), { queries: 6 })],
    [
      'maxSim',
      /floors of 2 passages for 4/,
      () => maxSimLayout(packed(2, 2, 2, 2, 2), { queries: 1, floor: [true, false] }),
    ],
    [
      'sparseScores',
      /3 ids for 10 tokens/,
      () => sparseMatches(packed(2, 2, 2, 2, 2), ids(3), { queries: 1, special: [] }),
    ],
    [
      'sparseScores',
      /no equal groups/,
      () => sparseMatches(packed(2, 2, 2, 2, 2), ids(10), { queries: 2, ownGroup: true, special: [] }),
    ],
    [
      'teacherProbabilities',
      /5 scores are no groups of 2/,
      () => teacherProbabilities(gpu, [1, 2, 3, 4, 5], 2),
    ],
    [
      'ParameterStore',
      /called "w"/,
      () =>
        new ParameterStore(
          gpu,
          [[4], [2]].map((shape) => ({ name: 'w', shape, decay: false, trainable: true })),
        ),
    ],
    ...[[2.5], [-1], [Number.NaN]].map((shape): [string, RegExp, () => unknown] => [
      'ParameterStore',
      /bad shape/,
      () =>
        new ParameterStore(
          gpu,
          [[4], shape].map((each, i) => ({ ...plain, name: `w${i}`, shape: each })),
        ),
    ]),
    [
      'ParameterStore',
      /the table "w" must be of rows and columns, not \[4\]/,
      () => new ParameterStore(gpu, [{ ...plain, name: 'w', shape: [4], table: true }]),
    ],
    ...Object.entries({
      beta1: [1, -0.5, Number.NaN],
      beta2: [1, 0.999_999_999],
      eps: [0, 1e-50, -1, Number.NaN],
      weightDecay: [-1, Number.NaN, Infinity],
      maxGradNorm: [Number.NaN],
    }).flatMap(([name, values]) =>
      values.map((value): [string, RegExp, () => unknown] => [
        'StoreAdamW',
        new RegExp(`${name} must be`),
        () => {
          const store = new ParameterStore(gpu, [{ name: 'w', shape: [4], decay: false, trainable: true }]);
          try {
            const options = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 };
            return new StoreAdamW(store, { ...options, [name]: value });
          } finally {
            store.dispose();
          }
        },
      ]),
    ),
  ];
  for (const [op, says, call] of cases)
    assert.throws(call, (error: unknown) => {
      assert.ok(error instanceof ShapeError, `${op}: ${error}`);
      assert.equal(error.op, op);
      assert.match(error.message, says);
      return true;
    });
  assert.equal(gpu.memory().liveBuffers, live);
});

test('what stands beside the operands must be there', () => {
  const none = undefined as never;
  const x = Tensor.zeros(gpu, [2, 12]);
  const live = gpu.memory().liveBuffers;
  const cases: [op: string, RegExp, () => unknown][] = [
    ['attention', /sequences must be a PackedSequences, found nothing/, () => ops.attention(x, none, 1)],
    [
      'scaledDotProductAttention',
      /sequences must be a PackedSequences, for \[tokens, heads, dim\]/,
      () =>
        ops.scaledDotProductAttention(
          ...([x, x, x].map((each) => each.alias([2, 3, 4])) as [Tensor, Tensor, Tensor]),
        ),
    ],
    ['segmentMean', /sequences must be a PackedSequences/, () => ops.segmentMean(x, none)],
    ['gatherRows', /index must be a RowIndex/, () => ops.gatherRows(x, [0, 1] as never)],
    ['maxSim', /layout must be one of maxSimLayout/, () => ops.maxSim(x, {} as never)],
    ['sparseScores', /matches must be/, () => ops.sparseScores(x, none)],
    ['dropout', /random must be/, () => ops.dropout(x, 0.5, none)],
    ['crossEntropy', /targets must be/, () => ops.crossEntropy(x, none)],
    ['reshape', /a shape must be a list/, () => ops.reshape(x, none)],
    ['concat', /tensors must be a list/, () => ops.concat(none)],
    ['checkpoint', /needs a function/, () => ops.checkpoint(none, x)],
    ['backward', /root must be a tensor/, () => ops.backward(none)],
    ['tensor', /a shape must be a list/, () => Tensor.from(gpu, [1, 2], '2' as never)],
    ['retainGrad', /x must be a tensor/, () => ops.retainGrad(none)],
    ['retainGrad', /no gradient will reach it/, () => ops.retainGrad(x)],
    ['grad', /outputs must be a tensor or a list/, () => ops.grad(none, x)],
    ['grad', /must be a scalar, or have a seed/, () => ops.grad(x, x)],
    ['valueAndGrad', /needs a function/, () => ops.valueAndGrad(none)],
    ['valueAndGrad', /scalar tensor, found \[/, () => scope(() => ops.valueAndGrad(ops.square)(x))],
    ['valueAndGrad', /parameters must be tensors/, () => ops.valueAndGrad(ops.sum)(3 as never)],
  ];
  for (const [op, says, call] of cases)
    assert.throws(call, (error: unknown) => {
      assert.ok(error instanceof ShapeError, `${op}: ${error}`);
      assert.equal(error.op, op);
      assert.match(error.message, says);
      return true;
    });
  assert.equal(gpu.memory().liveBuffers, live);
  x.dispose();
});

test('an average over no queries is none', async () => {
  const task = { queries: [], candidates: ['a'], targets: [] };
  await assert.rejects(
    evaluateRetrieval({} as M3Model, {} as Tokenizer, task, { maxLength: 8 }),
    /^ShapeError: evaluateRetrieval: no queries/,
  );
});

test('a step of no rate or scale is refused before anything changes', async () => {
  const store = new ParameterStore(gpu, [{ name: 'w', shape: [4], decay: false, trainable: true }]);
  const optimizer = new StoreAdamW(store, {
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weightDecay: 0,
    maxGradNorm: 1,
  });
  for (const [rate, scale] of [
    [Number.NaN, 1],
    [undefined as unknown as number, 1],
    [-1, 1],
    [Infinity, 1],
    [1, Number.NaN],
    [1, 0],
    [1, -1],
    [1, Infinity],
  ] as const)
    await assert.rejects(optimizer.step(rate, scale), /^ShapeError: StoreAdamW\.step: \w+ must be/);
  assert.equal(optimizer.steps, 0);
  assert.deepEqual([...(await store.get('w').toFloat32())], [0, 0, 0, 0]);
  optimizer.dispose();
  store.dispose();
});

/** What PyTorch 2 prints for cross_entropy of [[1,2],[3,5],[0,−1]]: loss, gradient. */
const logits = [1, 2, 3, 5, 0, -1];
const crossEntropies: { targets: number[]; loss: number; gradient: number[]; ignoreIndex?: number }[] = [
  {
    targets: [0, 1, 0],
    loss: 0.584_483_8,
    gradient: [-0.243_686, 0.243_686, 0.039_734, -0.039_734, -0.089_647, 0.089_647],
  },
  {
    targets: [0, -100, 0],
    loss: 0.813_261_7,
    gradient: [-0.365_529, 0.365_529, 0, 0, -0.134_471, 0.134_471],
  },
  {
    targets: [0, 1, 0],
    ignoreIndex: 1,
    loss: 0.813_261_7,
    gradient: [-0.365_529, 0.365_529, 0, 0, -0.134_471, 0.134_471],
  },
  { targets: [-100, -100, -100], loss: Number.NaN, gradient: [0, 0, 0, 0, 0, 0] },
];
for (const where of ['host', 'u32', 'i32'] as const)
  test(`crossEntropy leaves ignoreIndex out as PyTorch does, targets: ${where}`, async () => {
    for (const { targets, loss, gradient, ignoreIndex } of crossEntropies) {
      const x = Tensor.from(gpu, logits, [3, 2]);
      x.requiresGrad = true;
      const options = ignoreIndex === undefined ? {} : { ignoreIndex };
      const to =
        where === 'host'
          ? targets
          : Tensor.from(
              gpu,
              where === 'u32' ? Uint32Array.from(targets) : Int32Array.from(targets),
              [3],
              where,
            );
      const y = ops.crossEntropy(x, to, options);
      const value = await y.item();
      assert.ok(
        Number.isNaN(loss) ? Number.isNaN(value) : Math.abs(value - loss) < 2e-6,
        `${targets}: ${value}`,
      );
      ops.backward(y);
      const dx = await x.grad!.toFloat32();
      gradient.forEach((g, i) => {
        assert.ok(Math.abs(dx[i]! - g) < 2e-6, `${targets}: gradient ${dx}`);
      });
    }
  });

test('a target on the device that is no class gives NaN, not another class', async () => {
  for (const bad of [2, 7, 0xffffffff]) {
    const x = Tensor.from(gpu, logits, [3, 2]);
    x.requiresGrad = true;
    const y = ops.crossEntropy(x, Tensor.from(gpu, Uint32Array.of(0, bad, 1), [3], 'u32'));
    assert.ok(Number.isNaN(await y.item()));
    ops.backward(y);
    const dx = await x.grad!.toFloat32();
    assert.deepEqual([...dx].map(Number.isNaN), [false, false, true, true, false, false]);
  }
});

test('segmentMax is NaN where its lists leave x or name nothing', async () => {
  const x = Tensor.from(gpu, [1, 5, 3], [3]);
  x.requiresGrad = true;
  const u32s = (...numbers: number[]) => Tensor.from(gpu, Uint32Array.from(numbers), [numbers.length], 'u32');
  // Groups: [0,1], none, [2,9], beyond order.
  const y = ops.segmentMax(x, u32s(0, 1, 2, 9), u32s(0, 2, 2, 4, 6));
  assert.deepEqual([...(await y.toFloat32())], [5, Number.NaN, Number.NaN, Number.NaN]);
  ops.backward(ops.sum(y));
  assert.deepEqual([...(await x.grad!.toFloat32())], [0, 1, 0]);
});

test('cosineSimilarity broadcasts before it takes lengths along the axis', () =>
  scope(async () => {
    const [a, b] = [
      ops.tensor(gpu, [
        [1, 2],
        [3, -4],
        [5, 6],
      ]),
      ops.tensor(gpu, [2, -1]),
    ];
    const cosines = (y: number[]) => ops.assertClose(ops.cosineSimilarity(a, b, y[0]!), y.slice(1));
    // Of the columns [1,3,5] and [2,−4,6] with [2,2,2] and [−1,−1,−1]; of rows with [2,−1].
    await cosines([0, 9 / Math.sqrt(35 * 3), -4 / Math.sqrt(56 * 3)]);
    await cosines([1, 0, 10 / Math.sqrt(25 * 5), 4 / Math.sqrt(61 * 5)]);
    assert.throws(() => ops.cosineSimilarity(a, b, 2), /cosineSimilarity: no axis 2 among 2 dimensions/);
  }));

test('triangles of diagonals beyond the matrix, and beyond i32', () =>
  scope(async () => {
    const x = ops.ones(gpu, [2, 3]);
    for (const far of [7, 2 ** 31, 2 ** 40]) {
      assert.deepEqual(await ops.sum(ops.tril(x, far)).item(), 6);
      assert.deepEqual(await ops.sum(ops.tril(x, -far)).item(), 0);
      assert.deepEqual(await ops.sum(ops.triu(x, far)).item(), 0);
      assert.deepEqual(await ops.sum(ops.triu(x, -far)).item(), 6);
    }
  }));

test('sizes stay those of the shapes', () => {
  assert.equal(sizeOf([3, 0]), 0);
  const none = Tensor.empty(gpu, [3, 0]);
  assert.deepEqual([none.rows, none.cols], [3, 0]);
  none.dispose();
});

for (const [name, before] of Object.entries(callsWithOptions))
  test(`${name} refuses options that there are not`, () =>
    scope(async () => {
      const given = before(gpu);
      const live = gpu.memory().liveBuffers;
      const call = async (options: unknown) =>
        (ops[name as keyof typeof ops] as (...operands: unknown[]) => unknown)(...given, options);
      const refused = async (options: unknown, says: RegExp) =>
        assert.rejects(call(options), (error: unknown) => {
          assert.ok(error instanceof ShapeError, `${error}`);
          assert.match(error.message, says);
          return true;
        });
      await refused({ nonsense: 1 }, /no option "nonsense".*; there (is|are) /);
      const known = await call({ nonsense: 1 }).catch(
        (error: Error) => /there (?:is|are) (.*)/.exec(error.message)![1]!,
      );
      const option = String(known).split(', ').at(-1)!;
      const snake = `${option.replace(/[A-Z]/g, (letter) => `_${letter}`)}_`.toLowerCase();
      await refused({ [snake]: undefined }, new RegExp(`the nearest is ${option};`));
      // What is of no kind that any option has.
      for (const each of String(known).split(', ')) await refused({ [each]: () => 1 }, new RegExp(each));
      // A lone number in the place of options is one more number of the sequence.
      for (const other of name === 'arange' ? [null] : [null, 3, 'sum', [1], true])
        await refused(other, /must be (an object|a RandomStream|a seed)/);
      assert.equal(gpu.memory().liveBuffers, live);
    }));

const nonsense: readonly unknown[] = [
  ...[null, Number.NaN, 0.5, 2 ** 31, 'foo', 1n, Symbol('x'), true, {}, () => 1],
  ...[[null], [undefined], [2 ** 31, 2 ** 31], new Set([1]), new BigInt64Array(2), Promise.resolve(1)],
];

test('nonsense in the place of any operand is computed with, or refused by an error that names the operation', () =>
  scope(async () => {
    const { print, ...calls } = { ...callsWithOptions, ...callsWithout };
    for (const [name, before] of Object.entries(calls))
      for (let at = 0; at < before(gpu).length; at++)
        for (const value of nonsense)
          await scope(async () => {
            const given = before(gpu).map((operand, i) => (i === at ? value : operand));
            const live = gpu.memory().liveBuffers;
            const call = async () =>
              (ops[name as keyof typeof ops] as (...operands: unknown[]) => unknown)(...given);
            const error = await call().then(
              () => undefined,
              (reason: Error) => reason,
            );
            if (!error) return;
            assert.equal(gpu.memory().liveBuffers, live, `${name}, operand ${at}`);
            const told =
              ['ShapeError', 'MachineError', 'ValuesDiffer'].includes(error.name) ||
              error.message.startsWith(`${name}:`);
            assert.ok(told, `${name}, operand ${at}, ${String(value)}: ${error.stack}`);
          });
    await gpu.finish();
  }));

test('elementwise operations refuse more operands, but for what map and reduce of lists give', () =>
  scope(() => {
    for (const [name, { operands, dtypes }] of Object.entries(formulas)) {
      if (!['x', 'a'].includes(operands[0]!) || formulas[name as FormulaName].numbers.length > 0) continue;
      const tensors = operands.map(() => Tensor.zeros(gpu, [2], dtypes[0]!));
      const run = (...more: unknown[]) =>
        (ops[name as FormulaName] as (...all: unknown[]) => unknown)(...tensors, ...more);
      for (const more of [[tensors[0]], [{ alpha: 2 }], [0], [0, 1]])
        assert.throws(() => run(...more), /takes [12] operands?, found/, name);
      run(0, tensors);
    }
    const [a, b] = [Tensor.zeros(gpu, [2]), Tensor.zeros(gpu, [2])];
    [a, b, a].map(ops.exp).reduce(ops.add);
  }));

test('what stands in the place of a tensor, or is done to one as to a number, is told with what was meant', () =>
  scope(() => {
    const a = Tensor.zeros(gpu, [2]);
    const wrong: [given: unknown, says: RegExp][] = [
      [{ tensor: a }, /whose \.tensor is one/],
      [Promise.resolve(a), /found a Promise: await gives what it will be/],
      [[1, 2], /found \[1,2\]: tensor\(gpu, data\) makes one/],
      [new Float32Array(2), /found 8 bytes: tensor\(gpu, data\) makes one/],
      [undefined, /found nothing/],
    ];
    for (const [given, says] of wrong) {
      assert.throws(() => ops.add(a, given as Tensor), says);
      assert.throws(() => ops.matmul(a, given as Tensor), says);
    }
    const operators = [(x: never) => x + 1, (x: never) => 2 * x, (x: never) => x < 3];
    for (const operator of operators)
      assert.throws(() => operator(a as never), /is no number: add\(\), lt\(\)/);
    assert.equal(`${a}`, a.toString());
  }));

test('backward refuses seeds and gradients that do not fit', () =>
  scope(() => {
    const x = Tensor.zeros(gpu, [2, 4]);
    x.requiresGrad = true;
    const shifted = (gradient: number[]) =>
      ops.record('shifted', x.detach(), [], [[x, () => Tensor.zeros(gpu, gradient)]]);
    const wrongCalls: [string, RegExp, () => unknown][] = [
      [
        'backward',
        /needs a scalar, as sum\(\) and mean\(\) give, or a seed: root \[2,4\] f32/,
        () => ops.backward(ops.neg(x)),
      ],
      ['backward', /differ: .*seed \[4,2\]/, () => ops.backward(ops.neg(x), Tensor.zeros(gpu, [4, 2]))],
      ['backward', /one dtype/, () => ops.backward(ops.neg(x), Tensor.zeros(gpu, [2, 4], 'f16'))],
      ['backward', /different devices/, () => ops.backward(ops.neg(x), Tensor.zeros(other, [2, 4]))],
      ['backward', /nothing on the tape/, () => ops.backward(Tensor.scalar(gpu, 1))],
      [
        'shifted',
        /of an input \[2,4\] must be of its shape: gradient \[4\] f32/,
        () => ops.backward(shifted([4]), Tensor.zeros(gpu, [2, 4])),
      ],
      ['shifted', /gradient \[1,4\] f32/, () => ops.backward(shifted([1, 4]), Tensor.zeros(gpu, [2, 4]))],
      [
        'dropout',
        /freed/,
        () => {
          const gone = Tensor.zeros(gpu, [4]);
          gone.dispose();
          return ops.dropout(gone, 0, drop);
        },
      ],
    ];
    for (const [op, says, call] of wrongCalls)
      assert.throws(call, (error: unknown) => {
        assert.ok(error instanceof ShapeError, `${op}: ${error}`);
        assert.equal(error.op, op);
        assert.match(error.message, says);
        return true;
      });
    assert.equal(x.grad, undefined);
  }));
