/** A rank of a command in a thread of its own (start.ts starts it). */
import type { RankAdapter } from '../../ranks/choose-ranks.js';
import { openRankGpu } from '../../ranks/rank-adapter.js';
import type { RankContext } from '../../ranks/rank-messages.js';
import { commandLineOf, type RankEnd, type RankedModule } from './command.js';

export interface ThreadData {
  /** URL of a RankedModule. */
  readonly command: string;
  /** The command's words: what they come to is the same in every thread. */
  readonly argv: readonly string[];
  /** In the order of the ranks. */
  readonly adapters: readonly RankAdapter[];
}

export async function runRank({
  communicator,
  data,
  report,
  stop,
}: RankContext<ThreadData>): Promise<RankEnd> {
  const { rankedCommand } = (await import(data.command)) as RankedModule;
  const parsed = rankedCommand.parse(data.argv, communicator.size);
  const { args } = parsed;
  const adapter = data.adapters[communicator.rank]!;
  const sharers = data.adapters.filter(({ software }) => software).length || 1;
  return rankedCommand.run({
    ...{ args, report, stop, communicator },
    commandLine: commandLineOf(data.argv, parsed),
    openGpu: (options) => openRankGpu(communicator, adapter, { ...options, sharers }),
  });
}
