/** Whole runs of the command into one folder: killed at random moments, and two at once. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { checkpoints } from '../../src/train/checkpoints/checkpoints.js';
import { SafetensorsFile } from '../../src/weights/safetensors.js';
import { TorchFile } from '../../src/weights/torch-file.js';
import { golden, repositoryRoot } from '../repository.js';

const KILLS = 30;
const PAIRS = 10;

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-killed-'));
after(() => fs.rmSync(root, { recursive: true, force: true }));

/** The golden model without heads, so that the seed of a run decides the numbers of every file. */
function makeBase(name: string): string {
  const folder = path.join(root, name);
  fs.mkdirSync(folder);
  for (const file of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
    fs.copyFileSync(golden('model', file), path.join(folder, file));
  return folder;
}

function start(base: string, output: string, seed: number, steps: number): ChildProcess & { text: string } {
  const child = spawn(
    process.execPath,
    [
      path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js'),
      'finetune',
      ...['--model_name_or_path', base, '--output_dir', output],
      ...['--train_data', golden('example_data', 'retrieval', 'nq.jsonl'), '--train_group_size', '2'],
      ...['--query_max_len', '8', '--passage_max_len', '8', '--per_device_train_batch_size', '1'],
      ...['--unified_finetuning', 'True', '--learning_rate', '1e-3', '--save_total_limit', '2'],
      ...['--max_steps', String(steps), '--save_steps', '1', '--seed', String(seed)],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  ) as unknown as ChildProcess & { text: string };
  child.text = '';
  child.stderr!.on('data', (chunk) => {
    child.text += chunk;
  });
  return child;
}

const ended = (child: ChildProcess): Promise<number | null> =>
  child.exitCode !== null
    ? Promise.resolve(child.exitCode)
    : new Promise((resolve) => child.once('exit', resolve));

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A digest of the numbers of each file, and the step; undefined for a folder that no reader takes for a model. */
function saved(folder: string): { encoder: number; heads: number[]; step: number; seed: number } | undefined {
  if (!fs.existsSync(path.join(folder, 'config.json'))) return undefined;
  const encoder = SafetensorsFile.open(path.join(folder, 'model.safetensors'));
  const heads = ['colbert_linear.pt', 'sparse_linear.pt'].map((name) => {
    const head = TorchFile.open(path.join(folder, name));
    const sum = head.read('weight').reduce((a, b) => a + b * b, 0);
    head.close();
    return sum;
  });
  const sum = encoder.read('encoder.layer.1.output.dense.weight').reduce((a, b) => a + b * b, 0);
  encoder.close();
  const state = JSON.parse(fs.readFileSync(path.join(folder, 'trainer_state.json'), 'utf8'));
  assert.ok(fs.existsSync(path.join(folder, 'tokenizer.json')));
  return { encoder: sum, heads, step: state.global_step, seed: state.seed };
}

/** What an undisturbed run with this seed saves in the end. */
async function reference(base: string, seed: number, steps: number): Promise<ReturnType<typeof saved>> {
  const output = path.join(root, `reference-${seed}`);
  const child = start(base, output, seed, steps);
  assert.equal(await ended(child), 0, child.text);
  return saved(output);
}

test(`after each of ${KILLS} kills at random moments every folder is one save, and nothing stays in the end`, async () => {
  const base = makeBase('base-of-kills');
  const output = path.join(root, 'killed');
  const steps = 3;
  const expected = new Map([
    [1, await reference(base, 1, steps)],
    [2, await reference(base, 2, steps)],
  ]);
  assert.equal(await ended(start(base, output, 2, steps)), 0);
  for (let run = 0; run < KILLS; run++) {
    const seed = 1 + ((run >> 1) % 2);
    const child = start(base, output, seed, steps);
    // Half of the kills by the clock, half by what is seen in the folder, where a save takes but a moment.
    const deadline = Date.now() + 60_000;
    const still = () => child.exitCode === null && Date.now() < deadline;
    while (still() && !/adapter /.test(child.text)) await pause(5);
    if (run % 2 === 0) await pause(Math.random() * 1500);
    else {
      let seen = fs.readdirSync(output).join();
      for (let changes = Math.floor(Math.random() * 25); changes >= 0 && still(); await pause(1)) {
        const now = fs.readdirSync(output).join();
        if (now !== seen) changes--;
        seen = now;
      }
    }
    child.kill('SIGKILL');
    await ended(child);
    const model = saved(output);
    if (model) assert.deepEqual(model, expected.get(model.seed), `run ${run}`);
    const here = fs.readdirSync(output).filter((name) => name.startsWith('checkpoint-'));
    assert.deepEqual(
      checkpoints(output)
        .map(({ name }) => name)
        .sort(),
      here.sort(),
    );
    for (const { folder, step } of checkpoints(output)) assert.equal(saved(folder)!.step, step);
  }
  const last = start(base, output, 1, steps);
  assert.equal(await ended(last), 0, last.text);
  assert.deepEqual(saved(output), expected.get(1));
  assert.deepEqual(
    fs.readdirSync(output).filter((name) => name.startsWith('.')),
    [],
  );
  assert.deepEqual(
    checkpoints(output).map(({ step }) => step),
    [2, 3],
  );
});

test(`of each of ${PAIRS} pairs that start at once, one trains and the other names it`, async () => {
  const base = makeBase('base-of-pairs');
  for (let pair = 0; pair < PAIRS; pair++) {
    const output = path.join(root, `pair-${pair}`);
    fs.mkdirSync(output);
    const link = `${output}-link`;
    fs.symlinkSync(output, link);
    const runs = [start(base, output, 1, 20), start(base, link, 2, 20)];
    const codes = await Promise.all(runs.map(ended));
    assert.deepEqual([...codes].sort(), [0, 1], runs.map(({ text }) => text).join('\n'));
    const [winner, loser] = codes[0] === 0 ? [runs[0]!, runs[1]!] : [runs[1]!, runs[0]!];
    assert.match(
      loser.text,
      new RegExp(`--output_dir: .*: process ${winner.pid} on ${os.hostname()} writes there`),
    );
    assert.equal(saved(output)!.step, 20);
    assert.equal(saved(output)!.seed, codes[0] === 0 ? 1 : 2);
    assert.deepEqual(
      fs.readdirSync(output).filter((name) => name.startsWith('.')),
      [],
    );
  }
});
