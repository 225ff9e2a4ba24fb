/** A small decoder trains: causal attention, rotary positions, RMSNorm and SwiGLU, in one layer that learns a text by heart. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { Adam } from '../src/optim/index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

const [BATCH, LENGTH, HEADS, DIM, TOKENS] = [2, 12, 4, 16, 8];
const WIDTH = HEADS * DIM;

test('a decoder learns a text by heart, and does not see what comes after', async () => {
  const gpu = await Gpu.open();
  let state = 1;
  const weight = (...shape: number[]) => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state / 2 ** 31 - 1) / Math.sqrt(shape.at(-1)!);
    });
    const tensor = Tensor.from(gpu, values, shape).keep();
    tensor.requiresGrad = true;
    return tensor;
  };
  const [embedding, qkv, out] = [weight(TOKENS, WIDTH), weight(3 * WIDTH, WIDTH), weight(WIDTH, WIDTH)];
  const [gate, up, down] = [weight(WIDTH, WIDTH), weight(WIDTH, WIDTH), weight(WIDTH, WIDTH)];
  const norm = Tensor.from(gpu, new Float32Array(WIDTH).fill(1), [WIDTH]).keep();
  norm.requiresGrad = true;
  const all = [embedding, qkv, out, gate, up, down, norm];

  const logits = (ids: readonly number[]): Tensor => {
    const index = Tensor.from(gpu, Uint32Array.from(ids), [ids.length]);
    let x = ops.indexSelect(embedding, 0, index);
    const heads = ops
      .split(ops.linear(ops.rmsNorm(x, norm), qkv), WIDTH, 1)
      .map((part) => ops.reshape(part, [BATCH, LENGTH, HEADS, DIM])) as [Tensor, Tensor, Tensor];
    const [q, k] = heads.slice(0, 2).map((part) => ops.rotary(part, 0, { axis: -3 })) as [Tensor, Tensor];
    const y = ops.scaledDotProductAttention(q, k, heads[2], { layout: 'blhd', causal: true });
    x = ops.add(x, ops.linear(ops.reshape(y, [BATCH * LENGTH, WIDTH]), out));
    const h = ops.rmsNorm(x, norm);
    x = ops.add(x, ops.linear(ops.swiglu(ops.linear(h, gate), ops.linear(h, up)), down));
    return ops.linear(ops.rmsNorm(x, norm), embedding);
  };
  // What follows a token depends on those before it.
  const text = Array.from({ length: BATCH * LENGTH }, (_, i) => (i * i + 3 * Math.floor(i / 5)) % TOKENS);
  const next = text.map((_, i) => text[(i + 1) % text.length]!);
  const targets = Uint32Array.from(next);
  const optimizer = new Adam(all, { learningRate: 0.01 });
  let first = 0;
  let last = 0;
  for (let step = 0; step < 30; step++)
    await scope(async () => {
      const loss = ops.crossEntropy(logits(text), Tensor.from(gpu, targets, [targets.length]));
      ops.backward(loss);
      optimizer.step();
      optimizer.zeroGrad();
      if (step === 0) first = await loss.item();
      if (step === 29) last = await loss.item();
    });
  assert.ok(first > 1.5 && last < 0.1, `loss ${first} to ${last}`);
  await scope(async () => {
    const changed = [...text];
    changed[LENGTH - 1] = (changed[LENGTH - 1]! + 1) % TOKENS;
    const before = await logits(text).toFloat32();
    const after = await logits(changed).toFloat32();
    const seen = (LENGTH - 1) * TOKENS;
    assert.deepEqual(after.subarray(0, seen), before.subarray(0, seen));
    assert.notDeepEqual(after.subarray(seen, seen + TOKENS), before.subarray(seen, seen + TOKENS));
  });
  for (const tensor of all) tensor.dispose();
  await gpu.close();
});
