/** `dawntune finetune`: FlagEmbedding's M3 fine-tuning command, flag for flag. */
import { type FinetuneArguments, parseFinetuneArguments } from '../train/arguments.js';
import { trainingInterruption } from '../train/interruption.js';
import { finetune } from '../train/trainer.js';
import type { RankedCommand } from './ranks/command.js';
import { runRanked } from './ranks/run.js';

export const rankedCommand: RankedCommand<FinetuneArguments> = {
  name: 'finetune',
  interruption: trainingInterruption,
  parse: parseFinetuneArguments,
  async run({ args, commandLine, report, stop, communicator, openGpu }) {
    const budget = args.maxGpuMemory ? { memoryBudget: args.maxGpuMemory } : {};
    const open = openGpu && (() => openGpu(budget));
    const { exitCode } = await finetune(args, report, open, stop, communicator, commandLine);
    return exitCode === undefined ? {} : { exitCode, stopped: true };
  },
};

export const finetuneCommand = (argv: readonly string[]): Promise<number> =>
  runRanked(rankedCommand, new URL(import.meta.url), argv);
