/** A run that does less than its flags say tells so, before the first step or at the end, and one that trained nothing fails. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { type LogEntry, silentReporter } from '../src/console/reporter.js';
import { InputError, MachineError } from '../src/errors.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { requireDiskSpace } from '../src/train/checkpoints/disk-space.js';
import { parseDeepSpeed } from '../src/train/deepspeed.js';
import { Evaluation } from '../src/train/run/evaluation.js';
import { forecast, runSize } from '../src/train/run/forecast.js';
import { adviceOn } from '../src/train/run/not-finite.js';
import { RunTally } from '../src/train/run/tally.js';
import { learningRateOf, warmupOf, zeroRates } from '../src/train/schedules.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-less-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const words = (line: string) => line.split(' ').filter((word) => word !== '');
const parse = (line: string) =>
  parseFinetuneArguments(words(`--model_name_or_path m --train_data a.jsonl --output_dir o ${line}`)).args;

/** What is said before the first step of a run on data of so many batches. */
function said(line: string, batchesPerEpoch = 5): string[] {
  const args = parse(line);
  const size = runSize(args, batchesPerEpoch);
  return forecast(args, size, learningRateOf(args, size.totalSteps));
}

const cases: [line: string, expected: RegExp[]][] = [
  ['--num_train_epochs 1', []],
  ['--max_steps 10', []],
  ['--max_steps 10 --warmup_steps 2', []],
  ['--num_train_epochs 1 --warmup_ratio 0.1', []],
  [
    '--max_steps 1 --warmup_steps 1',
    [
      /^--max_steps 1: the run has 1 of the 5 steps/,
      /rate is 0 in the only step .*warm-up of 1 begins at 0.*: nothing will be learnt$/,
    ],
  ],
  [
    '--max_steps 5 --warmup_ratio 1',
    [/^a warm-up of 5 steps in a run of 5: the learning rate ends at 0\.00004$/],
  ],
  ['--max_steps 5 --warmup_steps 1000000000', [/^a warm-up of 1000000000 steps in a run of 5/]],
  ['--max_steps 5 --learning_rate 0', [/^the learning rate is 0 in all 5 steps: nothing will be learnt$/]],
  ['--max_steps 5 --learning_rate 1e-60', [/^the learning rate is 0 in all 5 steps/]],
  ['--max_steps 1000000000 --learning_rate 0', [/^the learning rate is 0 in all 1000000000 steps/]],
  [
    '--max_steps 2',
    [/^--max_steps 2: the run has 2 of the 5 steps of an epoch: the other rows are not used$/],
  ],
  ['--num_train_epochs 0.2', [/^--num_train_epochs 0\.2: the run has 1 of the 5 steps/]],
  ['--num_train_epochs 1e-300', [/^--num_train_epochs 1e-300: the run has 1 of the 5 steps/]],
  [
    '--num_train_epochs 1 --gradient_accumulation_steps 2',
    [
      /^--gradient_accumulation_steps 2: the last 1 of the 5 batches of an epoch fill no step and are dropped$/,
    ],
  ],
  [
    '--num_train_epochs 1 --gradient_accumulation_steps 100000',
    [/^--gradient_accumulation_steps 100000: an epoch has 5 batches, so a step takes 5$/],
  ],
  [
    '--num_train_epochs 1 --save_steps 600',
    [/^--save_steps 600: the run has 5 steps: a checkpoint is written at its end only$/],
  ],
  ['--num_train_epochs 1 --save_steps 600 --save_strategy no', []],
  [
    '--num_train_epochs 1 --logging_steps 600',
    [/^--logging_steps 600: the run has 5 steps: it is logged at its end only$/],
  ],
  ['--num_train_epochs 1 --logging_steps 1e-300 --save_steps 0.00001', []],
  [
    '--num_train_epochs 1 --unified_finetuning True --use_self_distill True --self_distill_start_step 5',
    [/^--self_distill_start_step 5: the run has 5 forward passes: self-distillation never starts$/],
  ],
  ['--num_train_epochs 1 --unified_finetuning True --use_self_distill True --self_distill_start_step 3', []],
];

test('what can be counted before the first step is said then', () => {
  for (const [line, expected] of cases) {
    const lines = said(line);
    assert.equal(lines.length, expected.length, `${line}: ${lines.join(' | ')}`);
    for (const [i, pattern] of expected.entries()) assert.match(lines[i]!, pattern, line);
  }
  assert.throws(() => runSize(parse('--num_train_epochs 1000000'), 1e6), InputError);
});

test('a warm-up of the DeepSpeed file that is longer than the run is said too', () => {
  const args = parse('--max_steps 5');
  const json = { scheduler: { type: 'WarmupLR', params: { warmup_num_steps: 100_000 } } };
  const { settings } = parseDeepSpeed(json, 'ds.json', args);
  const rate = learningRateOf(args, 5, settings);
  const lines = forecast(args, runSize(args, 5), rate, warmupOf(args, 5, settings));
  assert.match(lines.join('\n'), /^a warm-up of 100000 steps in a run of 5: the learning rate ends at 2e-9$/);
});

test('rates of 0 at either end of a schedule', () => {
  assert.deepEqual(
    zeroRates(() => 1, 10),
    { first: 0, last: 0 },
  );
  assert.deepEqual(
    zeroRates(() => 0, 10),
    { first: 10, last: 0 },
  );
  assert.deepEqual(
    zeroRates((step) => (step < 2 || step > 6 ? 0 : 1), 10),
    { first: 2, last: 3 },
  );
  assert.deepEqual(
    zeroRates((step) => Math.max(0, 1e9 / 2 - step), 1e9),
    { first: 0, last: 5e8 },
  );
});

test('what was done is counted: applied steps, rates, evaluations', () => {
  const tally = new RunTally();
  tally.step(true, 1e-5, Number.POSITIVE_INFINITY);
  assert.ok(tally.nothingNew);
  assert.throws(() => tally.requireApplied(1024), MachineError);
  tally.step(false, 0, 1);
  assert.ok(!tally.moved && !tally.nothingNew);
  tally.requireApplied(1024);
  assert.match(
    tally.notices().join('\n'),
    /^1 of 2 steps overflowed.*\nthe learning rate was 0 in the one step that was/,
  );
  tally.saved(2);
  assert.ok(tally.nothingNew);
  tally.step(false, 1e-5, 0);
  assert.ok(tally.moved && !tally.nothingNew);
  assert.equal(tally.notices().length, 1);
  const flat = new RunTally();
  for (let step = 0; step < 3; step++) flat.step(false, 1e-5, 0);
  assert.deepEqual(flat.notices(), [
    'the gradient was 0 in all 3 steps that were applied: nothing was learnt',
  ]);

  const place = { file: 'a\u001b[2J.jsonl', line: 3 };
  const evaluation = new Evaluation();
  for (const loss of [1, Number.NaN, 2]) evaluation.add({ loss, parts: new Map() }, [place]);
  assert.equal(evaluation.loss, undefined);
  assert.deepEqual(evaluation.notices(7), [
    'evaluation at step 7: the loss of 1 of 3 batches is not finite, first of a\\u001b[2J.jsonl:3: no eval_loss',
  ]);
  tally.evaluated(evaluation);
  const good = new Evaluation();
  for (const loss of [1, 2]) good.add({ loss, parts: new Map() }, [place]);
  assert.deepEqual([good.loss, good.notices(8)], [1.5, []]);
  tally.evaluated(good);
  assert.match(tally.notices().at(-1)!, /^1 of 2 evaluations had a loss that is not finite$/);
});

test('the learning rate is blamed only where it can be at fault', () => {
  const facts = {
    moved: false,
    weightsFinite: true,
    learningRate: 1e-5,
    temperature: 0.02,
    half: false,
    rows: [],
  };
  assert.match(adviceOn(facts), /not the learning rate: look at the temperature \(0\.02\) and rows /);
  assert.match(adviceOn({ ...facts, half: true }), /or train without --fp16$/);
  assert.match(
    adviceOn({ ...facts, moved: true, weightsFinite: false }),
    /^the weights are no longer finite: lower --learning_rate \(0\.00001/,
  );
  assert.match(adviceOn({ ...facts, moved: true }), /^lower --learning_rate .*or look at the temperature/);
});

test('a disk that is too small is known before the first step', () => {
  assert.throws(
    () => requireDiskSpace(folder, 1e18, { bytes: 1, count: 0 }),
    /^MachineError: --output_dir .*: the disk has .* free, a save takes 1000000000\.00 GB/,
  );
  const { bavail, bsize } = fs.statfsSync(folder);
  const third = Math.floor((bavail * bsize) / 3);
  assert.match(
    requireDiskSpace(folder, third, { bytes: third, count: 4 }) ?? '',
    /the 5 saves of this run take/,
  );
  assert.equal(requireDiskSpace(folder, 1, { bytes: 1, count: 1 }), undefined);
});

const GOOD = { query: 'a question', pos: ['an answer'], neg: ['another'] };

function jsonl(name: string, rows: readonly object[]): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return file;
}

/** Trains the golden model a little; what it said and logged. */
async function run(name: string, line: string, data = jsonl('good.jsonl', [GOOD, GOOD])) {
  const notes: string[] = [];
  const log: LogEntry[] = [];
  const { args } = parseFinetuneArguments([
    ...[
      '--model_name_or_path',
      golden('model'),
      '--train_data',
      data,
      '--output_dir',
      path.join(folder, name),
    ],
    ...words('--train_group_size 2 --per_device_train_batch_size 2 --unified_finetuning True'),
    ...words(line),
  ]);
  const report = {
    ...silentReporter,
    note: (text: string) => void notes.push(text),
    log: (entry: LogEntry) => void log.push(entry),
  };
  let error: unknown;
  try {
    await finetune(args, report, lendGpu);
  } catch (thrown) {
    error = thrown;
  }
  return { notes: notes.join('\n'), log, error };
}

const deepspeed = (name: string, fp16: object): string => {
  const file = path.join(folder, `${name}.json`);
  fs.writeFileSync(file, JSON.stringify({ fp16: { enabled: true, ...fp16 } }));
  return `--deepspeed ${file}`;
};
const written = (name: string) => fs.existsSync(path.join(folder, name, 'model.safetensors'));

test('a run whose every step is skipped writes nothing and exits 1', async () => {
  const scale = { initial_scale_power: 60, hysteresis: 1 };
  const { notes, error } = await run(
    'skipped',
    `--max_steps 4 --save_steps 2 ${deepspeed('skipped', scale)}`,
  );
  assert.ok(error instanceof MachineError, String(error));
  assert.match(error.message, /^no step was applied: the gradients of all 4 steps overflowed f16/);
  assert.match(notes, /^step 2: no checkpoint: every step so far overflowed and was skipped$/m);
  assert.ok(!written('skipped') && !fs.existsSync(path.join(folder, 'skipped', 'checkpoint-2')));
});

test('a run that goes on after its last checkpoint without a step says so and exits 1', async () => {
  // The scale doubles at every step until it overflows, and takes long to fall again.
  const scale = { initial_scale_power: 14, loss_scale_window: 1, hysteresis: 1000 };
  const { notes, error } = await run(
    'stalled',
    `--max_steps 12 --save_steps 4 ${deepspeed('stalled', scale)}`,
  );
  assert.match(notes, /^\d+ of 12 steps overflowed and were skipped: \d+ were applied$/m);
  assert.ok(error instanceof MachineError, notes);
  assert.match(
    error.message,
    /^every step since checkpoint-(4|8) overflowed and was skipped: the model in .* is that checkpoint's/,
  );
  assert.ok(written('stalled') && !fs.existsSync(path.join(folder, 'stalled', 'checkpoint-12')));
});

test('a step of rate 0, rows that no batch takes, rows without a teacher: one line each', async () => {
  const rate = await run('rate', '--max_steps 1 --warmup_steps 5');
  assert.equal(rate.error, undefined);
  assert.match(rate.notes, /^the learning rate is 0 in the only step .*: nothing will be learnt$/m);
  assert.match(rate.notes, /^the learning rate was 0 in the one step that was applied: nothing was learnt$/m);

  const alone = await run('alone', '--max_steps 2 --train_group_size 1 --per_device_train_batch_size 1');
  assert.match(alone.notes, /^--train_data: groups of one passage .*: the loss is always 0 \(all files\)$/m);
  assert.match(alone.notes, /^the gradient was 0 in all 2 steps that were applied: nothing was learnt$/m);

  const filled = await run(
    'filled',
    `--max_steps 1 --query_max_len 8 --query_instruction_for_retrieval ${'word,'.repeat(8)} --passage_instruction_for_retrieval word`,
  );
  assert.match(
    filled.notes,
    /^--query_max_len 8: --query_instruction_for_retrieval alone is as long: no query without another has a word left$/m,
  );
  assert.doesNotMatch(filled.notes, /passage_max_len/);

  const three = jsonl('three.jsonl', [GOOD, GOOD, GOOD]);
  const small = jsonl('small.jsonl', [GOOD]);
  const rows = await run(
    'rows',
    `--max_steps 1 --same_dataset_within_batch True --knowledge_distillation True --train_data ${three} ${small}`,
  );
  assert.equal(rows.error, undefined);
  assert.match(rows.notes, /an epoch uses 2 of 4 rows/);
  assert.match(rows.notes, /have no scores and train without a teacher/);
});
