/** What a run goes on from, when something about it is other than it was: a state edited by hand, folders, rows, the model. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { InputError } from '../src/errors.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { checkpoints } from '../src/train/checkpoints/checkpoints.js';
import { type ResumePoint, resumePoint } from '../src/train/checkpoints/resume.js';
import { openCheckpoint, TRAINING_STATE } from '../src/train/checkpoints/training-state.js';
import { openInputs } from '../src/train/run/inputs.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-elsewhere-'));
after(() => fs.rmSync(root, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(root, ...names);
const nq = golden('example_data', 'retrieval', 'nq.jsonl');
const evalRows = at('eval.jsonl');

/** A rate that spoils the model, so that none of the later checkpoints is the best. */
const LINE = [
  ...['--model_name_or_path', golden('model'), '--train_data', nq, '--eval_data', evalRows],
  ...['--train_group_size', '2', '--query_max_len', '8', '--passage_max_len', '12', '--learning_rate', '0.3'],
  ...['--per_device_train_batch_size', '1', '--lr_scheduler_type', 'constant', '--max_steps', '2'],
  ...['--eval_strategy', 'steps', '--eval_steps', '1', '--save_steps', '1', '--load_best_model_at_end'],
];
const argumentsOf = (output: string, more: readonly string[]) =>
  parseFinetuneArguments([...LINE, '--output_dir', at(output), ...more]).args;

async function run(output: string, ...more: string[]): Promise<string[]> {
  const notes: string[] = [];
  const report = { ...silentReporter, note: (line: string) => void notes.push(line) };
  await finetune(argumentsOf(output, more), report, lendGpu);
  return notes;
}

function point(output: string, wish: string | true, ...more: string[]): ResumePoint | undefined {
  const args = argumentsOf(output, more);
  const inputs = openInputs(args.modelNameOrPath, args, () => {});
  const found = resumePoint(wish, at(output), inputs, () => {});
  found?.tensors.close();
  return found;
}

const refused = (message: RegExp) => (error: Error) => {
  assert.ok(error instanceof InputError, error.stack);
  assert.match(error.message, message);
  return true;
};

before(async () => {
  fs.writeFileSync(evalRows, fs.readFileSync(nq, 'utf8').split('\n').slice(0, 2).join('\n'));
  await run('out');
});

test('a training state in which any value is another is refused', () => {
  const folder = at('edited');
  fs.cpSync(at('out', 'checkpoint-2'), folder, { recursive: true });
  const file = path.join(folder, TRAINING_STATE);
  const state: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
  const other = (value: unknown): unknown =>
    typeof value === 'number'
      ? value + 1
      : typeof value === 'string'
        ? `${value}x`
        : typeof value === 'boolean'
          ? !value
          : 0;
  let tried = 0;
  const visit = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return;
    const object = value as Record<string, unknown>;
    for (const key of Object.keys(object)) {
      const before = object[key];
      if (typeof before === 'object' && before !== null && Object.keys(before).length > 0) {
        visit(before);
        continue;
      }
      object[key] = other(before);
      fs.writeFileSync(file, JSON.stringify(state));
      assert.throws(() => openCheckpoint(folder), refused(/training_state\.json: expected/), key);
      object[key] = before;
      tried++;
    }
  };
  visit(state);
  assert.ok(tried > 60, `${tried}`);
  // The same written otherwise is the same.
  fs.writeFileSync(file, JSON.stringify(state));
  openCheckpoint(folder).tensors.close();
});

test('a base model that computes otherwise, or has another tokenizer, is a contradiction', () => {
  const config = JSON.parse(fs.readFileSync(golden('model', 'config.json'), 'utf8'));
  const tokenizer = fs.readFileSync(golden('model', 'tokenizer.json'), 'utf8');
  const table: [string, string, RegExp][] = [
    ...(
      [
        ['hidden_dropout_prob', 0.25, /a model of hidden_dropout_prob 0(\.\d+)?, found 0\.25$/],
        ['attention_probs_dropout_prob', 0.25, /attention_probs_dropout_prob 0(\.\d+)?, found 0\.25$/],
        ['layer_norm_eps', 1e-3, /a model of layer_norm_eps .*, found 0\.001$/],
        ['hidden_act', 'relu', /a model of activation "gelu", found "relu"$/],
      ] as const
    ).map(([key, value, message]): [string, string, RegExp] => [
      'config.json',
      JSON.stringify({ ...config, [key]: value }),
      message,
    ]),
    [
      'tokenizer.json',
      `${tokenizer}\n`,
      /expected the tokenizer\.json of the run, found another in the folder/,
    ],
    ['special_tokens_map.json', '{}', /expected (the|a tokenizer without) special_tokens_map\.json/],
  ];
  for (const [n, [name, text, message]] of table.entries()) {
    const base = at(`base-${n}`);
    fs.cpSync(golden('model'), base, { recursive: true });
    fs.writeFileSync(path.join(base, name), text);
    assert.throws(() => point('out', true, '--model_name_or_path', base), refused(message), name);
  }
});

test('a checkpoint is found by every way to write its folder; its name alone says where it would be', () => {
  const checkpoint = at('out', 'checkpoint-1');
  fs.symlinkSync(checkpoint, at('link'));
  for (const wish of [checkpoint, `${checkpoint}/`, path.relative('', checkpoint), at('link')]) {
    const found = point('out', wish);
    assert.deepEqual([found?.step, found?.located('checkpoint-1')], [1, 'checkpoint-1']);
  }
  assert.throws(
    () => point('out', 'checkpoint-1'),
    refused(/checkpoint-1: expected a checkpoint, found nothing; .*out.checkpoint-1 is one$/),
  );
});

test('in another output folder the best checkpoint is still the one that was, and strangers of its name are none', async () => {
  const state = JSON.parse(fs.readFileSync(at('out', 'trainer_state.json'), 'utf8'));
  const best: string = state.best_model_checkpoint;
  const other = best === 'checkpoint-1' ? 'checkpoint-2' : 'checkpoint-1';
  fs.cpSync(at('out', other), at('moved', best), { recursive: true });
  const from = ['--max_steps', '3', '--resume_from_checkpoint', at('out', 'checkpoint-2')];
  const notes = await run('moved', ...from, '--save_total_limit', '1');
  const told = notes.join('\n');
  assert.ok(told.includes(`the best model: ${path.join('..', 'out', best)} (`), told);
  const weights = (...names: string[]) => fs.readFileSync(at(...names, 'model.safetensors'));
  assert.ok(weights('moved').equals(weights('out', best)));
  // Checkpoints there are not this run's: they go first, and a line says so.
  assert.ok(told.includes(`has checkpoints of an earlier run, which count and go first: ${best}`), told);
  assert.deepEqual(
    checkpoints(at('moved')).map(({ step }) => step),
    [3],
  );
});

test('a best checkpoint that is damaged is not the model that is written, and a line says so', async () => {
  // The loss falls, so that the first step is the best of these.
  await run('damaged', '--greater_is_better', 'True');
  const weights = (...names: string[]) => at('damaged', ...names, 'model.safetensors');
  const bytes = fs.readFileSync(weights('checkpoint-1'));
  assert.ok(fs.readFileSync(weights()).equals(bytes));
  bytes[bytes.length >> 1]! ^= 1;
  fs.writeFileSync(weights('checkpoint-1'), bytes);
  const notes = await run('damaged', '--greater_is_better', 'True', '--resume_from_checkpoint', 'True');
  assert.match(
    notes.join('\n'),
    /the best checkpoint is damaged: .*checkpoint-1.model\.safetensors: expected .*: the model of the last step is written/,
  );
  assert.ok(fs.readFileSync(weights()).equals(fs.readFileSync(weights('checkpoint-2'))));
});

test('going on from an earlier checkpoint tells of those that are taken anew', () => {
  const notes: string[] = [];
  const args = argumentsOf('out', []);
  const inputs = openInputs(args.modelNameOrPath, args, () => {});
  for (const name of ['checkpoint-2', 'checkpoint-1'])
    resumePoint(at('out', name), at('out'), inputs, (line) => void notes.push(line))!.tensors.close();
  assert.equal(notes.length, 3, notes.join('\n'));
  assert.match(notes[2]!, /^checkpoint-2 in .*out is of steps that are taken anew now: /);
});

test('what was the best on other rows, by another metric or unasked is not compared with what comes', async () => {
  const others = at('others.jsonl');
  fs.writeFileSync(others, fs.readFileSync(nq, 'utf8').split('\n').slice(3, 5).join('\n'));
  for (const [n, more, why] of [
    [0, ['--eval_data', others], /after step 2: until then other rows were evaluated/],
    [1, ['--metric_for_best_model', 'dense_mrr@10'], /after step 2: until then it was by "eval_loss \(less/],
  ] as const) {
    const output = `best-${n}`;
    fs.cpSync(at('out'), at(output), { recursive: true });
    const told = (await run(output, ...more, '--max_steps', '3', '--resume_from_checkpoint', 'True')).join(
      '\n',
    );
    assert.match(told, why);
    assert.match(told, /the best model: checkpoint-3 /);
  }
});
