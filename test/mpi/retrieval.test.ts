/** `mpirun … dawntune encode`, `mine`, `score` and `evaluate`: two processes write the bytes of one, and end with one error. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { golden, repositoryRoot } from '../repository.js';
import { installations, mpirun } from './launch.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-mpi-retrieval-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
const at = (name: string) => path.join(folder, name);

fs.writeFileSync(at('texts.txt'), Array.from({ length: 50 }, (_, i) => 'word '.repeat(i % 13)).join('\n'));
const text = (i: number) => `passage ${i} ${'word '.repeat(i % 7)}${String.fromCharCode(97 + (i % 26))}`;
const row = (i: number) => ({
  query: `query ${i}`,
  pos: [text(i)],
  neg: [text(i + 1), text(i + 5), text(i + 9)],
});
const lines = (rows: readonly object[]) => rows.map((each) => `${JSON.stringify(each)}\n`).join('');
fs.writeFileSync(at('rows.jsonl'), lines(Array.from({ length: 24 }, (_, i) => row(i))));
fs.writeFileSync(at('wrong.jsonl'), `${lines([row(0)])}{"query":5}\n`);

const model = ['--model_name_or_path', golden('model'), '--batch_tokens', '100'];
/** Of each command its words, by where it reads and writes. */
const commands: Readonly<Record<string, (input: string, output: string) => string[]>> = {
  encode: (input, output) => [
    input,
    ...model,
    '--output',
    output,
    '--representations',
    'dense,sparse,colbert',
  ],
  mine: (input, output) => [
    ...[...model, '--input_file', input, '--output_file', output, '--mode', 'hybrid'],
    ...['--range_for_sampling', '1-12', '--negative_number', '4', '--write_scores', 'True'],
  ],
  score: (input, output) => [
    ...[...model, '--input_file', input, '--output_file', output],
    ...['--mode', 'hybrid', '--weights', '1', '0.3', '1'],
  ],
  evaluate: (input, output) => [
    ...[...model, '--eval_data', input, '--modes', 'dense', 'sparse', 'colbert', 'hybrid'],
    ...['--eval_output_method', 'json', '--eval_output_path', output],
  ],
};

for (const installation of installations)
  for (const [command, wordsOf] of Object.entries(commands))
    test(`${installation.name}: ${command} of two processes writes what one writes; an error ends both with one line`, async () => {
      const input = at(command === 'encode' ? 'texts.txt' : 'rows.jsonl');
      const ending = command === 'encode' ? 'safetensors' : 'jsonl';
      const words = (from: string, to: string) => [
        command,
        ...wordsOf(from, at(`${to}-${command}.${ending}`)),
      ];
      const written = (name: string) => fs.readFileSync(at(`${name}-${command}.${ending}`));
      const one = spawnSync(process.execPath, [main, ...words(input, 'one')], { encoding: 'utf8' });
      assert.equal(one.status, 0, one.stderr);
      const two = await mpirun(installation, [main, ...words(input, 'two')], { ranks: 2, limit: 60 });
      assert.equal(two.code, 0, two.stderr);
      assert.ok(written('two').equals(written('one')));
      assert.ok(written('one').length > 500);
      const ended = await mpirun(installation, [main, ...words(at('wrong.jsonl'), 'none')], {
        ranks: 2,
        limit: 60,
      });
      assert.equal(ended.code, 2, ended.stderr);
      assert.equal(ended.stderr.match(/wrong\.jsonl:[12]: /g)?.length, 1, ended.stderr);
      assert.deepEqual(
        fs.readdirSync(folder).filter((name) => name.includes('none')),
        [],
      );
    });
