/**
 * Runs that are asked to stop at each of the moments at which they look whether they are: between the batches of a step,
 * before and after it, in evaluations. The moments are counted, so that a run stops at the same one again.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { at, filesIn, rows, run } from './resumed-runs.js';

const few = at('few.jsonl');
fs.writeFileSync(few, fs.readFileSync(rows, 'utf8').split('\n').slice(0, 2).join('\n'));
const EVALUATED = `--eval_data ${few} --per_device_eval_batch_size 4`;

/** Accumulation, dropout, self-distillation and so on: everything that a step counts. */
export const LINES: Readonly<Record<string, string>> = {
  'f32, accumulation, evaluations, the best model':
    `--max_steps 4 --weight_decay 0.1 --gradient_accumulation_steps 2 --sub_batch_size 3 --use_self_distill True --self_distill_start_step 5 ` +
    `${EVALUATED} --eval_strategy steps --eval_steps 2 --load_best_model_at_end --metric_for_best_model eval_dense_ndcg@10`,
  'f16, accumulation':
    '--max_steps 5 --fp16 --gradient_accumulation_steps 2 --use_self_distill True --save_steps 4',
};

/** A stop that is requested from the look of that number on. */
function requestedAt(look: number): { readonly requested: boolean; looks: number } {
  return {
    looks: 0,
    get requested() {
      return this.looks++ >= look;
    },
  };
}

/** Runs uninterrupted; @returns how often the run looked. */
export async function reference(name: string, line: string): Promise<number> {
  const stop = requestedAt(Number.POSITIVE_INFINITY);
  await run(`${name}-whole`, line, undefined, stop);
  return stop.looks;
}

/** Asks a run to stop at a look and goes on with it, until it ends: its files are those of the whole run. */
export async function interrupted(name: string, line: string, look: number): Promise<void> {
  fs.rmSync(at(name), { recursive: true, force: true });
  const when = `${name}, look ${look}`;
  const first = await run(name, line, undefined, requestedAt(look));
  const before = fs.readdirSync(at(name));
  assert.ok(!before.some((file) => file.startsWith('.')), when);
  const again = await run(name, `${line} --resume_from_checkpoint True`);
  const newest = first.steps.at(-1) ?? 0;
  // What was taken is not taken again, unless its checkpoint had nothing new.
  if (!/no checkpoint: every step/.test(first.notes.join('\n')) && newest > 0)
    assert.equal(again.steps[0] ?? newest + 1, newest + 1, when);
  const [whole, files] = [filesIn(at(`${name}-whole`)), filesIn(at(name))];
  const due = new Set([...whole.keys()].map((file) => file.split('/')[0]));
  // The checkpoint of the interruption is there besides.
  for (const file of files.keys()) if (!due.has(file.split('/')[0])) files.delete(file);
  assert.deepEqual([...files.keys()], [...whole.keys()], when);
  for (const [file, bytes] of whole) assert.ok(bytes === files.get(file), `${when}: ${file} differs`);
}
