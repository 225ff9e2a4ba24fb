/** The fuzz for a minute, with other seeds than `npm test` has, and the test of the fuzz itself. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { readers as planted } from '../fuzz/planted.js';
import { readers } from '../fuzz/readers.js';
import { fuzz } from '../fuzz/watch.js';

const findingsFolder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-fuzz-test-'));
after(() => fs.rmSync(findingsFolder, { recursive: true }));

test('no input makes a reader crash, hang, fill the memory or complain in a way that was not promised', async () => {
  const { counts, findings } = await fuzz({
    readers: [...readers.keys()],
    seed: 1_000_000,
    seconds: 60,
    findings: path.join(os.tmpdir(), 'dawntune-findings'),
  });
  assert.deepEqual(findings, []);
  for (const [name, { accepted, refused }] of counts) assert.ok(accepted + refused > 0, name);
});

test('the fuzz finds what is planted, and keeps its input', async () => {
  const { counts, findings } = await fuzz({
    readers: [...planted.keys()],
    module: new URL('../fuzz/planted.js', import.meta.url).href,
    seed: 7,
    cases: 1,
    seconds: 120,
    patience: 1000,
    findings: findingsFolder,
  });
  assert.equal(counts.get('right')!.refused, 1);
  const found = new Map(findings.map(({ reader, what }) => [reader, what]));
  const expected: Record<string, RegExp> = {
    untyped: /^untyped error: TypeError/,
    hanging: /^no end after 1000 ms$/,
    heap: /no end after|1 GiB|heap/,
    buffers: /memory|no end after/,
    ending: /ended/,
    writing: /wrote: a warning/,
    long: /message of 601 characters/,
    lines: /control characters: "one\\ntwo"/,
    colours: /control characters/,
    rejecting: /unheard/,
  };
  assert.deepEqual([...found.keys()].toSorted(), Object.keys(expected).toSorted());
  for (const [name, message] of Object.entries(expected)) assert.match(found.get(name)!, message, name);
  for (const { reader, folder } of findings)
    assert.equal(fs.readFileSync(path.join(folder, 'x'), 'utf8'), reader);
});
