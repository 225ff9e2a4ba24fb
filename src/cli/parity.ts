/** `dawntune parity FOLDER`: all goldens, those of several ranks by as many real ones where there are. */
import { type ParityArguments, parseParityArguments } from '../parity/arguments.js';
import { checkForcedKernels, runParity } from '../parity/parity.js';
import { renderParity } from '../parity/report.js';
import { checkStartArguments } from '../ranks/arguments.js';
import type { RankedCommand } from './ranks/command.js';
import { runRanked } from './ranks/run.js';

export const rankedCommand: RankedCommand<ParityArguments> = {
  name: 'parity',
  interruption: { where: () => 'interrupted: figures are printed once all are compared' },
  parse(argv, ranks) {
    const args = parseParityArguments(argv);
    checkForcedKernels(args.kernels);
    return { args, notices: checkStartArguments(args, ranks ?? args.nprocPerNode) };
  },
  async run({ args, communicator, openGpu }) {
    const { folder, fp16, adapter, deliberateError, kernels } = args;
    const checks = await runParity(folder, {
      adapter: adapter ?? undefined,
      deliberateError: deliberateError ?? undefined,
      fp16,
      kernels: kernels ?? undefined,
      communicator,
      openGpu,
    });
    return { exitCode: checks.every((check) => check.ok) ? 0 : 1, output: `${renderParity(checks)}\n` };
  },
};

export const parityCommand = (argv: readonly string[]): Promise<number> =>
  runRanked(rankedCommand, new URL(import.meta.url), argv);
