/** A step on a long text. */
import assert from 'node:assert/strict';
import { adamW, hashedIds, lossBatch, stepSettings } from '../bench/presets.js';
import type { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { parseEncoderConfig } from '../src/models/config.js';
import { M3Model } from '../src/models/m3.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { forwardBackward } from '../src/train/step/train-step.js';

/** A query, one passage of so many tokens, and a short one. */
export function longBatch(tokens: number, vocab: number, queryTokens = 8) {
  const text = (name: string, length: number) =>
    hashedIds(Array.from({ length }, (_, i) => `${name}${i}`).join(' '), length, vocab);
  return {
    texts: [text('q', queryTokens), text('w', tokens), text('v', 8)],
    queries: 1,
    group: 2,
    teacherScores: Float32Array.of(3, 1),
  };
}

/** That every parameter gets a finite gradient from a text of so many tokens and changes. */
export async function checkLongTraining(gpu: Gpu, precision: FloatDType, tokens: number): Promise<void> {
  const config = parseEncoderConfig({
    model_type: 'xlm-roberta',
    hidden_size: 128,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    intermediate_size: 128,
    vocab_size: 9000,
    max_position_embeddings: tokens + 2,
    layer_norm_eps: 1e-5,
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    pad_token_id: 1,
  });
  const model = M3Model.random(gpu, config, { seed: 1, precision });
  const optimizer = new StoreAdamW(model.store, adamW);
  const before = await model.readWeights();
  const batch = lossBatch(gpu, config, longBatch(tokens, config.vocabSize));
  assert.equal(batch.tokens.packed.lengths[1], tokens);
  const loss = await forwardBackward(model, batch, stepSettings(true, null), {
    random: new RandomStreams(1),
    lossScale: 64,
  });
  batch.tokens.dispose();
  assert.ok(Number.isFinite(loss) && loss > 0, `loss ${loss}`);
  for (const [name, gradient] of await model.store.readGradients()) {
    assert.ok(gradient.every(Number.isFinite), name);
    // A sparse head of random weights may give no token a weight.
    if (!name.startsWith('sparse_linear'))
      assert.ok(
        gradient.some((value) => value !== 0),
        name,
      );
  }
  const { norm, skipped } = await optimizer.step(1e-3, 1 / 64);
  assert.ok(norm > 0 && !skipped);
  for (const [name, weights] of await model.readWeights())
    if (!name.startsWith('sparse_linear'))
      assert.ok(
        weights.some((value, i) => value !== before.get(name)![i]),
        name,
      );
  // The last of the positions has been there.
  const last = (tokens + 1) * 128;
  const positions = 'model.embeddings.position_embeddings.weight';
  const [was, is] = [before.get(positions)!, (await model.readWeights()).get(positions)!];
  assert.ok(is.subarray(last).some((value, i) => value !== was[last + i]));
  optimizer.dispose();
  model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
}
