/**
 * `dawntune finetune --nproc_per_node N`: ranks that the command starts itself on this machine, as threads where each can
 * open its adapter by name, else as processes under mpirun.
 */
import { visibleAdapters } from '../gpu/adapter-list.js';
import { noAdapterError } from '../gpu/software-driver.js';
import { printable } from '../show.js';
import type { ParsedArguments } from '../train/arguments.js';
import { interruptible } from '../train/interruption.js';
import { chooseRanks, type RankAdapter } from '../train/ranks/choose-ranks.js';
import { rankRequest } from '../train/ranks/rank-adapter.js';
import { RankThreads } from '../train/ranks/rank-threads.js';
import { findMpirun, requireCardsAlone, runUnderMpirun } from '../train/ranks/self-start.js';
import { consoleReporter } from '../train/report.js';
import { leaveAtOnce, tellFailure } from './failure.js';
import type { FinetuneRankData } from './finetune-rank.js';

export async function finetuneRanks(argv: readonly string[], parsed: ParsedArguments): Promise<number> {
  const { args } = parsed;
  const visible = await visibleAdapters();
  if (visible.length === 0) throw noAdapterError();
  const size = args.nprocPerNode;
  const { launcher, adapters } = chooseRanks(visible, {
    ...rankRequest(args, size),
    launcher: args.launcher,
  });
  if (launcher === 'threads') return finetuneThreads(argv, parsed, adapters);
  requireCardsAlone(adapters);
  const mpi = findMpirun();
  const cards = adapters.map(({ name, environment }) =>
    [printable(name), ...Object.entries(environment).map(([variable, value]) => `${variable}=${value}`)].join(
      ' ',
    ),
  );
  process.stderr.write(
    `${size} ranks, a process each, under ${printable(mpi.version)}: ${cards.join(', ')}\n`,
  );
  return runUnderMpirun(mpi, size, process.argv[1]!, ['finetune', ...argv]);
}

async function finetuneThreads(
  argv: readonly string[],
  { args, notices }: ParsedArguments,
  adapters: readonly RankAdapter[],
): Promise<number> {
  let threads: RankThreads<number> | undefined;
  const report = interruptible(consoleReporter(args.disableTqdm ? { progress: false } : {}), {
    saves: true,
    leave: (exitCode) => (threads ? void threads.leave(exitCode) : process.exit(exitCode)),
  });
  try {
    for (const line of notices) report.note(line);
    report.note(
      `${adapters.length} ranks, a thread each: ${adapters.map(({ name }) => printable(name)).join(', ')}`,
    );
    const data: FinetuneRankData = { argv, adapters };
    threads = new RankThreads<number>({
      ...{ size: adapters.length, module: new URL('./finetune-rank.js', import.meta.url), data },
      ...{ report, stop: report, timeoutSeconds: args.ddpTimeout },
      leave(exitCode, error) {
        report.end();
        if (error) tellFailure(error);
        leaveAtOnce(exitCode);
      },
    });
    const exitCodes = await threads.results();
    if (report.exitCode !== undefined) report.note(report.whereItStopped());
    return report.exitCode ?? Math.max(...exitCodes);
  } finally {
    report.end();
    report.release();
  }
}
