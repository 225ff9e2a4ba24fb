/**
 * Runs the table of ops with some variants of the kernels: value, gradient, leaks, and nothing written out of bounds. With
 * those that suit the adapter, with those that always work, and of each family with every other that supports what the
 * op asks for.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { backward, wantsGradient } from '../src/autograd/index.js';
import type { Decision, ForcedKernels } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import { families } from '../src/kernels/families.js';
import { rebuildShaders } from '../src/kernels/launch/shader.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { scope } from '../src/tensor/scope.js';
import { type OpCase, opTable, pending } from './op-table.js';
import { inputDType, inputValues, numbersOf, tensorOf, trained } from './op-tables/case.js';

/**
 * Deterministic values in [0, 1), distinct enough that maxima are unique. They depend on the name of the case, not on its
 * place in the table.
 */
function uniform(name: string): () => number {
  let state = 0;
  for (const character of name) state = Math.imul(state ^ character.charCodeAt(0), 2654435761) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Of the gradient of an input, at most; of a large result fewer, since each takes the reference twice. */
const SAMPLES = 24;
const SAMPLED_VALUES = 1e5;

/** Rounding to halves: once in the result, and in what gradients pass through. */
const HALF = { value: 1e-3, gradient: 3e-3 };

/** An op in f32, or with its `halves` in f16. */
interface Run {
  readonly op: OpCase;
  readonly halves: readonly number[];
}

const allRuns: Run[] = opTable.flatMap((op) =>
  (op.halves ? [[], op.halves] : [[]]).map((halves) => ({ op, halves })),
);

/** Those that are run with the kernels that are forced, too. */
const variedRuns = allRuns.filter(({ op }) => !op.likeOthers);

const nameOf = ({ op, halves }: Run) => `${op.name}${halves.length > 0 ? ' in f16' : ''}`;

/** What goes into a run, and what the reference says comes out of it. */
interface Expected {
  readonly data: readonly Float32Array[];
  readonly seed: Float32Array;
  readonly value: Float64Array;
  /** Of each input that gets one, by its number, some of the gradient, by differences: [index, derivative]. */
  readonly gradients: readonly (readonly [
    input: number,
    wanted: (readonly [number, number])[],
    along: Along,
  ])[];
}

/** The derivative along a direction that every element has a part in; undefined where the samples say enough. */
type Along = { readonly direction: Float64Array; readonly derivative: number } | undefined;

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

function expect({ op, halves }: Run): Expected {
  const data = op.inputs.map((shape, i) => {
    const count = shape.reduce((a, b) => a * b, 1);
    return inputValues(op, i, halves, count, uniform(`${op.name} ${i}`));
  });
  const doubles = data.map((array) => Float64Array.from(array));
  const value = Float64Array.from(op.reference(doubles));
  const draw = uniform(`${op.name} seed`);
  const drawn = Float32Array.from(value, () => 2 * draw() - 1);
  const seed = halves.length > 0 ? f16ToF32(f32ToF16(drawn)) : drawn;
  const objective = () => op.reference(doubles).reduce((sum, v, i) => sum + v * seed[i]!, 0);
  const along = (n: number): Along => {
    const kept = doubles[n]!.slice();
    const draw = uniform(`${op.name} direction ${n}`);
    const direction = kept.map(() => (draw() < 0.5 ? -1 : 1));
    const h = 1e-6;
    const at = (sign: number) => {
      doubles[n]!.set(kept.map((v, i) => v + sign * h * direction[i]!));
      return objective();
    };
    const derivative = (at(1) - at(-1)) / (2 * h);
    doubles[n]!.set(kept);
    return { direction, derivative };
  };
  const gradients = trained(op).map((n) => {
    const array = doubles[n]!;
    const samples = Math.min(SAMPLES, Math.ceil(SAMPLED_VALUES / Math.max(1, value.length)));
    const step = Math.max(1, Math.floor(array.length / samples));
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
    return [n, wanted, samples < SAMPLES ? along(n) : undefined] as const;
  });
  return { data, seed, value, gradients };
}

/** `again`: the graph is retained and gone through twice, which must give the same gradients to the bit. */
async function check(run: Run, again = false): Promise<void> {
  const { op, halves } = run;
  const half = halves.length > 0;
  const live = gpu.memory().liveBuffers;
  const { data, seed, value: expected, gradients } = expectedOf(run);
  const { y, grads, exact } = await scope(async () => {
    const inputs = data.map((array, i) => tensorOf(gpu, array, op.inputs[i]!, inputDType(op, i, halves)));
    for (const [n] of gradients) inputs[n]!.requiresGrad = true;
    const out = op.run(gpu, inputs);
    const dtype = op.output ?? (half ? 'f16' : 'f32');
    assert.equal(out.dtype, dtype);
    const y = await numbersOf(out);
    const grads: Float32Array[] = [];
    assert.equal(wantsGradient(out), gradients.length > 0);
    const gradient = async (n: number, retainGraph: boolean) => {
      const input = inputs[n]!;
      assert.ok(input.grad, 'every input gets a gradient');
      assert.equal(input.grad.dtype, input.dtype);
      const found = await input.grad.toFloat32();
      if (retainGraph) input.zeroGrad();
      else input.grad.dispose();
      return found;
    };
    for (const retainGraph of gradients.length === 0 ? [] : again ? [true, false] : [false]) {
      backward(out, { seed: tensorOf(gpu, seed, out.shape, dtype), retainGraph });
      for (const [n] of gradients) {
        const found = await gradient(n, retainGraph);
        if (grads[n]) assert.deepEqual(found, grads[n], `gradient of input ${n} in the second backward`);
        grads[n] = found;
      }
    }
    return { y, grads, exact: dtype !== 'f32' && dtype !== 'f16' };
  });
  for (const item of pending.splice(0)) item.dispose();
  const tolerance = exact ? 0 : Math.max(op.tolerance ?? 2e-5, half ? HALF.value : 0);
  const top = Math.max(1e-3, ...expected.map(Math.abs));
  assert.equal(y.length, expected.length);
  expected.forEach((want, i) => {
    if (!(Math.abs(y[i]! - want) <= tolerance * top)) assert.fail(`value ${i}: ${y[i]} instead of ${want}`);
  });
  const gradientTolerance = Math.max(op.gradientTolerance ?? 5e-5, half ? HALF.gradient : 0);
  for (const [n, wanted, along] of gradients) {
    const top = Math.max(1e-2, ...grads[n]!.map(Math.abs));
    for (const [i, want] of wanted)
      if (!(Math.abs(grads[n]![i]! - want) <= gradientTolerance * top))
        assert.fail(`gradient of input ${n} at ${i}: ${grads[n]![i]} instead of ${want}`);
    if (!along) continue;
    const { direction, derivative } = along;
    const found = grads[n]!.reduce((sum, value, i) => sum + value * direction[i]!, 0);
    const bound = gradientTolerance * top * Math.sqrt(direction.length);
    assert.ok(
      Math.abs(found - derivative) <= bound,
      `gradient of input ${n} along a direction: ${found} instead of ${derivative}`,
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
    for (const run of kernels ? variedRuns : allRuns) {
      test(nameOf(run), async () => {
        gpu.choices.decided.clear();
        await check(run, !kernels);
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
        const others = variedRuns.filter((run) =>
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
