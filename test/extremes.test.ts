/**
 * Values at the extremes against PyTorch's (test/golden/extremes, made by the script there): signed zeros, the
 * smallest and largest numbers, infinities and NaN, forward and gradient, in both kernel families.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test as suiteTest } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { attentionReference } from '../src/kernels/attention/reference.js';
import { filled } from '../src/kernels/make.js';
import { maxSimLayout } from '../src/kernels/maxsim/layout.js';
import type { BinaryName, UnaryName } from '../src/kernels/pointwise.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { differs, name, type Results, readGolden, report, run, tensorOf, ULP } from './extremes.js';
import { kernelSets, nameOf, runs } from './kernel-sets.js';

type Kind = 'float32' | 'float16';
/** Of an elementwise op; gradients by outer gradient, operand, element. */
interface Elements {
  y: number[];
  grads: number[][][];
}
interface Goldens {
  outer: number[];
  unary: Record<Kind, { x: number[]; ops: Record<string, { torch: Elements; exact: Elements }> }>;
  binary: Record<Kind, { values: number[]; ops: Record<string, { torch: Elements; exact?: Elements }> }>;
  rows: Record<string, number[]>;
  rowOps: Record<string, Record<string, { torch: Results; exact: Results }>>;
  dropout: { x: number[]; all: number[] };
}

const goldens = readGolden('pytorch.json') as Goldens;

const EPSILON = 2 ** -24;
const LOWEST = -3.4028234663852886e38;
/** What an op's own arithmetic leaves where terms cancel, in f32: of the result at x, and of the gradient. */
const ABSOLUTE: Partial<
  Record<UnaryName, { value?: (x: number) => number; gradient?: (x: number, dy: number) => number }>
> = {
  // GELU adds 1 and an erf near −1, or a tanh, as PyTorch does; our erf is good to 3.3e-7.
  gelu: {
    value: (x) => 2e-7 * Math.min(8, Math.abs(x)),
    gradient: (x, dy) => 4e-7 * Math.max(1, Math.min(8, Math.abs(x))) * Math.abs(dy),
  },
  geluTanh: {
    value: (x) => 4 * EPSILON * Math.min(8, Math.abs(x)),
    gradient: (x, dy) => 8 * EPSILON * Math.max(1, Math.min(8, Math.abs(x))) * Math.abs(dy),
  },
  // 1 − y² and 1 − y of a rounded y.
  tanh: { gradient: (_, dy) => 4 * EPSILON * Math.abs(dy) },
  sigmoid: { gradient: (_, dy) => 4 * EPSILON * Math.abs(dy) },
};

type Unary = (x: Tensor) => Tensor;
/** Those with numbers beside x. */
const functions: Readonly<Record<string, Unary>> = {
  scale: (x) => ops.scale(x, 1.7),
  shift: (x) => ops.shift(x, 1.7),
};

for (const kernels of kernelSets)
  describe(`extremes with ${nameOf(kernels)} kernels`, () => {
    let gpu: Gpu;
    // Drivers may take what is below the smallest normal number for zero.
    let skipped: (x: number) => boolean = () => false;
    before(async () => {
      gpu = await Gpu.open({ kernels });
      const [product] = await scope(() => ops.scale(Tensor.from(gpu, [1e-40], [1]), 1e20).toFloat32());
      if (product === 0) skipped = (x) => x !== 0 && Math.abs(x) < 2 ** -126;
    });
    after(() => gpu.close());
    const suits = () => runs(gpu, kernels);
    const test = (title: string, body: () => Promise<void>) =>
      suiteTest(title, async (context) => {
        if (suits()) await body();
        else context.skip('the adapter has no subgroups of 8');
      });

    for (const kind of ['float32', 'float16'] as const) {
      const half = kind === 'float16';
      test(`elementwise of one operand, ${kind}`, async () => {
        const { x, ops: table } = goldens.unary[kind];
        const failures: string[] = [];
        for (const op of Object.keys(table))
          for (const [n, outer] of goldens.outer.entries())
            await scope(async () => {
              const f = (t: Tensor) => (functions[op] ?? (ops[op as UnaryName] as Unary))(t);
              const found = await run(f, [tensorOf(gpu, x, half)], outer);
              const { torch, exact } = table[op]!;
              x.forEach((value, i) => {
                if (!half && skipped(value)) return;
                const check = (what: string, got: number, want: number, ideal: number, absolute = 0) => {
                  const wrong = differs(got, want, ideal, { half, ulp: ULP, absolute });
                  if (wrong) failures.push(`${what}(${name(value)}): ${wrong}`);
                };
                const { value: ofValue, gradient: ofGradient } = ABSOLUTE[op as UnaryName] ?? {};
                if (n === 0) check(op, found.y[i]!, torch.y[i]!, exact.y[i]!, ofValue?.(value));
                const [got, want, ideal] = [found.grads, torch.grads[n]!, exact.grads[n]!].map(
                  (g) => g[0]![i]!,
                );
                check(`${outer}·d${op}`, got!, want!, ideal!, ofGradient?.(value, outer));
              });
            });
        report(failures);
      });

      test(`elementwise of two operands, ${kind}`, async () => {
        const { values, ops: table } = goldens.binary[kind];
        const left = values.flatMap((a) => values.map(() => a));
        const right = values.flatMap(() => values);
        const failures: string[] = [];
        for (const op of Object.keys(table) as BinaryName[])
          for (const [n, outer] of goldens.outer.entries())
            for (const stretched of half ? [false] : [false, true])
              await scope(async () => {
                // Stretched, the other kernel runs: [n,1] with [n,n].
                const a = stretched
                  ? tensorOf(gpu, values, half, [values.length, 1])
                  : tensorOf(gpu, left, half, [values.length, values.length]);
                const b = tensorOf(gpu, right, half, [values.length, values.length]);
                const found = await run(ops[op], [a, b], outer);
                const { torch, exact = torch } = table[op]!;
                left.forEach((_, i) => {
                  if (!half && (skipped(left[i]!) || skipped(right[i]!))) return;
                  const at = `${name(left[i]!)}, ${name(right[i]!)}`;
                  const check = (what: string, got: number, want: number, ideal: number) => {
                    // Which of two zeros is the larger PyTorch leaves to the processor.
                    const ignored = op === 'maximum' && left[i] === 0 && right[i] === 0;
                    const wrong = differs(ignored ? got + 0 : got, ignored ? want + 0 : want, ideal, {
                      half,
                      ulp: ULP,
                    });
                    if (wrong) failures.push(`${what}(${at}): ${wrong}`);
                  };
                  if (n === 0) check(op, found.y[i]!, torch.y[i]!, exact.y[i]!);
                  for (const [k, operand] of (['a', 'b'] as const).entries()) {
                    if (stretched && k === 0) continue;
                    const [got, want, ideal] = [found.grads, torch.grads[n]!, exact.grads[n]!];
                    check(`${outer}·d${op}/d${operand}`, got[k]![i]!, want[k]![i]!, ideal[k]![i]!);
                  }
                });
              });
        report(failures);
      });
    }

    test('elementary functions over all of f32: a few units in the last place', async () => {
      const size = 1 << 14;
      const words = Uint32Array.from({ length: size }, (_, i) => Math.imul(i, 2654435761) >>> 0);
      const everywhere = new Float32Array(words.buffer);
      const near = (middle: number, width: number) =>
        Float32Array.from({ length: size }, (_, i) => middle + (i / size - 0.5) * width);
      const exact: Partial<Record<UnaryName, (x: number) => number>> = {
        exp: Math.exp,
        log: Math.log,
        tanh: Math.tanh,
        sigmoid: (x) => 1 / (1 + Math.exp(-x)),
        sqrt: Math.sqrt,
        reciprocal: (x) => 1 / x,
        square: (x) => x * x,
        abs: Math.abs,
        relu: (x) => (x < 0 ? 0 : x),
      };
      const failures: string[] = [];
      for (const [op, f] of Object.entries(exact) as [UnaryName, (x: number) => number][])
        for (const x of [everywhere, near(0, 220), near(1, 0.5)])
          await scope(async () => {
            const found = await (ops[op] as Unary)(Tensor.from(gpu, x, [size])).toFloat32();
            x.forEach((value, i) => {
              if (skipped(value)) return;
              const want = f(value);
              const wrong = differs(found[i]!, Math.fround(want), want, { ulp: ULP });
              if (wrong) failures.push(`${op}(${name(value)}): ${wrong}`);
            });
          });
      report(failures);
    });

    test('reductions, softmax and losses, norms: rows with extremes', async () => {
      const one = (...values: number[]) => Tensor.from(gpu, values, [4]);
      const size = (x: number[]) => Math.max(...x.filter(Number.isFinite).map(Math.abs), 0);
      const none = () => 0;
      // An op, and the size of the terms that it adds up: of the result, and of the gradient.
      const table: [string, (x: Tensor) => Tensor, (x: number[]) => number, (x: number[]) => number][] = [
        ['softmax', ops.softmax, none, () => 4],
        ['logSoftmax', ops.logSoftmax, none, () => 10],
        [
          'crossEntropy',
          (x) => ops.crossEntropy(x, Tensor.from(gpu, Uint32Array.of(2), [1], 'u32')),
          none,
          () => 1,
        ],
        [
          'softCrossEntropy',
          (x) => ops.softCrossEntropy(x, one(0.5, 0.25, 0.125, 0.125).view([1, 4])),
          none,
          () => 1,
        ],
        ['max', (x) => ops.max(x, -1), none, none],
        ['sum', (x) => ops.sum(x, -1), size, none],
        ['mean', (x) => ops.mean(x, -1), size, none],
        ['normalizeRows', (x) => ops.normalizeRows(x), none, (x) => 10 / Math.max(Math.hypot(...x), 1e-12)],
        [
          'layerNorm',
          (x) => ops.layerNorm(x, one(1, 1, 1, 1), one(0, 0, 0, 0), 1e-5),
          () => 1,
          (x) => 10 / Math.sqrt(x.reduce((sum, v) => sum + (v - x[0]!) ** 2 / 8, 1e-5)),
        ],
      ];
      const failures: string[] = [];
      for (const [op, f, terms, gradientTerms] of table)
        for (const [row, x] of Object.entries(goldens.rows))
          await scope(async () => {
            const { torch, exact } = goldens.rowOps[op]![row]!;
            const outer = torch.y.length === 1 ? 1 : [1, 2, 3, 4];
            const found = await run(f, [tensorOf(gpu, x, false, [1, 4])], outer);
            for (const [what, got, want, ideal, term] of [
              ['', found.y, torch.y, exact.y, terms(x)],
              ['gradient of ', found.grads[0]!, torch.grads[0]!, exact.grads[0]!, gradientTerms(x)],
            ] as const)
              want.forEach((value, i) => {
                const absolute = 4 * EPSILON * term;
                const wrong = differs(got[i]! + 0, value + 0, ideal[i]! + 0, { ulp: ULP, absolute });
                if (wrong) failures.push(`${what}${op} of "${row}" [${i}]: ${wrong}`);
              });
          });
      report(failures);
    });

    test('sums of many equal values, whole, by rows and by columns, are good to f32', async () => {
      for (const [shape, axis] of [
        [[kernels !== 'fallback' ? 30_000_000 : 300_000], undefined],
        [[3, 100_000], 1],
        [[100_000, 4], 0],
        [[20_000, 5], 0],
      ] as const)
        await scope(async () => {
          const x = filled(gpu, shape, 0.1);
          const want = (Math.fround(0.1) * x.size) / (axis === undefined ? 1 : shape[1 - axis]!);
          for (const total of await ops.sum(x, axis).toFloat32())
            assert.ok(Math.abs(total / want - 1) < 1e-6, `sum of [${shape}]: ${total} instead of ${want}`);
          for (const mean of await ops.mean(x, axis).toFloat32())
            assert.ok(Math.abs(mean / 0.1 - 1) < 1e-6, `mean of [${shape}]: ${mean}`);
        });
      await scope(async () => {
        const long = new PackedSequences(gpu, [8192, 3]);
        const x = filled(gpu, [8195, 4], 0.1);
        for (const mean of await ops.segmentMean(x, long).toFloat32())
          assert.ok(Math.abs(mean / 0.1 - 1) < 1e-6, `mean over a text of 8,192 tokens: ${mean}`);
        long.dispose();
      });
      await scope(async () => {
        // exp(−1) for all but one of a million columns.
        const scores = new Float32Array(1_000_000).fill(-1);
        scores[7] = 0;
        const [loss] = await ops
          .crossEntropy(
            Tensor.from(gpu, scores, [1, scores.length]),
            Tensor.from(gpu, Uint32Array.of(7), [1], 'u32'),
          )
          .toFloat32();
        const want = Math.log(1 + 999_999 / Math.E);
        assert.ok(
          Math.abs(loss! / want - 1) < 1e-6,
          `cross-entropy over a million columns: ${loss}, not ${want}`,
        );
      });
    });

    test('attention: scores of every size, −∞, ∞ and NaN', async () => {
      const [heads, hidden, lengths] = [16, 64, [3, 19]];
      const tokens = 22;
      const packed = new PackedSequences(gpu, lengths);
      const plain = Float32Array.from({ length: tokens * 3 * hidden }, (_, i) => Math.sin(i * 0.7));
      const at = (token: number, part: number, element: number) =>
        token * 3 * hidden + part * hidden + element;
      // In one element of each query and of some keys: products that dwarf all others.
      const scores = (query: number, key: (token: number) => number) => (x: Float32Array) => {
        for (let t = 0; t < tokens; t++) {
          x[at(t, 0, 5)] = query;
          x[at(t, 1, 5)] = key(t);
        }
      };
      const cases: [string, (x: Float32Array) => void][] = [
        ['as they come', () => {}],
        ['all far below -1e30', scores(-1e19, () => 1e19)],
        ['far below in the first block', scores(-1e19, (t) => (t < 11 ? 1e19 : 1e-19))],
        ['far below in the last block', scores(-1e19, (t) => (t > 11 ? 1e19 : 1e-19))],
        ['all large', scores(1e19, () => 1e18)],
        ['all -inf', scores(-Infinity, () => 1)],
        ['-inf in the first block', scores(1, (t) => (t < 11 ? -Infinity : 1))],
        ['-inf in the last block', scores(1, (t) => (t > 11 ? -Infinity : 1))],
        ['one inf', scores(1, (t) => (t === 9 ? Infinity : 1))],
        ['one NaN key', scores(1, (t) => (t === 20 ? Number.NaN : 1))],
        ['one NaN query', (x) => x.fill(Number.NaN, at(4, 0, 40), at(4, 0, 41))],
        ['one NaN value', (x) => x.fill(Number.NaN, at(1, 2, 3), at(1, 2, 4))],
        ['an infinite value', (x) => x.fill(-Infinity, at(1, 2, 3), at(1, 2, 4))],
      ];
      for (const half of [false, true])
        for (const [what, change] of cases)
          await scope(async () => {
            // Halves have no room for products that dwarf all others.
            if (half && / far | large/.test(what)) return;
            const x = plain.slice();
            change(x);
            const input = tensorOf(gpu, [...x], half, [tokens, 3 * hidden]);
            const read = [...(await input.toFloat32())];
            const want = attentionReference(read, packed.bounds, heads, hidden);
            const out = ops.attention(input, packed, heads);
            (await out.toFloat32()).forEach((value, i) => {
              const close = Math.abs(value - want[i]!) <= (half ? 2e-3 : 2e-6);
              assert.ok(
                close || Object.is(value, want[i]),
                `${what}${half ? ' in f16' : ''}, token ${Math.floor(i / hidden)}, element ${i % hidden}: ${value} instead of ${want[i]}`,
              );
            });
          });
      packed.dispose();
    });

    test('maxima over tokens and groups: a NaN wins, −∞ and the lowest float count', async () => {
      for (const cols of [4, 3])
        for (const [what, values, want] of [
          ['a NaN', [1, Number.NaN, 2], Number.NaN],
          ['-inf', [-Infinity, -Infinity, -Infinity], -Infinity],
          ['the lowest', [LOWEST, LOWEST, LOWEST], LOWEST],
          ['the highest', [1, -LOWEST, 0], -LOWEST],
          ['below the lowest we start from', [-3.402e38, -3.4025e38, -3.403e38 + 1e35], -3.402e38],
        ] as [string, number[], number][])
          for (const floor of [false, true])
            await scope(async () => {
              // One query token (1, 0, …) and three passage tokens, each after a first one that takes no part.
              const rows = [0, 1, 0, ...values];
              const vectors = Float32Array.from({ length: 6 * cols }, (_, i) =>
                i % cols ? 0 : rows[i / cols]!,
              );
              const packed = new PackedSequences(gpu, [2, 4]);
              const layout = maxSimLayout(packed, {
                queries: 1,
                ownGroup: false,
                floor: floor ? [true] : undefined,
              });
              const x = Tensor.from(gpu, vectors, [6, cols]);
              x.requiresGrad = true;
              const score = ops.maxSim(x, layout);
              const [got] = await score.toFloat32();
              const expected = Number.isNaN(want) ? want : Math.fround(floor ? Math.max(0, want) : want);
              // ∞ times the zeros of the query's other elements is a NaN, as in PyTorch.
              const infinite = !Number.isFinite(want) && !Number.isNaN(want);
              assert.ok(
                Object.is(got, infinite ? Number.NaN : expected) || (infinite && Object.is(got, expected)),
                `maxSim of ${what}, width ${cols}${floor ? ', floored' : ''}: ${got} instead of ${expected}`,
              );
              packed.dispose();
            });
      await scope(async () => {
        const x = tensorOf(gpu, [1, Number.NaN, 3, -Infinity, -Infinity, LOWEST, LOWEST, -0, 0], false);
        x.requiresGrad = true;
        const order = Tensor.from(
          gpu,
          Uint32Array.from({ length: 9 }, (_, i) => i),
          [9],
          'u32',
        );
        const y = ops.segmentMax(x, order, Tensor.from(gpu, Uint32Array.of(0, 3, 5, 7, 9), [5], 'u32'));
        assert.deepEqual(
          [...(await y.toFloat32())].map((v) => v + 0),
          [Number.NaN, -Infinity, LOWEST, 0],
        );
        ops.backward(y, Tensor.from(gpu, [1, 2, 3, 4], [4]));
        assert.deepEqual([...(await x.grad!.toFloat32())], [0, 1, 0, 2, 0, 3, 0, 4, 0]);
        x.grad!.dispose();
        // Larger than one lane's share; the first of equal maxima, over lanes.
        const row = new Float32Array(1000).fill(-Infinity);
        for (const [set, want, position] of [
          [[], -Infinity, 0],
          [[[977, LOWEST]], LOWEST, 977],
          [
            [
              [63, -0],
              [500, 0],
            ],
            0,
            63,
          ],
          [
            [
              [500, Number.NaN],
              [3, Infinity],
              [800, Number.NaN],
            ],
            Number.NaN,
            500,
          ],
        ] as [[number, number][], number, number][]) {
          const values = row.slice();
          for (const [i, v] of set) values[i] = v;
          const { y, grads } = await run((x) => ops.max(x!, -1), [Tensor.from(gpu, values, [1, 1000])], 1);
          assert.deepEqual([y[0]! + 0, grads[0]!.indexOf(1)], [want, position]);
        }
      });
    });

    test('dropout: all, none, what is no probability, and values that are no numbers', async () => {
      const { x, all } = goldens.dropout;
      const random = { seed: 1, stream: 2 };
      await scope(async () => {
        for (const half of [false, true]) {
          const input = tensorOf(gpu, x, half);
          assert.deepEqual([...(await ops.dropout(input, 1, random).toFloat32())], all);
          const many = tensorOf(
            gpu,
            Array.from({ length: 4096 }, (_, i) => x[i % 8]!),
            half,
          );
          const kept = new Set(await ops.dropout(many, 0.5, random).toFloat32());
          assert.deepEqual(
            [Number.NaN, Infinity, -Infinity, 0, 2, -2].filter((value) => !kept.has(value)),
            [],
          );
        }
        const ones = Tensor.from(gpu, new Float32Array(64).fill(1), [64]);
        const packed = new PackedSequences(gpu, [4]);
        const qkv = tensorOf(
          gpu,
          Array.from({ length: 4 * 192 }, (_, i) => Math.cos(i)),
          false,
          [4, 192],
        );
        for (const value of await ops.attention(qkv, packed, 16, { ...random, probability: 1 }).toFloat32())
          assert.equal(value + 0, 0);
        for (const probability of [
          -0.1,
          1.0001,
          5,
          Number.NaN,
          Infinity,
          -Infinity,
          '0.5' as unknown as number,
        ]) {
          const refused = /a probability from 0 to 1|probability must be a number/;
          assert.throws(() => ops.dropout(ones, probability, random), refused);
          assert.throws(() => ops.attention(qkv, packed, 16, { ...random, probability }), refused);
        }
        packed.dispose();
      });
    });

    test('casts: every half and the edges between them, against the host', async () => {
      await scope(async () => {
        const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
        const wide = await ops.cast(Tensor.from(gpu, halves, [65536], 'f16'), 'f32').toFloat32();
        const same = (a: number, b: number) => Object.is(a, b) || (Math.abs(b) < 2 ** -14 && a === 0 * b);
        f16ToF32(halves).forEach((want, i) => {
          assert.ok(same(wide[i]!, want), `half ${i.toString(16)}: ${wide[i]} instead of ${want}`);
        });
        // Each finite half, the tie to its neighbour, and the floats on both sides of that.
        const exactly = new Uint32Array(f16ToF32(halves).buffer);
        const bits = new Uint32Array(
          [...halves].flatMap((half) => {
            if ((half & 0x7fff) >= 0x7bff) return [];
            const middle = exactly[half]! + Math.floor((exactly[half + 1]! - exactly[half]!) / 2);
            return [exactly[half]!, middle - 1, middle, middle + 1];
          }),
        );
        const edges = [
          65504,
          65519.99,
          65520,
          65536,
          1e38,
          Infinity,
          Number.NaN,
          1e-8,
          2 ** -25,
          2.9802325e-8,
          1e-40,
        ];
        const floats = Float32Array.from([
          ...new Float32Array(bits.buffer),
          ...edges,
          ...edges.map((v) => -v),
          0,
          0,
        ]);
        const found = (await ops
          .cast(Tensor.from(gpu, floats, [floats.length]), 'f16')
          .toArray()) as Uint16Array;
        const want = f32ToF16(floats);
        floats.forEach((value, i) => {
          const nan = (half: number) => (half & 0x7fff) > 0x7c00;
          assert.ok(
            found[i] === want[i] || (nan(found[i]!) && nan(want[i]!)),
            `${value} becomes ${found[i]!.toString(16)}`,
          );
        });
      });
    });
  });
