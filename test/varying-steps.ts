/** Training steps of varying lengths: what hundreds of them hold, and in test/long a thousand. */
import assert from 'node:assert/strict';
import { presetConfig } from '../bench/presets.js';
import type { Capabilities } from '../src/gpu/capabilities.js';
import { Gpu, type PlannedDevice } from '../src/gpu/gpu.js';
import type { MemoryReport } from '../src/gpu/memory.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { M3Model } from '../src/models/m3.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { CounterRandom } from '../src/tensor/random.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import type { M3LossBatch } from '../src/train/losses/m3-loss.js';
import { StoreAdamW, type StoreAdamWOptions } from '../src/train/optimizer.js';
import { forwardBackward, type StepSettings } from '../src/train/step/train-step.js';
import { golden } from './repository.js';
import { settings } from './training-cases.js';

const options: StoreAdamWOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 };

export const liveBytes = ({ live }: MemoryReport) => Object.values(live).reduce((a, b) => a + b, 0);

/** `long`: for `npm run test:long` alone. */
export const varyingSteps: readonly { name: string; step: StepSettings; long: boolean }[] = [
  { name: 'at once', step: settings, long: false },
  { name: 'recomputed in chunks of 5', step: { ...settings, recompute: true, subBatchSize: 5 }, long: true },
];

/** Of the golden model. */
export const goldenSteps: readonly { name: string; precision: FloatDType; step: StepSettings }[] = [
  { name: 'f32', precision: 'f32', step: settings },
  { name: 'f16, recomputed', precision: 'f16', step: { ...settings, recompute: true } },
];

const LONGEST = { queries: 4, group: 5, text: 120 };

/** Up to four queries with up to five passages each, of 3 to 120 tokens; `longest`: as much as that can be. */
function varyingBatch(model: M3Model, random: CounterRandom, longest: boolean): M3LossBatch {
  const upTo = (most: number) => (longest ? most : 1 + random.int(most));
  const text = () => [0, ...Array.from({ length: upTo(LONGEST.text - 2) }, () => 4 + random.int(296)), 2];
  const [queries, group] = [upTo(LONGEST.queries), upTo(LONGEST.group)];
  return {
    tokens: new TokenBatch(model.gpu, Array.from({ length: queries * (1 + group) }, text), model.config),
    queries,
    group,
    specialIds: [0, 1, 2, 3],
    teacherScores: Float32Array.from({ length: queries * group }, () => random.uniform()),
    noInBatchNeg: false,
    selfDistill: true,
  };
}

/** What is held after certain steps, of which the first two may be the longest: the first leaves moments behind. */
export async function held(
  model: M3Model,
  steps: readonly number[],
  step: StepSettings,
  longestFirst = true,
): Promise<MemoryReport[]> {
  const { gpu: on } = model;
  const optimizer = new StoreAdamW(model.store, options);
  const lengths = new CounterRandom(8, 0);
  const random = new RandomStreams(1);
  const reports: MemoryReport[] = [];
  for (let n = 1; n <= steps[steps.length - 1]!; n++) {
    const batch = varyingBatch(model, lengths, longestFirst && n <= 2);
    await forwardBackward(model, batch, step, { random });
    batch.tokens.dispose();
    await optimizer.step(1e-5);
    if (steps.includes(n)) reports.push(on.memory());
  }
  optimizer.dispose();
  model.dispose();
  assert.equal(on.memory().liveBuffers, 0);
  return reports;
}

/** That a planned minilm holds after the last of the steps what it held after the first. */
export async function checkVaryingSteps(
  capabilities: Capabilities,
  step: StepSettings,
  [first, last]: readonly [first: number, last: number],
): Promise<void> {
  const planned = Gpu.plan({ capabilities });
  const model = M3Model.empty(planned, presetConfig('minilm'));
  const [early, late] = (await held(model, [first, last], step)) as [MemoryReport, MemoryReport];
  assert.equal(liveBytes(late), liveBytes(early));
  assert.equal(late.liveBuffers, early.liveBuffers);
  assert.equal(late.peak, early.peak);
  const [before, after] = [liveBytes(early) + early.pooled, liveBytes(late) + late.pooled];
  assert.ok(after <= 1.05 * before, `${after} bytes held after ${last} steps, ${before} after ${first}`);
  assert.ok(after <= 1.25 * late.peak + (64 << 20), `${after} bytes held, the peak is ${late.peak}`);
}

/** The same of the golden model, where none of the steps is known to be the longest. */
export async function checkGoldenSteps(
  like: PlannedDevice,
  { precision, step }: (typeof goldenSteps)[number],
  steps: readonly number[],
): Promise<void> {
  const model = M3Model.load(Gpu.plan(like), golden('model'), { precision });
  const reports = await held(model, steps, step, false);
  const [first] = reports as [MemoryReport];
  for (const [i, report] of reports.entries()) {
    assert.equal(liveBytes(report), liveBytes(first));
    assert.equal(report.liveBuffers, first.liveBuffers);
    // A model this small has the least headroom there is, which is several times its peak.
    const bytes = liveBytes(report) + report.pooled;
    const most = report.peak + (64 << 20);
    assert.ok(bytes <= most, `${bytes} bytes held after ${steps[i]} steps, ${most} at most`);
  }
}
