/** Runs of several ranks that one process plays, beside one process that takes all their batches, for tests of both. */
import type { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import type { M3Model } from '../src/models/m3.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { CounterRandom } from '../src/tensor/random.js';
import { defaultLossScaling } from '../src/train/loss-scale.js';
import type { M3LossBatch } from '../src/train/losses/m3-loss.js';
import type { Communicator } from '../src/train/ranks/communicator.js';
import { EmulatedRanks } from '../src/train/ranks/emulated.js';
import { type RunBatch, type RunSettings, type TakenStep, TrainingRun } from '../src/train/run/run.js';
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
  const text = (most: number) => [
    0,
    ...Array.from({ length: 1 + random.int(most - 2) }, () => 4 + random.int(296)),
    2,
  ];
  const queries = QUERIES;
  const passages = queries * GROUP;
  const texts = [
    ...Array.from({ length: queries }, () => text(7)),
    ...Array.from({ length: passages }, () => text(14)),
  ];
  return {
    tokens: new TokenBatch(model.gpu, texts, model.config),
    queries,
    group: GROUP,
    specialIds: [0, 1, 2, 3],
    teacherScores: Float32Array.from({ length: passages }, () => random.uniform() * 4),
    noInBatchNeg: false,
    ...mode.batch,
  };
}

/** All shards' batches number `index` as one. */
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
    teacherScores: all(({ teacherScores }) => teacherScores),
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

function settingsOf({
  mode,
  window = 1,
  precision = 'f32',
  seed = null,
  settings: more,
}: RankedRun): RunSettings {
  return {
    optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-6, weightDecay: 0.01, maxGradNorm: 1 },
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
  const training = new TrainingRun(model, run);
  const batches = (async function* () {
    for (let index = 0; ; index++) yield batch(index);
  })();
  for await (const step of training.steps(batches, steps)) taken.push(step);
  const weights = await model.readWeights();
  training.dispose();
  model.dispose();
  return { steps: taken, weights };
}

/** Rank `rank` of a run; `gpu` is its own or that of all. */
export function trainRank(gpu: Gpu, communicator: Communicator, run: RankedRun): Promise<Trained> {
  const { mode, steps = 20, precision = 'f32' } = run;
  const model = dropoutModel(gpu, precision);
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
    const relative = lengthOf(values.map((value, i) => other[i]! - value)) / size;
    if (!(relative <= worst.relative)) worst = { name, relative };
  }
  return worst;
}

function lengthOf(values: Float32Array): number {
  let squares = 0;
  for (const value of values) squares += value * value;
  return Math.sqrt(squares);
}
