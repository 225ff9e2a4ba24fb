/** Standard error that is full, or a terminal that is closed under a run: the run goes on and its model is saved. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { onClosedTerminal, trainWithout } from './lost-streams.js';

const options = { skip: fs.existsSync('/dev/full') ? false : 'needs /dev/full and pseudo terminals' };
const fine = { status: 0, signal: null, saved: true };

test('nothing can be written to either stream', options, async () => {
  const outcome = await trainWithout((program, args) => {
    const full = fs.openSync('/dev/full', 'w');
    const child = spawn(program, args, { stdio: ['ignore', full, full] });
    fs.closeSync(full);
    return child;
  });
  assert.deepEqual(outcome, fine);
});

test('the terminal of all three streams is closed before the first step, and hangs up', options, async () => {
  const outcome = await trainWithout((program, args) =>
    onClosedTerminal(program, args, [0, 1, 2], 'step 0/', 'SIGHUP'),
  );
  assert.deepEqual(outcome, fine);
});
