/** `bench ranks` and `bench step` with ranks that are processes, under each MPI that is there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, lengths } from '../bench-command.js';
import { installations } from './launch.js';

for (const { name } of installations)
  test(`${name}: bench ranks sums in both formats, beside a copy`, () => {
    const carrier = name === 'MPICH' ? 'mpich' : 'openmpi';
    const words = `ranks --carriers ${carrier} --payload 40kB --buckets 16kB --rounds 3 --no_overlap --no_bytes --json`;
    const { status, stdout, stderr } = bench(...words.split(' '));
    assert.equal(status, 0, stderr);
    const { rows } = JSON.parse(stdout);
    assert.deepEqual(
      rows.map((row: Record<string, unknown>) => [row['carrier'], row['operation'], row['wire']]),
      [
        [carrier, 'memcpy', null],
        [carrier, 'sum', 'f32'],
        [carrier, 'sum', 'bf16'],
        [carrier, 'gather', null],
      ],
    );
  });

test('bench step with ranks that are processes', () => {
  const words = ['step', '--model', 'tiny', '--layers', '1', '--full_length', ...lengths, '--steps', '1'];
  const { status, stdout, stderr } = bench(
    ...words,
    '--nproc_per_node',
    '2',
    '--launcher',
    'mpirun',
    '--json',
  );
  assert.equal(status, 0, stderr);
  const [row] = JSON.parse(stdout).rows;
  assert.deepEqual([row.ranks, row.carrier, row.tokens], [2, 'processes', 2 * (2 * 16 + 16 * 32)]);
  assert.deepEqual(row.gpuBytes, row.predictedGpuBytes);
});
