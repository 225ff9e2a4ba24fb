/** Carriers of ranks, all by one suite, and the arithmetic that they share. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Communicator, partOf, RankError } from '../src/ranks/communicator.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { PlannedRanks } from '../src/ranks/planned.js';
import { SingleCommunicator } from '../src/ranks/single.js';
import { roundToBf16 } from '../src/ranks/sums.js';
import { conversation, nearestBf16 } from './communicator-suite.js';

const all = (size: number, play: (communicator: Communicator) => Promise<void>) => {
  const ranks = new EmulatedRanks(size);
  return Promise.all(Array.from({ length: size }, (_, rank) => play(ranks.rank(rank))));
};

test('a single rank', () => conversation(new SingleCommunicator(), { long: 200_000 }));

for (const size of [1, 2, 3, 4])
  test(`${size} emulated ranks`, async () => {
    await all(size, (communicator) => conversation(communicator));
  });

test('emulated ranks that do not do the same get an error that names both', async () => {
  const ranks = new EmulatedRanks(2);
  const [a, b] = [ranks.rank(0), ranks.rank(1)];
  const outcomes = await Promise.allSettled([
    a.startSum(new Float32Array(3)).wait(),
    b.startSum(new Float32Array(2)).wait(),
  ]);
  for (const outcome of outcomes)
    assert.match(
      String((outcome as PromiseRejectedResult).reason),
      /rank 0 does "sum of 3 .*rank 1 does "sum of 2/,
    );
  await assert.rejects(a.barrier(), /ranks do not do the same/);
});

test('a failing rank ends what emulated ranks wait for, with its reason', async () => {
  const ranks = new EmulatedRanks(3);
  const waits = [ranks.rank(0).barrier(), ranks.rank(1).allGather(new Uint8Array(1))];
  void waits[0]!.catch(() => undefined);
  const failure = { rank: 2, message: 'a disk is full', exitCode: 1 as const };
  await assert.rejects(ranks.rank(2).abort(failure), RankError);
  const [first] = await Promise.allSettled(waits);
  assert.ok(first!.status === 'rejected');
  const other = new EmulatedRanks(2);
  const waiting = other.rank(0).barrier();
  await assert.rejects(other.rank(1).abort({ ...failure, rank: 1 }), RankError);
  await assert.rejects(waiting, /^RankError: rank 1: a disk is full$/);
  await assert.rejects(other.rank(0).barrier(), /rank 1: a disk is full/);
  await assert.rejects(new SingleCommunicator().abort({ ...failure, rank: 0 }), /rank 0: a disk is full/);
});

test('a rank that closes early ends those that wait for it', async () => {
  const ranks = new EmulatedRanks(2);
  const waiting = ranks.rank(0).barrier();
  await ranks.rank(1).close();
  await assert.rejects(waiting, /rank 1 closed while others wait/);
});

test('ranks that there are not are refused', () => {
  for (const rank of [2, -1, 0.5]) assert.throws(() => new EmulatedRanks(2).rank(rank), /no rank .* among 2/);
});

test('a plan takes the others to send what this rank does', async () => {
  const ranks = new PlannedRanks(3);
  assert.deepEqual(
    (await ranks.allGather(new Uint8Array(5))).map((bytes) => bytes.length),
    [5, 5, 5],
  );
});

test('parts cover everything once, in order, and begin where any adapter can bind', () => {
  fc.assert(
    fc.property(fc.nat(100_000), fc.integer({ min: 1, max: 70 }), (count, size) => {
      let at = 0;
      for (let rank = 0; rank < size; rank++) {
        const { start, end } = partOf(count, size, rank);
        assert.equal(start, at);
        assert.ok(end >= start && (start % 128 === 0 || start === count));
        at = end;
      }
      assert.equal(at, count);
    }),
  );
});

test('rounding to bf16 is to the nearest, ties to even', () => {
  const edges = [0, -0, 1, 1.00390625, 1.01171875, 3.4e38, 3.4028234663852886e38, 1e-40, Infinity, -Infinity];
  fc.assert(
    fc.property(fc.array(fc.float({ noNaN: true })), (drawn) => {
      const values = Float32Array.from([...edges, ...drawn]);
      const rounded = values.slice();
      roundToBf16(rounded);
      assert.deepEqual([...rounded], [...values].map(nearestBf16));
    }),
  );
  const none = new Float32Array([Number.NaN]);
  roundToBf16(none);
  assert.ok(Number.isNaN(none[0]));
});
