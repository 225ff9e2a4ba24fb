/** The fuzz for half a minute, with other seeds than `npm test` has. */
import assert from 'node:assert/strict';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fuzz } from '../fuzz/watch.js';

test('no input makes the reader of PyTorch files crash, hang, fill the memory or complain in a way that was not promised', async () => {
  const { counts, findings } = await fuzz({
    readers: ['torch'],
    seed: 1_000_000,
    seconds: 30,
    findings: path.join(os.tmpdir(), 'dawntune-findings'),
  });
  assert.deepEqual(findings, []);
  for (const [name, { accepted, refused }] of counts) assert.ok(accepted > 0 && refused > 0, name);
});
