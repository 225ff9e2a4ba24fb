/** The bench commands that the README names, on sizes that take seconds. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { bench as benchCommand } from '../bench/bench.js';
import { bench, checkBenchStep, lengths } from './bench-command.js';
import { refusalOf } from './refusal.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-bench-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

test('step on texts of the longest length', () => checkBenchStep());

test('a step on the package’s own rows, beside one of an earlier report', () => {
  const old = path.join(folder, 'old.json');
  const row = {
    model: 'tiny, 1 layers',
    batch: 2,
    group: 2,
    precision: 'f32',
    recompute: false,
    seconds: 1e-6,
  };
  const report = { suite: 'step', adapter: 'another', driver: 'd', date: '2026-01-01', rows: [row] };
  fs.writeFileSync(old, JSON.stringify(report));
  const words = 'step --model tiny --layers 1 --group 2 --steps 1 --csv'.split(' ');
  const { status, stdout, stderr } = bench(...words, '--compare', old);
  assert.equal(status, 3, stderr);
  assert.match(stdout, /^model,batch,group,precision,/);
  assert.match(stdout, /\r\n"tiny, 1 layers",2,2,f32,false,,/);
  assert.match(stderr, /^warning: another machine: adapter another → /m);
  assert.match(stderr, /^tiny, 1 layers, 2 × \(1\+2\) texts, f32 .* 0\.00× {2}slower$/m);
});

test('memory, and what it refuses', async () => {
  const { status, stdout, stderr } = bench('memory', '--model', 'tiny', ...lengths, '--json');
  assert.equal(status, 0, stderr);
  const { rows } = JSON.parse(stdout);
  assert.deepEqual(
    rows.map((row: { precision: string; recompute: boolean }) => [row.precision, row.recompute]),
    [
      ['f32', false],
      ['f32', true],
      ['f16', false],
      ['f16', true],
    ],
  );
  const refused = bench('memory', '--long', '--batch', '3');
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /--batch has no meaning with --long/);
  for (const [words, expected] of [
    ['step --batch 65536 --group 65536', /^--batch 65536 --group 65536: expected at most 4194304 tokens/],
    [
      'step --layers 1000000000',
      /^--layers: expected a positive integer of at most 1000, found "1000000000"$/,
    ],
    ['step --model toString', /^--model: expected one of tiny, minilm, bge-m3, found "toString"$/],
    ['step --modle tiny', /^unknown flag --modle; the nearest is --model$/],
    ['memory --query_max_len 2', /^--query_max_len: expected an integer from 3 to 65536, found "2"$/],
    ['step --data nowhere.jsonl', /^--data: nowhere\.jsonl: cannot read: no such file or folder$/],
    ['step --data x --full_length', /^bench step: expected one of --data and --full_length, found both$/],
    ['step --json --csv', /^bench: expected one of --json and --csv, found both/],
    ['memory --json --csv', /^bench: expected one of --json and --csv, found both/],
    ['step --max_slowdown 2', /^bench: --max_slowdown has no meaning without --compare/],
    ['toString', /^bench: expected one of kernels, .*step, memory.*, found "toString"$/],
    ['kernel', /^bench: expected one of .*, found "kernel"; the nearest is kernels$/],
  ] as const) {
    const { status, stderr } = await refusalOf(benchCommand, words.split(' '));
    assert.equal(status, 2, words);
    assert.match(stderr.trim().replace(/^dawntune: /, ''), expected);
  }
});

test('help names the suites; that of a suite its flags', () => {
  const { status, stdout } = bench('--help');
  assert.equal(status, 0);
  for (const suite of ['kernels', 'step', 'memory']) {
    assert.match(stdout, new RegExp(`^  ${suite} +\\S`, 'm'));
    const help = bench(suite, '--help').stdout;
    assert.match(help, new RegExp(`^dawntune bench ${suite} \\[flags\\]\n`));
    if (suite === 'step') assert.match(help, /--model tiny\|minilm\|bge-m3\n/);
  }
});
