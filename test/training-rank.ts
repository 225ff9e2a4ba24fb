/** One rank of a run in a thread of its own, for ranks-training.test.ts: a module as RankThreads starts it. */
import { Gpu } from '../src/gpu/gpu.js';
import type { RankContext } from '../src/ranks/rank-messages.js';
import { type RankedRun, type Trained, trainRank } from './ranked-runs.js';

export async function runRank({ communicator, data }: RankContext): Promise<Trained> {
  const gpu = await Gpu.open();
  try {
    return await trainRank(gpu, communicator, data as RankedRun);
  } finally {
    await gpu.close();
  }
}
