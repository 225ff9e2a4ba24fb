/** `dawntune split`: each row goes, as it is written, to the range of its longest text. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { parseSplitArguments } from '../src/retrieval/split/arguments.js';
import { splitByLength } from '../src/retrieval/split/split.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-split-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(folder, ...names);

async function split(...words: string[]): Promise<string[]> {
  const told: string[] = [];
  const { args, notices } = parseSplitArguments(['--model_name_or_path', golden('model'), ...words]);
  await splitByLength(args, { ...silentReporter, note: (line) => void told.push(line) });
  return [...notices, ...told];
}
const lines = (file: string) => fs.readFileSync(file, 'utf8').trimEnd().split('\n');

test('every row of the example data is in the file of its length, as it stands', async () => {
  const input = golden('example_data/retrieval');
  await split(
    '--input_path',
    input,
    '--output_dir',
    at('out'),
    '--length_list',
    '100',
    '0',
    '40',
    '--num_proc',
    '16',
  );
  const tokenizer = Tokenizer.load(golden('model'));
  const ranges = [
    [0, 40],
    [40, 100],
    [100, Number.POSITIVE_INFINITY],
  ] as const;
  const records = lines(at('out', '.split_log')).map((line) => JSON.parse(line));
  for (const name of ['msmarco', 'nli', 'nq']) {
    const expected: string[][] = [[], [], []];
    let tokens = 0;
    for (const line of lines(path.join(input, `${name}.jsonl`))) {
      const { query, pos, neg } = JSON.parse(line);
      const length = Math.max(...[query, ...pos, ...neg].map((text) => tokenizer.encode(text).length));
      tokens += length;
      expected[ranges.findIndex(([least, end]) => length >= least && length < end)]!.push(line);
    }
    const found = ranges.map(([least, end]) => {
      const file = at('out', `${name}_len-${least}-${end === Number.POSITIVE_INFINITY ? 'inf' : end}.jsonl`);
      return fs.existsSync(file) ? lines(file) : [];
    });
    assert.deepEqual(found, expected);
    const record = records.find(({ file_name }) => file_name === `${name}.jsonl`);
    assert.equal(record.size, 10);
    assert.equal(record.avg_length, tokens / 10);
    assert.deepEqual(
      Object.values(record.split_info),
      expected.map(({ length }) => length),
    );
  }
});

test('parts that are there are kept, or replaced and removed with --overwrite', async () => {
  fs.writeFileSync(
    at('rows.jsonl'),
    '{"id": 12345678901234567890, "query": "a", "pos": ["b"], "type": "normal", "x": [1.0]}\n{\n"query": "a", "neg": [],\n"pos": ["b b b b b b b b b b b b"]}\n',
  );
  const words = ['--input_path', at('rows.jsonl'), '--output_dir', at('again')];
  await split(...words, '--length_list', '0', '9');
  assert.deepEqual(lines(at('again', 'rows_len-0-9.jsonl')), [
    '{"id": 12345678901234567890, "query": "a", "pos": ["b"], "type": "normal", "x": [1.0]}',
  ]);
  assert.deepEqual(lines(at('again', 'rows_len-9-inf.jsonl')), [
    '{"query": "a", "neg": [], "pos": ["b b b b b b b b b b b b"]}',
  ]);
  fs.writeFileSync(at('rows.jsonl'), '{"query": "a", "pos": ["c"]}\n');
  const kept = await split(...words, '--length_list', '0', '9');
  assert.equal(kept.filter((line) => line.includes('left as it is')).length, 2);
  assert.match(lines(at('again', 'rows_len-0-9.jsonl'))[0]!, /"b"/);
  const replaced = await split(...words, '--length_list', '0', '9', '--overwrite');
  assert.deepEqual(lines(at('again', 'rows_len-0-9.jsonl')), ['{"query": "a", "pos": ["c"]}']);
  assert.ok(!fs.existsSync(at('again', 'rows_len-9-inf.jsonl')));
  assert.ok(replaced.some((line) => line.includes('no row has this length now')));
  const none = await split(...words, '--length_list', '9');
  assert.ok(none.some((line) => /1 rows are shorter than 9 tokens/.test(line)));
});

test('what is no data, no range and no model is refused, and no part is written', async () => {
  fs.writeFileSync(at('bad.jsonl'), '{"query": "a", "pos": ["c"]}\n{"query": 1, "pos": ["c"]}\n');
  const words = ['--input_path', at('bad.jsonl'), '--output_dir', at('bad')];
  await assert.rejects(split(...words), /bad\.jsonl:2: expected "query" to be a text, found 1/);
  assert.ok(!fs.existsSync(at('bad')));
  await assert.rejects(split(...words, '--length_list', '0', '5', '5'), /found 5 more than once/);
  await assert.rejects(split(...words, '--log_name', '../log'), /--log_name: expected a file name/);
  await assert.rejects(split('--input_path', at('none'), '--output_dir', at('bad')), /--input_path/);
  await assert.rejects(
    split(...words, '--model_name_or_path', at('none')),
    /--model_name_or_path: .*no such folder/,
  );
});
