/** The trainer from flags to files: training learns, output loads again, checkpoints, limits, a killed process. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { isTemporaryName } from '../src/files/atomic.js';
import { M3Model } from '../src/models/m3.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { checkpoints, replacedBase } from '../src/train/checkpoints/checkpoints.js';
import { finetune } from '../src/train/trainer.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { lendGpu } from './lent-gpu.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-trainer-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const flags = (output: string, ...more: string[]) => [
  '--model_name_or_path',
  golden('model'),
  '--train_data',
  golden('example_data', 'retrieval', 'nq.jsonl'),
  '--output_dir',
  path.join(folder, output),
  '--train_group_size',
  '3',
  '--query_max_len',
  '16',
  '--passage_max_len',
  '32',
  '--per_device_train_batch_size',
  '2',
  '--unified_finetuning',
  'True',
  '--knowledge_distillation',
  'True',
  '--kd_loss_type',
  'm3_kd_loss',
  '--logging_steps',
  '1',
  ...more,
];

const run = (output: string, ...more: string[]) =>
  finetune(parseFinetuneArguments(flags(output, ...more)).args, silentReporter, lendGpu);
const weights = (output: string) => SafetensorsFile.open(path.join(folder, output, 'model.safetensors'));

test('learns, writes a model folder that trains again, keeps as many checkpoints as asked', async () => {
  const { log } = await run(
    'first',
    '--max_steps',
    '12',
    '--learning_rate',
    '1e-3',
    '--save_steps',
    '4',
    '--save_total_limit',
    '2',
    '--use_self_distill',
    'True',
  );
  const losses = log.flatMap((entry) => (typeof entry['loss'] === 'number' ? [entry['loss']] : []));
  assert.equal(losses.length, 12);
  const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  assert.ok(mean(losses.slice(8)) < 0.8 * mean(losses.slice(0, 4)), `losses ${losses}`);
  assert.deepEqual(
    checkpoints(path.join(folder, 'first')).map(({ step }) => step),
    [8, 12],
  );
  const state = JSON.parse(fs.readFileSync(path.join(folder, 'first', 'trainer_state.json'), 'utf8'));
  assert.equal(state.global_step, 12);
  assert.equal(state.log_history.length, 13);

  const [before, after] = [SafetensorsFile.open(golden('model', 'model.safetensors')), weights('first')];
  assert.deepEqual(after.names().sort(), before.names().sort());
  for (const name of before.names()) {
    const same =
      Buffer.compare(Buffer.from(before.read(name).buffer), Buffer.from(after.read(name).buffer)) === 0;
    assert.equal(same, name.startsWith('pooler'), name);
  }
  const gpu = await lendGpu();
  const model = M3Model.load(gpu, path.join(folder, 'first'));
  assert.deepEqual(model.notices, []);
  model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
  await gpu.close();
});

test('the same seed gives the same bits, another seed does not', async () => {
  for (const [name, seed] of [
    ['a', '1'],
    ['b', '1'],
    ['c', '2'],
  ] as const)
    await run(name, '--max_steps', '2', '--seed', seed, '--warmup_ratio', '0.5');
  const read = (name: string) => fs.readFileSync(path.join(folder, name, 'model.safetensors'));
  assert.equal(Buffer.compare(read('a'), read('b')), 0);
  assert.notEqual(Buffer.compare(read('a'), read('c')), 0);
});

test('an epoch with accumulation has as many steps as whole groups of batches', async () => {
  const { steps, log } = await run(
    'accumulated',
    '--num_train_epochs',
    '1',
    '--gradient_accumulation_steps',
    '2',
    '--save_strategy',
    'no',
  );
  // 10 rows in batches of 2 are 5 batches, and 2 whole steps.
  assert.equal(steps, 2);
  assert.equal(log.filter((entry) => 'loss' in entry).length, 2);
  assert.ok(!fs.existsSync(path.join(folder, 'accumulated', 'checkpoint-2')));
});

test('frozen parts stay as they were', async () => {
  await run(
    'frozen',
    '--max_steps',
    '2',
    '--fix_encoder',
    'True',
    '--learning_rate',
    '1e-2',
    '--weight_decay',
    '0.1',
    '--save_strategy',
    'no',
  );
  const before = SafetensorsFile.open(golden('model', 'model.safetensors'));
  for (const name of before.names()) assert.deepEqual(weights('frozen').read(name), before.read(name), name);
  const head = (where: string) => fs.readFileSync(path.join(where, 'sparse_linear.pt'));
  assert.notDeepEqual(head(path.join(folder, 'frozen')), head(path.join(folder, 'first')));

  await run(
    'positions',
    '--max_steps',
    '2',
    '--fix_position_embedding',
    'True',
    '--learning_rate',
    '1e-2',
    '--save_strategy',
    'no',
  );
  const name = 'embeddings.position_embeddings.weight';
  assert.deepEqual(weights('positions').read(name), before.read(name));
  assert.notDeepEqual(
    weights('positions').read('embeddings.word_embeddings.weight'),
    before.read('embeddings.word_embeddings.weight'),
  );
});

test('validation loss is logged', async () => {
  const { log } = await run(
    'validated',
    '--max_steps',
    '2',
    '--eval_data',
    golden('example_data', 'retrieval', 'nq.jsonl'),
    '--save_strategy',
    'no',
  );
  const losses = log.flatMap((entry) => (typeof entry['eval_loss'] === 'number' ? [entry['eval_loss']] : []));
  assert.equal(losses.length, 1);
  assert.ok(losses[0]! > 0);
});

test('a running process keeps others out; killed, it leaves no half file under a final name, and the next run takes over', async () => {
  const output = path.join(folder, 'killed');
  const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
  const child = spawn(
    process.execPath,
    [main, 'finetune', ...flags('killed', '--max_steps', '500', '--save_steps', '1')],
    { stdio: 'ignore' },
  );
  const until = Date.now() + 30_000;
  while (checkpoints(output).length < 3 && Date.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 20));
  const second = spawnSync(process.execPath, [main, 'finetune', ...flags('killed', '--max_steps', '1')], {
    encoding: 'utf8',
  });
  assert.equal(second.status, 1, second.stderr);
  assert.match(
    second.stderr,
    new RegExp(`--output_dir: .*killed: process ${child.pid} on ${os.hostname()} writes there since `),
  );
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  const whole = checkpoints(output);
  assert.ok(whole.length >= 3);
  for (const { folder: checkpoint, step } of whole) {
    const file = SafetensorsFile.open(path.join(checkpoint, 'model.safetensors'));
    assert.equal(file.names().length, 39);
    file.close();
    assert.equal(
      JSON.parse(fs.readFileSync(path.join(checkpoint, 'trainer_state.json'), 'utf8')).global_step,
      step,
    );
    assert.ok(!fs.readdirSync(checkpoint).some(isTemporaryName));
  }
  await run('killed', '--max_steps', '1', '--save_strategy', 'no');
  assert.deepEqual(
    fs.readdirSync(output).filter((name) => name.startsWith('.')),
    [],
  );
});

test('an interrupted run saves, says where it stopped, ends with the code of the signal and leaves no lock', async () => {
  const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
  const expected = /^interrupted at step (\d+) of 500; newest whole checkpoint: checkpoint-(\d+)$/;
  for (const [signal, code, saveSteps] of [
    ['SIGINT', 130, '1'],
    ['SIGTERM', 143, '500'],
  ] as const) {
    const output = path.join(folder, signal);
    const child = spawn(
      process.execPath,
      [main, 'finetune', ...flags(signal, '--max_steps', '500', '--save_steps', saveSteps)],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let logged = '';
    let told = '';
    child.stderr.on('data', (bytes) => (told += bytes));
    child.stdout.on('data', (bytes) => {
      logged += bytes;
      // As `npm` passes on what the terminal sent already: one signal all the same.
      if (!child.killed && logged.includes('"step":3')) for (let n = 0; n < 2; n++) child.kill(signal);
    });
    const [status] = await once(child, 'close');
    assert.equal(status, code, told);
    const line = told.trimEnd().split('\n').at(-1)!;
    assert.match(line, expected, told);
    const [, step, newest] = expected.exec(line)!;
    assert.ok(Number(step) >= 3);
    assert.equal(step, newest);
    assert.equal(checkpoints(output).at(-1)!.name, `checkpoint-${newest}`);
    assert.match(told, new RegExp(`^${signal}: the run ends with the step that is in hand and saves`, 'm'));
    assert.deepEqual(
      fs.readdirSync(output).filter((name) => name.startsWith('.')),
      [],
    );
  }
});

test('the base may be an output folder whose save was interrupted', async () => {
  const output = path.join(folder, 'in-place');
  const moving = path.join(output, '.dawntune-save.model.moving');
  fs.mkdirSync(moving, { recursive: true });
  for (const name of fs.readdirSync(golden('model')))
    fs.copyFileSync(golden('model', name), path.join(name === 'config.json' ? moving : output, name));
  const link = path.join(folder, 'in-place-link');
  fs.symlinkSync(output, link);
  const notes: string[] = [];
  await finetune(
    parseFinetuneArguments(
      flags('in-place', '--model_name_or_path', link, '--max_steps', '1', '--save_strategy', 'no'),
    ).args,
    { ...silentReporter, note: (line) => notes.push(line) },
    lendGpu,
  );
  assert.equal(notes.filter((line) => /the base model in .*in-place will be replaced$/.test(line)).length, 1);
  const checkpoint = path.join(output, 'checkpoint-3');
  fs.mkdirSync(checkpoint);
  const steps = { outputDir: link, saveStrategy: 'steps' };
  assert.match(replacedBase(checkpoint, steps)!, /is a checkpoint in --output_dir: this run may replace/);
  assert.equal(replacedBase(checkpoint, { ...steps, saveStrategy: 'no' }), undefined);
  assert.equal(replacedBase(golden('model'), steps), undefined);
  assert.ok(fs.existsSync(path.join(output, 'trainer_state.json')));
  assert.ok(!fs.existsSync(moving));
});
