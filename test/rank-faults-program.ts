/**
 * A program for rank-faults.test.ts: ranks in threads, each with a device, of which the last goes wrong in the way that
 * is named. It ends as a command does. Also the module of its ranks.
 */
import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';
import { exitCodeOf, leaveAtOnce, tellFailure } from '../src/cli/failure.js';
import { silentReporter } from '../src/console/reporter.js';
import { MachineError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { bytesOf } from '../src/ranks/communicator.js';
import { beatThrough } from '../src/ranks/heartbeat.js';
import type { RankContext } from '../src/ranks/rank-messages.js';
import { RankThreads } from '../src/ranks/rank-threads.js';
import { Tensor } from '../src/tensor/tensor.js';

/** A promise of the device that nobody lets come true: to end its thread from outside would abort the process. */
function owe(gpu: Gpu): void {
  void gpu.device.queue.onSubmittedWorkDone();
}

export type RankFault = keyof typeof faults;

const faults = {
  async none() {},
  async throws() {
    throw new MachineError('no space is left');
  },
  async losesDevice(gpu) {
    gpu.device.destroy();
    await gpu.device.lost;
    await Tensor.from(gpu, new Float32Array(4), [4]).toArray();
  },
  async loops(gpu) {
    owe(gpu);
    for (;;);
  },
  /** In work through which the communication thread beats for this one: a start, a save. */
  async loopsBusy(gpu) {
    owe(gpu);
    await beatThrough(() => {
      for (;;);
    });
  },
  /** While the other, which computes something endless, has a save begun. */
  async throwsBesideEndless() {
    await delay(200);
    throw new MachineError('no space is left');
  },
} satisfies Record<string, (gpu: Gpu) => Promise<unknown>>;

export async function runRank({
  communicator,
  data,
}: RankContext<{ fault: RankFault; left: string }>): Promise<void> {
  const gpu = await Gpu.open();
  try {
    const { rank, size } = communicator;
    const values = await Tensor.from(gpu, new Float32Array([rank, 1]), [2]).toArray();
    await communicator.allGather(bytesOf(values as Float32Array));
    if (rank === size - 1) await faults[data.fault](gpu);
    else if (data.fault === 'throwsBesideEndless') {
      fs.writeFileSync(data.left, 'half');
      process.on('exit', () => fs.rmSync(data.left));
      owe(gpu);
      await delay(1e6);
    }
    await communicator.barrier();
  } finally {
    await gpu.close();
  }
}

if (isMainThread) {
  const [size, fault, left] = process.argv.slice(2) as [string, RankFault, string];
  const ranks = new RankThreads({
    ...{ size: Number(size), module: new URL(import.meta.url), data: { fault, left } },
    ...{ report: silentReporter, graceSeconds: 0.5 },
    // The others are slow on a busy machine, not silent.
    timeoutSeconds: fault.startsWith('loops') ? 3 : 20,
    busySeconds: fault === 'loopsBusy' ? 1 : undefined,
    leave(exitCode, error) {
      if (error) tellFailure(error);
      leaveAtOnce(exitCode);
    },
  });
  try {
    await ranks.results();
  } catch (error) {
    tellFailure(error);
    process.exit(exitCodeOf(error));
  }
}
