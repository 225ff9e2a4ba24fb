/** What one of several ranks does for `bench step` and `bench ranks`: it opens its adapter, trains and tells how it went. */
import type { MemoryReport } from '../../src/gpu/memory.js';
import { useWinners } from '../../src/kernels/tuning.js';
import type { RankAdapter } from '../../src/ranks/choose-ranks.js';
import type { Communicator, WireFormat } from '../../src/ranks/communicator.js';
import { openRankGpu } from '../../src/ranks/rank-adapter.js';
import type { RankContext } from '../../src/ranks/rank-messages.js';
import { requireMemory } from '../../src/train/memory/memory-plan.js';
import { type BatchShape, type BenchBatch, fileBatch, fullBatch } from '../presets.js';
import { type Machine, machineOf } from '../report/machine.js';
import { type BenchedSteps, distinctWords, planSteps, type RunResult, runSteps } from '../training-run.js';

/** Goes to other threads and processes. */
export interface StepsTask {
  readonly steps: Omit<BenchedSteps, 'ranks'>;
  readonly wire: WireFormat;
  readonly shape: BatchShape;
  /** JSONL file to take the texts from; null: made-up texts, all of the longest length. */
  readonly data: string | null;
  readonly count: number;
  /** Of each rank. */
  readonly adapters: readonly RankAdapter[];
  readonly tune: 'off' | 'cached';
}

export interface RankSteps extends RunResult {
  readonly machine: Machine;
  readonly plan: Pick<MemoryReport, 'peak' | 'peakByPurpose'>;
  /** Of the process. */
  readonly peakRssBytes: number;
}

/** Batch `index` of a rank is number `index × size + rank` of all: each text is one rank's. */
export function batchesOf(
  { shape, data, count }: Pick<StepsTask, 'shape' | 'data' | 'count'>,
  size: number,
): BenchBatch[][] {
  const batch = (number: number) =>
    data === null ? fullBatch(shape, number) : fileBatch(data, number, shape);
  return Array.from({ length: size }, (_, rank) =>
    Array.from({ length: count }, (_, index) => batch(index * size + rank)),
  );
}

export async function stepsOfRank(
  task: StepsTask,
  communicator: Communicator,
  note: (line: string) => void,
): Promise<RankSteps> {
  const { rank, size } = communicator;
  const gpu = await openRankGpu(communicator, task.adapters[rank]!);
  try {
    useWinners(gpu, task.tune, note);
    const steps = { ...task.steps, ranks: { communicator, wire: task.wire } };
    const all = batchesOf(task, size);
    const batches = all[rank]!;
    // Each by itself: of two batches the one with fewer tokens may take more of something.
    let plan = await planSteps(gpu, steps, batches[0]!, undefined, all.flat());
    for (const batch of batches.slice(1)) {
      const own = await planSteps(gpu, steps, batch, undefined, all.flat());
      if (own.peak > plan.peak) plan = own;
    }
    requireMemory(plan, gpu.pool.budget, note);
    const result = await runSteps(gpu, steps, batches, note, undefined, distinctWords(all.flat()));
    const { peak, peakByPurpose } = plan;
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    return { ...result, machine: machineOf(gpu), plan: { peak, peakByPurpose }, peakRssBytes };
  } finally {
    await gpu.close();
  }
}

/** In a thread of its own (src/ranks/rank-thread.ts). */
export async function runRank({ communicator, data, report }: RankContext<StepsTask>): Promise<RankSteps> {
  return stepsOfRank(data, communicator, (line) => {
    if (communicator.rank === 0) report.note(line);
  });
}
