/** `dawntune finetune`: FlagEmbedding's M3 fine-tuning command, flag for flag. */
import { parseFinetuneArguments } from '../train/arguments.js';
import { consoleReporter } from '../train/report.js';
import { finetune } from '../train/trainer.js';

export async function finetuneCommand(argv: readonly string[]): Promise<number> {
  const { args, notices } = parseFinetuneArguments(argv);
  const report = consoleReporter(args.disableTqdm ? { progress: false } : {});
  for (const line of notices) report.note(line);
  await finetune(args, report);
  return 0;
}
