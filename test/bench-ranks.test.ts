/** What `bench ranks` says of sums and gathers, on sizes that take milliseconds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { carrierNames } from '../bench/ranks/flags.js';
import { bench, lengths } from './bench-command.js';

const small = '--payload 40kB --buckets 16kB 40kB --rounds 3'.split(' ');

test('ranks: each carrier sums in both formats, beside a copy', () => {
  const { status, stdout, stderr } = bench(
    ...['ranks', ...small, '--nproc_per_node', '3', '--no_overlap', '--json'],
  );
  assert.equal(status, 0, stderr);
  const { suite, rows } = JSON.parse(stdout);
  assert.equal(suite, 'ranks');
  for (const carrier of carrierNames) {
    const own = rows.filter((row: { carrier: string }) => row.carrier === carrier);
    assert.deepEqual(
      own.map((row: Record<string, unknown>) => [row['operation'], row['wire'], row['bucketBytes']]),
      [
        ['memcpy', null, 40_000],
        ['sum', 'f32', 16_000],
        ['sum', 'bf16', 16_000],
        ['sum', 'f32', 40_000],
        ['sum', 'bf16', 40_000],
        ['gather', null, 24],
      ],
    );
    for (const row of own) {
      assert.equal(row.ranks, 3);
      assert.ok(row.milliseconds > 0 && row.lowerQuartile <= row.milliseconds);
      assert.equal(row.gbPerSecond === null, row.operation === 'gather');
    }
  }
});

test('ranks: what it refuses', () => {
  for (const [words, expected] of [
    ['--nproc_per_node 1', /--nproc_per_node: expected an integer from 2 to 64, found "1"/],
    ['--carriers pigeons', /--carriers: expected some of emulated.*, found "pigeons"/],
    ['--json --csv', /expected one of --json and --csv, found both/],
    ['--no_overlap --steps 3', /--steps has no meaning without --overlap/],
  ] as const) {
    const { status, stderr } = bench('ranks', ...words.split(' '));
    assert.equal(status, 2, words);
    assert.match(stderr, expected);
  }
});

const tiny = ['step', '--model', 'tiny', '--layers', '2', '--full_length', ...lengths, '--steps', '1'];

test('step on two ranks counts the tokens of both, and what they exchange', () => {
  const words = [...tiny, '--nproc_per_node', '2', '--reduce_dtype', 'bf16', '--json'];
  const { status, stdout, stderr } = bench(...words);
  assert.equal(status, 0, stderr);
  const [row] = JSON.parse(stdout).rows;
  assert.deepEqual([row.ranks, row.carrier, row.wire], [2, 'threads', 'bf16']);
  assert.equal(row.tokens, 2 * (2 * 16 + 16 * 32));
  assert.ok(row.seconds > 0 && row.firstLoss > 0);
  const { sentBytes, milliseconds, hiddenShare } = row.exchange;
  assert.ok(sentBytes > 1e6 && milliseconds > 0 && hiddenShare >= 0 && hiddenShare <= 1);
  assert.deepEqual(row.gpuBytes, row.predictedGpuBytes);
});

test('step on ranks: what it refuses', () => {
  for (const [words, expected] of [
    ['--reduce_dtype bf16', /--reduce_dtype has no meaning with one rank/],
    ['--nproc_per_node 2 --profile x', /--profile: expected one rank, found --nproc_per_node 2/],
    ['--nproc_per_node 2 --tune full', /--tune full: expected one rank/],
    ['--nproc_per_node 65', /--nproc_per_node: expected a positive integer of at most 64, found "65"/],
  ] as const) {
    const { status, stderr } = bench('step', ...words.split(' '));
    assert.equal(status, 2, words);
    assert.match(stderr, expected);
  }
});
