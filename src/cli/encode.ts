/** `dawntune encode`: texts to dense vectors, lexical weights and ColBERT vectors in files. */
import { type EncodeArguments, parseEncodeArguments } from '../retrieval/encode/arguments.js';
import { encodeFiles } from '../retrieval/encode/encode-command.js';
import type { RankedCommand } from './ranks/command.js';
import { runRanked } from './ranks/run.js';

export const rankedCommand: RankedCommand<EncodeArguments> = {
  name: 'encode',
  interruption: {
    where: ({ counted }) =>
      counted === undefined
        ? 'interrupted before the first texts were encoded'
        : `interrupted after ${counted}; --resume goes on behind the last window that is whole in a file`,
  },
  parse: parseEncodeArguments,
  async run({ args, report, communicator, openGpu }) {
    await encodeFiles(args, { report, communicator, openGpu });
    return {};
  },
};

export const encodeCommand = (argv: readonly string[]): Promise<number> =>
  runRanked(rankedCommand, new URL(import.meta.url), argv);
