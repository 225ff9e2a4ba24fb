/** A little of the fuzz of every reader, always the same; `npm run fuzz -- --seconds N` has as much as one likes. */
import assert from 'node:assert/strict';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { readers } from './fuzz/readers.js';
import { fuzz } from './fuzz/watch.js';

test('made inputs are read or refused in one line', async () => {
  const { counts, findings } = await fuzz({
    readers: [...readers.keys()],
    seed: 1,
    cases: 60,
    seconds: 120,
    findings: path.join(os.tmpdir(), 'dawntune-findings'),
  });
  assert.deepEqual(findings, []);
  for (const [name, { accepted, refused }] of counts) assert.equal(accepted + refused, 60, name);
  // Where the undamaged form is itself refused, nothing behind that is reached.
  assert.ok(counts.get('checkpoint')!.accepted > 0, 'no checkpoint is accepted');
});
