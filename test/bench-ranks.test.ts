/** What `bench ranks` says of sums and gathers, on sizes that take milliseconds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { carrierNames } from '../bench/ranks/worlds.js';
import { bench } from './bench-command.js';

const small = '--payload 40kB --buckets 16kB 40kB --rounds 3'.split(' ');

test('ranks: each carrier sums in both formats, beside a copy', () => {
  const { status, stdout, stderr } = bench('ranks', ...small, '--nproc_per_node', '3', '--json');
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
  ] as const) {
    const { status, stderr } = bench('ranks', ...words.split(' '));
    assert.equal(status, 2, words);
    assert.match(stderr, expected);
  }
});
