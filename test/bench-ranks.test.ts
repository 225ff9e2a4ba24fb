/** What `bench ranks` says of sums and gathers, on sizes that take milliseconds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench as benchCommand } from '../bench/bench.js';
import { bench, lengths } from './bench-command.js';
import { refusalOf } from './refusal.js';

const small = '--payload 40kB --buckets 16kB 40kB --rounds 3'.split(' ');

test('ranks: each carrier sums in both formats, beside a copy', () => {
  const { status, stdout, stderr } = bench(
    ...['ranks', ...small, '--nproc_per_node', '3', '--no_overlap', '--no_bytes', '--json'],
    ...['--carriers', 'emulated', 'threads'],
  );
  assert.equal(status, 0, stderr);
  const { suite, rows } = JSON.parse(stdout);
  assert.equal(suite, 'ranks');
  // Processes under MPI are measured by npm run test:mpi.
  for (const carrier of ['emulated', 'threads']) {
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

test('ranks: what it refuses', async () => {
  for (const [words, expected] of [
    ['--nproc_per_node 1', /--nproc_per_node: expected an integer from 2 to 64, found "1"/],
    ['--carriers pigeons', /--carriers: expected some of emulated.*, found "pigeons"/],
    ['--json --csv', /expected one of --json and --csv, found both/],
    ['--no_overlap --steps 3', /--steps has no meaning without --overlap/],
  ] as const) {
    const { status, stderr } = await refusalOf(benchCommand, ['ranks', ...words.split(' ')]);
    assert.equal(status, 2, words);
    assert.match(stderr, expected);
  }
});

test('scaling: memory and bytes of every way to share a step', async () => {
  const words = ['scaling', '--model', 'tiny', '--layers', '1', ...lengths];
  const { status, stdout, stderr } = bench(...words, '--ranks', '1', '2', '--json');
  assert.equal(status, 0, stderr);
  const { rows } = JSON.parse(stdout);
  assert.deepEqual(
    rows.map((row: { ranks: number }) => row.ranks),
    [1, 1, ...Array.from({ length: 8 }, () => 2)],
  );
  const sent = (which: number) => rows[which].sentBytes;
  assert.equal(sent(0).total, 0);
  // Touched rows before the whole table, f32 before bf16, moments of all before divided ones.
  assert.ok(sent(2).total < sent(4).total && sent(3).total < sent(2).total);
  assert.ok(rows[6].gpuBytes.optimizer < 0.51 * rows[2].gpuBytes.optimizer && sent(6).weights > 0);
  const lines = bench(...words, '--ranks', '1', '--words', '100').stdout.split('\n');
  assert.match(lines[2]!, /^\| ranks \| touched rows \| whole table \|/);
  assert.match(lines[4]!, /^\| 1( \| [\d.]+ [MG]B){4} \|$/);
  const many = await refusalOf(benchCommand, [...words, '--words', '250003']);
  assert.match(many.stderr, /--words: expected at most 250002, found 250003/);
});

test('step on ranks: what it refuses', async () => {
  for (const [words, expected] of [
    ['--reduce_dtype bf16', /--reduce_dtype has no meaning with one rank$/m],
    ['--nproc_per_node 2 --profile x', /--profile: expected one rank, found --nproc_per_node 2/],
    ['--nproc_per_node 2 --tune full', /--tune full: expected one rank/],
    ['--nproc_per_node 65', /--nproc_per_node: expected a positive integer of at most 64, found "65"/],
  ] as const) {
    const { status, stderr } = await refusalOf(benchCommand, ['step', ...words.split(' ')]);
    assert.equal(status, 2, words);
    assert.match(stderr, expected);
  }
});
