/**
 * Values at the extremes against PyTorch's (test/golden/extremes, made by the script there): signed zeros, the
 * smallest and largest numbers, infinities and NaN, forward and gradient, in both kernel families.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { type BinaryName, type UnaryName, unaryFormulas } from '../src/kernels/pointwise.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { golden } from './repository.js';

type Kind = 'float32' | 'float16';
interface Results {
  y: number[];
  grads: number[][];
}
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

const WORDS: Record<string, number> = { NaN: Number.NaN, Infinity, '-Infinity': -Infinity };
const goldens = JSON.parse(readFileSync(golden('extremes', 'pytorch.json'), 'utf8'), (key, value: unknown) =>
  typeof value === 'string' && key !== 'torch' && Object.hasOwn(WORDS, value) ? WORDS[value] : value,
) as Goldens;

/** A unit in the last place of f32, or of f16, at `x`. */
function unit(x: number, half: boolean): number {
  const [digits, lowest] = half ? [10, -14] : [23, -126];
  return 2 ** (Math.max(lowest, Math.floor(Math.log2(Math.abs(x)))) - digits);
}

interface Allowed {
  half?: boolean;
  /** Units in the last place of the exact value. */
  ulp: number;
  /** Where terms of this size cancel, their units count. */
  absolute?: number;
}

/**
 * Undefined where `found` is PyTorch's value, or the exact one where PyTorch's own arithmetic overflows on the way.
 * Infinities, NaN and zeros with their sign are exact; numbers are off by some units, or by no more than twice what
 * PyTorch's own value is off. What is below the smallest normal number may be zero.
 */
function differs(found: number, torch: number, exact: number, allowed: Allowed): string | undefined {
  const half = allowed.half ?? false;
  const rounded = half ? f16ToF32(f32ToF16(Float32Array.of(exact)))[0]! : Math.fround(exact);
  const right = [torch, rounded].some((want) => {
    if (Object.is(found, want)) return true;
    if (!Number.isFinite(want) || !Number.isFinite(found) || (want === 0 && found === 0)) return false;
    const error = Math.abs(found - want);
    if (error < (half ? 2 ** -14 : 2 ** -126)) return Object.is(found, 0 * want) || found * want >= 0;
    return (
      error <=
      Math.max(allowed.ulp * unit(want, half), 2 * Math.abs(torch - rounded) || 0, allowed.absolute ?? 0)
    );
  });
  return right ? undefined : `${name(found)} instead of ${name(torch)} (exactly ${name(exact)})`;
}

/** Units in the last place: most of what drivers may be off in divisions is 2.5. */
const ULP = 4;
const EPSILON = 2 ** -24;
/** GELU adds 1 and an erf near −1, or a tanh, as PyTorch does; our erf is good to 3.3e-7. */
const ABSOLUTE: Partial<Record<UnaryName, (x: number, dy: number) => number>> = {
  gelu: (x, dy) => 4e-7 * Math.max(1, Math.abs(Math.min(8, Math.abs(x)))) * Math.abs(dy),
  geluTanh: (x, dy) => 8 * EPSILON * Math.max(1, Math.min(8, Math.abs(x))) * Math.abs(dy),
  // 1 − y² and 1 − y of a rounded y.
  tanh: (_, dy) => 4 * EPSILON * Math.abs(dy),
  sigmoid: (_, dy) => 4 * EPSILON * Math.abs(dy),
};

const name = (x: number) => (Object.is(x, -0) ? '-0' : String(x));
const tensorOf = (gpu: Gpu, values: number[], half: boolean, shape = [values.length]) =>
  half
    ? Tensor.from(gpu, f32ToF16(Float32Array.from(values)), shape, 'f16')
    : Tensor.from(gpu, Float32Array.from(values), shape);

/** Result and gradients, with `outer` arriving everywhere unless it names a value for each element. */
async function run(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: Tensor[],
  outer: number | number[],
): Promise<Results> {
  for (const input of inputs) input.requiresGrad = true;
  const out = f(...inputs);
  const y = [...(await out.toFloat32())];
  const arriving = typeof outer === 'number' ? y.map(() => outer) : outer;
  ops.backward(out, tensorOf(out.gpu, arriving, out.dtype === 'f16', [...out.shape]));
  const grads: number[][] = [];
  for (const input of inputs) {
    grads.push([...(await input.grad!.toFloat32())]);
    input.grad!.dispose();
  }
  return { y, grads };
}

function report(failures: string[]): void {
  assert.equal(failures.length, 0, `${failures.length} differ:\n  ${failures.slice(0, 40).join('\n  ')}`);
}

for (const kernels of ['subgroup8', 'workgroup'] as const)
  describe(`extremes with ${kernels} kernels`, () => {
    let gpu: Gpu;
    before(async () => {
      gpu = await Gpu.open({ kernels });
    });
    after(() => gpu.close());

    for (const kind of ['float32', 'float16'] as const) {
      const half = kind === 'float16';
      test(`elementwise of one operand, ${kind}`, async () => {
        const { x, ops: table } = goldens.unary[kind];
        const failures: string[] = [];
        for (const op of Object.keys(unaryFormulas) as UnaryName[])
          for (const [n, outer] of goldens.outer.entries())
            await scope(async () => {
              const f = (t: Tensor) => (op === 'scale' || op === 'shift' ? ops[op](t, 1.7) : ops[op](t));
              const found = await run(f, [tensorOf(gpu, x, half)], outer);
              const { torch, exact } = table[op]!;
              x.forEach((value, i) => {
                const check = (what: string, got: number, want: number, ideal: number, dy: number) => {
                  const absolute = ABSOLUTE[op]?.(value, dy) ?? 0;
                  const wrong = differs(got, want, ideal, { half, ulp: ULP, absolute });
                  if (wrong) failures.push(`${what}(${name(value)}): ${wrong}`);
                };
                if (n === 0) check(op, found.y[i]!, torch.y[i]!, exact.y[i]!, 1);
                const [got, want, ideal] = [found.grads, torch.grads[n]!, exact.grads[n]!].map(
                  (g) => g[0]![i]!,
                );
                check(`${outer}·d${op}`, got!, want!, ideal!, outer);
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
        ['max', ops.max, none, none],
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
  });
