/**
 * `--nproc_per_node N`: ranks that a command starts itself on this machine, as threads where each can open its adapter by
 * name, else as processes under mpirun.
 */

import { interruptible } from '../../console/interruption.js';
import { writeStandardOutput } from '../../files/standard-output.js';
import { visibleAdapters } from '../../gpu/adapter-list.js';
import { keepStandardError } from '../../gpu/dawn.js';
import { noAdapterError } from '../../gpu/software-driver.js';
import { chooseRanks, type RankAdapter } from '../../ranks/choose-ranks.js';
import { rankRequest } from '../../ranks/rank-adapter.js';
import { RankThreads } from '../../ranks/rank-threads.js';
import { findMpirun, requireCardsAlone, requireFirstStart, runUnderMpirun } from '../../ranks/self-start.js';
import { printable } from '../../show.js';
import { leaveAtOnce, tellFailure } from '../failure.js';
import { commandReporter } from '../reporter.js';
import type { RankEnd, RankedArguments, RankedCommand } from './command.js';
import type { ThreadData } from './thread.js';

/** `module`: URL of the command's, which threads import. @throws as `chooseRanks`. */
export async function startRanks<Args extends RankedArguments>(
  command: RankedCommand<Args>,
  module: URL,
  argv: readonly string[],
  args: Args,
  notices: readonly string[],
): Promise<number> {
  requireFirstStart();
  const visible = await visibleAdapters();
  if (visible.length === 0) throw noAdapterError();
  const size = args.nprocPerNode;
  const { launcher, adapters } = chooseRanks(visible, {
    ...rankRequest(args, size),
    launcher: args.launcher,
  });
  if (launcher === 'threads')
    return startThreads(command, { command: module.href, argv, adapters }, args, notices);
  requireCardsAlone(adapters);
  const mpi = findMpirun();
  const cards = adapters.map(({ name, environment }) =>
    [printable(name), ...Object.entries(environment).map(([variable, value]) => `${variable}=${value}`)].join(
      ' ',
    ),
  );
  const report = commandReporter(args);
  report.note(`${size} ranks, a process each, under ${printable(mpi.version)}: ${cards.join(', ')}`);
  report.end();
  return runUnderMpirun(mpi, size, process.argv[1]!, [command.name, ...argv]);
}

async function startThreads<Args extends RankedArguments>(
  { interruption }: RankedCommand<Args>,
  data: ThreadData & { readonly adapters: readonly RankAdapter[] },
  args: Args,
  notices: readonly string[],
): Promise<number> {
  const { adapters } = data;
  const ownErrors = keepStandardError();
  let threads: RankThreads<RankEnd> | undefined;
  const report = interruptible(commandReporter(args), interruption, (exitCode) =>
    threads ? void threads.leave(exitCode) : process.exit(exitCode),
  );
  try {
    for (const line of notices) report.note(line);
    report.note(
      `${adapters.length} ranks, a thread each: ${adapters.map(({ name }) => printable(name)).join(', ')}`,
    );
    threads = new RankThreads<RankEnd>({
      ...{ size: adapters.length, module: new URL('./thread.js', import.meta.url), data },
      ...{ report, stop: report, timeoutSeconds: args.ddpTimeout },
      leave(exitCode, error) {
        ownErrors();
        report.end();
        if (error) tellFailure(error);
        leaveAtOnce(exitCode);
      },
    });
    const ends = await threads.results();
    report.end();
    const { output } = ends[0]!;
    if (output !== undefined) await writeStandardOutput(output);
    if (report.exitCode !== undefined) report.note(report.whereItStopped());
    return report.exitCode ?? Math.max(...ends.map(({ exitCode = 0 }) => exitCode));
  } finally {
    report.end();
    report.release();
  }
}
