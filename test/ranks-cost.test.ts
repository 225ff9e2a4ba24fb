/** What plans say that a step costs a rank, in memory and in bytes on the wire, is what it costs ranks that take it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fullBatch, lossBatch, runSettings, stepSettings } from '../bench/presets.js';
import { plannedStep, type RankedStep, type StepCost, takenStep } from '../bench/ranks/planned-steps.js';
import { Gpu } from '../src/gpu/gpu.js';
import { parseEncoderConfig } from '../src/models/config.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';

const config = parseEncoderConfig({
  model_type: 'xlm-roberta',
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 64,
  vocab_size: 2000,
  max_position_embeddings: 40,
  type_vocab_size: 1,
  layer_norm_eps: 1e-5,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  pad_token_id: 1,
});

const gpus: Gpu[] = [];
before(async () => {
  for (let n = 0; n < 4; n++) gpus.push(await Gpu.open());
});
after(async () => {
  for (const gpu of gpus) await gpu.close();
});

const shape = { batch: 2, group: 3, queryMaxLen: 6, passageMaxLen: 14, vocab: config.vocabSize };

function stepOf(more: Partial<RankedStep['run']>, dense = false, fp16 = false): RankedStep {
  return {
    ...{ config, dense, precision: fp16 ? 'f16' : 'f32', words: config.vocabSize },
    run: { ...runSettings(fp16, stepSettings(false, null)), ...more },
    batch: (gpu, rank) => lossBatch(gpu, config, fullBatch(shape, rank)),
  };
}

async function taken(step: RankedStep, size: number): Promise<StepCost[]> {
  const ranks = new EmulatedRanks(size);
  return Promise.all(
    Array.from({ length: size }, (_, rank) => takenStep(gpus[rank]!, step, ranks.rank(rank))),
  );
}

const steps = [
  ['touched rows', stepOf({})],
  ['touched rows, bf16', stepOf({ wire: 'bf16' })],
  ['the whole table', stepOf({}, true)],
  ['moments divided', stepOf({ shardOptimizer: true })],
  ['the state divided, f16', stepOf({ shardOptimizer: true }, false, true)],
  ['the state divided, the whole table, f16', stepOf({ shardOptimizer: true, wire: 'bf16' }, true, true)],
] as const;

for (const [size, of] of [
  // What four take is said of one of the ways to share, which two need not take then.
  [2, steps.filter((_, i) => i !== 4)],
  [4, [steps[4]]],
] as const)
  for (const [name, step] of of)
    test(`${size} ranks: plan and run agree to the byte: ${name}`, async () => {
      const costs = await taken(step, size);
      for (const [rank, cost] of costs.entries()) {
        assert.deepEqual(await plannedStep(gpus[rank]!, step, size, rank), cost, `rank ${rank}`);
        assert.ok(cost.gradients > 0);
        assert.equal(cost.weights > 0, step.run.shardOptimizer === true);
      }
    });

test('what formats and rows save on the wire, and shards in memory', async () => {
  const cost = (step: RankedStep) => plannedStep(gpus[0]!, step, 4);
  const [rows, halves, dense, shard] = [
    await cost(stepOf({})),
    await cost(stepOf({ wire: 'bf16' })),
    await cost(stepOf({}, true)),
    await cost(stepOf({ shardOptimizer: true })),
  ];
  assert.ok(rows.gradients < dense.gradients);
  // The numbers of the rows are as long as they were.
  assert.ok(halves.gradients < 0.52 * rows.gradients && halves.gradients > 0.5 * rows.gradients);
  const moments = ({ memory }: StepCost) => memory.peakByPurpose.optimizer;
  assert.ok(moments(shard) < 0.27 * moments(rows));
  const alone = await plannedStep(gpus[0]!, stepOf({}), 1);
  assert.deepEqual([alone.gradients, alone.weights, alone.rest], [0, 0, 0]);
});

test('mixed precision: what products read is divided in f32, and its copies travel as half the bytes', async () => {
  // A layer is more than a bucket, so that each rank has as much of the products as the others but for the biases.
  const width = 384;
  const inner = 1536;
  const wide = { ...config, hiddenSize: width, intermediateSize: inner, heads: 6, layers: 8 };
  // Query, key and value, what follows them, and the two of the feed-forward.
  const products = wide.layers * (4 * width * width + 2 * width * inner);
  const batch = (on: Gpu, rank: number) => lossBatch(on, wide, fullBatch(shape, rank));
  const cost = (size: number, fp16: boolean, shardOptimizer: boolean) =>
    plannedStep(gpus[0]!, { ...stepOf({ shardOptimizer }, false, fp16), config: wide, batch }, size);
  const near = (got: number, want: number, what: string, by = 0.03) =>
    assert.ok(Math.abs(got - want) < by * want, `${what}: ${got} of ${want} bytes`);
  for (const size of [2, 8]) {
    const [whole, divided, f32] = [
      await cost(size, true, false),
      await cost(size, true, true),
      await cost(size, false, true),
    ];
    const fall = (of: (cost: StepCost) => number) => of(whole) - of(divided);
    const weights = fall(({ memory }) => memory.peakByPurpose.weights);
    const moments = fall(({ memory }) => memory.peakByPurpose.optimizer);
    near(weights, 4 * products * (1 - 1 / size), `weights of ${size} ranks`);
    near(
      fall(({ memory }) => memory.peak),
      weights + moments,
      `all that a rank of ${size} has`,
    );
    // The heads, which are f32, share a bucket with the last layer: there one rank has more words than the others.
    const sent = (2 * products * (size - 1)) / size;
    near(f32.weights - divided.weights, sent, `sent by one of ${size}`, 0.1);
  }
});
