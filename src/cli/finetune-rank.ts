/** A rank of `dawntune finetune` in a thread of its own (finetune-threads.ts starts it). */
import { parseFinetuneArguments } from '../train/arguments.js';
import type { RankAdapter } from '../train/ranks/choose-ranks.js';
import { openRankGpu } from '../train/ranks/rank-adapter.js';
import type { RankContext } from '../train/ranks/rank-messages.js';
import { finetune } from '../train/trainer.js';

export interface FinetuneRankData {
  /** The command's words: what they come to is the same in every thread. */
  readonly argv: readonly string[];
  /** In the order of the ranks. */
  readonly adapters: readonly RankAdapter[];
}

/** The exit code of a signal that stopped the run; 0 for one that came to its end. */
export async function runRank({
  communicator,
  data,
  report,
  stop,
}: RankContext<FinetuneRankData>): Promise<number> {
  const { rank, size } = communicator;
  const { args } = parseFinetuneArguments(data.argv, size);
  const openGpu = () =>
    openRankGpu(communicator, data.adapters[rank]!, {
      ...(args.maxGpuMemory ? { memoryBudget: args.maxGpuMemory } : {}),
      sharers: data.adapters.filter(({ software }) => software).length || 1,
    });
  const { exitCode = 0 } = await finetune(args, report, openGpu, stop, communicator);
  return exitCode;
}
