/** Long input: memory linear in tokens, and a sequence of 8,192 tokens that trains. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { PresetName } from '../bench/options.js';
import { adamW, hashedIds, lossBatch, presetConfig, stepSettings } from '../bench/presets.js';
import { planRun } from '../bench/training-run.js';
import type { Capabilities } from '../src/gpu/capabilities.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport, Purpose } from '../src/gpu/memory.js';
import type { FloatDType } from '../src/kernels/launch.js';
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
function longBatch(tokens: number, vocab: number, queryTokens = 8) {
  const text = (name: string, length: number) =>
    hashedIds(Array.from({ length }, (_, i) => `${name}${i}`).join(' '), length, vocab);
  return {
    texts: [text('q', queryTokens), text('w', tokens), text('v', 8)],
    queries: 1,
    group: 2,
    teacherScores: Float32Array.of(3, 1),
  };
}

const LENGTHS = [1024, 2048, 4096, 8192];

/** What training on texts of each length takes, on an adapter like this one. */
function plans(
  model: { name: PresetName; layers?: number; fp16: boolean; recompute: boolean },
  more: Partial<Capabilities> = {},
  longQuery = false,
): Promise<MemoryReport[]> {
  const config = presetConfig(model.name, model.layers);
  const like = Gpu.plan({ ...gpu.capabilities, ...more });
  const settings = { config, fp16: model.fp16, step: stepSettings(model.recompute, null) };
  return Promise.all(
    LENGTHS.map((tokens) =>
      planRun(like, settings, longBatch(tokens, config.vocabSize, longQuery ? tokens : 8)),
    ),
  );
}

const perToken = (reports: readonly MemoryReport[], purpose: Purpose) =>
  reports.map(({ highest }, i) => highest[purpose] / LENGTHS[i]!);

function assertLinear(reports: readonly MemoryReport[]): void {
  for (const purpose of ['activations', 'workspace'] as const) {
    const figures = perToken(reports, purpose);
    // Size classes make steps of an eighth; what does not grow at all may fall.
    for (const [i, figure] of figures.entries())
      assert.ok(
        figure <= 1.1 * Math.min(...figures.slice(0, i + 1)),
        `${purpose}, bytes a token: ${figures.map(Math.round)}`,
      );
  }
  const peaks = reports.map(({ peakByPurpose }) => peakByPurpose.activations);
  assert.ok(peaks.at(-1)! <= 8.8 * peaks[0]!, `activations at the peak: ${peaks}`);
}

for (const [name, layers] of [
  ['tiny', 4],
  ['bge-m3', 1],
] as const)
  for (const fp16 of [false, true])
    for (const recompute of [false, true])
      test(`memory grows with the tokens and no faster: ${name} ${fp16 ? 'f16' : 'f32'}${recompute ? ', recompute' : ''}`, async () => {
        for (const subgroup8 of [false, true])
          assertLinear(await plans({ name, layers, fp16, recompute }, { subgroup8 }));
      });

test('a query as long as its passage: their token scores are not held', async () => {
  for (const fp16 of [false, true])
    for (const subgroup8 of [false, true])
      assertLinear(await plans({ name: 'tiny', fp16, recompute: true }, { subgroup8 }, true));
});

test('bytes a token: halves take little more than half, recomputation a fraction', async () => {
  const figure = async (fp16: boolean, recompute: boolean) =>
    perToken(await plans({ name: 'tiny', fp16, recompute }), 'activations').at(-1)!;
  const [whole, halves] = [await figure(false, false), await figure(true, false)];
  const [wholeAgain, halvesAgain] = [await figure(false, true), await figure(true, true)];
  const found = `${[whole, halves, wholeAgain, halvesAgain].map(Math.round)} bytes a token`;
  assert.ok(halves <= 0.6 * whole && halvesAgain <= 0.6 * wholeAgain, found);
  assert.ok(wholeAgain <= 0.6 * whole && halvesAgain <= 0.6 * halves, found);
});

for (const precision of ['f32', 'f16'] as FloatDType[])
  test(`8,192 tokens train: ${precision}`, async () => {
    const config = parseEncoderConfig({
      model_type: 'xlm-roberta',
      hidden_size: 128,
      num_hidden_layers: 1,
      num_attention_heads: 4,
      intermediate_size: 128,
      vocab_size: 9000,
      max_position_embeddings: 8194,
      layer_norm_eps: 1e-5,
      hidden_dropout_prob: 0.1,
      attention_probs_dropout_prob: 0.1,
      pad_token_id: 1,
    });
    const model = M3Model.random(gpu, config, { seed: 1, precision });
    const optimizer = new AdamW(model.store, adamW);
    const before = await model.readWeights();
    const batch = lossBatch(gpu, config, longBatch(8192, config.vocabSize));
    assert.equal(batch.tokens.packed.lengths[1], 8192);
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
    // The last of 8,192 positions has been there.
    const positions = 'model.embeddings.position_embeddings.weight';
    const [was, is] = [before.get(positions)!, (await model.readWeights()).get(positions)!];
    assert.ok(is.subarray(8193 * 128).some((value, i) => value !== was[8193 * 128 + i]));
    optimizer.dispose();
    model.dispose();
    assert.equal(gpu.memory().liveBuffers, 0);
  });
