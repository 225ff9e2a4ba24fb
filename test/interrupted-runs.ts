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
    `--max_steps 3 --weight_decay 0.1 --gradient_accumulation_steps 2 --sub_batch_size 3 --use_self_distill True --self_distill_start_step 5 ` +
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

/**
 * Asks a run to stop at a look, goes on with it to the next of `looks`, and so on to its end: its files are those of the
 * whole run.
 */
export async function interrupted(name: string, line: string, ...looks: readonly number[]): Promise<void> {
  fs.rmSync(at(name), { recursive: true, force: true });
  const when = `${name}, looks ${looks}`;
  const goesOn = `${line} --resume_from_checkpoint True`;
  let reached = 0;
  for (const look of [...looks, Number.POSITIVE_INFINITY]) {
    const { steps, notes } = await run(name, goesOn, undefined, requestedAt(look));
    // What was taken is not taken again, unless a checkpoint of it would have had nothing new.
    if (reached > 0) assert.equal(steps[0] ?? reached + 1, reached + 1, when);
    reached = /no checkpoint: every step/.test(notes.join('\n')) ? 0 : (steps.at(-1) ?? reached);
    assert.ok(!fs.readdirSync(at(name)).some((file) => file.startsWith('.')), when);
  }
  const [whole, files] = [filesIn(at(`${name}-whole`)), filesIn(at(name))];
  const due = new Set([...whole.keys()].map((file) => file.split('/')[0]));
  // The checkpoints of the interruptions are there besides.
  for (const file of files.keys()) if (!due.has(file.split('/')[0])) files.delete(file);
  assert.deepEqual([...files.keys()], [...whole.keys()], when);
  for (const [file, bytes] of whole) assert.ok(bytes === files.get(file), `${when}: ${file} differs`);
}
