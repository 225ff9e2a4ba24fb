/** 20 steps of two ranks in every loss mode, beside one process that takes the batches of both. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { silentReporter } from '../../src/console/reporter.js';
import { Gpu } from '../../src/gpu/gpu.js';
import type { LossScaling } from '../../src/optim/loss-scale.js';
import { RankThreads } from '../../src/ranks/rank-threads.js';
import {
  modes,
  type RankedRun,
  requireAlike,
  type Trained,
  trainJoined,
  trainRanks,
  trainShards,
} from '../ranked-runs.js';
import { dropoutModel } from '../training-cases.js';

const ACROSS = { unified: false, negativesCrossDevice: true };
const gpus: Gpu[] = [];
before(async () => {
  gpus.push(await Gpu.open(), await Gpu.open());
});
after(async () => {
  for (const gpu of gpus) {
    assert.equal(gpu.memory().liveBuffers, 0);
    await gpu.close();
  }
});

for (const mode of modes)
  for (const [name, step, window] of [
    ['', {}, 1],
    [', two batches a step, recomputing, in chunks', { recompute: true, subBatchSize: 3 }, 2],
  ] as const)
    test(`${mode.name}${name}`, async () => {
      const run: RankedRun = { mode: { ...mode, step: { ...mode.step, ...step } }, window };
      await requireAlike(await trainRanks(gpus, run), await trainShards(gpus[0]!, run), 1e-5);
    });

for (const mode of modes)
  test(`${mode.name}, f16`, async () => {
    const lossScaling: LossScaling = {
      kind: 'dynamic',
      ...{ initialScale: 2 ** 24, window: 5, hysteresis: 1, minimumScale: 1 },
    };
    const run: RankedRun = { mode, precision: 'f16', settings: { lossScaling } };
    const ranks = await trainRanks(gpus, run);
    const alone = await trainShards(gpus[0]!, run);
    const course = ({ steps }: typeof alone) => steps.map(({ skipped, lossScale }) => [skipped, lossScale]);
    assert.deepEqual(course(ranks[0]!), course(alone));
    // Where two tokens are as near as halves can tell, ColBERT's maximum may take one here and the other there, and from
    // then on the runs differ by what that token learns.
    const jumps = mode.step?.unified !== false;
    await requireAlike(ranks, alone, jumps ? 5e-2 : 2e-3, dropoutModel(gpus[0]!, 'f16'));
  });

for (const kind of ['m3_kd_loss', 'kl_div'] as const)
  for (const ranks of [2, 4])
    test(`cross-device negatives of ${ranks} ranks, ${kind}: as one rank with all batches in one`, async () => {
      const step = { ...ACROSS, kind };
      const run: RankedRun = { mode: { name: kind, step, selfDistill: false }, ranks };
      await requireAlike(await trainRanks(gpus, run), await trainJoined(gpus[0]!, run), 1e-5);
    });

for (const mode of [...modes, { name: 'cross-device negatives', step: ACROSS, selfDistill: false }])
  test(`${mode.name}: ranks in threads give the bits of ranks that one process plays`, async () => {
    const run: RankedRun = { mode };
    const module = new URL('../training-rank.js', import.meta.url);
    const threads = new RankThreads<Trained>({ size: 2, module, data: run, report: silentReporter });
    const [played] = await trainRanks(gpus, run);
    for (const { weights } of await threads.results()) assert.deepEqual(weights, played!.weights);
  });

for (const [ranks, precision] of [
  [3, 'f32'],
  [2, 'f16'],
] as const)
  test(`what ${ranks} ranks divide gives the same bits, ${precision}`, async () => {
    const run: RankedRun = { mode: modes[0]!, ranks, precision };
    const whole = await trainRanks(gpus, run);
    const shared = await trainRanks(gpus, { ...run, settings: { shardOptimizer: true } });
    for (const { weights } of shared) assert.deepEqual(weights, whole[0]!.weights);
  });
