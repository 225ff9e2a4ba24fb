/** `bench encode`: our rate on a small model, and libraries whose numbers are not ours. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { benchTexts, differenceOf, type EncodeRow } from '../bench/encode.js';
import { REPLY } from '../bench/peers/protocol.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-bench-encode-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

test('texts are those of a file or of rows, from the beginning again where they end', () => {
  const file = path.join(folder, 'texts.txt');
  fs.writeFileSync(file, 'a\n\nb \na\n');
  assert.deepEqual(benchTexts(file, 5), ['a', 'b', 'a', 'b', 'a']);
  assert.equal(new Set(benchTexts(null, 50)).size, 50);
  fs.writeFileSync(file, '\n');
  assert.throws(() => benchTexts(file, 1), /texts\.txt: expected texts, found none/);
});

test('numbers differ by the largest difference; what is missing differs infinitely', () => {
  const own = { dense: [1, 2], lexical: { 5: 0.25 }, colbert: [1, 0] };
  assert.equal(differenceOf([own], [own]), 0);
  assert.equal(differenceOf([{ ...own, dense: [1, 2.5] }], [own]), 0.5);
  assert.equal(differenceOf([{ ...own, lexical: { 5: 0.25, 6: 0.125 } }], [own]), 0.125);
  assert.equal(differenceOf([{ ...own, colbert: [1] }], [own]), Infinity);
  assert.equal(differenceOf([], [own]), Infinity);
});

test('a library with other numbers, or none, is a line with the reason', () => {
  // A Python that answers for FlagEmbedding with zeros, and has no sentence-transformers.
  const python = path.join(folder, 'python');
  const program = `
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const { do: what, probes } = JSON.parse(line);
      const numbers = (probes ?? []).map(() => ({ dense: Array(64).fill(0), lexical: {}, colbert: [] }));
      const reply = process.argv.at(-1) === 'FlagEmbedding'
        ? what === 'open' ? { version: '1', on: 'here' } : { numbers }
        : { error: "No module named 'sentence_transformers'" };
      console.log('${REPLY}' + JSON.stringify(reply));
    });`;
  fs.writeFileSync(path.join(folder, 'peer.cjs'), program);
  fs.writeFileSync(
    python,
    `#!/bin/sh\nexec "${process.execPath}" "${path.join(folder, 'peer.cjs')}" "$3"\n`,
    {
      mode: 0o755,
    },
  );
  const words = ['bench', 'encode', '--model', golden('model'), '--count', '6', '--rounds', '1', '--json'];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(repositoryRoot, 'dist/src/cli/main.js'), ...words, '--python', python, '--max_length', '32'],
    { encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  const { rows, tokens } = JSON.parse(stdout) as { rows: EncodeRow[]; tokens: number };
  assert.ok(tokens > 12 && tokens <= 6 * 32);
  assert.deepEqual(
    rows.map(({ workload, library, reason = '' }) => [workload, library, reason.replace(/by .*,/, 'by …,')]),
    ['all', 'dense'].flatMap((workload) => [
      [workload, 'dawntune', ''],
      [workload, 'FlagEmbedding', 'its numbers differ from ours by …, allowed 0.00001'],
      [workload, 'sentence-transformers', "No module named 'sentence_transformers'"],
    ]),
  );
  for (const row of rows.filter(({ library }) => library === 'dawntune'))
    assert.ok(row.textsPerSecond! > 0 && row.samples!.length === 1);
});
