/** `dawntune mine`: hard negatives for training rows. */
import { type MineArguments, parseMineArguments } from '../retrieval/mine/arguments.js';
import { mine } from '../retrieval/mine/mine.js';
import type { RankedCommand } from './ranks/command.js';
import { runRanked } from './ranks/run.js';

export const rankedCommand: RankedCommand<MineArguments> = {
  name: 'mine',
  interruption: {
    where: ({ counted }) =>
      `interrupted ${counted === undefined ? 'before the first text was encoded' : `after ${counted}`}; nothing was written`,
  },
  parse: parseMineArguments,
  async run({ args, report, communicator, openGpu }) {
    await mine(args, { report, communicator, openGpu });
    return {};
  },
};

export const mineCommand = (argv: readonly string[]): Promise<number> =>
  runRanked(rankedCommand, new URL(import.meta.url), argv);
