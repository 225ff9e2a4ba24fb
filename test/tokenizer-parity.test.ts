/** `npm run tokenizer-parity`: what it compares, what it finds, and what it refuses. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { compareTokenizer, parseTokenizerParityArguments } from '../src/tokenizer/parity.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-tokenizer-parity-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

interface Row {
  text: string;
  ids: number[];
  ids_max16: number[];
}
const rows = JSON.parse(fs.readFileSync(golden('tokenizer.json'), 'utf8')) as Row[];
const write = (name: string, text: string) => {
  const file = path.join(folder, name);
  fs.writeFileSync(file, text);
  return file;
};
const jsonl = (list: readonly object[]) => list.map((row) => `${JSON.stringify(row)}\n`).join('');
const compare = (lines: string, threads = 0) =>
  compareTokenizer({ folder: golden('model'), lines, threads, seconds: 0 });

test('the goldens: every line is compared, whole and cut, and none differs', async () => {
  const report = await compare(golden('tokenizer.json'), 1);
  assert.deepEqual([report.lines, report.compared, report.different], [rows.length, rows.length, 0]);
  assert.equal(
    report.tokens,
    rows.reduce((sum, { ids }) => sum + ids.length, 0),
  );
  assert.ok(report.tokensPerSecond > 0 && report.threads!.tokensPerSecond > 0);
});

test('one id that is another, one that is missing, one of the cut text: three lines differ', async () => {
  const changed = structuredClone(rows.slice(0, 9));
  changed[2]!.ids[1]! += 1;
  changed[4]!.ids.pop();
  changed[6]!.ids_max16[3]! += 1;
  const report = await compare(write('changed.jsonl', jsonl(changed)));
  assert.deepEqual([report.compared, report.different], [9, 3]);
  assert.match(report.differences[0]!, /changed\.jsonl:3: expected \d+ as token 2, found \d+$/);
  assert.match(report.differences[1]!, /changed\.jsonl:5: expected the end as token \d+, found 2$/);
  assert.match(report.differences[2]!, /changed\.jsonl:7: expected \d+ as token 4 of the text cut to 16/);
});

test('a text file with ids beside it, with none, and the same lines as objects: one digest', async () => {
  const lines = rows.filter(({ text }) => !text.includes('\n'));
  const text = write('lines.txt', lines.map((row) => `${row.text}\n`).join(''));
  const without = await compare(text);
  assert.deepEqual([without.lines, without.compared, without.different], [lines.length, 0, 0]);
  write('lines.txt.ids', lines.map(({ ids }) => `${ids.join(' ')}\n`).join(''));
  const beside = await compare(text);
  assert.deepEqual([beside.compared, beside.different], [lines.length, 0]);
  const objects = await compare(write('lines.jsonl', jsonl(lines.map((row) => ({ text: row.text })))));
  assert.deepEqual([objects.digest, objects.compared], [without.digest, 0]);
  assert.equal(beside.digest, without.digest);
});

test('what is no such file is one line', async () => {
  for (const [name, content, message] of [
    ['a.jsonl', '{"texts": []}\n', /a\.jsonl:1: expected "text", a text/],
    ['b.jsonl', '{"text": "a", "ids": [1, -2]}\n', /b\.jsonl:1: expected "ids" to be a list of ids/],
    ['c.txt', '', /c\.txt: expected lines, found none/],
  ] as const)
    await assert.rejects(compare(write(name, content)), { name: 'InputError', message });
  write('d.txt.ids', '1 2\n3 4\n');
  await assert.rejects(compare(write('d.txt', 'a\n')), {
    message: /d\.txt\.ids: expected a line for each of the 1 texts, found 2/,
  });
  write('e.txt.ids', '1  2\n');
  await assert.rejects(compare(write('e.txt', 'a\n')), {
    message: /e\.txt\.ids:1: expected ids with a space/,
  });
  for (const argv of [[], ['a'], ['a', 'b', 'c'], ['a', 'b', '--threads', '-1']])
    assert.throws(() => parseTokenizerParityArguments(argv), { name: 'InputError' });
});

test('the command: facts on standard output, exit code 1 where lines differ', () => {
  const run = (...argv: string[]) =>
    spawnSync(process.execPath, [path.join(repositoryRoot, 'dist/scripts/tokenizer-parity.js'), ...argv], {
      encoding: 'utf8',
    });
  const same = run(golden('model'), golden('tokenizer.json'), '--seconds', '0');
  assert.deepEqual([same.status, same.stderr], [0, '']);
  assert.match(same.stdout, /^lines \d+, compared \d+, different 0\ntokens \d+, digest [0-9a-f]{64}\n/);
  assert.match(same.stdout, /\n\d+ k tokens\/s in one thread\n\d+ k tokens\/s with 1 beside it\n$/);
  const other = run(
    golden('model'),
    write('other.jsonl', jsonl([{ text: 'a', ids: [] }])),
    '--threads=0',
    '--seconds',
    '0',
  );
  assert.equal(other.status, 1);
  assert.match(other.stdout, /other\.jsonl:1: expected the end as token 1/);
  const missing = run(golden('model'));
  assert.deepEqual([missing.status, missing.stdout], [2, '']);
  assert.match(missing.stderr, /^tokenizer-parity: expected a model folder/);
});
