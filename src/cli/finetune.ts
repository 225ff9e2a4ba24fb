/** `dawntune finetune`: FlagEmbedding's M3 fine-tuning command, flag for flag. */
import { parseFinetuneArguments } from '../train/arguments.js';
import { interruptible } from '../train/interruption.js';
import { mpiLaunch } from '../train/ranks/mpi/environment.js';
import { consoleReporter } from '../train/report.js';
import { finetune } from '../train/trainer.js';

export async function finetuneCommand(argv: readonly string[]): Promise<number> {
  const launch = mpiLaunch();
  // Threads, MPI and what carries them are loaded where there are several ranks.
  if (launch) return (await import('./finetune-process.js')).finetuneProcess(argv, launch);
  const parsed = parseFinetuneArguments(argv);
  const { args, notices } = parsed;
  if (args.nprocPerNode > 1) return (await import('./finetune-threads.js')).finetuneRanks(argv, parsed);
  const report = interruptible(consoleReporter(args.disableTqdm ? { progress: false } : {}), { saves: true });
  try {
    for (const line of notices) report.note(line);
    await finetune(args, report, undefined, report);
    if (report.exitCode !== undefined) report.note(report.whereItStopped());
    return report.exitCode ?? 0;
  } finally {
    report.end();
    report.release();
  }
}
