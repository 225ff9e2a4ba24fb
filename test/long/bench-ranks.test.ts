/** How much of a real step's exchange `bench ranks` finds hidden behind backward. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench } from '../bench-command.js';

test('ranks: what of a step’s exchange is hidden', () => {
  const words = '--payload 40kB --carriers threads --model tiny --steps 2 --json'.split(' ');
  const { status, stdout, stderr } = bench('ranks', ...words);
  assert.equal(status, 0, stderr);
  const { overlap } = JSON.parse(stdout);
  assert.deepEqual(
    [overlap.model, overlap.ranks, overlap.carrier, overlap.wire],
    ['tiny', 2, 'threads', 'f32'],
  );
  assert.ok(overlap.stepMilliseconds > overlap.milliseconds && overlap.sentBytes > 1e6);
  assert.ok(overlap.hiddenShare >= 0 && overlap.hiddenShare <= 1);
});
