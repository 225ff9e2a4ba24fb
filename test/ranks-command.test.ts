/** `dawntune finetune --nproc_per_node 2` from the words of the command to the folder it leaves, with a thread a rank. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { golden, repositoryRoot } from './repository.js';
import { missionFlags } from './stopped-runs.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-ranks-command-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(folder, ...names);
const program = path.join(repositoryRoot, 'dist/src/cli/main.js');
const command = (...words: string[]) => [program, 'finetune', ...words];

test('the mission’s command with two ranks writes a model that loads', async () => {
  const words = missionFlags(at('mission'), golden('model'));
  const two = [...words, '--nproc_per_node', '2', '--max_steps', '1', '--save_steps', '1'];
  const { status, stderr, stdout } = spawnSync(process.execPath, command(...two), { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const log = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
  assert.deepEqual(
    log.flatMap(({ loss, step }) => (loss === undefined ? [] : [step])),
    [1],
  );
  assert.match(stderr, /^2 ranks, a thread each: /m);
  // What rank 0 says is said once, and by it alone.
  assert.doesNotMatch(stderr, /rank 1/);
  assert.equal(stderr.match(/^model written to /gm)?.length, 1);
  // With two ranks all passages of both are negatives: no word about a flag without effect.
  assert.doesNotMatch(stderr, /negatives_cross_device/);
  const state = JSON.parse(fs.readFileSync(at('mission', 'checkpoint-1', 'training_state.json'), 'utf8'));
  assert.equal(state.fingerprint.world_size, 2);
  const gpu = await Gpu.open();
  const model = M3Model.load(gpu, at('mission'));
  assert.deepEqual(model.notices, []);
  model.dispose();
  await gpu.close();
});

const short = (output: string, ...more: string[]) => [
  ...['--model_name_or_path', golden('model'), '--train_data', golden('example_data/retrieval/nq.jsonl')],
  ...[
    '--output_dir',
    at(output),
    '--train_group_size',
    '2',
    '--query_max_len',
    '12',
    '--passage_max_len',
    '16',
  ],
  ...['--per_device_train_batch_size', '1', '--logging_steps', '1', '--nproc_per_node', '2', ...more],
];

test('a signal stops both ranks after the same step, which is saved', async () => {
  const child = spawn(process.execPath, command(...short('stopped', '--max_steps', '100000')));
  let [told, said] = ['', ''];
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  child.stdout.on('data', (text: Buffer) => {
    told += text.toString();
    if (told.split('\n').length === 4) child.kill('SIGTERM');
  });
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 143, said);
  const steps = told
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { step: number }).step);
  const last = steps.at(-1)!;
  assert.match(
    said,
    new RegExp(`^interrupted at step ${last} of 100000; newest whole checkpoint: checkpoint-${last}$`, 'm'),
  );
  const checkpoints = fs.readdirSync(at('stopped')).filter((name) => name.startsWith('checkpoint'));
  assert.deepEqual(checkpoints, [`checkpoint-${last}`]);
});

test('parity with two ranks that is interrupted ends at once, in words of its own', async () => {
  const child = spawn(process.execPath, [program, 'parity', golden(), '--nproc_per_node', '2']);
  let [told, said] = ['', ''];
  child.stdout.on('data', (text: Buffer) => (told += text.toString()));
  child.stderr.on('data', (text: Buffer) => {
    said += text.toString();
    if (said.includes('2 ranks, a thread each') && !child.killed) child.kill('SIGTERM');
  });
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 143, said);
  assert.match(said, /^interrupted: figures are printed once all are compared$/m);
  assert.doesNotMatch(said, /checkpoint|step/);
  assert.equal(told, '');
});

test('what is wrong is told once, with the exit code of one rank', () => {
  const words = short('wrong', '--train_data', 'nowhere.jsonl');
  const { status, stderr } = spawnSync(process.execPath, command(...words), { encoding: 'utf8' });
  assert.equal(status, 2, stderr);
  assert.match(stderr, /^dawntune: --train_data: .*nowhere\.jsonl.*$/m);
  assert.equal(stderr.match(/^dawntune: /gm)?.length, 1, stderr);
});
