/** Runs into folders of one test, stopped and gone on with, and what they leave: for the tests of that, short and long. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { neverStops, type StopRequest } from '../src/console/interruption.js';
import { silentReporter } from '../src/console/reporter.js';
import { type FinetuneArguments, parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';
import { differingFiles, filesIn } from './stopped-runs.js';

export const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-resume-'));
after(() => fs.rmSync(root, { recursive: true, force: true }));
export const at = (...names: string[]) => path.join(root, ...names);

/** The golden model with dropout. */
export const base = at('base');
fs.mkdirSync(base);
for (const name of fs.readdirSync(golden('model')))
  fs.copyFileSync(golden('model', name), path.join(base, name));
export const config = JSON.parse(fs.readFileSync(golden('model', 'config.json'), 'utf8'));
export const dropout = { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.1 };
fs.writeFileSync(path.join(base, 'config.json'), JSON.stringify({ ...config, ...dropout }));
export const rows = at('rows.jsonl');
fs.copyFileSync(golden('example_data', 'retrieval', 'nq.jsonl'), rows);

/** Of the hub: no save may hold it. */
export const SECRET = 'hf_secretsecret';

/** The command's words for a run into a folder. */
export const wordsOf = (output: string, line = ''): string[] => [
  ...['--model_name_or_path', base, '--train_data', rows, '--output_dir', at(output)],
  ...['--train_group_size', '3', '--query_max_len', '12', '--passage_max_len', '24'],
  ...['--per_device_train_batch_size', '2', '--unified_finetuning', 'True', '--learning_rate', '1e-3'],
  ...['--token', SECRET, '--max_steps', '6', '--save_steps', '2', '--logging_steps', '3'],
  ...line.split(' ').filter(Boolean),
];

export const argumentsOf = (output: string, line = ''): FinetuneArguments =>
  parseFinetuneArguments(wordsOf(output, line)).args;

export interface Told {
  readonly notes: string[];
  readonly steps: number[];
}

/** Runs into a folder; with `stopAt`, until that step is told, as if the process had ended there. */
export async function run(
  output: string,
  line = '',
  stopAt = Number.POSITIVE_INFINITY,
  request: StopRequest = neverStops,
  afterStep: (step: number) => void = () => {},
): Promise<Told> {
  const told: Told = { notes: [], steps: [] };
  const stop = new Error('stopped');
  const reporter = {
    ...silentReporter,
    note: (text: string) => void told.notes.push(text),
    step(step: number) {
      if (step >= stopAt) throw stop;
      told.steps.push(step);
      afterStep(step);
    },
  };
  await finetune(argumentsOf(output, line), reporter, lendGpu, request).catch((error: unknown) => {
    if (error !== stop) throw error;
  });
  return told;
}

export { filesIn };

export const assertSameFiles = (a: string, b: string) => assert.deepEqual(differingFiles(at(a), at(b)), []);
