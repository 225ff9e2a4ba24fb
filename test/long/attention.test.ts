/** Attention with heads of up to 128 components: every variant that the adapter supports, against float64. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  backward,
  type ScaledDotProductOptions,
  scaledDotProductAttention,
} from '../../src/autograd/index.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { gradientFamily } from '../../src/kernels/attention/backward.js';
import { forwardFamily } from '../../src/kernels/attention/forward.js';
import { gradientOf, outputOf } from '../../src/kernels/attention/reference.js';
import { checkTrial } from '../../src/kernels/check.js';
import { variantsFor } from '../../src/kernels/variants.js';
import { f16ToF32, f32ToF16 } from '../../src/tensor/dtype.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';

for (const headDim of [4, 36, 96, 128])
  test(`attention and its gradient, heads of ${headDim}`, async () => {
    const gpu = await Gpu.open();
    const heads = headDim < 64 ? 32 : 4;
    // Rows of whole 256 bytes, so that those who read from textures take part.
    const size = { tokens: 135, hidden: heads * headDim, longest: 70 };
    for (const family of [forwardFamily, gradientFamily])
      for (const dtype of ['f32', 'f16'] as const) {
        const form = { headDim, dtype, dropout: dtype === 'f32' };
        const trial = family.trial(gpu, form, size);
        for (const variant of family.variants.filter((v) => v.supports(gpu.capabilities, form, size))) {
          const { problem } = await checkTrial(trial, family.tolerance(form, size), variant.name);
          assert.equal(problem, undefined, `${family.name}, ${variant.name}, ${dtype}: ${problem}`);
        }
        trial.dispose();
      }
    await gpu.close();
  });

/** Scores of one head that leave some queries without any: which, and the options that say so. */
const NOTHING: readonly {
  readonly what: string;
  readonly empty: readonly number[];
  readonly bias?: readonly number[];
  readonly options?: ScaledDotProductOptions;
  /** In the first component of these queries and of all keys: scores below all that f32 has. */
  readonly far?: readonly number[];
}[] = [
  { what: 'a bias of -inf', empty: [1, 4], bias: [1, 4] },
  { what: 'a bias of -inf for all', empty: [0, 1, 2, 3, 4], bias: [0, 1, 2, 3, 4] },
  { what: 'no keys', empty: [0, 1, 2, 3, 4], options: { keyLengths: [0] } },
  { what: 'queries before all keys', empty: [0, 1], options: { causal: 'lower-right', keyLengths: [3] } },
  { what: 'products that overflow', empty: [0, 3], far: [0, 3] },
];

test('a query without any score has the result 0 and passes nothing on; the others are as without it', async () => {
  const [length, d] = [5, 6];
  const form = { headDim: 8, dtype: 'f32', dropout: false, apart: true } as const;
  const size = { tokens: length, hidden: 8, longest: length };
  const gpu = await Gpu.open();
  for (const { name } of variantsFor(forwardFamily, gpu.capabilities, form, size)) {
    const own = await Gpu.open({ kernels: { attention: name, attentionGradient: name } });
    for (const { what, empty, bias, options = {}, far = [] } of NOTHING)
      for (const dtype of ['f32', 'f16'] as const) {
        // Halves have no room for such products.
        if (dtype === 'f16' && far.length > 0) continue;
        await scope(async () => {
          const draw = (phase: number) =>
            f16ToF32(
              f32ToF16(Float32Array.from({ length: length * d }, (_, i) => Math.sin(i * 12.9898 + phase))),
            );
          const [q, k, v, g] = [draw(0), draw(1), draw(2), draw(3)] as const;
          for (let i = 0; far.length > 0 && i < length; i++) {
            q[i * d] = far.includes(i) ? -1e38 : 1;
            k[i * d] = 10;
          }
          const tensorOf = (values: Float32Array, last = d) =>
            Tensor.from(own, dtype === 'f16' ? f32ToF16(values) : values, [1, 1, length, last], dtype);
          const scores = new Float32Array(length * length);
          for (const i of bias ?? []) scores.fill(-Infinity, i * length, (i + 1) * length);
          const leaves = [q, k, v].map((values) => tensorOf(values));
          if (bias) leaves.push(tensorOf(scores, length));
          for (const leaf of leaves) leaf.requiresGrad = true;
          const out = scaledDotProductAttention(leaves[0]!, leaves[1]!, leaves[2]!, {
            ...options,
            ...(bias ? { bias: leaves[3]! } : {}),
          });
          backward(out, { seed: tensorOf(g) });
          const rows = {
            queries: length,
            keys: options.keyLengths?.[0] ?? length,
            headDim: d,
            q: (i: number, e: number) => q[i * d + e]!,
            k: (j: number, e: number) => k[j * d + e]!,
            v: (j: number, e: number) => v[j * d + e]!,
            causal: options.causal,
            bias: (i: number, j: number) => (far.includes(i) ? -Infinity : scores[i * length + j]!),
          };
          const wanted = gradientOf(rows, (i, e) => g[i * d + e]!);
          const closeTo = (found: ArrayLike<number>, want: ArrayLike<number>, part: string) => {
            const top = Array.from(want).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
            for (let n = 0; n < want.length; n++)
              assert.ok(
                Math.abs(found[n]! - want[n]!) <= (dtype === 'f16' ? 4e-3 : 2e-5) * top,
                `${name}, ${what}, ${dtype}: ${part}[${n}] is ${found[n]} instead of ${want[n]}`,
              );
          };
          const got = await out.toFloat32();
          for (let i = 0; i < length; i++)
            closeTo(got.subarray(i * d, (i + 1) * d), outputOf(rows, i), `result ${i}`);
          const gradients = await Promise.all(leaves.map((leaf) => leaf.grad!.toFloat32()));
          closeTo(gradients[0]!, wanted.dq, 'dq');
          closeTo(gradients[1]!, wanted.dk, 'dk');
          closeTo(gradients[2]!, wanted.dv, 'dv');
          for (const i of empty)
            for (const values of [got, gradients[0]!, ...(bias ? [gradients[3]!] : [])]) {
              const each = values.length / length;
              assert.ok(
                values.subarray(i * each, (i + 1) * each).every((value) => value === 0),
                `${name}, ${what}, ${dtype}: query ${i} is not 0`,
              );
            }
          if (bias) assert.ok(gradients[3]!.every(Number.isFinite), `${name}, ${what}, ${dtype}: the bias`);
          for (const leaf of leaves) leaf.grad!.dispose();
        });
      }
    await own.close();
  }
  await gpu.close();
});
