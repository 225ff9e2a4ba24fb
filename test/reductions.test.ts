/** Reductions where values are special: ties, zeros, infinities, what is no number, and nothing. Expected is what PyTorch has. */
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

const [inf, nan] = [Number.POSITIVE_INFINITY, Number.NaN];

/** Rows of x, what f makes of them, and the gradient of its sum. */
type Row = [name: string, x: number[][], f: (x: Tensor) => Tensor, y: number[], dx?: number[]];

const ROWS: Row[] = [
  [
    'max',
    [
      [nan, 1, nan],
      [1, 1, 0],
    ],
    (x) => ops.max(x, -1),
    [nan, 1],
    [1, 0, 0, 1, 0, 0],
  ],
  [
    'max of all',
    [
      [0, 2],
      [2, 1],
    ],
    (x) => ops.max(x),
    [2],
    [0, 1, 0, 0],
  ],
  // Row-major: the second row's 3 comes after the first row's.
  [
    'max of two axes',
    [
      [1, 3],
      [3, 3],
    ],
    (x) => ops.max(x, [0, 1]),
    [3],
    [0, 1, 0, 0],
  ],
  [
    'min',
    [
      [nan, 1, nan],
      [1, 0, 0],
      [-0, 0, 1],
    ],
    (x) => ops.min(x, -1),
    [nan, 0, 0],
    [1, 0, 0, 0, 1, 0, 1, 0, 0],
  ],
  [
    'min of columns',
    [
      [inf, -inf],
      [inf, nan],
    ],
    (x) => ops.min(x, 0),
    [inf, nan],
    [1, 0, 0, 1],
  ],
  [
    'argmax',
    [
      [1, nan, nan],
      [-inf, -inf, -inf],
      [2, 2, 1],
    ],
    (x) => ops.argmax(x, 1),
    [1, 0, 0],
  ],
  [
    'argmin of all',
    [
      [3, 1],
      [1, 2],
    ],
    (x) => ops.argmin(x),
    [1],
  ],
  [
    'argmin of columns',
    [
      [3, 1],
      [nan, 1],
    ],
    (x) => ops.argmin(x, 0),
    [1, 0],
  ],
  [
    'prod',
    [
      [0, 2, 3],
      [0, 0, 3],
      [2, 3, 4],
    ],
    (x) => ops.prod(x, -1),
    [0, 0, 24],
    [6, 0, 0, 0, 0, 0, 12, 8, 6],
  ],
  ['variance of one', [[1], [2]], (x) => ops.variance(x, -1), [nan, nan], [nan, nan]],
  ['variance far from zero', [[1e6, 1e6 + 1, 1e6 + 2]], (x) => ops.variance(x, -1), [1], [-1, 0, 1]],
  [
    'std of equals',
    [
      [1, 1],
      [1, 3],
    ],
    (x) => ops.std(x, -1),
    [0, Math.SQRT2],
    [0, 0, -Math.SQRT1_2, Math.SQRT1_2],
  ],
  [
    'norm',
    [
      [0, 0],
      [3, -4],
    ],
    (x) => ops.norm(x, 2, -1),
    [0, 5],
    [0, 0, 0.6, -0.8],
  ],
  [
    'norm of 1',
    [
      [0, 0],
      [3, -3],
    ],
    (x) => ops.norm(x, 1, -1),
    [0, 6],
    [0, 0, 1, -1],
  ],
  [
    'norm of 3',
    [
      [0, 0],
      [0, 2],
    ],
    (x) => ops.norm(x, 3, -1),
    [0, 2],
    [0, 0, 0, 1],
  ],
  [
    'norm of ½',
    [
      [0, 0],
      [3, -3],
      [0, 2],
    ],
    (x) => ops.norm(x, 0.5, -1),
    [0, 12, 2],
    [0, 0, 2, -2, 0, 1],
  ],
  [
    'norm of ∞',
    [
      [1, -3],
      [inf, 1],
    ],
    (x) => ops.norm(x, inf, -1),
    [3, inf],
    [0, -1, 1, 0],
  ],
  ['norm of −∞', [[1, -3]], (x) => ops.norm(x, -inf, -1), [1], [1, 0]],
  [
    'logSumExp',
    [
      [-inf, -inf],
      [inf, 1],
      [1, -inf],
      [nan, 1],
      [1000, 1000],
    ],
    (x) => ops.logSumExp(x, -1),
    [-inf, inf, 1, nan, 1000 + Math.LN2],
    [nan, nan, nan, 0, 1, 0, nan, nan, 0.5, 0.5],
  ],
  [
    'countNonzero',
    [
      [0, -0, nan],
      [1, 0, 2],
    ],
    (x) => ops.countNonzero(x, 1),
    [1, 2],
  ],
  [
    'sum over no axes',
    [
      [1, 2],
      [3, 4],
    ],
    (x) => ops.sum(x, []),
    [1, 2, 3, 4],
    [1, 1, 1, 1],
  ],
  ['prod of nothing', [[]], (x) => ops.prod(x, 1), [1]],
  ['norm of nothing', [[]], (x) => ops.norm(x, 2, 1), [0]],
  ['variance of nothing', [[]], (x) => ops.variance(x, 1), [nan]],
  ['logSumExp of nothing', [[]], (x) => ops.logSumExp(x, 1), [-inf]],
  ['countNonzero of nothing', [[]], (x) => ops.countNonzero(x, 1), [0]],
  ['any of nothing', [[]], (x) => ops.any(ops.ne(x, 0), 1), [0]],
  ['all of nothing', [[]], (x) => ops.all(ops.ne(x, 0), 1), [1]],
];

const close = (got: ArrayLike<number>, want: readonly number[], tolerance: number, what: string): void => {
  assert.equal(got.length, want.length, what);
  want.forEach((value, i) => {
    const off = Math.abs(got[i]! - value);
    const near = Object.is(got[i]! + 0, value + 0) || off <= tolerance * Math.max(1, Math.abs(value));
    assert.ok(near, `${what} ${i}: ${got[i]} instead of ${value}`);
  });
};

for (const kernels of [undefined, 'fallback'] as const)
  test(`special values with ${kernels ?? 'chosen'} kernels`, async () => {
    Object.assign(gpu.choices, { forced: kernels });
    gpu.choices.decided.clear();
    for (const [name, x, f, y, dx] of ROWS)
      for (const half of [false, true]) {
        // Halves have no 10⁶.
        if (half && name === 'variance far from zero') continue;
        await scope(async () => {
          const input = Tensor.from(gpu, x.flat(), [x.length, x[0]!.length], half ? 'f16' : 'f32');
          input.requiresGrad = dx !== undefined;
          const out = f(input);
          const tolerance = half ? 2e-3 : 2e-6;
          const got = out.dtype === 'f16' ? await out.toFloat32() : await out.toArray();
          close(got, y, tolerance, name);
          if (!dx) return;
          ops.backward(ops.sum(ops.cast(out, 'f32')));
          close(await input.grad!.toFloat32(), dx, tolerance, `gradient of ${name}`);
          input.grad!.dispose();
        });
      }
  });

test('what is far longer than a row or a chunk of rows', () =>
  scope(async () => {
    const n = 9001;
    const values = Float32Array.from({ length: 3 * n }, (_, i) => Math.sin(i * 0.7));
    values[2 * n + 8000] = 5;
    values[2 * n + 8500] = 5;
    for (const [shape, axis, at] of [
      [[3, n], 1, 8000],
      [[n, 3], 0, Math.floor((2 * n + 8000) / 3)],
    ] as const) {
      const x = Tensor.from(gpu, values, shape);
      const best = (await ops.argmax(x, axis).toArray()) as Uint32Array;
      assert.ok([...best].includes(at), `${[...best]} has ${at}`);
      const product = await ops.prod(ops.exp(ops.mul(x, 1e-3)), axis).toFloat32();
      const sums = await ops.sum(x, axis).toFloat32();
      product.forEach((v, i) => {
        assert.ok(Math.abs(Math.log(v) - 1e-3 * sums[i]!) < 1e-4);
      });
    }
    const bits = Tensor.from(
      gpu,
      Uint8Array.from({ length: n }, (_, i) => Number(i === 4500)),
      [n],
    );
    assert.deepEqual(
      [await ops.any(bits).item(), await ops.all(bits).item(), await ops.countNonzero(bits).item()],
      [1, 0, 1],
    );
  }));
