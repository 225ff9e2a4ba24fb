/** Two processes of each MPI train to the bits of two ranks that one process plays, which test/ranks-training.test.ts holds to one rank. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { modes, type RankedRun, trainRanks } from '../ranked-runs.js';
import { repositoryRoot } from '../repository.js';
import { installations, mpirun } from './launch.js';
import { digestOf } from './training-rank.js';

const program = path.join(repositoryRoot, 'dist', 'test', 'mpi', 'training-rank.js');

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const [first] = modes;
const runs: [string, RankedRun][] = [
  ['20 steps', { mode: first! }],
  [
    'f16, recomputing, in chunks, two batches a step, bf16 on the wire, moments divided',
    {
      ...{ mode: { ...first!, step: { recompute: true, subBatchSize: 3 } }, steps: 4, window: 2 },
      ...{ precision: 'f16', settings: { wire: 'bf16', shardOptimizer: true } },
    },
  ],
  [
    'cross-device negatives',
    {
      mode: { name: 'dense only', step: { unified: false, negativesCrossDevice: true }, selfDistill: false },
      steps: 4,
    },
  ],
];

for (const [name, run] of runs)
  describe(name, () => {
    let digest: string;
    before(async () => {
      const [played] = await trainRanks([gpu], run);
      digest = digestOf(played!);
    });
    for (const installation of installations)
      test(`${installation.name} (${installation.version})`, async () => {
        const { code, stdout, stderr } = await mpirun(installation, [program, JSON.stringify(run)], {
          ranks: 2,
          limit: 120,
        });
        assert.equal(code, 0, stderr);
        const told = [...stdout.matchAll(/^rank \d pid \d+: (.*)$/gm)].map(([, each]) => each);
        assert.deepEqual(told, [digest, digest], stdout);
      });
  });
