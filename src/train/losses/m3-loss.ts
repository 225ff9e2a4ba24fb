/**
 * The M3 training objective (Chen et al. 2024, arXiv:2402.03216, §3.3), as FlagEmbedding computes it
 * (docs/spec/flagembedding-m3.md §4).
 *
 *   L₀ = ( L(D) + L(E) + 0.1·L(S) + L(C) ) / 4            D dense, S sparse, C ColBERT, E = D + 0.3·S + C
 *   L  = ( L₀ + ( K(D) + 0.1·K(S) + K(C) ) / 3 ) / 2      with self-distillation, R = softmax(E) detached,
 *                                                          K(X) = −mean_b Σ R·logsoftmax(X)
 *
 * Without unified fine-tuning L = L(D). With several ranks only D sees all ranks' passages (`across`).
 */
import {
  add,
  concat,
  ownGroup,
  scale,
  scaleGradient,
  softCrossEntropy,
  softmax,
} from '../../autograd/index.js';
import { InputError, ShapeError } from '../../errors.js';
import { filled } from '../../kernels/make.js';
import {
  colbertScores,
  type DenseVectors,
  denseScores,
  denseVectors,
  ensembleScores,
  lexicalScores,
  type Representations,
  type ScoredBatch,
} from '../../models/scores.js';
import { OptionNames } from '../../options.js';
import { allGatherFloats, type Communicator } from '../../ranks/communicator.js';
import { f32, optional, positive, signature, wholeNumber } from '../../tensor/operands.js';
import { noGrad } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import {
  type DistillationKind,
  positiveCrossEntropy,
  scoreLoss,
  teacherProbabilities,
} from './score-loss.js';

/** How M3's loss is put together: temperature, weights, distillation. What is left out is as the command has it. */
export interface M3LossSettings {
  /** Divides every score. Default 0.02. */
  temperature?: number;
  /** The losses of all three heads and of their sum; by default that of the dense vectors alone. */
  unified?: boolean;
  /** The loss against teacher scores. Default 'kl_div'. */
  kind?: DistillationKind;
  /** Passages of other ranks are negatives too. Default false. */
  negativesCrossDevice?: boolean;
  /** Names of upstream behaviours to restore: `no-in-batch`, `cross-device`. Default none. */
  compat?: ReadonlySet<string>;
  /** Default: those of the paper and of FlagEmbedding. */
  weights?: LossWeights;
}

/** Coefficients of the single losses in L₀, before the division by 4. */
export interface LossWeights {
  /** Default 1. */
  dense: number;
  /** In `m3LossWeights` 0.1. */
  sparse: number;
  /** Default 1. */
  colbert: number;
  /** Default 1. */
  ensemble: number;
}

export const m3LossWeights: LossWeights = { dense: 1, sparse: 0.1, colbert: 1, ensemble: 1 };

/** A batch of texts, as `collate` makes it, and what is known of its passages. */
export interface M3LossBatch extends ScoredBatch {
  /** [B·G] raw teacher scores; none by default. */
  readonly teacherScores?: ArrayLike<number> | null;
  /** A query's own group are its candidates; by default the passages of the whole batch. */
  readonly noInBatchNeg?: boolean;
  /** Each head learns from the scores of all together. Default false. */
  readonly selfDistill?: boolean;
}

/** Scores of queries with texts, by each of the three heads and together. */
export interface M3Scores {
  /** Inner products, divided by the temperature. */
  readonly dense: Tensor;
  /** Lexical scores, divided by it; undefined unless unified. */
  readonly sparse?: Tensor;
  /** Late interaction, divided by it; undefined unless unified. */
  readonly colbert?: Tensor;
  /** dense + 0.3 · sparse + colbert; undefined unless unified. */
  readonly ensemble?: Tensor;
}

/** The loss of each score matrix alone, before they are weighed; `hybrid` is that of the ensemble. */
export interface M3LossParts {
  /** Of dense scores. */
  readonly dense: Tensor;
  /** Of lexical scores; undefined unless unified. */
  readonly sparse?: Tensor;
  /** Of ColBERT scores; undefined unless unified. */
  readonly colbert?: Tensor;
  /** None where upstream's behaviour without in-batch negatives is restored. */
  readonly hybrid?: Tensor;
  /** Of self-distillation: ( K(D) + 0.1·K(S) + K(C) ) / 3. */
  readonly distillation?: Tensor;
}

export const LOSS_SETTINGS = {
  temperature: 'number',
  unified: 'boolean',
  kind: 'string',
  negativesCrossDevice: 'boolean',
  compat: 'any',
  weights: 'any',
} as const;
const SETTINGS = new OptionNames<M3LossSettings>(LOSS_SETTINGS);

/** Temperature and kind, which are something where they are left out. */
export const withDefaults = ({ temperature = 0.02, kind = 'kl_div' }: M3LossSettings) => ({
  temperature,
  kind,
});

const M3_LOSS = signature(
  'm3Loss',
  { dense: f32('S', 'H'), sparse: optional(f32('T')), colbert: optional(f32('T', 'C')) },
  {
    numbers: {
      queries: wholeNumber(1),
      group: wholeNumber(1),
      temperature: positive,
      teacherScores: wholeNumber(),
    },
    equal: { teacherScores: 'queries*group' },
  },
);

/**
 * The loss [scalar] of one rank's batch, with the scores it came from and its parts. `texts`: what the model says of the batch's
 * texts (`M3Model.represent`), with heads where the settings are unified.
 * @throws ShapeError for what does not fit, and for a setting that there is not.
 */
export async function m3Loss(
  texts: Representations,
  batch: M3LossBatch,
  settings: M3LossSettings,
  communicator?: Communicator,
): Promise<{
  /** [scalar] f32, on the tape. */
  loss: Tensor;
  /** What it was computed from. */
  scores: M3Scores;
  /** Of each head and of their ensemble, before they are weighed. */
  parts: M3LossParts;
}> {
  SETTINGS.read('m3Loss', settings, 'settings');
  const { group, noInBatchNeg: own = false, queries } = batch;
  const { temperature, kind } = withDefaults(settings);
  const { dense: ofTexts, sparse: ofTokens, colbert: ofTokensToo } = texts;
  M3_LOSS.check(
    { dense: ofTexts, sparse: ofTokens, colbert: ofTokensToo },
    { queries, group, temperature, teacherScores: batch.teacherScores?.length ?? queries * group },
    {
      extents: {
        S: [queries * (1 + group), 'the queries and their groups'],
        T: [batch.tokens.packed.tokens, 'the batch'],
      },
    },
  );
  const teacher = batch.teacherScores
    ? teacherProbabilities(texts.dense.gpu, batch.teacherScores, group)
    : undefined;
  const loss = (scores: Tensor) => scoreLoss(scores, { group, own, teacher, kind });

  const vectors = denseVectors(texts.dense, batch);
  const dense = denseScores(vectors, temperature, own ? group : undefined);
  const across = settings.negativesCrossDevice && !own && communicator && communicator.size > 1;
  const denseLoss = across
    ? await crossDeviceLoss(vectors, dense, teacher, batch, settings, communicator)
    : loss(dense);
  if (!settings.unified) return { loss: denseLoss, scores: { dense }, parts: { dense: denseLoss } };

  if (!texts.sparse || !texts.colbert)
    throw new ShapeError('m3Loss', 'unified fine-tuning needs the representations of all three heads', {
      dense: texts.dense,
    });
  const sparse = lexicalScores(texts.sparse, batch, temperature, own);
  const colbert = colbertScores(texts.colbert, batch, temperature, own);
  const ensemble = ensembleScores(dense, sparse, colbert);
  const scores = { dense, sparse, colbert, ensemble };
  const weights = settings.weights ?? m3LossWeights;
  const weighted = (d: Tensor, s: Tensor, c: Tensor) =>
    add(add(scale(d, weights.dense), scale(s, weights.sparse)), scale(c, weights.colbert));

  const defective = own && settings.compat?.has('no-in-batch');
  if (defective) refuseWhatCrashesUpstream(batch, kind);
  const [ofSparse, ofColbert] = [loss(sparse), loss(colbert)];
  const three = weighted(denseLoss, ofSparse, ofColbert);
  // Upstream's ensemble has one candidate a row here, so its loss is 0 (§4.6).
  const ofEnsemble = defective ? undefined : loss(ensemble);
  const base = scale(ofEnsemble ? add(three, scale(ofEnsemble, weights.ensemble)) : three, 1 / 4);
  const parts: M3LossParts = {
    ...{ dense: denseLoss, sparse: ofSparse, colbert: ofColbert },
    ...(ofEnsemble ? { hybrid: ofEnsemble } : {}),
  };
  if (!batch.selfDistill) return { loss: base, scores, parts };

  const target = noGrad(() =>
    defective ? filled(ensemble.gpu, ensemble.shape, 1) : softmax(ensemble.detach()),
  );
  const distilled = weighted(
    softCrossEntropy(dense, target),
    softCrossEntropy(sparse, target),
    softCrossEntropy(colbert, target),
  );
  const distillation = scale(distilled, 1 / 3);
  return { loss: scale(add(base, distillation), 1 / 2), scores, parts: { ...parts, distillation } };
}

/** What FlagEmbedding answers with an IndexError (§4.6). */
function refuseWhatCrashesUpstream(batch: M3LossBatch, kind: DistillationKind): void {
  const { queries, group, teacherScores } = batch;
  if (queries > group || (teacherScores && kind === 'm3_kd_loss' && queries >= 2))
    throw new InputError(
      `--flagembedding_compat no-in-batch: FlagEmbedding crashes (IndexError) on ${queries} queries of group size ${group}` +
        `${teacherScores ? ' with teacher scores' : ''} without in-batch negatives`,
    );
}

/**
 * L(D) over all ranks' passages (§4.3). Each rank keeps the graph of its own shard only and gradients are
 * averaged over ranks, so the shard's gradient is multiplied by the number of ranks to be that of the whole batch;
 * upstream leaves it at 1/W. The own-group part of `kl_div` concerns this rank's rows only.
 */
async function crossDeviceLoss(
  vectors: DenseVectors,
  local: Tensor,
  teacher: Tensor | undefined,
  batch: M3LossBatch,
  settings: M3LossSettings,
  communicator: Communicator,
): Promise<Tensor> {
  const { group } = batch;
  const factor = settings.compat?.has('cross-device') ? 1 : communicator.size;
  const gather = async (own: Tensor): Promise<Tensor> => {
    const parts = await allGatherFloats(communicator, await own.toFloat32());
    return concat(
      parts.map((part, rank) =>
        rank === communicator.rank
          ? scaleGradient(own, factor)
          : Tensor.from(own.gpu, part, [part.length / own.cols, own.cols]),
      ),
    );
  };
  const queries = await gather(vectors.queries);
  const passages = await gather(vectors.passages);
  const { temperature, kind } = withDefaults(settings);
  const scores = denseScores({ queries, passages }, temperature);
  if (!teacher) return positiveCrossEntropy(scores, group);
  if (kind === 'kl_div')
    return add(softCrossEntropy(ownGroup(local, group), teacher), positiveCrossEntropy(scores, group));
  const rows = await allGatherFloats(communicator, await teacher.toFloat32());
  const all = concat(rows.map((part) => Tensor.from(teacher.gpu, part, [part.length / group, group])));
  return scoreLoss(scores, { group, own: false, teacher: all, kind });
}
