/**
 * Forward and backward of one batch, at once or in chunks. Chunks are gradient caching (Gao et al. 2021, "Scaling
 * deep contrastive learning batch size under memory limited setup"): all texts are encoded without a graph, the
 * loss gives gradients on their representations, then one chunk after the other is encoded again with a graph that
 * those gradients seed. The gradient is that of the whole batch; the memory is that of one chunk and, per token,
 * two ColBERT vectors. Dropout draws the same in both passes, and the same as without chunks.
 */
import { lossGradients, seedRows } from '../../autograd/gradient-cache.js';
import { backward } from '../../autograd/index.js';
import { seedOf } from '../../kernels/make.js';
import type { M3Model } from '../../models/m3.js';
import {
  colbertScores,
  denseScores,
  denseVectors,
  ensembleScores,
  lexicalScores,
  type Representations,
  type ScoredBatch,
} from '../../models/scores.js';
import { OptionNames } from '../../options.js';
import type { Communicator } from '../../ranks/communicator.js';
import type { RandomStreams } from '../../tensor/random-streams.js';
import { noGrad, scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import {
  LOSS_SETTINGS,
  type M3LossBatch,
  type M3LossParts,
  type M3LossSettings,
  type M3Scores,
  m3Loss,
} from '../losses/m3-loss.js';

/** How a training step computes: recomputation, chunks, and the loss. What is left out is as the command has it. */
export interface StepSettings extends M3LossSettings {
  /** Recompute each layer in backward (`--gradient_checkpointing`). Default false. */
  readonly recompute?: boolean;
  /** Texts that are encoded with a graph at a time; null, the default: all. */
  readonly subBatchSize?: number | null;
}

const ofLoss = ({ recompute, subBatchSize, ...loss }: StepSettings): M3LossSettings => loss;

const SETTINGS = new OptionNames<StepSettings>({
  ...LOSS_SETTINGS,
  recompute: 'boolean',
  subBatchSize: 'number or null',
});

/** Looks at what a batch that is taken at once goes through; what it is shown is gone when its promise settles. */
export interface StepWatch {
  /** `layer` 0: the embeddings. */
  readonly onHidden?: ((layer: number, hidden: Tensor) => void) | undefined;
  /** What the model says of the batch, and the scores of the loss. */
  readonly onScores?: ((texts: Representations, scores: M3Scores) => Promise<void>) | undefined;
}

/** What stands beside a training step: random streams, loss scale, communicator, who is told. */
export interface StepContext {
  /** Draws dropout; without it there is none. */
  readonly random?: RandomStreams | undefined;
  /** Multiplies the gradients. */
  readonly lossScale?: number;
  /** Where there are several ranks. */
  readonly communicator?: Communicator | undefined;
  /** Looks on; nothing changes for it. */
  readonly watch?: StepWatch | undefined;
  /** Shown the parts of the batch's loss before backward, which frees them; they have no graph. */
  readonly onParts?: ((parts: M3LossParts) => void) | undefined;
  /** Called from inside backward with each stage whose gradients, and those of later ones, are complete: the batch's last. */
  readonly onBackward?: ((stage: number) => void) | undefined;
}

/**
 * Adds the gradients of one batch's loss, times `lossScale`, to the model's; returns the loss itself. The batch's
 * tokens stay the caller's to dispose of. @throws ShapeError for a batch or settings that do not fit.
 */
export function forwardBackward(
  model: M3Model,
  batch: M3LossBatch,
  settings: StepSettings = {},
  context: StepContext = {},
): Promise<number> {
  SETTINGS.read('forwardBackward', settings, 'settings');
  return scope(async () => (await microBatch(model, batch, settings, context)).item());
}

/** `forwardBackward` without the wait: returns the loss [scalar] on the device, which belongs to the caller's scope. */
export async function microBatch(
  model: M3Model,
  batch: M3LossBatch,
  settings: StepSettings,
  context: StepContext = {},
): Promise<Tensor> {
  const { lossScale = 1, watch } = context;
  const chunks = chunksOf(batch, settings);
  if (chunks.length > 1) return cachedForwardBackward(model, batch, settings, context, chunks);
  const { gpu } = model;
  return scope(async () => {
    const loss = await gpu.phase('forward', async () => {
      const hidden = model.hidden(batch.tokens, {
        dropout: context.random,
        recompute: settings.recompute,
        onBackward: context.onBackward,
        ...(watch?.onHidden ? { onHidden: watch.onHidden } : {}),
      });
      const texts = model.represent(hidden, batch.tokens, settings.unified ?? false);
      const { loss, scores, parts } = await m3Loss(texts, batch, ofLoss(settings), context.communicator);
      await watch?.onScores?.(texts, scores);
      showParts(parts, context);
      // From here the tape knows what it needs; these handles would hold it until the end.
      for (const tensor of [hidden, texts.dense, texts.sparse, texts.colbert]) tensor?.dispose();
      return loss;
    });
    gpu.phase('backward', () => {
      // A batch on which nothing trains (one query, one passage) has a constant loss and no graph.
      if (loss.node) backward(loss, seedOf(loss, lossScale));
    });
    return loss.detach();
  });
}

function showParts(parts: M3LossParts, { onParts }: StepContext): void {
  if (onParts) noGrad(() => onParts(parts));
}

/** The parts of the loss that `lossesOf` tells, by the score matrix they are of. */
export const lossNames = ['dense', 'sparse', 'colbert', 'hybrid'] as const;
export type LossName = (typeof lossNames)[number];

export interface BatchLosses {
  readonly loss: number;
  /** Those that there are with these settings. */
  readonly parts: ReadonlyMap<LossName, number>;
}

/** The loss alone, without graph and dropout, and that of each score matrix before they are weighed. */
export function lossesOf(model: M3Model, batch: M3LossBatch, settings: StepSettings): Promise<BatchLosses> {
  return scope(() =>
    noGrad(async () => {
      const texts = representAll(model, batch, settings, {}, chunksOf(batch, settings));
      const { loss, parts } = await m3Loss(texts, batch, ofLoss(settings));
      const found = lossNames.flatMap((name) => {
        const tensor = parts[name];
        return tensor ? [{ name, tensor }] : [];
      });
      const all = Tensor.empty(model.gpu, [1 + found.length], 'f32', 'workspace');
      [loss, ...found.map(({ tensor }) => tensor)].forEach((tensor, n) => void all.copyFrom(tensor, n));
      const [whole, ...values] = await all.toFloat32();
      return { loss: whole!, parts: new Map(found.map(({ name }, n) => [name, values[n]!])) };
    }),
  );
}

/** Scores [B,G] of each query with its own passages, undivided by a temperature, row-major; those that are trained. */
export async function ownScoresOf(
  model: M3Model,
  batch: ScoredBatch,
  settings: StepSettings,
): Promise<Map<LossName, Float32Array>> {
  return scope(() =>
    noGrad(async () => {
      const whole = { ...batch, teacherScores: null, noInBatchNeg: true, selfDistill: false };
      const texts = representAll(model, whole, settings, {}, chunksOf(whole, settings));
      return readScores(scoresOfTexts(texts, batch, true));
    }),
  );
}

/** Scores of each query with all passages of the batch (its own alone with `noInBatchNeg`), row-major; those that are trained. */
export async function batchScoresOf(
  model: M3Model,
  batch: M3LossBatch,
  settings: StepSettings,
): Promise<Map<LossName, Float32Array>> {
  return scope(() =>
    noGrad(async () => {
      const own = batch.noInBatchNeg ?? false;
      const texts = representAll(model, batch, settings, {}, chunksOf(batch, settings));
      return readScores(scoresOfTexts(texts, batch, own));
    }),
  );
}

/** Undivided by a temperature. */
function scoresOfTexts(texts: Representations, batch: ScoredBatch, own: boolean): Map<LossName, Tensor> {
  const dense = denseScores(denseVectors(texts.dense, batch), 1, own ? batch.group : undefined);
  const found = new Map<LossName, Tensor>([['dense', dense]]);
  if (texts.sparse && texts.colbert) {
    const sparse = lexicalScores(texts.sparse, batch, 1, own);
    const colbert = colbertScores(texts.colbert, batch, 1, own);
    found.set('sparse', sparse).set('colbert', colbert);
    found.set('hybrid', ensembleScores(dense, sparse, colbert));
  }
  return found;
}

async function readScores(scores: ReadonlyMap<LossName, Tensor>): Promise<Map<LossName, Float32Array>> {
  const read = [...scores].map(
    async ([name, tensor]): Promise<[LossName, Float32Array]> => [name, await tensor.toFloat32()],
  );
  return new Map(await Promise.all(read));
}

interface Chunk {
  /** Texts [from, to). */
  readonly from: number;
  readonly to: number;
}

function chunksOf(batch: M3LossBatch, settings: StepSettings): Chunk[] {
  const { count } = batch.tokens.packed;
  const size = settings.subBatchSize ?? count;
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => ({
    from: i * size,
    to: Math.min(count, (i + 1) * size),
  }));
}

async function cachedForwardBackward(
  model: M3Model,
  batch: M3LossBatch,
  settings: StepSettings,
  context: StepContext,
  chunks: readonly Chunk[],
): Promise<Tensor> {
  const { random, lossScale = 1, communicator } = context;
  const draws = random?.counter;
  const rewind = () => {
    if (random) random.counter = draws!;
  };
  return scope(async () => {
    const { loss, gradients } = await scope(async () => {
      const texts = noGrad(() => representAll(model, batch, settings, context, chunks, rewind));
      const leaves = [texts.dense, texts.sparse, texts.colbert].flatMap((tensor) => tensor ?? []);
      const lossOf = async () => {
        const { loss, parts } = await m3Loss(texts, batch, ofLoss(settings), communicator);
        showParts(parts, context);
        return loss;
      };
      return lossGradients(leaves, lossOf, lossScale);
    });
    for (const chunk of chunks) {
      rewind();
      const last = chunk === chunks.at(-1);
      const own = last ? context : { ...context, onBackward: undefined };
      encodeChunk(model, batch, settings, own, chunk, (texts, { first, end }) => {
        const [dense, sparse, colbert] = gradients;
        const rows = { from: chunk.from, to: chunk.to };
        const tokens = { from: first, to: end };
        seedRows([
          { root: texts.dense, gradient: dense, ...rows },
          { root: texts.sparse, gradient: sparse, ...tokens },
          { root: texts.colbert, gradient: colbert, ...tokens },
        ]);
      });
    }
    return loss;
  });
}

/** All texts' representations, chunk by chunk; to be called without recording. */
function representAll(
  model: M3Model,
  batch: M3LossBatch,
  settings: StepSettings,
  context: StepContext,
  chunks: readonly Chunk[],
  rewind: () => void = () => {},
): Representations {
  const { count, tokens } = batch.tokens.packed;
  const empty = (shape: number[]) => Tensor.empty(model.gpu, shape);
  const { hiddenSize } = model.config;
  const width = model.store.get('colbert_linear.weight').shape[0]!;
  const all: Representations = settings.unified
    ? { dense: empty([count, hiddenSize]), sparse: empty([tokens]), colbert: empty([tokens, width]) }
    : { dense: empty([count, hiddenSize]) };
  for (const chunk of chunks) {
    rewind();
    encodeChunk(model, batch, settings, context, chunk, (texts, { first }) => {
      all.dense.copyFrom(texts.dense, chunk.from * hiddenSize);
      if (texts.sparse) all.sparse!.copyFrom(texts.sparse, first);
      if (texts.colbert) all.colbert!.copyFrom(texts.colbert, first * width);
    });
  }
  return all;
}

/** `use` sees the representations of a chunk's texts and which tokens of the batch are theirs. */
function encodeChunk(
  model: M3Model,
  batch: M3LossBatch,
  settings: StepSettings,
  context: StepContext,
  { from, to }: Chunk,
  use: (texts: Representations, tokens: { first: number; end: number }) => void,
): void {
  const tokens = batch.tokens.part(from, to);
  const { bounds } = batch.tokens.packed;
  try {
    scope(() => {
      const hidden = model.hidden(tokens, {
        dropout: context.random,
        recompute: settings.recompute,
        onBackward: context.onBackward,
      });
      const texts = model.represent(hidden, tokens, settings.unified ?? false);
      hidden.dispose();
      use(texts, { first: bounds[from]!, end: bounds[to]! });
    });
  } finally {
    tokens.dispose();
  }
}
