/** Communicators that are carried by communication threads: ranks of one process that share memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CarriedCommunicator } from '../src/train/ranks/carrier.js';
import { type Communicator, RankError } from '../src/train/ranks/communicator.js';
import { threadsPlace, threadsWorld } from '../src/train/ranks/threads-transport.js';
import { conversation } from './communicator-suite.js';

interface Options {
  readonly stagingBytes?: number;
  readonly timeoutSeconds?: number;
}

/** What became of `size` ranks that all run in this thread, each with a communication thread of its own. */
async function outcomes<T>(
  size: number,
  play: (communicator: Communicator) => Promise<T>,
  { stagingBytes, ...options }: Options = {},
): Promise<PromiseSettledResult<T>[]> {
  const world = threadsWorld(size, stagingBytes);
  const ranks = await Promise.all(
    Array.from({ length: size }, (_, rank) =>
      CarriedCommunicator.open({ transport: threadsPlace(world, rank), ...options }),
    ),
  );
  const settled = await Promise.allSettled(ranks.map(play));
  await Promise.all(ranks.map((rank) => rank.close()));
  return settled;
}

const reasons = (settled: readonly PromiseSettledResult<unknown>[]) =>
  settled.map((each) => (each.status === 'rejected' ? String(each.reason) : 'fulfilled'));

// Staging that is smaller than most of what is said: many rounds.
for (const size of [1, 2])
  test(`the suite over ${size} threads`, async () => {
    assert.deepEqual(
      reasons(await outcomes(size, (rank) => conversation(rank), { stagingBytes: 16384 })),
      Array(size).fill('fulfilled'),
    );
  });

test('ranks that do not do the same get an error that names both', async () => {
  const settled = await outcomes(3, (rank) =>
    rank.rank === 1 ? rank.barrier() : rank.startSum(new Float32Array(5)).wait(),
  );
  assert.deepEqual(
    reasons(settled),
    Array(3).fill(
      'RankError: rank 1: ranks do not do the same: rank 0 does "sum of 5 values in f32" (its call 0), rank 1 does "barrier" (its call 0)',
    ),
  );
});

test('a rank that aborts ends what others wait for, and what they do later', async () => {
  const failure = { rank: 1, message: 'a disk is full', exitCode: 2 } as const;
  const settled = await outcomes(3, async (rank) => {
    if (rank.rank === 1) return rank.abort(failure);
    if (rank.rank === 2) await new Promise((resolve) => setTimeout(resolve, 200));
    return rank.barrier();
  });
  assert.deepEqual(reasons(settled), Array(3).fill('RankError: rank 1: a disk is full'));
  for (const { reason } of settled as PromiseRejectedResult[]) {
    assert.ok(reason instanceof RankError);
    assert.deepEqual(reason.failure, failure);
  }
});

test('a rank that closes early ends those that wait for it', async () => {
  const settled = await outcomes(2, async (rank) => {
    if (rank.rank === 1) return rank.close();
    return rank.barrier();
  });
  assert.match(reasons(settled)[0]!, /^RankError: rank 1: ended its exchanges while rank 0 waited for it$/);
});
