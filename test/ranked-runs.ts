/** Runs of several ranks that one process plays, beside one process that takes all their batches, for tests of both. */
import assert from 'node:assert/strict';
import type { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import type { M3Model } from '../src/models/m3.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { defaultLossScaling } from '../src/optim/loss-scale.js';
import { broadcastJson, bytesOf, type Communicator, floatsOf } from '../src/ranks/communicator.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { CounterRandom } from '../src/tensor/random.js';
import type { M3LossBatch } from '../src/train/losses/m3-loss.js';
import { broadcastModel } from '../src/train/ranks/broadcast-model.js';
import { requireEqualReplicas } from '../src/train/ranks/replicas.js';
import { type RunSettings, TrainingRun } from '../src/train/run/run.js';
import type { RunBatch, TakenStep } from '../src/train/run/step.js';
import type { StepSettings } from '../src/train/step/train-step.js';
import { dropoutModel, GROUP, settings } from './training-cases.js';

/** Of a batch. */
const QUERIES = 2;

/** What of the losses and of a step may differ. */
export interface Mode {
  readonly name: string;
  readonly step?: Partial<StepSettings>;
  readonly batch?: Partial<Omit<M3LossBatch, 'tokens' | 'selfDistill'>>;
  readonly selfDistill?: boolean;
  /** Queries of a batch and passages of each; by default 2 with GROUP. */
  readonly shape?: (rank: number) => { queries: number; group: number };
  /** The first word that texts are of, and how many there are; by default all but the special ones. */
  readonly words?: readonly [first: number, count: number];
}

/** Every loss mode: those of test/gradient-cache.test.ts. */
export const modes: readonly Mode[] = [
  { name: 'm3_kd_loss, self-distillation' },
  { name: 'm3_kd_loss', selfDistill: false },
  { name: 'kl_div, self-distillation', step: { kind: 'kl_div' } },
  { name: 'no teacher, self-distillation', batch: { teacherScores: null } },
  { name: 'no teacher', batch: { teacherScores: null }, selfDistill: false },
  { name: 'no in-batch negatives', batch: { noInBatchNeg: true } },
  { name: 'dense only', step: { unified: false }, selfDistill: false },
  { name: 'dense only, kl_div', step: { unified: false, kind: 'kl_div' }, selfDistill: false },
  {
    name: 'floored ColBERT',
    batch: { floor: Array.from({ length: QUERIES * GROUP }, (_, i) => i % 2 === 0) },
  },
];

/** Batch number `index` of shard `rank`: 2 queries with GROUP passages each, other texts each time. */
export function shardBatch(model: M3Model, rank: number, index: number, mode: Mode): RunBatch {
  const random = new CounterRandom(23, [rank, index]);
  const [firstWord, words] = mode.words ?? [4, 296];
  const text = (most: number) => [
    0,
    ...Array.from({ length: 1 + random.int(most - 2) }, () => firstWord + random.int(words)),
    2,
  ];
  const { queries, group } = mode.shape?.(rank) ?? { queries: QUERIES, group: GROUP };
  const passages = queries * group;
  const texts = [
    ...Array.from({ length: queries }, () => text(7)),
    ...Array.from({ length: passages }, () => text(14)),
  ];
  return {
    tokens: new TokenBatch(model.gpu, texts, model.config),
    queries,
    group,
    specialIds: [0, 1, 2, 3],
    teacherScores: Float32Array.from({ length: passages }, () => random.uniform() * 4),
    noInBatchNeg: false,
    ...mode.batch,
  };
}

/** All equally shaped shards' batches number `index` as one. */
export function joinedBatch(model: M3Model, ranks: number, index: number, mode: Mode): RunBatch {
  const parts = Array.from({ length: ranks }, (_, rank) => shardBatch(model, rank, index, mode));
  const queries = QUERIES;
  const textsOf = ({ tokens }: RunBatch) => {
    const { bounds, count } = tokens.packed;
    return Array.from({ length: count }, (_, i) => [...tokens.ids.subarray(bounds[i]!, bounds[i + 1]!)]);
  };
  const texts = parts.map(textsOf);
  for (const { tokens } of parts) tokens.dispose();
  const all = (of: (part: RunBatch) => ArrayLike<number> | null) => {
    const each = parts.map(of);
    return each.some((part) => part === null)
      ? null
      : Float32Array.from(each.flatMap((part) => [...Array.from(part!)]));
  };
  return {
    ...parts[0]!,
    tokens: new TokenBatch(
      model.gpu,
      [...texts.flatMap((each) => each.slice(0, queries)), ...texts.flatMap((each) => each.slice(queries))],
      model.config,
    ),
    queries: queries * ranks,
    teacherScores: all(({ teacherScores = null }) => teacherScores),
  };
}

export interface RankedRun {
  readonly mode: Mode;
  readonly ranks?: number;
  readonly steps?: number;
  readonly window?: number;
  readonly precision?: FloatDType;
  readonly seed?: number | null;
  readonly settings?: Partial<RunSettings>;
}

export interface Trained {
  readonly steps: TakenStep[];
  readonly weights: Map<string, Float32Array>;
}

export function settingsOf({
  mode,
  window = 1,
  precision = 'f32',
  seed = null,
  settings: more,
}: RankedRun): RunSettings {
  return {
    // Of a gradient that is rounding AdamW would make whole steps.
    optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-4, weightDecay: 0.01, maxGradNorm: 1 },
    step: { ...settings, ...mode.step },
    window,
    learningRate: (updates) => 2e-4 / (1 + updates / 20),
    lossScaling: precision === 'f16' ? defaultLossScaling : null,
    seed,
    selfDistillAfter: mode.selfDistill === false ? null : -1,
    ...more,
  };
}

async function trained(
  model: M3Model,
  run: RunSettings,
  steps: number,
  batch: (index: number) => RunBatch,
): Promise<Trained> {
  const taken: TakenStep[] = [];
  if (run.communicator) await broadcastModel(model, run.communicator);
  const training = new TrainingRun(model, run);
  const batches = (async function* () {
    for (let index = 0; ; index++) yield batch(index);
  })();
  for await (const step of training.steps(batches, steps)) taken.push(step);
  const weights = await weightsOf(training);
  training.dispose();
  model.dispose();
  return { steps: taken, weights };
}

/** Those of a rank, or, of ranks that have parts of them, those of all, which must have the rest alike. */
async function weightsOf({ model, optimizer, settings }: TrainingRun): Promise<Trained['weights']> {
  if (!model.store.masters) return model.readWeights();
  const communicator = settings.communicator!;
  await requireEqualReplicas({ model }, communicator);
  const read = await optimizer.withTensors(() => model.readWeights());
  const weights: Trained['weights'] = new Map();
  for (const name of await broadcastJson(communicator, [...(read?.keys() ?? [])])) {
    const own = read ? bytesOf(read.get(name)!) : new Uint8Array();
    weights.set(name, floatsOf(await communicator.broadcast(own, 0)));
  }
  return weights;
}

/** Rank `rank` of a run; `gpu` is its own or that of all. */
export function trainRank(gpu: Gpu, communicator: Communicator, run: RankedRun): Promise<Trained> {
  const { mode, steps = 20, precision = 'f32' } = run;
  // Replicas need not be alike before they begin.
  const model = dropoutModel(gpu, precision, 2, 5 + communicator.rank);
  return trained(model, { ...settingsOf(run), communicator }, steps, (index) =>
    shardBatch(model, communicator.rank, index, mode),
  );
}

/** All ranks, as concurrent tasks; rank r on device r modulo their number. */
export function trainRanks(gpus: readonly Gpu[], run: RankedRun): Promise<Trained[]> {
  const ranks = new EmulatedRanks(run.ranks ?? 2);
  return Promise.all(
    Array.from({ length: ranks.size }, (_, rank) =>
      trainRank(gpus[rank % gpus.length]!, ranks.rank(rank), run),
    ),
  );
}

/** One process that takes the batches of all ranks in each step, one after the other. */
export function trainShards(gpu: Gpu, run: RankedRun): Promise<Trained> {
  const { mode, ranks = 2, steps = 20, window = 1, precision = 'f32' } = run;
  const model = dropoutModel(gpu, precision);
  return trained(model, settingsOf({ ...run, window: window * ranks }), steps, (index) => {
    const [step, within] = [Math.floor(index / (window * ranks)), index % (window * ranks)];
    return shardBatch(model, Math.floor(within / window), step * window + (within % window), mode);
  });
}

/** One process whose batches are those of all ranks joined. */
export function trainJoined(gpu: Gpu, run: RankedRun): Promise<Trained> {
  const { mode, ranks = 2, steps = 20, precision = 'f32' } = run;
  const model = dropoutModel(gpu, precision);
  return trained(model, settingsOf(run), steps, (index) => joinedBatch(model, ranks, index, mode));
}

/**
 * How far weights are from others, relative to the length of each parameter; the largest, with its name. The true
 * gradient of a key bias is 0 and what is there is rounding, from which AdamW makes steps: it is held against the
 * weight beside it.
 */
export function distance(
  got: ReadonlyMap<string, Float32Array>,
  want: ReadonlyMap<string, Float32Array>,
): { name: string; relative: number } {
  let worst = { name: '', relative: 0 };
  for (const [name, values] of want) {
    const other = got.get(name)!;
    const size = lengthOf(name.endsWith('key.bias') ? want.get(name.replace(/bias$/, 'weight'))! : values);
    const difference = lengthOf(values.map((value, i) => other[i]! - value));
    const relative = difference === 0 ? 0 : difference / size;
    if (!(relative <= worst.relative)) worst = { name, relative };
  }
  return worst;
}

/**
 * Requires replicas that are equal to the bit, and losses, norms and weights within `bound` of what one process has; of
 * `start`, which is disposed of, the updates of the weights instead of the weights.
 */
export async function requireAlike(
  ranks: readonly Trained[],
  one: Trained,
  bound: number,
  start?: M3Model,
): Promise<void> {
  const [first, ...others] = ranks;
  for (const { weights } of others) assert.deepEqual(weights, first!.weights);
  const initial = await start?.readWeights();
  start?.dispose();
  const moved = (weights: Trained['weights']) =>
    initial
      ? new Map(
          [...weights].map(([name, values]) => [
            name,
            values.map((value, i) => value - initial.get(name)![i]!),
          ]),
        )
      : weights;
  const { name, relative } = distance(moved(first!.weights), moved(one.weights));
  assert.ok(relative <= bound, `${name}: ${relative}`);
  for (const { steps } of ranks)
    for (const [n, { loss, norm }] of steps.entries()) {
      const want = one.steps[n]!;
      assert.ok(Math.abs(loss - want.loss) <= bound * want.loss, `step ${n}: loss ${loss}, ${want.loss}`);
      if (Number.isFinite(want.norm))
        assert.ok(Math.abs(norm - want.norm) <= bound * want.norm, `step ${n}: norm ${norm}, ${want.norm}`);
      else assert.ok(!Number.isFinite(norm));
    }
}

function lengthOf(values: Float32Array): number {
  let squares = 0;
  for (const value of values) squares += value * value;
  return Math.sqrt(squares);
}
