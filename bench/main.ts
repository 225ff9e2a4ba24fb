/** `npm run bench -- SUITE [flags]`. One suite a file; without a name the kernels, unless help is asked for. */
import { surviveLostStreams } from '../src/cli/standard-streams.js';
import { InputError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import type { FlagTable } from '../src/flags.js';
import { messageLine, show } from '../src/show.js';
import { benchKernels } from './kernels.js';
import { benchMemory } from './memory.js';
import { kernelsFlags, memoryFlags, stepFlags } from './options.js';
import { benchStep } from './step.js';

interface Suite {
  readonly summary: string;
  readonly flags: FlagTable;
  readonly run: (argv: readonly string[]) => Promise<void>;
}

const suites = new Map<string, Suite>([
  [
    'kernels',
    {
      summary: 'throughput of the main kernels, each checked against its reference first',
      flags: kernelsFlags,
      run: benchKernels,
    },
  ],
  [
    'step',
    { summary: 'time of whole training steps, from random weights', flags: stepFlags, run: benchStep },
  ],
  ['memory', { summary: 'GPU memory that a step takes, by purpose', flags: memoryFlags, run: benchMemory }],
]);

/** What there is to run: one line a suite. */
function overview(): string {
  const width = Math.max(...[...suites.keys()].map((name) => name.length));
  const lines = [...suites].map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `npm run bench -- SUITE [flags]\n\nSuites (without a name: kernels):\n${lines.join('\n')}\n\n\`npm run bench -- SUITE --help\` lists the flags of a suite.\n`;
}

function helpOf(name: string, { summary, flags }: Suite): string {
  return renderHelp(`${usageLine(`npm run bench -- ${name}`, flags)}\n\n${summary}`, flags);
}

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
  if (wantsHelp(argv)) process.stdout.write(named ? helpOf(name, suite) : overview());
  else await suite.run(argv);
} catch (error) {
  const known = error instanceof Error && 'exitCode' in error;
  process.stderr.write(
    `${known ? messageLine((error as Error).message) : ((error as Error).stack ?? error)}\n`,
  );
  process.exit(known ? (error as InputError).exitCode : 1);
}
