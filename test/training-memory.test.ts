/** The memory of training steps: what was planned, and the same after many steps as after some. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport } from '../src/gpu/memory.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { planMemory, requireMemory } from '../src/train/memory/memory-plan.js';
import { joinedMemory, sharedWords } from '../src/train/memory/ranks-memory.js';
import { forwardBackward } from '../src/train/step/train-step.js';
import { finetune } from '../src/train/trainer.js';
import { checkShape, memoryShapes, plannedAndTaken } from './memory-shapes.js';
import { checkPlan, optimizer, type PlannedStep, planName } from './planned-steps.js';
import { golden } from './repository.js';
import { drawnBatch, dropoutModel, settings } from './training-cases.js';
import {
  checkGoldenSteps,
  checkVaryingSteps,
  goldenSteps,
  held,
  liveBytes,
  varyingSteps,
} from './varying-steps.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-memory-'));
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

// Each two of the three meet in one of the four; all eight are in test/long.
for (const plan of [
  ['f32', false, null],
  ['f32', true, 4],
  ['f16', false, 4],
  ['f16', true, null],
] as PlannedStep[])
  test(`a plan is what the steps take: ${planName(plan)}`, () => checkPlan(gpu, plan));

test('micro-batches that add up leave one piece of gradient a table', async () => {
  const model = dropoutModel(gpu, 'f32');
  for (const subBatchSize of [null, 4])
    for (const queries of [2, 3, 4]) {
      const batch = drawnBatch(model, queries);
      await forwardBackward(model, batch, { ...settings, subBatchSize });
      batch.tokens.dispose();
      assert.deepEqual(
        model.store.tables.map(({ gradient }) => gradient.count),
        [1],
      );
    }
  model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});

for (const line of [
  '--max_steps 10',
  '--max_steps 10 --fp16 --gradient_checkpointing',
  '--max_steps 10 --fp16 --gradient_checkpointing --sub_batch_size 2',
  '--max_steps 2 --gradient_accumulation_steps 2',
  '--max_steps 2 --gradient_accumulation_steps 5',
  '--max_steps 2 --gradient_accumulation_steps 5 --fp16 --gradient_checkpointing',
])
  test(`a run takes what it planned: ${line}`, async () => {
    const { planned, taken } = await plannedAndTaken(folder, ...line.split(' '));
    assert.ok(taken > 0.95 * planned && taken <= planned, `${taken} of ${planned} bytes`);
  });

// The others are in test/long.
for (const shape of memoryShapes.slice(0, 3))
  test(`a plan is an upper bound: ${shape[0]}`, () => checkShape(shape, folder));

test('evaluation on longer texts than those that train is planned too', async () => {
  const sts = ['--train_data', golden('example_data', 'sts', 'sts.jsonl')];
  const sixteen = [
    '--train_group_size',
    '16',
    '--passage_max_len',
    '256',
    '--gradient_checkpointing',
    '--fp16',
  ];
  const words = [...sts, ...sixteen, '--max_steps', '1'];
  const training = await plannedAndTaken(folder, ...words);
  const longer = path.join(folder, 'longer.jsonl');
  const rows = fs.readFileSync(golden('example_data', 'retrieval', 'nq.jsonl'), 'utf8').split('\n');
  fs.writeFileSync(longer, rows.slice(0, 2).join('\n'));
  const both = await plannedAndTaken(folder, ...words, '--eval_data', longer);
  assert.ok(both.planned > 1.05 * training.planned, `${both.planned} and ${training.planned} bytes planned`);
  // The longest rows of the file need not meet in one batch.
  assert.ok(
    both.taken > training.planned && both.taken <= both.planned,
    `${both.taken} of ${both.planned} bytes`,
  );
});

test('what does not fit is refused with the table', async () => {
  const report = await planMemory(gpu, {
    model: (on) => dropoutModel(on, 'f32'),
    run: {
      ...{ optimizer, step: settings, window: 1, seed: 1 },
      ...{ learningRate: () => 1e-4, lossScaling: null, selfDistillAfter: -1 },
    },
    batches: (model) => [drawnBatch(model, 2)],
  });
  requireMemory(report, report.peak, () => assert.fail('it fits'));
  const notes: string[] = [];
  assert.throws(
    () => requireMemory(report, report.peak - 1, (line) => notes.push(line)),
    /training would take .* of GPU memory, the budget is .*: no flag is left that would take less: take/,
  );
  assert.match(notes.join('\n'), /activations +\d.*\n.*workspace +\d.*\n +in all +\d/);
  const ranks = joinedMemory([1, 2].map(() => ({ peak: report.peak, machine: 'a' })));
  assert.throws(
    () => requireMemory(report, report.peak - 1, (line) => notes.push(line), ranks),
    /of GPU memory on each of 2 ranks, the budget of a rank is .*fewer ranks on a machine/,
  );
  assert.match(notes.at(-1)!, /^ranks 0 and 1 compute in the memory of one machine/);
});

/** A run of the golden model that only plans. */
function dryRun(...flags: string[]): Promise<{ notes: string[]; bytes: number | undefined; error: string }> {
  const { args } = parseFinetuneArguments([
    ...['--model_name_or_path', golden('model'), '--output_dir', path.join(folder, 'dry'), '--dry_run'],
    ...['--train_data', golden('example_data', 'retrieval', 'nq.jsonl'), '--unified_finetuning'],
    ...['--per_device_train_batch_size', '4', '--train_group_size', '4', '--query_max_len', '16'],
    ...['--passage_max_len', '128', ...flags],
  ]);
  const notes: string[] = [];
  let bytes: number | undefined;
  const report = {
    note: (line: string) => void notes.push(line),
    log: (entry: object) => {
      bytes = (entry as { gpu_memory_bytes?: number }).gpu_memory_bytes;
    },
    ...{ start() {}, step() {}, end() {} },
  };
  return finetune(args, report).then(
    () => ({ notes, bytes, error: '' }),
    (error: Error) => ({ notes, bytes, error: error.message }),
  );
}

test('of what does not fit each remedy is told with what the run takes with it', async () => {
  const { notes, error } = await dryRun('--max_gpu_memory', '16MB');
  const begin = notes.findIndex((line) => line.startsWith('What it would take'));
  const lines = notes
    .slice(begin)
    .map((line) => /^ {2}(--\S.*?) {2,}([\d.]+) MB {2}(fits|too much)$/.exec(line));
  const remedies = lines.flatMap((match) =>
    match ? [{ flags: match[1]!, size: match[2]!, fits: match[3] }] : [],
  );
  assert.deepEqual(
    remedies.map(({ flags }) => flags.replaceAll(/ \d+/g, ' N')),
    [
      '--gradient_checkpointing',
      '--sub_batch_size N',
      '--fp16',
      '--fp16 --gradient_checkpointing --sub_batch_size N',
      '--passage_max_len N',
      '--train_group_size N',
      '--per_device_train_batch_size N --gradient_accumulation_steps N',
    ],
  );
  assert.equal(notes.filter((line) => /^(?:What|And) .*:$/.test(line)).length, 2);
  const first = remedies.find(({ fits }) => fits === 'fits')!;
  assert.match(
    error,
    new RegExp(
      `the budget is 16\\.0 MB: use ${first.flags}, with which it takes ${first.size} MB and gives the same results$`,
    ),
  );
  // And the run takes that: those that cut the data are bounds. The kinds, for the others are planned alike.
  for (const { flags, size, fits } of [1, 4, 6].map((n) => remedies[n]!)) {
    const taken = await dryRun(...flags.split(' '));
    const [planned, of] = [Number(size) * 1e6, taken.bytes!];
    assert.ok(of <= planned + 5e4 && of > 0.9 * planned, `${flags}: ${of} of ${planned} bytes`);
    assert.equal(planned <= 16e6, fits === 'fits', flags);
  }
});

test('ranks on software adapters share the memory of their machine, those on cards nothing', () => {
  const rank = (peak: number, machine: string | null = null) => ({ peak, machine });
  for (const [ranks, most, shared] of [
    [[rank(5), rank(7)], 7, undefined],
    [[rank(5, 'a'), rank(7, 'b')], 7, undefined],
    [[rank(5, 'a'), rank(9), rank(7, 'a')], 9, { ranks: [0, 2], bytes: 12 }],
    [[rank(5, 'a'), rank(5, 'a'), rank(8, 'b'), rank(6, 'b'), rank(1, 'c')], 8, { ranks: [2, 3], bytes: 14 }],
  ] as const)
    assert.deepEqual(joinedMemory(ranks), { ranks: ranks.length, most, shared });
  const words = (count: number) =>
    sharedWords({ ranks: Array.from({ length: count }, (_, n) => n), bytes: 3e9 });
  assert.equal(words(3), 'ranks 0, 1 and 2 compute in the memory of one machine: 3.00 GB together');
  assert.equal(words(64), '64 ranks compute in the memory of one machine: 3.00 GB together');
});

// A thousand steps are in test/long.
for (const { name, step } of varyingSteps.filter(({ long }) => !long))
  test(`120 steps of varying lengths leave the pool where it was after sixty: ${name}`, () =>
    checkVaryingSteps(gpu.capabilities, step, [60, 120]));

for (const each of goldenSteps)
  test(`150 steps of the golden model, none of them known to be the longest: ${each.name}`, () =>
    checkGoldenSteps(gpu, each, [50, 100, 150]));

test('steps on the device leave nothing behind', async () => {
  const [early, late] = (await held(dropoutModel(gpu, 'f32'), [5, 20], { ...settings, recompute: true })) as [
    MemoryReport,
    MemoryReport,
  ];
  assert.equal(liveBytes(late), liveBytes(early));
  assert.equal(late.liveBuffers, early.liveBuffers);
});
