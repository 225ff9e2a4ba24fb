/**
 * Attention's families: every variant that the adapter supports, against float64, forward and gradient; batches that
 * no binding sees whole; plans.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ForcedKernels } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import { attention, attentionGradient } from '../src/kernels/attention/attention.js';
import { gradientFamily } from '../src/kernels/attention/backward.js';
import { forwardFamily } from '../src/kernels/attention/forward.js';
import { checkTrial } from '../src/kernels/check.js';
import { variantsFor } from '../src/kernels/variants.js';
import { f32ToF16 } from '../src/tensor/dtype.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

for (const family of [forwardFamily, gradientFamily])
  test(`${family.name}: every variant is right on ragged lengths, and the same twice`, async () => {
    for (const { name, form, size } of family.cases.filter(({ use }) => use === 'check')) {
      const trial = family.trial(gpu, form, size);
      for (const variant of variantsFor(family, gpu.capabilities, form, size)) {
        const results: string[] = [];
        for (let round = 0; round < 2; round++) {
          const { problem } = await checkTrial(trial, family.tolerance(form, size), variant.name);
          assert.equal(problem, undefined, `${variant.name}, ${name}: ${problem}`);
          const arrays = await Promise.all(trial.outputs.map((output) => output.toArray()));
          results.push(arrays.map((array) => Buffer.from(array.buffer).toString('base64')).join());
        }
        assert.equal(results[0], results[1], `${variant.name}, ${name}`);
      }
      trial.dispose();
    }
  });

test('every variant drops the same probabilities', async () => {
  const lengths = [19, 70, 6];
  const [heads, headDim, tokens] = [2, 32, 95];
  const hidden = heads * headDim;
  const size = { tokens, hidden, longest: Math.max(...lengths) };
  for (const dtype of ['f32', 'f16'] as const) {
    const form = { headDim, dtype, dropout: true };
    await scope(async () => {
      const sequences = new PackedSequences(gpu, lengths);
      const values = (width: number, phase: number) => {
        const drawn = Float32Array.from({ length: tokens * width }, (_, i) => Math.sin(i * 12.9898 + phase));
        return Tensor.from(gpu, dtype === 'f16' ? f32ToF16(drawn) : drawn, [tokens, width], dtype);
      };
      const [qkv, dOut] = [values(3 * hidden, 0), values(hidden, 2)];
      const dropout = { probability: 0.25, seed: 3, stream: 5, firstRow: 7 };
      const [forward] = forwardFamily.variants;
      const out = Tensor.empty(gpu, [tokens, hidden], dtype);
      const logSumExp = Tensor.empty(gpu, [tokens, heads]);
      const operands = { qkv, sequences, scale: 1 / Math.sqrt(headDim), dropout, out, logSumExp };
      const results = new Map<string, Float32Array>();
      for (const { name, supports, run } of forwardFamily.variants)
        if (supports(gpu.capabilities, form, size)) {
          run(gpu, form, size, operands);
          results.set(`attention ${name}`, await out.toFloat32());
        }
      forward.run(gpu, form, size, operands);
      for (const { name, supports, run } of gradientFamily.variants)
        if (supports(gpu.capabilities, form, size)) {
          const dqkv = Tensor.empty(gpu, [tokens, 3 * hidden], dtype);
          run(gpu, form, size, { ...operands, dOut, dqkv });
          results.set(`gradient ${name}`, await dqkv.toFloat32());
        }
      for (const [name, got] of results) {
        const want = results.get(name.replace(/ .*/, ' workgroup'))!;
        const top = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        got.forEach((value, i) => {
          const error = Math.abs(value - want[i]!) / top;
          // One bit of the mask is a hundredth and more.
          assert.ok(error < (dtype === 'f16' ? 4e-3 : 1e-5), `${name} ${dtype}, value ${i}: ${error}`);
        });
      }
      sequences.dispose();
    });
  }
});

/** Ragged sequences whose second takes 200 kB of qkv by itself. */
const LENGTHS = [9, 130, 3, 40, 17];
const [HEADS, HIDDEN, TOKENS] = [8, 128, 199];

/** Forward and gradient with dropout: bytes of all results, and the peak of memory. */
async function run(on: Gpu): Promise<{ bits: string; peak: number; dispatches: number }> {
  return scope(async () => {
    const packed = new PackedSequences(on, LENGTHS);
    const values = (width: number, phase: number) =>
      Tensor.from(
        on,
        Float32Array.from({ length: TOKENS * width }, (_, i) => Math.sin(i * 12.9898 + phase)),
        [TOKENS, width],
      );
    const dropout = { probability: 0.1, seed: 3, stream: 5, firstRow: 7 };
    const qkv = values(3 * HIDDEN, 0);
    const { out, logSumExp } = attention(qkv, packed, HEADS, dropout);
    const dqkv = attentionGradient(qkv, out, logSumExp, values(HIDDEN, 2), packed, HEADS, dropout);
    const results = await Promise.all([out, logSumExp, dqkv].map((tensor) => tensor.toArray()));
    packed.dispose();
    return {
      bits: results.map((array) => Buffer.from(array.buffer).toString('base64')).join(),
      peak: on.memory().peak,
      dispatches: on.dispatchCount,
    };
  });
}

test('a batch beyond a binding, and one sequence beyond it: the same bits, and a plan of the same bytes', async () => {
  const form = { headDim: HIDDEN / HEADS, dtype: 'f32', dropout: true } as const;
  const size = { tokens: TOKENS, hidden: HIDDEN, longest: Math.max(...LENGTHS) };
  for (const { name } of variantsFor(gradientFamily, gpu.capabilities, form, size)) {
    const kernels: ForcedKernels = { attention: name, attentionGradient: name };
    const seen: Awaited<ReturnType<typeof run>>[] = [];
    for (const maxBindingSize of [undefined, 2 ** 18, 2 ** 17]) {
      const own = await Gpu.open({ kernels, ...(maxBindingSize ? { maxBindingSize } : {}) });
      const real = await run(own);
      const planned = await run(Gpu.plan(own));
      assert.deepEqual([planned.peak, planned.dispatches], [real.peak, real.dispatches], name);
      seen.push(real);
      await own.close();
    }
    const [all, groups, heads] = seen as [(typeof seen)[0], (typeof seen)[0], (typeof seen)[0]];
    assert.ok(all.dispatches < groups.dispatches && groups.dispatches < heads.dispatches, name);
    assert.equal(groups.bits, all.bits, `${name}: groups of sequences`);
    assert.equal(heads.bits, all.bits, `${name}: groups of heads`);
  }
});

test('a sequence of which not even one head can be bound is refused in one line', async () => {
  const own = await Gpu.open({ kernels: 'fallback', maxBindingSize: 4096 });
  scope(() => {
    const packed = new PackedSequences(own, [100]);
    assert.throws(
      () => attention(Tensor.empty(own, [100, 3 * 32]), packed, 2),
      /^ShapeError: attention: one head of a sequence of 100 tokens takes more than the 4\.1 kB .*use shorter texts$/,
    );
  });
  await own.close();
});
