/**
 * Rows of the formulas at the extremes: over all of f32 against float64, at kinks, infinities and NaN against PyTorch's
 * values and gradients (test/golden/extremes/make-elementwise.py), comparisons, integers and casts against the host, each
 * for all pairs of what is special. The kernels of one and of four groups a thread have the same formulas: one is enough.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import {
  type BinaryFormula,
  type BinaryName,
  binaryFormulas,
  type UnaryFormula,
  type UnaryName,
  unaryFormulas,
} from '../src/kernels/pointwise.js';
import { scope } from '../src/tensor/scope.js';
import { type DType, Tensor } from '../src/tensor/tensor.js';
import { differs, name, type Results, readGolden, report, run, tensorOf, ULP } from './extremes.js';
import { numbersOf } from './op-tables/case.js';

type Unary = (x: Tensor) => Tensor;
type Binary = (a: Tensor, b: Tensor) => Tensor;

let gpu: Gpu;
// Drivers may take what is below the smallest normal number for zero.
let skipped: (x: number) => boolean = () => false;
before(async () => {
  gpu = await Gpu.open();
  const [product] = await scope(() => ops.mul(Tensor.from(gpu, [1e-40], [1]), 1e20).toFloat32());
  if (product === 0) skipped = (x) => x !== 0 && Math.abs(x) < 2 ** -126;
});
after(() => gpu.close());

/** Numbers of all sizes, by their bits. */
const everywhere = (count: number, step = 2654435761) =>
  new Float32Array(Uint32Array.from({ length: count }, (_, i) => Math.imul(i, step) >>> 0).buffer);
const between = (count: number, low: number, high: number) =>
  Float32Array.from({ length: count }, (_, i) => low + ((high - low) * i) / count);

/** Units in the last place where they are more than 4. */
const units: Partial<Record<UnaryName, number>> = { erf: 6, tan: 5 };
/** Where e⁻ˣ overflows the quotient is 0, as PyTorch's is. */
const ABSOLUTE: Partial<Record<UnaryName, number>> = { silu: 1e-36 };

test('functions over all of f32: a few units in the last place', async () => {
  const count = 1 << 13;
  const failures: string[] = [];
  for (const op of Object.keys(unaryFormulas) as UnaryName[]) {
    const { host, numbers, result, forward }: UnaryFormula = unaryFormulas[op];
    // GELU's own arithmetic cancels (test/extremes.test.ts).
    if (numbers || !forward || op.startsWith('gelu')) continue;
    for (const x of [everywhere(count), between(count, -110, 110), between(count, -1.5, 1.5)])
      await scope(async () => {
        const found = await numbersOf((ops[op] as Unary)(Tensor.from(gpu, x, [count])));
        x.forEach((value, i) => {
          if (skipped(value)) return;
          const want = host(value);
          const allowed = { ulp: result ? 0 : (units[op] ?? ULP), absolute: ABSOLUTE[op] ?? 0 };
          const wrong = differs(found[i]!, Math.fround(want), want, allowed);
          if (wrong) failures.push(`${op}(${name(value)}): ${wrong}`);
        });
      });
  }
  report(failures);
});

test('functions of two operands over all of f32', async () => {
  const count = 1 << 14;
  const mixed = (x: Float32Array) => x.map((_, i) => x[(i * 7919) % count]!);
  const failures: string[] = [];
  for (const [op, a, b] of [
    ['pow', everywhere(count), everywhere(count, 1597334677)],
    ['pow', everywhere(count).map(Math.abs), between(count, -4, 4)],
    ['pow', between(count, 0.9, 1.1), mixed(between(count, -900, 900))],
    ['pow', between(count, -20, 20), mixed(between(count, -20, 20)).map(Math.round)],
    ['remainder', everywhere(count), everywhere(count, 1597334677)],
    ['remainder', between(count, -1e30, 1e30), mixed(between(count, -3, 3))],
    ['fmod', everywhere(count), everywhere(count, 1597334677)],
    ['fmod', between(count, -1e30, 1e30), mixed(between(count, -3, 3))],
    ['floorDivide', everywhere(count), everywhere(count, 1597334677)],
    ['floorDivide', between(count, -50, 50), mixed(between(count, -3, 3))],
    ['atan2', everywhere(count), everywhere(count, 1597334677)],
    ['atan2', between(count, -3, 3), mixed(between(count, -3, 3))],
    ['hypot', everywhere(count), everywhere(count, 1597334677)],
    ['hypot', between(count, -3, 3), mixed(between(count, -3, 3))],
    ['logAddExp', everywhere(count), everywhere(count, 1597334677)],
    ['logAddExp', between(count, -9, 9), mixed(between(count, -9, 9))],
  ] as const)
    await scope(async () => {
      const found = await ops[op](Tensor.from(gpu, a, [count]), Tensor.from(gpu, b, [count])).toFloat32();
      a.forEach((value, i) => {
        if (skipped(value) || skipped(b[i]!)) return;
        const want = binaryFormulas[op].host(value, b[i]!);
        const ulp = { fmod: 0.5, remainder: 0.5, pow: 2 }[op as string] ?? ULP;
        // A logarithm of a sum near 1 keeps what its terms were rounded to.
        const absolute = op === 'logAddExp' ? 2.5e-7 : 0;
        const wrong = differs(found[i]!, Math.fround(want), want, { ulp, absolute });
        if (wrong) failures.push(`${op}(${name(value)}, ${name(b[i]!)}): ${wrong}`);
      });
    });
  report(failures);
});

interface Both {
  torch: Results;
  exact: Results;
}

test('kinks, infinities and NaN: PyTorch’s values and gradients', async () => {
  const golden = readGolden('elementwise.json') as {
    x: number[];
    pairs: number[];
    unary: Record<string, Both>;
    binary: Record<string, Both>;
  };
  const named: Record<string, Unary> = {
    leakyRelu: (x) => ops.leakyRelu(x, 0.25),
    elu: (x) => ops.elu(x, 1.5),
    nanToNum: (x) => ops.nanToNum(x, { nan: 0.5, posInf: 7 }),
    clamp: (x) => ops.clamp(x, { min: -1.5, max: 2 }),
    clampMin: (x) => ops.clamp(x, { min: 0.5 }),
    clampMax: (x) => ops.clamp(x, { max: 0.5 }),
    clampCrossed: (x) => ops.clamp(x, { min: 2, max: -1 }),
    powTwo: (x) => ops.pow(x, 2),
    powZero: (x) => ops.pow(x, 0),
    twoPow: (x) => ops.pow(2, x),
    maximumOne: (x) => ops.maximum(x, Tensor.from(gpu, new Float32Array(x.size).fill(1), x.shape)),
  };
  const failures: string[] = [];
  const compare = (op: string, inputs: number[][], found: Results, { torch, exact }: Both) => {
    for (const [k, got] of [found.y, ...found.grads].entries()) {
      const [want, ideal] = [torch, exact].map((results) => [results.y, ...results.grads][k]!);
      got.forEach((value, i) => {
        const at = inputs.map((x) => name(x[i]!)).join(', ');
        // Which zero a gradient is nobody can tell from a sum of them, nor which of two is the smaller.
        const plus = (x: number) => (k === 0 && op !== 'minimum' ? x : x + 0);
        const wrong = differs(plus(value), plus(want![i]!), plus(ideal![i]!), {
          ulp: 8,
          absolute: k && 1e-7,
        });
        if (wrong) failures.push(`${k === 0 ? '' : `gradient ${k - 1} of `}${op}(${at}): ${wrong}`);
      });
    }
  };
  for (const [op, both] of Object.entries(golden.unary))
    await scope(async () => {
      const f = named[op] ?? (ops[op as UnaryName] as Unary);
      compare(op, [golden.x], await run(f, [tensorOf(gpu, golden.x, false)], 1), both);
    });
  const left = golden.pairs.flatMap((a) => golden.pairs.map(() => a));
  const right = golden.pairs.flatMap(() => golden.pairs);
  for (const [op, both] of Object.entries(golden.binary))
    await scope(async () => {
      const inputs = [tensorOf(gpu, left, false), tensorOf(gpu, right, false)];
      compare(op, [left, right], await run(ops[op as BinaryName] as Binary, inputs, 1), both);
    });
  report(failures);
});

const special: Record<'f32' | 'i32' | 'u32' | 'bool', number[]> = {
  f32: [0, -0, 1, -1, 1.5, 3e38, -3e38, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
  i32: [0, 1, -1, 2, -2, 3, 7, -7, 65537, -65537, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1],
  u32: [0, 1, 2, 3, 7, 65537, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1, 2 ** 32 - 7],
  bool: [0, 1],
};
const hold = (values: number[], dtype: DType) =>
  Tensor.from(gpu, dtype === 'bool' ? values.map(Boolean) : values, [values.length], dtype);

test('comparisons, logic and integers: all pairs of what is special, against the host', async () => {
  const failures: string[] = [];
  for (const dtype of ['f32', 'i32', 'u32', 'bool'] as const) {
    const kept = (x: number) => (dtype === 'i32' ? x | 0 : dtype === 'u32' ? x >>> 0 : x);
    const values = special[dtype];
    const left = values.flatMap((a) => values.map(() => a));
    const right = values.flatMap(() => values);
    for (const op of Object.keys(binaryFormulas) as BinaryName[]) {
      const row: BinaryFormula = binaryFormulas[op];
      if (dtype === 'f32' ? row.result === undefined : row.exact === undefined) continue;
      if (!(row.dtypes ?? ['f32', 'i32', 'u32']).includes(dtype)) continue;
      const host = dtype === 'f32' ? row.host : (row.exactHost ?? row.host);
      await scope(async () => {
        const found = await numbersOf((ops[op] as Binary)(hold(left, dtype), hold(right, dtype)));
        left.forEach((a, i) => {
          const want = row.result ? host(a, right[i]!) : kept(host(a, right[i]!));
          if (found[i] !== want)
            failures.push(`${op}(${a}, ${right[i]}) of ${dtype}: ${found[i]}, not ${want}`);
        });
      });
    }
    for (const op of Object.keys(unaryFormulas) as UnaryName[]) {
      const row: UnaryFormula = unaryFormulas[op];
      if (dtype === 'f32' || !row.exact || !(row.dtypes ?? ['i32', 'u32']).includes(dtype)) continue;
      await scope(async () => {
        const found = await numbersOf((ops[op] as Unary)(hold(values, dtype)));
        values.forEach((x, i) => {
          // The square of a large number is no number of float64.
          const want = kept(op === 'square' ? Math.imul(x, x) : row.host(x));
          if (found[i] !== want) failures.push(`${op}(${x}) of ${dtype}: ${found[i]}, not ${want}`);
        });
      });
    }
  }
  report(failures);
});

test('casts: what is beyond a format is cut to its ends, a NaN to 0', async () => {
  const up = 2 ** 31;
  const x = [0, -0, 0.9, -0.9, 1.5, -1.5, 2147483520, up, 3e9, 4294967040, 2 * up, 1e20, -up, -3e9, -1e20];
  const floats = [...x, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1e-40];
  const cut = (low: number, high: number) => (v: number) =>
    Number.isNaN(v) ? 0 : Math.min(Math.max(Math.trunc(v), low), high) + 0;
  for (const [from, to, values, want] of [
    ['f32', 'i32', floats, cut(-up, up - 1)],
    ['f32', 'u32', floats, cut(0, 2 * up - 1)],
    ['f32', 'bool', floats, (v: number) => (v === 0 ? 0 : 1)],
    ['i32', 'u32', special.i32, (v: number) => v >>> 0],
    ['u32', 'i32', special.u32, (v: number) => v | 0],
    ['i32', 'bool', special.i32, (v: number) => (v === 0 ? 0 : 1)],
    ['i32', 'f32', [0, 1, -7, 2 ** 24, -(2 ** 24) + 1, -up], (v: number) => v],
    ['u32', 'f32', [0, 1, 2 ** 24 - 1, up, 2 * up - 256], (v: number) => v],
  ] as [DType, DType, number[], (v: number) => number][])
    await scope(async () => {
      const found = Array.from(await numbersOf(ops.cast(hold(values, from), to)));
      assert.deepEqual(found, values.map(want), `${from} to ${to}`);
    });
});

test('numbers take the format of the tensor beside them, and rank of any kind is computed', async () => {
  await scope(async () => {
    const x = Tensor.from(gpu, Int32Array.of(5, -7), [2]);
    assert.deepEqual(Array.from(await numbersOf(ops.sub(1, x))), [-4, 8]);
    assert.deepEqual(Array.from(await numbersOf(x.mul(3).add(1))), [16, -20]);
    const halves = x.cast('f16');
    const y = ops.add(halves.mul(0.5), 1);
    assert.equal(y.dtype, 'f16');
    assert.deepEqual([...(await y.toFloat32())], [3.5, -2.5]);
    assert.deepEqual([...(await ops.where(x.gt(0), 1, -1).toFloat32())], [1, -1]);
    // The gradient of a number is nobody's, and nothing is made for it.
    const a = Tensor.from(gpu, [1, 2], [2]);
    a.requiresGrad = true;
    const live = gpu.memory().liveBuffers;
    const product = ops.mul(2, a);
    assert.equal(gpu.memory().liveBuffers - live, 1);
    ops.backward(product.sum());
    assert.deepEqual([...(await a.grad!.toFloat32())], [2, 2]);
    // A disposed tensor is refused by what is not recorded too, though its memory lives on in a view.
    const view = a.detach();
    a.dispose();
    for (const use of [() => ops.add(a, 1), () => ops.lt(a, 1), () => ops.cast(a, 'i32')])
      assert.throws(use, /operand was already disposed/);
    assert.deepEqual([...(await view.toFloat32())], [1, 2]);
    // 2^12 elements in twelve dimensions, of which each operand has every other one.
    const odd = Array.from({ length: 12 }, (_, i) => (i % 2 ? 2 : 1));
    const even = odd.map((extent) => 3 - extent);
    const left = Tensor.from(
      gpu,
      Float32Array.from({ length: 64 }, (_, i) => i),
      odd,
    );
    const right = Tensor.from(
      gpu,
      Float32Array.from({ length: 64 }, (_, i) => 64 * i),
      even,
    );
    const found = await ops.add(left, right).toFloat32();
    const spread = (n: number) => {
      let sum = 0;
      for (let bit = 0; bit < 12; bit++) if ((n >> bit) & 1) sum += 2 ** (bit >> 1) * (bit % 2 ? 64 : 1);
      return sum;
    };
    assert.deepEqual(
      [...found],
      Array.from(found, (_, i) => spread(i)),
    );
  });
});
