/** What `bench ranks` finds of steps: how much of a real one's exchange is hidden, and what one of bge-m3 sends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, lengths } from '../bench-command.js';

test('ranks: what of a step’s exchange is hidden', () => {
  const words = '--payload 40kB --carriers threads --model tiny --steps 2 --json'.split(' ');
  const { status, stdout, stderr } = bench('ranks', ...words);
  assert.equal(status, 0, stderr);
  const { overlap, bytes } = JSON.parse(stdout);
  assert.deepEqual(
    [overlap.model, overlap.ranks, overlap.carrier, overlap.wire],
    ['tiny', 2, 'threads', 'f32'],
  );
  assert.ok(overlap.stepMilliseconds > overlap.milliseconds && overlap.sentBytes > 1e6);
  assert.ok(overlap.hiddenShare >= 0 && overlap.hiddenShare <= 1);
  assert.equal(bytes.length, 8);
  const [rows, , table] = bytes;
  // All gradients but those of the table: 311.8 million values, of which half goes out and half comes back in sums.
  assert.ok(rows.sentBytes.total > 1.2e9 && rows.sentBytes.total < table.sentBytes.total);
});

const tiny = ['step', '--model', 'tiny', '--layers', '2', '--full_length', ...lengths, '--steps', '1'];

test('step on two ranks counts the tokens of both, and what they exchange', () => {
  const words = [...tiny, '--nproc_per_node', '2', '--reduce_dtype', 'bf16', '--json'];
  const { status, stdout, stderr } = bench(...words);
  assert.equal(status, 0, stderr);
  const [row] = JSON.parse(stdout).rows;
  assert.deepEqual([row.ranks, row.carrier, row.wire], [2, 'threads', 'bf16']);
  assert.equal(row.tokens, 2 * (2 * 16 + 16 * 32));
  assert.ok(row.seconds > 0 && row.firstLoss > 0);
  const { sentBytes, milliseconds, hiddenShare } = row.exchange;
  assert.ok(sentBytes > 1e6 && milliseconds > 0 && hiddenShare >= 0 && hiddenShare <= 1);
  assert.deepEqual(row.gpuBytes, row.predictedGpuBytes);
});
