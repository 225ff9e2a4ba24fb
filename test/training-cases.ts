/** A small M3 with dropout and batches of drawn ids, for tests that compare ways to compute the same gradients. */
import type { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { M3Model } from '../src/models/m3.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { CounterRandom } from '../src/tensor/random.js';
import type { M3LossBatch } from '../src/train/losses/m3-loss.js';
import type { StepSettings } from '../src/train/step/train-step.js';

export const settings: StepSettings = {
  temperature: 0.05,
  unified: true,
  kind: 'm3_kd_loss',
  negativesCrossDevice: false,
  compat: new Set(),
  recompute: false,
  subBatchSize: null,
};

export const GROUP = 3;

export function dropoutModel(gpu: Gpu, precision: FloatDType, layers = 2, seed = 5): M3Model {
  return M3Model.random(
    gpu,
    {
      model_type: 'xlm-roberta',
      hidden_size: 64,
      num_hidden_layers: layers,
      num_attention_heads: 4,
      intermediate_size: 128,
      vocab_size: 300,
      max_position_embeddings: 130,
      layer_norm_eps: 1e-5,
      // Larger than usual, so that nothing of it is lost in rounding.
      initializer_range: 0.1,
      hidden_dropout_prob: 0.1,
      attention_probs_dropout_prob: 0.1,
      pad_token_id: 1,
    },
    { seed, precision },
  );
}

/** `queries` queries of 3 to 9 tokens with GROUP passages of 3 to 40 each. */
export function drawnBatch(model: M3Model, queries: number, more: Partial<M3LossBatch> = {}): M3LossBatch {
  const random = new CounterRandom(11, queries);
  const text = (most: number) => [
    0,
    ...Array.from({ length: 1 + random.int(most - 2) }, () => 4 + random.int(296)),
    2,
  ];
  const passages = queries * GROUP;
  return {
    tokens: new TokenBatch(
      model.gpu,
      [
        ...Array.from({ length: queries }, () => text(9)),
        ...Array.from({ length: passages }, () => text(40)),
      ],
      model.config,
    ),
    queries,
    group: GROUP,
    specialIds: [0, 1, 2, 3],
    teacherScores: Float32Array.from({ length: passages }, () => random.uniform() * 4),
    noInBatchNeg: false,
    selfDistill: true,
    ...more,
  };
}
