/** `dawntune evaluate`: FlagEmbedding's custom evaluation, with other modes, files and comparisons. */
import { type EvaluateArguments, parseEvaluateArguments } from '../retrieval/evaluate/arguments.js';
import { evaluate } from '../retrieval/evaluate/evaluate.js';
import type { RankedCommand } from './ranks/command.js';
import { runRanked } from './ranks/run.js';

export const rankedCommand: RankedCommand<EvaluateArguments> = {
  name: 'evaluate',
  interruption: { where: () => 'interrupted: results are written once all are there' },
  parse: parseEvaluateArguments,
  async run({ args, report, communicator, openGpu }) {
    const output = await evaluate(args, { report, communicator, openGpu });
    return output === undefined ? {} : { output };
  },
};

export const evaluateCommand = (argv: readonly string[]): Promise<number> =>
  runRanked(rankedCommand, new URL(import.meta.url), argv);
