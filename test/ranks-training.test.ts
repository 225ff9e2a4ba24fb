/**
 * Ranks that one process plays, beside one process that takes the batches of all. Every mode for 20 steps, ranks in
 * threads in f32 and what two divide in f16 are in test/long.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { MachineError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { M3Model } from '../src/models/m3.js';
import type { ModelFolderContents } from '../src/models/model-folder.js';
import type { Communicator } from '../src/ranks/communicator.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { PlannedRanks } from '../src/ranks/planned.js';
import { RankThreads } from '../src/ranks/rank-threads.js';
import { sumOnWire } from '../src/ranks/sums.js';
import { Tensor } from '../src/tensor/tensor.js';
import { planMemory } from '../src/train/memory/memory-plan.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { broadcastModel } from '../src/train/ranks/broadcast-model.js';
import { GradientReducer } from '../src/train/ranks/reducer.js';
import { dropoutStreams, TrainingRun } from '../src/train/run/run.js';
import { forwardBackward } from '../src/train/step/train-step.js';
import {
  modes,
  type RankedRun,
  requireAlike,
  settingsOf,
  shardBatch,
  type Trained,
  trainJoined,
  trainRanks,
  trainShards,
} from './ranked-runs.js';
import { dropoutModel, settings } from './training-cases.js';

const gpus: Gpu[] = [];
/** Ranks may share a device. */
let one: Gpu[];
before(async () => {
  gpus.push(await Gpu.open(), await Gpu.open());
  one = gpus.slice(0, 1);
});
after(async () => {
  for (const gpu of gpus) {
    assert.equal(gpu.memory().liveBuffers, 0);
    await gpu.close();
  }
});

const [first] = modes;
const DENSE = { name: 'dense only', step: { unified: false }, selfDistill: false } as const;

test(`two ranks on two devices train as one process with both shards: ${first!.name}`, async () => {
  const run: RankedRun = { mode: first!, steps: 2 };
  await requireAlike(await trainRanks(gpus, run), await trainShards(gpus[0]!, run), 1e-5);
});

test('ranks in threads give the bits of ranks that one process plays, f16', async () => {
  const settings = { wire: 'bf16', shardOptimizer: true } as const;
  const run: RankedRun = { mode: first!, steps: 2, precision: 'f16', settings };
  const threads = new RankThreads<Trained>({
    ...{
      size: 2,
      module: new URL('./training-rank.js', import.meta.url),
      data: run,
      report: silentReporter,
    },
  });
  const [played] = await trainRanks(one, run);
  const numbers = ({ steps }: Trained) => steps.map(({ loss, norm }) => [loss, norm]);
  for (const threaded of await threads.results()) {
    assert.deepEqual(numbers(threaded), numbers(played!));
    assert.deepEqual(threaded.weights, played!.weights);
  }
});

test('recomputing, in chunks, two batches a step', async () => {
  const run: RankedRun = {
    mode: { ...first!, step: { recompute: true, subBatchSize: 3 } },
    window: 2,
    steps: 2,
  };
  await requireAlike(await trainRanks(one, run), await trainShards(gpus[0]!, run), 1e-5);
});

test('three ranks, one of which has no gradient', async () => {
  // Of one query with one passage the loss is constant.
  const shape = (rank: number) => (rank === 1 ? { queries: 1, group: 1 } : { queries: 2, group: 2 });
  const run: RankedRun = { mode: { ...DENSE, batch: { teacherScores: null }, shape }, ranks: 3, steps: 2 };
  await requireAlike(await trainRanks(one, run), await trainShards(gpus[0]!, run), 1e-5);
});

test('cross-device negatives: as one rank with both batches in one', async () => {
  for (const kind of ['m3_kd_loss', 'kl_div'] as const) {
    const step = { unified: false, kind, negativesCrossDevice: true };
    const run: RankedRun = { mode: { ...DENSE, step }, steps: 2 };
    await requireAlike(await trainRanks(one, run), await trainJoined(gpus[0]!, run), 1e-5);
  }
});

test('f16: the same steps are skipped, at the same scales', async () => {
  const lossScaling = {
    kind: 'dynamic',
    initialScale: 2 ** 24,
    window: 3,
    hysteresis: 1,
    minimumScale: 1,
  } as const;
  const run: RankedRun = { mode: first!, steps: 6, precision: 'f16', settings: { lossScaling } };
  const ranks = await trainRanks(one, run);
  const alone = await trainShards(gpus[0]!, run);
  const course = ({ steps }: typeof alone) => steps.map(({ skipped, lossScale }) => [skipped, lossScale]);
  assert.deepEqual(course(ranks[0]!), course(alone));
  assert.ok(alone.steps.some(({ skipped }) => skipped) && alone.steps.some(({ skipped }) => !skipped));
  await requireAlike(ranks, alone, 2e-3, dropoutModel(gpus[0]!, 'f16'));
});

for (const wire of ['f32', 'bf16'] as const)
  test(`gradients of ranks are the sum of what each has, to the bit, ${wire} on the wire`, async () => {
    const ranks = new EmulatedRanks(3);
    const own: Map<string, Float32Array>[] = [];
    const play = async (rank: number) => {
      const gpu = gpus[0]!;
      const model = dropoutModel(gpu, 'f32');
      const batch = { ...shardBatch(model, rank, 0, first!), selfDistill: true };
      // Buckets of one stage each.
      const reducer = new GradientReducer(model.store, ranks.rank(rank), { wire, bucketBytes: 1 });
      await forwardBackward(model, batch, settings);
      own[rank] = await model.store.readGradients();
      model.store.zeroGradients();
      const started: number[] = [];
      const hook = reducer.arm();
      const onBackward = (stage: number) => {
        started.push(stage);
        hook(stage);
      };
      await forwardBackward(model, batch, settings, { onBackward });
      assert.deepEqual(started, [3, 2, 1]);
      const { sent, hidden, exchanging } = await reducer.finish();
      assert.ok(sent > 0 && hidden >= 0 && hidden <= exchanging);
      const sums = await model.store.readGradients();
      batch.tokens.dispose();
      model.dispose();
      return sums;
    };
    const summed = await Promise.all([0, 1, 2].map(play));
    for (const sums of summed)
      for (const [name, values] of sums) {
        const all = own.map((each) => each.get(name)!);
        // -0 and 0 are no difference to a sum.
        assert.deepEqual(values.map(plusZero), sumOnWire(all, wire).map(plusZero), name);
      }
  });

test('a table whose gradient is dense on one rank, of some rows on another, none on a third', async () => {
  const ranks = new EmulatedRanks(3);
  const cols = 64;
  const play = async (rank: number) => {
    const model = dropoutModel(gpus[0]!, 'f32');
    const [table] = model.store.tables;
    const { rows: tableRows } = table!.tensor;
    const reducer = new GradientReducer(model.store, ranks.rank(rank));
    const tensor = (rows: number, value: number) =>
      Tensor.from(gpus[0]!, new Float32Array(rows * cols).fill(value), [rows, cols]).keep();
    if (rank === 0) {
      const dense = tensor(tableRows, 1);
      table!.gradient!.add(dense);
      dense.dispose();
    }
    if (rank === 1) table!.gradient!.addRows(Uint32Array.of(2, 7), tensor(2, 10));
    await reducer.finish();
    const sums = (await model.store.readGradients()).get(table!.name)!;
    model.dispose();
    return sums;
  };
  for (const sums of await Promise.all([0, 1, 2].map(play)))
    assert.deepEqual(
      sums,
      sums.map((_, i) => ([2, 7].includes(Math.floor(i / cols)) ? 11 : 1)),
    );
});

test('what 3 ranks divide gives the same bits, f16', async () => {
  const run: RankedRun = { mode: first!, ranks: 3, steps: 2, precision: 'f16', settings: { wire: 'bf16' } };
  const whole = await trainRanks(one, run);
  const shared = await trainRanks(one, { ...run, settings: { wire: 'bf16', shardOptimizer: true } });
  const numbers = ({ steps }: Trained) => steps.map(({ loss, norm }) => [loss, norm]);
  for (const { weights, steps } of shared) {
    assert.deepEqual(weights, whole[0]!.weights);
    assert.deepEqual(numbers({ weights, steps }), numbers(whole[0]!));
  }
});

test('weights that are not finite on the one rank that has them are so for all; none is divided that is not alike yet', async () => {
  const ranks = new EmulatedRanks(2);
  const found = await Promise.all(
    [0, 1].map(async (rank) => {
      const communicator = ranks.rank(rank);
      const model = dropoutModel(gpus[0]!, 'f16');
      const run = new TrainingRun(model, {
        ...settingsOf({ mode: first!, precision: 'f16', settings: { shardOptimizer: true } }),
        communicator,
      });
      const before = await run.weightsFinite();
      if (rank === 1) model.store.masters!.write([Number.NaN], 5);
      const after = await run.weightsFinite();
      await assert.rejects(broadcastModel(model, communicator), /ranks have parts of these weights/);
      // No folder with them could be loaded again, and no other rank reads them.
      const saved = run.optimizer.withTensors(() => Promise.all([...model.contents().tensors.map(piecesOf)]));
      if (rank === 0) await assert.rejects(saved, /is not finite \(NaN\): nothing is saved/);
      else await saved;
      run.dispose();
      model.dispose();
      return [before, after];
    }),
  );
  assert.deepEqual(found, [
    [true, false],
    [true, false],
  ]);
});

async function piecesOf({ pieces }: ModelFolderContents['tensors'][number]): Promise<void> {
  for await (const _ of pieces());
}

test("ranks draw dropout apart; rank 0's is that of a run on its own", async () => {
  const run: RankedRun = { mode: first!, steps: 1, seed: 7 };
  const ranks = await trainRanks(one, run);
  const gpu = gpus[0]!;
  const model = dropoutModel(gpu, 'f32');
  const { optimizer: options, learningRate, step } = settingsOf(run);
  const optimizer = new StoreAdamW(model.store, options);
  for (const rank of [0, 1]) {
    const batch = { ...shardBatch(model, rank, 0, first!), selfDistill: true };
    await forwardBackward(model, batch, step, { random: dropoutStreams(7, rank) });
    batch.tokens.dispose();
  }
  await optimizer.step(learningRate(0), 1 / 2);
  const weights = await model.readWeights();
  await requireAlike(ranks, { steps: ranks[0]!.steps, weights }, 1e-5);
  optimizer.dispose();
  model.dispose();
  assert.deepEqual(dropoutStreams(7, 0).next(), { seed: 7, stream: 0 });
  assert.notEqual(dropoutStreams(7, 1).seed, dropoutStreams(7, 2).seed);
});

const plusZero = (value: number) => value + 0;

/** What becomes of ranks whose models `prepare` has changed, each a run of `steps` steps; they stop when `stops` says. */
function outcomes(
  prepare: (run: TrainingRun, rank: number) => void,
  steps: number,
  stops: (rank: number, completed: number) => boolean = () => false,
): Promise<PromiseSettledResult<number>[]> {
  const ranks = new EmulatedRanks(2);
  const play = async (communicator: Communicator) => {
    const { rank } = communicator;
    const model = dropoutModel(gpus[0]!, 'f32');
    const run = new TrainingRun(model, { ...settingsOf({ mode: first! }), communicator });
    prepare(run, rank);
    const batches = (async function* () {
      for (let index = 0; ; index++) {
        const batch = shardBatch(model, rank, index, first!);
        yield { ...batch, rows: [{ file: `of-rank-${rank}.jsonl`, line: index + 1 }] };
      }
    })();
    try {
      const taken = run.steps(batches, steps, undefined, () => stops(rank, run.completed));
      for await (const _ of taken);
      return run.completed;
    } finally {
      run.dispose();
      model.dispose();
    }
  };
  return Promise.allSettled([0, 1].map((rank) => play(ranks.rank(rank))));
}

test('a loss that is not finite ends all ranks alike, naming the rank and its rows', async () => {
  const ended = await outcomes((run, rank) => {
    if (rank === 1) run.model.store.get('sparse_linear.bias').write([Number.NaN]);
  }, 2);
  const [message, other] = ended.map((each) => {
    assert.ok(each.status === 'rejected' && each.reason instanceof MachineError, JSON.stringify(each));
    return each.reason.message;
  });
  assert.equal(other, message);
  assert.match(message!, /^step 1, loss NaN: .*the loss is that of rank 1: .*of-rank-1\.jsonl/);
});

test('all ranks stop after the same step when one of them is to', async () => {
  const early = await outcomes(
    () => {},
    5,
    (rank, completed) => rank === 1 && completed >= 1,
  );
  assert.deepEqual(
    early,
    Array.from({ length: 2 }, () => ({ status: 'fulfilled', value: 2 })),
  );
  const before = await outcomes(
    () => {},
    5,
    (rank) => rank === 0,
  );
  assert.deepEqual(
    before,
    Array.from({ length: 2 }, () => ({ status: 'fulfilled', value: 0 })),
  );
});

for (const [name, precision, more] of [
  // Whole and in f32: test/ranks-cost.test.ts.
  ['divided, in chunks', 'f32', { shardOptimizer: true, step: { ...settings, subBatchSize: 3 } }],
  ['divided, f16', 'f16', { shardOptimizer: true }],
] as const)
  test(`a rank takes the memory that was planned: ${name}`, async () => {
    const [own, other] = [gpus[0]!, gpus[1]!];
    const run = { ...settingsOf({ mode: first! }), ...more };
    // Ranks without a word in common have the most rows together.
    const batchOf = (rank: number, model: M3Model) =>
      shardBatch(model, 0, 0, { ...first!, words: [4 + 148 * rank, 148] });
    const ranks = new EmulatedRanks(2);
    const planned = await planMemory(own, {
      model: (gpu) => dropoutModel(gpu, precision),
      run: { ...run, communicator: ranks.rank(0) },
      batches: (model) => [batchOf(0, model)],
    });
    const play = async (gpu: Gpu, communicator: Communicator) => {
      const model = dropoutModel(gpu, precision);
      const training = new TrainingRun(model, { ...run, communicator });
      const batches = (async function* () {
        for (;;) yield batchOf(communicator.rank, model);
      })();
      for await (const { skipped } of training.steps(batches, 3)) assert.ok(!skipped);
      const { peak, peakByPurpose } = gpu.memory();
      training.dispose();
      model.dispose();
      return { peak, peakByPurpose };
    };
    own.pool.trim();
    own.pool.resetPeak();
    const [taken] = await Promise.all([play(own, ranks.rank(0)), play(other, ranks.rank(1))]);
    assert.deepEqual(taken, { peak: planned.peak, peakByPurpose: planned.peakByPurpose });
  });

test('a device that is lost while gradients are summed ends the step with that', async () => {
  // The last test that takes it.
  const gpu = gpus.pop()!;
  const model = dropoutModel(gpu, 'f32');
  // The other rank answers: what the host had read before the device was lost is summed as ever.
  const reducer = new GradientReducer(model.store, new PlannedRanks(2), { bucketBytes: 1 });
  const batch = { ...shardBatch(model, 0, 0, first!), selfDistill: true };
  await forwardBackward(model, batch, settings, { onBackward: reducer.arm() });
  gpu.device.destroy();
  await assert.rejects(reducer.finish(), /the GPU device was lost|reading back from the GPU failed/);
  await gpu.close();
});
