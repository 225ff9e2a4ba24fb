/** Communicators that are carried by communication threads: ranks of one process that share memory. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Reporter, silentReporter } from '../src/console/reporter.js';
import type { InputError } from '../src/errors.js';
import { CarriedCommunicator } from '../src/ranks/carrier.js';
import { type Communicator, RankError } from '../src/ranks/communicator.js';
import { RankThreads, type RankThreadsOptions } from '../src/ranks/rank-threads.js';
import { threadsPlace, threadsWorld } from '../src/ranks/threads-transport.js';
import { conversation } from './communicator-suite.js';
import type { Data, Fault } from './rank-plays.js';

interface Options {
  readonly sliceBytes?: number;
  readonly timeoutSeconds?: number;
}

/** What became of `size` ranks that all run in this thread, each with a communication thread of its own. */
async function outcomes<T>(
  size: number,
  play: (communicator: Communicator) => Promise<T>,
  { sliceBytes, ...options }: Options = {},
): Promise<PromiseSettledResult<T>[]> {
  const world = threadsWorld(size, sliceBytes);
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

test('the suite in slices that are shorter than most of what is said', async () => {
  const settled = await outcomes(3, (rank) => conversation(rank), { sliceBytes: 4096 });
  assert.deepEqual(reasons(settled), Array(3).fill('fulfilled'));
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

test('a rank that does not answer while others close is told as that, and those that close beat', async () => {
  const beats = new Int32Array(new SharedArrayBuffer(4));
  const transport = { module: new URL('./silent-peer.js', import.meta.url).href, data: beats };
  const communicator = await CarriedCommunicator.open({ transport, timeoutSeconds: 1 });
  await communicator.barrier();
  const before = Atomics.load(beats, 0);
  await assert.rejects(
    communicator.close(),
    /^RankError: rank 1: gave no sign of life for 1 s while rank 0 closed the run and waited for it: it hangs, or/,
  );
  assert.ok(Atomics.load(beats, 0) > before + 1);
  await assert.rejects(communicator.barrier(), /^RankError: rank 1: /);
});

// ---- ranks in threads of their own ---------------------------------------------------------------------------

function started<T>(size: number, data: Data, options: Partial<RankThreadsOptions> = {}): RankThreads<T> {
  const module = new URL('./rank-plays.js', import.meta.url);
  return new RankThreads<T>({ size, module, data, report: silentReporter, ...options });
}

for (const size of [2, 4])
  test(`the suite over ${size} threads that each run a rank`, async () => {
    const results = await started<number>(size, { play: 'conversation' }).results();
    assert.deepEqual(
      results,
      Array.from({ length: size }, (_, rank) => rank),
    );
  });

const FAULTS: Record<Exclude<Fault, 'looksBusy' | 'readsLong'>, RegExp> = {
  throws: /^RankError: rank 1: the GPU device was lost \(unknown\): no reason$/,
  throwsInput: /^InputError: rank 1: line 3: no text$/,
  throwsUnawaited: /^RankError: rank 1: nobody awaits this$/,
  exits: /^RankError: rank 1: its thread ended without a result \(exit code 0\)$/,
  neverSettles: /^RankError: rank 1: its thread ended without a result \(exit code 13\)$/,
  loops: /^RankError: rank 1: gave no sign of life for 3 s while rank 0 waited for it/,
  otherCall:
    /^RankError: rank 1: ranks do not do the same: rank 0 does "barrier".* rank 1 does "gather of bytes"/,
  leavesEarly: /^RankError: rank 1: ended its exchanges while rank 0 waited for it$/,
};
describe('a fault of one rank ends the other, with its rank and the reason', { concurrency: 4 }, () => {
  for (const [fault, message] of Object.entries(FAULTS))
    test(fault, async () => {
      // The others are slow on a busy machine, not silent.
      const timeout = fault === 'loops' ? { timeoutSeconds: 3 } : {};
      const ranks = started(2, { fault: fault as Fault }, { ...timeout, graceSeconds: 0.3 });
      await assert.rejects(ranks.results(), (error) => {
        if (fault === 'throwsInput') assert.deepEqual((error as InputError).more, ['line 4: no text']);
        return message.test(String(error));
      });
    });
});

test('a rank that is busy for longer than the timeout, and says so, is waited for', async () => {
  for (const fault of ['looksBusy', 'readsLong'] as const) {
    const results = await started<number>(2, { fault }, { timeoutSeconds: 1 }).results();
    assert.deepEqual(results, [0, 1], fault);
  }
});

test('rank 0 tells what it has to tell; of other ranks notes are passed on', async () => {
  const told: unknown[][] = [];
  const hear =
    (method: string) =>
    (...given: unknown[]) =>
      void told.push([method, ...given]);
  const report = Object.fromEntries(
    ['note', 'log', 'start', 'step', 'saved', 'end'].map((method) => [method, hear(method)]),
  ) as unknown as Reporter;
  await started(2, { play: 'tells' }, { report }).results();
  const other = told.findIndex(([, line]) => line === 'rank 1: a note of 1');
  assert.ok(other >= 0);
  told.splice(other, 1);
  assert.deepEqual(told, [
    ['note', 'a note of 0'],
    ['start', 5, 1],
    ['log', { of: 0 }],
    ['step', 2, 0.5],
    ['saved', 'checkpoint-2'],
    ['end'],
  ]);
});

test('a request to stop reaches every rank', async () => {
  const stop = { requested: false, exitCode: 130 };
  const ranks = started<number>(2, { play: 'untilStopped' }, { stop });
  setTimeout(() => {
    stop.requested = true;
  }, 50);
  assert.deepEqual(await ranks.results(), [130, 130]);
});
