/** `dawntune finetune`: FlagEmbedding's M3 fine-tuning command, flag for flag. */
import { parseFinetuneArguments } from '../train/arguments.js';
import { interruptible } from '../train/interruption.js';
import { consoleReporter } from '../train/report.js';
import { finetune } from '../train/trainer.js';

export async function finetuneCommand(argv: readonly string[]): Promise<number> {
  const { args, notices } = parseFinetuneArguments(argv);
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
