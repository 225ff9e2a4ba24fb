/** A command as one process of several that a launcher of MPI started: each of them is a rank. */
import { Display } from '../../console/display.js';
import { interruptible } from '../../console/interruption.js';
import { type Reporter, silentReporter } from '../../console/reporter.js';
import { writeStandardOutput } from '../../files/standard-output.js';
import { ALL_RANKS, RankError } from '../../ranks/communicator.js';
import { isSilence } from '../../ranks/heartbeat.js';
import type { MpiLaunch } from '../../ranks/mpi/environment.js';
import { openMpi, processLines } from '../../ranks/mpi/open.js';
import { adapterOfProcess, openRankGpu } from '../../ranks/rank-adapter.js';
import { followSelfStart, isSelfStarted } from '../../ranks/self-start.js';
import { together } from '../../ranks/together.js';
import { exitCodeOf, tellFailure } from '../failure.js';
import { commandReporter, type ReporterArguments } from '../reporter.js';
import { commandLineOf, type RankedArguments, type RankedCommand } from './command.js';

export async function runProcess<Args extends RankedArguments>(
  command: RankedCommand<Args>,
  argv: readonly string[],
  launch: MpiLaunch,
): Promise<number> {
  const { rank, size } = launch;
  const parse = () => command.parse(argv, size);
  // What is wrong with the words is told once all ranks can know of it.
  const parsed = attempt(parse);
  const timeoutSeconds = parsed?.args.ddpTimeout;
  const { communicator, processes, leave } = await openMpi(
    launch,
    timeoutSeconds === undefined ? {} : { timeoutSeconds },
  );
  const report = interruptible(
    reporterOf(rank, parsed?.args ?? { progress: 'auto' }),
    command.interruption,
    leave,
  );
  followSelfStart(rank);
  try {
    const told = await together(communicator, parse);
    const { args, notices } = told;
    if (rank === 0) for (const line of [...notices, ...processLines(processes)]) report.note(line);
    if (rank === 0 && args.launcher === 'threads')
      report.note('--launcher threads has no effect here: mpirun has started a process for each rank');
    const hosts = processes.map(({ host }) => host);
    const adapter = await together(communicator, () => adapterOfProcess(hosts, rank, args));
    const sharers = hosts.filter((host) => host === hosts[rank]).length;
    const { exitCode, output, stopped } = await command.run({
      ...{ args, report, stop: report, communicator },
      commandLine: commandLineOf(argv, told),
      openGpu: (options) => openRankGpu(communicator, adapter, { ...options, sharers }),
    });
    await communicator.close();
    report.end();
    if (output !== undefined && rank === 0) await writeStandardOutput(output);
    if (stopped && rank === 0) report.note(report.whereItStopped());
    return exitCode ?? 0;
  } catch (error) {
    report.end();
    if (isToldBy(rank, error)) tellFailure(error);
    // The communication thread sees to it that no rank is left (ranks/mpi/leaving.ts).
    return leave(error instanceof RankError ? error.failure.exitCode : exitCodeOf(error), error);
  } finally {
    report.end();
    report.release();
  }
}

/** A failure is told once: by the rank whose it is, or by another where that one gives no sign of life. */
function isToldBy(rank: number, error: unknown): boolean {
  if (!(error instanceof RankError)) return true;
  const { failure } = error;
  if (failure.rank === ALL_RANKS) return rank === 0;
  return rank === (isSilence(failure) ? (failure.rank === 0 ? 1 : 0) : failure.rank);
}

/** Of the others only what they alone have to say. */
function reporterOf(rank: number, args: ReporterArguments): Reporter {
  // What started the ranks passes whole lines on, which a bar is not.
  const { progress } = args;
  if (rank === 0)
    return commandReporter(isSelfStarted() && progress === 'bar' ? { ...args, progress: 'lines' } : args);
  const display = new Display({ mode: progress === 'json' ? 'json' : 'none' });
  return { ...silentReporter, note: (line) => display.line(`rank ${rank}: ${line}`) };
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
