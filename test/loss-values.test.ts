/**
 * Losses where values are special: nothing that counts, targets of 0, scores without bound, vectors without direction. Expected is what
 * PyTorch has, but for the gradient towards a distribution's 0, which is no number there.
 */
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

const { NaN: nan } = Number;
const rows = (values: number[][]) => Tensor.from(gpu, values.flat(), [values.length, values[0]?.length ?? 3]);
const numbers = (...values: number[]) => Tensor.from(gpu, values, [values.length]);
const i32 = (...values: number[]) => Tensor.from(gpu, Int32Array.from(values), [values.length], 'i32');

/** What the first operand is, what f makes of it, and the gradient of its sum towards it. */
type Row = [name: string, x: () => Tensor, f: (x: Tensor) => Tensor, y: number[], dx?: number[]];

const TWO = [
  [0, 0],
  [0, Math.log(3)],
];
const all = { ignoreIndex: 7, labelSmoothing: 0.1 };

const ROWS: Row[] = [
  ['nothing counts', () => rows(TWO), (x) => ops.crossEntropy(x, i32(7, 7), all), [nan]],
  [
    'the sum of nothing',
    () => rows(TWO),
    (x) => ops.crossEntropy(x, [7, 7], { ...all, reduction: 'sum' }),
    [0],
    [0, 0, 0, 0],
  ],
  [
    'no class on the device, weighted',
    () => rows(TWO),
    (x) => ops.crossEntropy(x, i32(5, 1), { weight: numbers(1, 2), reduction: 'none' }),
    [nan, 2 * Math.log(4 / 3)],
  ],
  [
    'an ignored row',
    () => rows(TWO),
    (x) => ops.crossEntropy(x, [-100, 0], { weight: numbers(3, 1), labelSmoothing: 0.5, reduction: 'none' }),
    [0, 0.5 * 3 * Math.log(4) + 0.25 * (3 * Math.log(4) + Math.log(4 / 3))],
  ],
  [
    'scores without bound',
    () => numbers(1e4, -1e4, 1e4, -1e4),
    (x) => ops.bceWithLogits(x, numbers(1, 0, 0, 1), { reduction: 'none' }),
    [0, 0, 1e4, 1e4],
    [0, 0, 1, -1],
  ],
  [
    'a target of 0',
    () => numbers(-1, -2),
    (x) => ops.klDivergence(x, numbers(0, 0.5), { reduction: 'none' }),
    [0, 0.5 * Math.log(0.5) + 1],
    [0, -0.5],
  ],
  [
    'a distribution of 0',
    () => numbers(0, 1),
    (x) => ops.klDivergence(numbers(-1, -2), x, { reduction: 'sum' }),
    [2],
    [1, 3],
  ],
  ['no direction', () => rows([[0, 0]]), (x) => ops.cosineSimilarity(x, rows([[1, 0]])), [0], [1e8, 0]],
  [
    'a triplet of equals',
    () => rows([[1, 1]]),
    (x) => ops.tripletLoss(x, rows([[1, 1]]), rows([[1, 1]])),
    [1],
    [0, 0],
  ],
  ['equal values', () => numbers(1, 2), (x) => ops.l1Loss(x, numbers(1, 2)), [0], [0, 0]],
  ['the mean of no values', () => numbers(), (x) => ops.mseLoss(x, numbers()), [nan]],
  ['the sum of no values', () => numbers(), (x) => ops.mseLoss(x, numbers(), { reduction: 'sum' }), [0]],
];

test('special values of losses', async () => {
  for (const [name, make, f, y, dx] of ROWS)
    await scope(async () => {
      const x = make();
      x.requiresGrad = true;
      const out = f(x);
      const check = (got: Float32Array, want: number[]) =>
        want.forEach((value, i) => {
          const near = Math.abs(got[i]! - value) <= 2e-6 * Math.max(1, Math.abs(value));
          assert.ok(near || Object.is(got[i]! + 0, value + 0), `${name} ${i}: ${got[i]} instead of ${value}`);
        });
      check(await out.toFloat32(), y);
      if (!dx) return;
      ops.backward(ops.sum(out));
      check(await x.grad!.toFloat32(), dx);
      x.grad!.dispose();
    });
});

test('no gradient is asked of the weights of classes', () =>
  scope(() => {
    const weight = numbers(1, 2);
    weight.requiresGrad = true;
    assert.throws(() => ops.crossEntropy(rows(TWO), [0, 1], { weight }), /no gradient flows to the weights/);
  }));
