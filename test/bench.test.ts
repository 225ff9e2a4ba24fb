/** The bench commands that the README names, on sizes that take seconds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, checkBenchStep, lengths } from './bench-command.js';

test('step without data', () => checkBenchStep());

test('memory, and what it refuses', () => {
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
    ['toString', /^bench: expected one of kernels, .*step, memory.*, found "toString"$/],
    ['kernel', /^bench: expected one of .*, found "kernel"; the nearest is kernels$/],
  ] as const) {
    const { status, stderr } = bench(...words.split(' '));
    assert.equal(status, 2, words);
    assert.match(stderr.trim().replace(/^dawntune: /, ''), expected);
  }
});

test('help names the suites; that of a suite its flags', () => {
  const { status, stdout } = bench('--help');
  assert.equal(status, 0);
  for (const suite of ['kernels', 'step', 'memory']) {
    assert.match(stdout, new RegExp(`^  ${suite} +\\S`, 'm'));
    assert.match(bench(suite, '--help').stdout, new RegExp(`^dawntune bench ${suite} \\[flags\\]\n`));
  }
  assert.match(bench('step', '--help').stdout, /--model tiny\|minilm\|bge-m3\n/);
});
