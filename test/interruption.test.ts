/** A run that is asked to stop saves where it stands, and goes on from there as if it had not been. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { checkpoints } from '../src/train/run/checkpoints.js';
import { interrupted, LINES, reference } from './interrupted-runs.js';
import { at, run } from './resumed-runs.js';

test('asked to stop between the batches of a step, or in an evaluation, a run goes on to the bit', async () => {
  const [name, line] = Object.entries(LINES)[0]!;
  const looks = await reference(name, line);
  // The long tests take every one.
  for (const look of [5, looks - 1]) await interrupted(name, line, look);
});

test('a run that is asked before its first step saves nothing, one that has ended writes its model', async () => {
  const stop = { requested: true };
  const { notes, steps } = await run('none', '', undefined, stop);
  assert.deepEqual([steps, fs.readdirSync(at('none'))], [[], []]);
  assert.ok(!notes.some((note) => /checkpoint-|model written/.test(note)), notes.join('\n'));
  const late = { requested: false };
  const told = await run('all', '--max_steps 2', undefined, late, (step) => {
    late.requested = step === 2;
  });
  assert.deepEqual(told.steps, [1, 2]);
  assert.match(told.notes.join('\n'), /^model written to /m);
});

test('flags that are about checkpoints: what an interruption saves all the same is said', async () => {
  for (const [flag, expected, steps] of [
    [
      '--save_strategy no',
      /^interrupted at step 2 of 3: saving checkpoint-2, in spite of --save_strategy no$/m,
      [2],
    ],
    [
      '--save_only_model',
      /^checkpoint-2 is a model alone, as --save_only_model says: no run goes on from it$/m,
      [2],
    ],
    ['--save_total_limit 1', /^--resume_from_checkpoint .*checkpoint-2 goes on from there$/m, [2]],
    ['--save_steps 2', undefined, [2]],
  ] as const) {
    fs.rmSync(at('flags'), { recursive: true, force: true });
    const stop = { requested: false };
    const { notes } = await run('flags', `--max_steps 3 --save_steps 3 ${flag}`, undefined, stop, (step) => {
      stop.requested ||= step === 1;
    });
    if (expected) assert.match(notes.join('\n'), expected);
    else assert.doesNotMatch(notes.join('\n'), /interrupted|goes on/);
    assert.deepEqual(
      checkpoints(at('flags')).map(({ step }) => step),
      steps,
    );
    assert.ok(!fs.existsSync(path.join(at('flags'), 'model.safetensors')));
  }
});
