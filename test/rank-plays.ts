/** What ranks in threads of their own do in tests (carriers.test.ts): a module as RankThreads starts it. */
import { setTimeout as delay } from 'node:timers/promises';
import { InputError, MachineError } from '../src/errors.js';
import { progress } from '../src/progress.js';
import { beatThrough } from '../src/ranks/heartbeat.js';
import type { RankContext } from '../src/ranks/rank-messages.js';
import { conversation } from './communicator-suite.js';

type Play = (context: RankContext) => Promise<unknown>;

/** Those of `faulty` are what the last rank does while the others wait for it. */
const faulty = {
  async throws() {
    throw new MachineError('the GPU device was lost (unknown): no reason');
  },
  async throwsInput() {
    throw new InputError('line 3: no text', ['line 4: no text']);
  },
  async throwsUnawaited() {
    setTimeout(() => {
      throw new Error('nobody awaits this');
    }, 20);
    await delay(1e6);
  },
  async exits() {
    process.exit(0);
  },
  async neverSettles() {
    return new Promise(() => undefined);
  },
  async loops() {
    for (;;);
  },
  async looksBusy() {
    // Longer than the timeout, with a sign of life in between.
    const end = performance.now() + 1500;
    while (performance.now() < end) progress();
  },
  async readsLong() {
    // Longer than the timeout, and nothing in it that could beat.
    await beatThrough(() => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500));
  },
  async otherCall({ communicator }) {
    await communicator.allGather(new Uint8Array(3));
  },
  async leavesEarly({ communicator }) {
    await communicator.close();
    await delay(300);
  },
} satisfies Record<string, Play>;

export type Fault = keyof typeof faulty;

export type Data = { readonly fault: Fault } | { readonly play: keyof typeof plays };

const plays = {
  async conversation({ communicator }) {
    await conversation(communicator);
    return communicator.rank;
  },
  async tells({ communicator, report }) {
    report.note(`a note of ${communicator.rank}`);
    report.start(5, 1);
    report.log({ of: communicator.rank });
    report.step(2, 0.5);
    report.saved?.('checkpoint-2');
    report.end();
    await communicator.barrier();
  },
  async untilStopped({ stop }) {
    while (!stop.requested) await delay(10);
    return stop.exitCode;
  },
} satisfies Record<string, Play>;

export async function runRank(context: RankContext<Data>): Promise<unknown> {
  const { communicator, data } = context;
  if ('play' in data) return (plays[data.play] as Play)(context);
  await communicator.barrier();
  if (communicator.rank === communicator.size - 1) await (faulty[data.fault] as Play)(context);
  await communicator.barrier();
  return communicator.rank;
}
