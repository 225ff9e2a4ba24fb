/** `dawntune finetune`: FlagEmbedding's M3 fine-tuning command, flag for flag. */
import { finetuneFlags, parseFinetuneArguments } from '../train/arguments.js';
import { consoleReporter } from '../train/report.js';
import { finetune } from '../train/trainer.js';
import { renderHelp, wantsHelp } from './flags.js';

export async function finetuneCommand(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(
      `${renderHelp('dawntune finetune --model_name_or_path FOLDER --train_data FILE… --output_dir FOLDER [flags]', finetuneFlags)}\n`,
    );
    return 0;
  }
  const { args, notices } = parseFinetuneArguments(argv);
  const report = consoleReporter(args.disableTqdm ? { progress: false } : {});
  for (const line of notices) report.note(line);
  await finetune(args, report);
  return 0;
}
