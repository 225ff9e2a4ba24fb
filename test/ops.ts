/**
 * Runs the table of ops with some variants of the kernels: value, gradient, leaks, and nothing written out of bounds. With
 * those that suit the adapter, with those that always work, and of each family with every other that supports what the
 * op asks for.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { backward } from '../src/autograd/index.js';
import type { Decision, ForcedKernels } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import { families } from '../src/kernels/families.js';
import { rebuildShaders } from '../src/kernels/launch/shader.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { type OpCase, opTable, pending } from './op-table.js';

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

/** An op in f32, or with its `halves` in f16. */
interface Run {
  readonly op: OpCase;
  readonly number: number;
  readonly halves: readonly number[];
}

const allRuns: Run[] = opTable.flatMap((op, number) =>
  (op.halves ? [[], op.halves] : [[]]).map((halves) => ({ op, number, halves })),
);

const nameOf = ({ op, halves }: Run) => `${op.name}${halves.length > 0 ? ' in f16' : ''}`;

/** What goes into a run, and what the reference says comes out of it. */
interface Expected {
  readonly data: readonly Float32Array[];
  readonly seed: Float32Array;
  readonly value: Float64Array;
  /** Of each input some of its gradient, by differences: [index, derivative]. */
  readonly gradients: readonly (readonly [index: number, want: number])[][];
}

/** The reference takes long; variants of kernels are all held to the same. */
const expectations = new Map<Run, Expected>();

function expectedOf(run: Run): Expected {
  let known = expectations.get(run);
  if (!known) {
    known = expect(run);
    expectations.set(run, known);
  }
  return known;
}

function expect({ op, number, halves }: Run): Expected {
  const data = op.inputs.map((shape, i) => {
    const drawn = values(
      shape.reduce((a, b) => a * b, 1),
      op.range ?? [-1, 1],
      number * 10 + i + 1,
    );
    return halves.includes(i) ? f16ToF32(f32ToF16(drawn)) : drawn;
  });
  const doubles = data.map((array) => Float64Array.from(array));
  const value = Float64Array.from(op.reference(doubles));
  const drawn = values(value.length, [-1, 1], number + 777);
  const seed = halves.length > 0 ? f16ToF32(f32ToF16(drawn)) : drawn;
  const objective = () => op.reference(doubles).reduce((sum, v, i) => sum + v * seed[i]!, 0);
  const gradients = doubles.map((array, n) => {
    const step = Math.max(1, Math.floor(array.length / SAMPLES));
    const wanted: [number, number][] = [];
    for (let i = n % step; i < array.length; i += step) {
      const h = 1e-5;
      const kept = array[i]!;
      array[i] = kept + h;
      const up = objective();
      array[i] = kept - h;
      const down = objective();
      array[i] = kept;
      wanted.push([i, (up - down) / (2 * h)]);
    }
    return wanted;
  });
  return { data, seed, value, gradients };
}

async function check(run: Run): Promise<void> {
  const { op, halves } = run;
  const half = halves.length > 0;
  const live = gpu.memory().liveBuffers;
  const { data, seed, value: expected, gradients } = expectedOf(run);
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
  const gradientTolerance = Math.max(op.gradientTolerance ?? 5e-5, half ? HALF.gradient : 0);
  for (const [n, wanted] of gradients.entries()) {
    const top = Math.max(1e-2, ...grads[n]!.map(Math.abs));
    for (const [i, want] of wanted)
      assert.ok(
        Math.abs(grads[n]![i]! - want) <= gradientTolerance * top,
        `gradient of input ${n} at ${i}: ${grads[n]![i]} instead of ${want}`,
      );
  }
  assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
  await gpu.checkGuards();
}

export const GUARD_WORDS = 8;

/** One for all kernels: compiling is most of what these tests do, and most kernels of an op are those of its other runs. */
let gpu: Gpu;
before(async () => {
  // A source that depends on more than the form it is kept by would be found out here.
  rebuildShaders(true);
  gpu = await Gpu.open({ guardWords: GUARD_WORDS });
});
after(async () => {
  rebuildShaders(false);
  await gpu.close();
});

/** What runs from here on is computed with these kernels, as on a device that was opened with them. */
function force(kernels: ForcedKernels | undefined): void {
  Object.assign(gpu.choices, { forced: kernels });
  gpu.choices.decided.clear();
}

/** What each run asked for with the chosen variants, and what it got. */
const asked = new Map<string, readonly Decision[]>();

/** With the variants that the device chooses, or the first of every family. */
export function testOps(kernels?: 'fallback'): void {
  describe(`ops with ${kernels ?? 'chosen'} kernels`, () => {
    before(() => force(kernels));
    for (const run of allRuns) {
      test(nameOf(run), async () => {
        gpu.choices.decided.clear();
        await check(run);
        if (!kernels) asked.set(nameOf(run), [...gpu.choices.decided.values()]);
      });
    }
  });
}

/**
 * With each variant of each family that was not chosen, after `testOps`. `likely`: those that the adapter could choose;
 * the others, made for others, take long to compile where they gain nothing.
 */
export function testVariants({ likely }: { likely: boolean }): void {
  for (const family of families)
    for (const variant of family.variants.slice(1))
      test(`ops with ${family.name} ${variant.name}`, async (t) => {
        force({ [family.name]: variant.name });
        // With what was chosen they were run above.
        const others = allRuns.filter((run) =>
          asked
            .get(nameOf(run))
            ?.some(
              (decision) =>
                decision.family === family.name &&
                decision.variant.name !== variant.name &&
                variant.prior(gpu.capabilities, decision.form, decision.size) >= 0 === likely &&
                variant.supports(gpu.capabilities, decision.form, decision.size),
            ),
        );
        if (others.length === 0) t.diagnostic('chosen, or not supported here');
        for (const run of others) await t.test(nameOf(run), () => check(run));
      });
}
