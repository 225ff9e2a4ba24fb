/** Runs a command of one rank or several: here, in threads or under mpirun (start.ts), or as a process of MPI (process.ts). */

import { interruptible } from '../../console/interruption.js';
import { writeStandardOutput } from '../../files/standard-output.js';
import { mpiLaunch } from '../../ranks/mpi/environment.js';
import { commandReporter } from '../reporter.js';
import { commandLineOf, type RankedArguments, type RankedCommand } from './command.js';

/** Runs a command whose module is at `module`, on as many ranks as its words or a launcher of MPI say. */
export async function runRanked<Args extends RankedArguments>(
  command: RankedCommand<Args>,
  module: URL,
  argv: readonly string[],
): Promise<number> {
  const launch = mpiLaunch();
  // Threads, MPI and what carries them are loaded where there are several ranks.
  if (launch) return (await import('./process.js')).runProcess(command, argv, launch);
  const parsed = command.parse(argv);
  const { args, notices } = parsed;
  if (args.nprocPerNode > 1)
    return (await import('./start.js')).startRanks(command, module, argv, args, notices);
  const report = interruptible(commandReporter(args), command.interruption);
  try {
    for (const line of notices) report.note(line);
    const { exitCode, output } = await command.run({
      ...{ args, report, stop: report, communicator: undefined, openGpu: undefined },
      commandLine: commandLineOf(argv, parsed),
    });
    report.end();
    if (output !== undefined) await writeStandardOutput(output);
    if (report.exitCode !== undefined) report.note(report.whereItStopped());
    return report.exitCode ?? exitCode ?? 0;
  } finally {
    report.end();
    report.release();
  }
}
