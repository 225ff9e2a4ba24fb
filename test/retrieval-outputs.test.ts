/** Where commands write: what is no file of the user's own to replace, and what takes the place of something that is read. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { silentReporter } from '../src/console/reporter.js';
import { InputError } from '../src/errors.js';
import { AtomicFile, requireWritable } from '../src/files/atomic.js';
import { PartFile } from '../src/files/partial.js';
import { parseEncodeArguments } from '../src/retrieval/encode/arguments.js';
import { encodeFiles } from '../src/retrieval/encode/encode-command.js';
import { parseEvaluateArguments } from '../src/retrieval/evaluate/arguments.js';
import { parseMineArguments } from '../src/retrieval/mine/arguments.js';
import { mine } from '../src/retrieval/mine/mine.js';
import { parseSplitArguments } from '../src/retrieval/split/arguments.js';
import { splitByLength } from '../src/retrieval/split/split.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-outputs-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(folder, ...names);
const row = '{"query": "a", "pos": ["b"], "text": "c"}\n';
const model = ['--model_name_or_path', golden('model')];

test('a pipe, a folder and a link of the system keep their names', {
  skip: os.platform() === 'win32',
}, () => {
  assert.equal(spawnSync('mkfifo', [at('pipe')]).status, 0);
  fs.mkdirSync(at('a folder'));
  fs.symlinkSync('/proc/self/fd/1', at('stdout'));
  fs.symlinkSync(at('pipe'), at('link to the pipe'));
  for (const [name, reason] of [
    ['pipe', /pipe: cannot write: is no file but a device, a pipe or a socket$/],
    ['link to the pipe', /cannot write: is no file but a device/],
    ['a folder', /a folder: cannot write: is a folder$/],
    ['stdout', /stdout: cannot write: is (?:a link of the system|no file but)/],
  ] as const) {
    const before = fs.lstatSync(at(name)).ino;
    for (const write of [
      () => AtomicFile.create(at(name)),
      () => PartFile.open(at(name), undefined),
      () => requireWritable('--output', at(name)),
    ])
      assert.throws(write, (error: Error) => error instanceof InputError && reason.test(error.message), name);
    assert.equal(fs.lstatSync(at(name)).ino, before, name);
  }
  assert.deepEqual(fs.readdirSync(folder).sort(), ['a folder', 'link to the pipe', 'pipe', 'stdout']);
});

test('encode writes over nothing that it reads', async () => {
  fs.mkdirSync(at('encode'));
  const file = (name: string) => at('encode', name);
  const inputs = ['rows.jsonl', 'c.ids.jsonl', 'v.dense.npy', 'w.sparse_ids.npy'];
  for (const name of inputs) fs.writeFileSync(file(name), row);
  fs.linkSync(file('rows.jsonl'), file('the same.jsonl'));
  for (const [input, ...words] of [
    ['rows.jsonl', 'rows.jsonl'],
    ['rows.jsonl', 'the same.jsonl'],
    ['c.ids.jsonl', 'c.npy'],
    ['c.ids.jsonl', 'c.safetensors'],
    ['v.dense.npy', 'v.npy', '--representations', 'dense,colbert'],
    ['w.sparse_ids.npy', 'w.npy', '--representations', 'sparse'],
  ] as const) {
    const [output, ...flags] = words;
    const argv = [file(input), '--output', file(output!), ...flags, ...model];
    const { args } = parseEncodeArguments(argv);
    await assert.rejects(
      encodeFiles(args, { report: silentReporter }),
      /^InputError: --output: expected other files than those that are read, found /,
    );
  }
  for (const name of inputs) assert.equal(fs.readFileSync(file(name), 'utf8'), row);
  assert.equal(fs.readdirSync(at('encode')).length, inputs.length + 1);
});

test('mine does not write over its pool', async () => {
  fs.writeFileSync(at('pool.jsonl'), row);
  fs.symlinkSync(at('pool.jsonl'), at('link to the pool'));
  for (const output of ['pool.jsonl', 'link to the pool']) {
    const paths = ['--input_file', at('pool.jsonl'), '--output_file', at(output)];
    const { args } = parseMineArguments([...paths, '--candidate_pool', at('pool.jsonl'), ...model]);
    await assert.rejects(
      mine(args, { report: silentReporter }),
      /^InputError: --output_file: expected another/,
    );
  }
  assert.equal(fs.readFileSync(at('pool.jsonl'), 'utf8'), row);
});

test('encode that a signal ends before the first window leaves nothing', {
  skip: os.platform() === 'win32',
}, async () => {
  fs.mkdirSync(at('ended'));
  fs.writeFileSync(at('ended', 'texts.txt'), 'a text of some words\n'.repeat(30_000));
  const program = path.join(repositoryRoot, 'dist/src/cli/main.js');
  const words = [program, 'encode', 'texts.txt', '--output', 'v.npy', ...model];
  const child = spawn(process.execPath, words, { cwd: at('ended'), stdio: 'ignore' });
  const ended = once(child, 'exit');
  const begun = () => fs.readdirSync(at('ended')).some((name) => name.endsWith('-part'));
  while (!begun() && child.exitCode === null) await pause(10);
  child.kill('SIGTERM');
  assert.equal((await ended)[0], 143);
  const left = fs.readdirSync(at('ended'));
  // A machine that is quick has a window to keep.
  if (!left.some((name) => name.endsWith('-progress'))) assert.deepEqual(left, ['texts.txt']);
  assert.ok(!left.some((name) => name.endsWith('-lock')), left.join());
});

test('fields have no effect on lines, which is said', () => {
  const notices = (...words: string[]) =>
    parseEncodeArguments([...words, '--field', 'a', '--id_field', 'b', '--output', 'v.npy', ...model])
      .notices;
  for (const words of [['a.txt'], ['a.jsonl', '--input_format', 'lines']])
    assert.deepEqual(
      notices(...words).map((line) => line.split(' ')[0]),
      ['--field', '--id_field'],
    );
  for (const words of [[], ['-'], ['a.txt', 'b.json'], ['a.txt', '--input_format', 'jsonl']])
    assert.deepEqual(notices(...words), []);
});

test('what is of models has no effect on a run file alone, which is said', () => {
  const run = ['--qrels', 'q', '--run', 'r.trec'];
  const flags = [
    '--fp16',
    '--modes',
    'sparse',
    '--truncate_dim',
    '8',
    '--search_top_k',
    '5',
    '--adapter',
    'x',
  ];
  const told = (...more: string[]) =>
    parseEvaluateArguments([...run, ...flags, ...more]).notices.map((line) => line.split(' ')[0]);
  assert.deepEqual(told(), ['--truncate_dim', '--fp16', '--modes', '--search_top_k']);
  assert.deepEqual(told('--compare', 'a model'), []);
});

test('parts of a split that would take each other’s names, or those of what is read, are refused', async () => {
  fs.mkdirSync(at('two'));
  for (const name of ['a.json', 'a.jsonl']) fs.writeFileSync(at('two', name), row);
  fs.mkdirSync(at('one'));
  for (const name of ['a.jsonl', 'a_len-0-inf.jsonl']) fs.writeFileSync(at('one', name), row);
  fs.mkdirSync(at('out', 'log'), { recursive: true });
  for (const [words, expected] of [
    [['two', 'out'], /^InputError: --input_path: expected files whose parts have different names/],
    [
      ['one', 'one', '--overwrite'],
      /^InputError: --output_dir: expected a folder where no part has the name/,
    ],
    [
      ['one/a.jsonl', 'out', '--log_name', 'a_len-0-inf.jsonl'],
      /^InputError: --log_name: expected another name/,
    ],
    [['one/a.jsonl', 'out', '--log_name', 'log'], /^InputError: .*log: cannot write: is a folder$/],
  ] as const) {
    const [input, output, ...flags] = words;
    const paths = ['--input_path', at(input!), '--output_dir', at(output!), '--length_list', '0'];
    const { args } = parseSplitArguments([...paths, ...flags, ...model]);
    await assert.rejects(splitByLength(args, silentReporter), expected);
  }
  assert.deepEqual(fs.readdirSync(at('out')), ['log']);
  assert.equal(fs.readFileSync(at('one', 'a_len-0-inf.jsonl'), 'utf8'), row);
});

test('results that standard output has no room for end the command with 1', {
  skip: !fs.existsSync('/dev/full'),
}, () => {
  fs.writeFileSync(at('full.jsonl'), '{"query": "q", "pos": ["p"], "neg": ["n"]}\n');
  const program = path.join(repositoryRoot, 'dist/src/cli/main.js');
  for (const words of [
    ['encode', at('full.jsonl'), '--field', 'query', ...model, '--output', '-'],
    ['score', at('full.jsonl'), '-', ...model],
    ['evaluate', '--eval_data', at('full.jsonl'), ...model],
  ]) {
    const full = fs.openSync('/dev/full', 'w');
    const { status, stderr } = spawnSync(process.execPath, [program, ...words], {
      encoding: 'utf8',
      stdio: ['ignore', full, 'pipe'],
    });
    fs.closeSync(full);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /^(?:dawntune: )?standard output: cannot write: /m, words[0]);
  }
});
