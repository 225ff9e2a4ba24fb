/** What the engine computes for the batch of a golden, by the code that trains: its loss, its gradients, their norm. */
import { globalNorm } from '../kernels/adamw.js';
import type { M3Model } from '../models/m3.js';
import type { Representations } from '../models/scores.js';
import type { Communicator } from '../ranks/communicator.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type M3Scores, m3LossWeights } from '../train/losses/m3-loss.js';
import type { DistillationKind } from '../train/losses/score-loss.js';
import type { RunBatch } from '../train/run/step.js';
import { collate } from '../train/step/collate.js';
import { forwardBackward, type StepSettings } from '../train/step/train-step.js';
import type { SafetensorsFile } from '../weights/safetensors.js';
import type { Comparison } from './comparison.js';
import { HALF_BOUNDS, length } from './measures.js';

export interface LossCase {
  id: string;
  B: number;
  G: number;
  query_max_len: number;
  passage_max_len: number;
  queries: string[];
  passages: string[];
  kd_loss_type: DistillationKind;
  teacher_scores: number[] | null;
  use_self_distill: boolean;
  no_in_batch_neg: boolean;
  temperature: number;
  unified_finetuning?: boolean;
  loss: number | null;
  grad_norm?: number;
  loss_intended?: number;
  grad_norm_intended?: number;
}

/** What a batch of a golden is made of. */
export type GoldenBatch = Omit<LossCase, 'loss' | 'use_self_distill'>;

/** What FlagEmbedding does, its errors too. */
export const ALL_COMPAT = new Set([
  'none-prefix',
  'no-in-batch',
  'cross-device',
  'colbert-floor',
  'log-warmup',
]);

export function batchOf(
  parity: Comparison,
  model: M3Model,
  golden: GoldenBatch,
  compat: ReadonlySet<string>,
  paddedLength?: number,
): RunBatch {
  const texts = collate(parity.gpu, parity.tokenizer, model.config, golden.queries, golden.passages, {
    queryMaxLen: golden.query_max_len,
    passageMaxLen: golden.passage_max_len,
    padToMultipleOf: parity.settings.pad_to_multiple_of,
    colbertFloor: compat.has('colbert-floor'),
    ...(paddedLength === undefined ? {} : { paddedLength }),
  });
  return { ...texts, teacherScores: golden.teacher_scores, noInBatchNeg: golden.no_in_batch_neg };
}

export function stepSettings(
  parity: Comparison,
  golden: GoldenBatch,
  compat: ReadonlySet<string>,
  acrossRanks = false,
): StepSettings {
  return {
    temperature: golden.temperature,
    unified: golden.unified_finetuning ?? true,
    kind: golden.kd_loss_type,
    negativesCrossDevice: acrossRanks,
    compat,
    recompute: false,
    subBatchSize: null,
    ...(parity.mistake === 'missing-term' ? { weights: { ...m3LossWeights, ensemble: 0 } } : {}),
  };
}

/** Loss of one batch; gradients are added to the model's, whose norm is returned. */
export async function lossAndGradient(
  parity: Comparison,
  model: M3Model,
  golden: GoldenBatch & Pick<LossCase, 'use_self_distill'>,
  compat: ReadonlySet<string>,
  onHidden?: (layer: number, hidden: Tensor) => void,
  rank?: { communicator: Communicator; paddedLength: number },
): Promise<{ loss: number; norm: number; scores: Record<string, Float32Array>; dense: Float32Array }> {
  const batch = {
    ...batchOf(parity, model, golden, compat, rank?.paddedLength),
    selfDistill: golden.use_self_distill,
  };
  const seen: { scores: Record<string, Float32Array>; dense: Float32Array } = {
    ...{ scores: {}, dense: new Float32Array(0) },
  };
  const onScores = async (texts: Representations, scores: M3Scores) => {
    seen.dense = await texts.dense.toFloat32();
    for (const [name, tensor] of Object.entries(scores)) seen.scores[name] = await tensor.toFloat32();
  };
  try {
    const loss = await forwardBackward(
      model,
      batch,
      stepSettings(parity, golden, compat, rank !== undefined),
      {
        ...{ communicator: rank?.communicator, watch: onHidden && { onHidden, onScores } },
      },
    );
    const norm = await gradientNorm(model);
    return { loss, norm, ...seen };
  } finally {
    batch.tokens.dispose();
  }
}

export async function checkGradients(
  parity: Comparison,
  section: string,
  model: M3Model,
  goldens: SafetensorsFile,
  prefix: string,
  scale: number,
  bound: number,
): Promise<void> {
  const gradients = await model.store.readGradients();
  const wanted = new Set<string>();
  for (const name of goldens.names()) {
    if (!name.startsWith(`${prefix}grad/`)) continue;
    const parameter = name.slice(prefix.length + 'grad/'.length);
    wanted.add(parameter);
    const got = gradients.get(parameter)?.map((v) => v * scale);
    if (!got) parity.check(section, `gradient ${parameter}: missing here`, 1, 0);
    else if (parameter.endsWith('attention.self.key.bias')) {
      const weight = gradients.get(parameter.replace(/bias$/, 'weight'))!.map((v) => v * scale);
      parity.check(
        section,
        `‖gradient ${parameter}‖ / ‖key.weight‖`,
        length(got) / length(weight),
        parity.bounds.keyBias,
      );
    } else
      parity.checkVector(
        section,
        `gradient ${parameter}`,
        got,
        goldens.read(name),
        bound,
        parameter.startsWith('colbert_linear') ? HALF_BOUNDS.cosineColbert : HALF_BOUNDS.cosine,
      );
  }
  for (const [name, values] of gradients)
    if (!wanted.has(name))
      parity.check(section, `gradient ${name}: none in the golden`, length(values), parity.bounds.lossZero);
}

/** Of the gradients that are in the model. */
export function gradientNorm({ store }: M3Model): Promise<number> {
  return scope(() =>
    globalNorm([
      ...(store.gradients ? [store.gradients] : []),
      ...store.tables.flatMap((table) => table.gradient.merged()?.values ?? []),
    ]).item(),
  );
}
