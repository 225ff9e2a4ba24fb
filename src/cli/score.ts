/** `dawntune score`: teacher scores of a model or of a reranker into training rows. */
import { parseScoreArguments, type ScoreArguments } from '../retrieval/score/arguments.js';
import { scoreFiles } from '../retrieval/score/score.js';
import type { RankedCommand } from './ranks/command.js';
import { runRanked } from './ranks/run.js';

export const rankedCommand: RankedCommand<ScoreArguments> = {
  name: 'score',
  interruption: {
    where: ({ counted }) =>
      `interrupted ${counted === undefined ? 'before the first pairs were scored' : `after ${counted}`}; nothing is written`,
  },
  parse: parseScoreArguments,
  async run({ args, report, communicator, openGpu }) {
    await scoreFiles(args, { report, communicator, openGpu });
    return {};
  },
};

export const scoreCommand = (argv: readonly string[]): Promise<number> =>
  runRanked(rankedCommand, new URL(import.meta.url), argv);
