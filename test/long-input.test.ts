/** Long input: memory linear in tokens, and a sequence of 8,192 tokens that trains. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { adamW, hashedIds, lossBatch, presetConfig, stepSettings } from '../bench/presets.js';
import { planRun } from '../bench/training-run.js';
import { Gpu } from '../src/gpu/gpu.js';
import { parseEncoderConfig } from '../src/models/config.js';
import { M3Model } from '../src/models/m3.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { AdamW } from '../src/train/optimizer.js';
import { forwardBackward } from '../src/train/train-step.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

/** A query, one passage of so many tokens, and a short one. */
function longBatch(tokens: number, vocab: number) {
  const words = Array.from({ length: tokens }, (_, i) => `w${i}`).join(' ');
  return {
    texts: [hashedIds('w1 w2 w3', 8, vocab), hashedIds(words, tokens, vocab), hashedIds('w8 w9', 8, vocab)],
    queries: 1,
    group: 2,
    teacherScores: Float32Array.of(3, 1),
  };
}

for (const [name, layers] of [
  ['tiny', undefined],
  ['bge-m3', 1],
] as const)
  for (const fp16 of [false, true])
    for (const recompute of [false, true])
      test(`activations grow with the tokens and no faster: ${name} ${fp16 ? 'f16' : 'f32'}${recompute ? ', recompute' : ''}`, async () => {
        const config = presetConfig(name, layers);
        const perToken: number[] = [];
        for (const tokens of [1024, 2048, 4096, 8192]) {
          const settings = { config, fp16, step: stepSettings(recompute, null) };
          const { highest } = await planRun(gpu, settings, longBatch(tokens, config.vocabSize));
          perToken.push(highest.activations / tokens);
        }
        // Size classes make steps of an eighth.
        const [first, last] = [Math.min(...perToken), Math.max(...perToken)];
        assert.ok(last <= 1.1 * first, `bytes a token: ${perToken.map(Math.round)}`);
      });

test('8,192 tokens train', async () => {
  const config = parseEncoderConfig({
    model_type: 'xlm-roberta',
    hidden_size: 64,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 128,
    vocab_size: 9000,
    max_position_embeddings: 8194,
    layer_norm_eps: 1e-5,
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    pad_token_id: 1,
  });
  const model = M3Model.random(gpu, config, { seed: 1 });
  const optimizer = new AdamW(model.store, adamW);
  const before = await model.readWeights();
  const batch = lossBatch(gpu, config, longBatch(8192, config.vocabSize));
  assert.equal(batch.tokens.packed.lengths[1], 8192);
  const loss = await forwardBackward(model, batch, stepSettings(true, null), {
    random: new RandomStreams(1),
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
  const { norm, skipped } = await optimizer.step(1e-3);
  assert.ok(norm > 0 && !skipped);
  for (const [name, weights] of await model.readWeights())
    if (!name.startsWith('sparse_linear'))
      assert.ok(
        weights.some((value, i) => value !== before.get(name)![i]),
        name,
      );
  // The last of 8,192 positions has been there.
  const positions = 'model.embeddings.position_embeddings.weight';
  const [was, is] = [before.get(positions)!, (await model.readWeights()).get(positions)!];
  assert.ok(is.subarray(8193 * 64).some((value, i) => value !== was[8193 * 64 + i]));
  optimizer.dispose();
  model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});
