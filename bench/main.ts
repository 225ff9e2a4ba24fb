/** `npm run bench -- SUITE [flags]`. One suite a file; without a name the kernels. */
import { surviveLostStreams } from '../src/cli/standard-streams.js';
import { InputError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import type { FlagTable } from '../src/flags.js';
import { messageLine, show } from '../src/show.js';
import { benchKernels } from './kernels.js';
import { benchMemory } from './memory.js';
import { kernelsFlags, memoryFlags, stepFlags } from './options.js';
import { benchStep } from './step.js';

const suites = new Map<string, { flags: FlagTable; run: (argv: readonly string[]) => Promise<void> }>([
  ['kernels', { flags: kernelsFlags, run: benchKernels }],
  ['step', { flags: stepFlags, run: benchStep }],
  ['memory', { flags: memoryFlags, run: benchMemory }],
]);

// Without a reader there is nothing left to measure for.
surviveLostStreams(() => process.exit(0));

const words = process.argv.slice(2);
const named = words[0] !== undefined && !words[0].startsWith('-');
const name = named ? words[0]! : 'kernels';
const argv = named ? words.slice(1) : words;
try {
  const suite = suites.get(name);
  if (!suite)
    throw new InputError(`bench: expected one of ${[...suites.keys()].join(', ')}, found ${show(name)}`);
  if (wantsHelp(argv))
    process.stdout.write(renderHelp(usageLine(`npm run bench -- ${name}`, suite.flags), suite.flags));
  else await suite.run(argv);
} catch (error) {
  const known = error instanceof Error && 'exitCode' in error;
  process.stderr.write(
    `${known ? messageLine((error as Error).message) : ((error as Error).stack ?? error)}\n`,
  );
  process.exit(known ? (error as InputError).exitCode : 1);
}
