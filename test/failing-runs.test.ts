/** Runs whose saves fail: they end in one line that says what they go on from, and go on from there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { InputError, MachineError } from '../src/errors.js';
import { RUN_RECORD_FILE } from '../src/run-record/record.js';
import { FAILURES, failingAt } from './failing-files.js';
import { assertSameFiles, at, filesIn, run } from './resumed-runs.js';

/** What is written when, by the hidden folder that it goes through, and what there is to go on from by then. */
const MOMENTS: readonly [string, RegExp, RegExp][] = [
  [
    'the first checkpoint',
    /checkpoint-1\.writing\/\.model/,
    /^checkpoint-1 could not be saved: .*; the run ends here: and there is no checkpoint/,
  ],
  [
    'the second checkpoint',
    /checkpoint-2\.writing\/\.optimizer/,
    /^checkpoint-2 could not be saved: .*: --resume_from_checkpoint \S*checkpoint-1 goes on from there$/,
  ],
  [
    'the model',
    /\.model\.writing\/\.config/,
    /^the model could not be saved: .*: --resume_from_checkpoint \S*checkpoint-2 goes on from there$/,
  ],
];

const LINE = '--max_steps 2 --save_steps 1';

test('a save that fails ends the run, which goes on to the bit once there is room', async () => {
  await run('whole', LINE);
  let turn = 0;
  for (const [name, where, line] of MOMENTS) {
    const failure = FAILURES[turn++ % FAILURES.length]!;
    const when = `${failure.code} at ${name}`;
    fs.rmSync(at('failed'), { recursive: true, force: true });
    const { error } = await failingAt(
      0,
      failure,
      () => run('failed', LINE),
      (operation) => where.test(operation),
    );
    assert.ok(error instanceof MachineError || error instanceof InputError, `${when}: ${error}`);
    assert.match(error.message, line, when);
    assert.doesNotMatch(error.message, /\n/, when);
    // Where the disk was full it is not any more when things are taken away.
    assert.deepEqual(
      fs.readdirSync(at('failed')).filter((file) => file.startsWith('.')),
      [],
      when,
    );
    const [whole, left] = [filesIn(at('whole')), filesIn(at('failed'))];
    // The record tells that this run failed.
    left.delete(RUN_RECORD_FILE);
    for (const [file, bytes] of left) assert.ok(bytes === whole.get(file), `${when}: ${file}`);
    await run('failed', `${LINE} --resume_from_checkpoint True`);
    assertSameFiles('whole', 'failed');
  }
});

test('an output folder that cannot be is found before the first step', async () => {
  const file = at('file');
  fs.writeFileSync(file, '');
  fs.symlinkSync(at('nowhere'), at('link'));
  fs.mkdirSync(at('taken'));
  fs.writeFileSync(at('taken', 'checkpoint-2'), '');
  fs.mkdirSync(at('kept', 'checkpoint-2'), { recursive: true });
  fs.writeFileSync(at('kept', 'checkpoint-2', 'notes.txt'), 'of a person');
  for (const [output, expected] of [
    ['file', /^--output_dir: .*file: cannot be written: is no folder$/],
    ['link', /^--output_dir: .*link: cannot be written: a link to something that does not exist$/],
    ['file/below', /^--output_dir: .*below: cannot be written: a part of the path is not a folder$/],
    [
      'taken',
      /^--output_dir: .*checkpoint-2: expected a folder or nothing, as checkpoints are written there, found a file$/,
    ],
    // An interruption saves a checkpoint all the same.
    [
      'kept',
      /^--output_dir: .*checkpoint-2: expected a checkpoint or nothing, as one will be written there, found a folder without/,
    ],
  ] as const)
    await assert.rejects(run(output, `${LINE} --save_strategy no`), (error: unknown) => {
      assert.ok(error instanceof InputError, String(error));
      assert.match(error.message, expected);
      return true;
    });
  assert.deepEqual(fs.readdirSync(at('taken')), ['checkpoint-2']);
  assert.deepEqual(fs.readdirSync(at('kept')), ['checkpoint-2']);
});
