/** `dawntune bench SUITE [flags]`: finds the suite, prints help. Without a name the kernels, unless help is asked for. */
import { InputError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import { nearestName } from '../src/nearest-name.js';
import { show } from '../src/show.js';
import type { Suite } from './suite.js';
import { suites } from './suites.js';

/** What there is to run: one line a suite. */
function overview(): string {
  const width = Math.max(...suites.map(({ name }) => name.length));
  const lines = suites.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `dawntune bench SUITE [flags]\n\nSuites (without a name: kernels):\n${lines.join('\n')}\n\n\`dawntune bench SUITE --help\` lists the flags of a suite. In the clone: \`npm run bench -- SUITE [flags]\`.\n`;
}

function helpOf({ name, summary, flags }: Suite): string {
  return renderHelp(`${usageLine(`dawntune bench ${name}`, flags)}\n\n${summary}`, flags);
}

/** The suite that the words name, and the words after its name. @throws InputError when there is none of that name. */
function chosen(words: readonly string[]): { suite: Suite; named: boolean; argv: readonly string[] } {
  const named = words[0] !== undefined && !words[0].startsWith('-');
  const name = named ? words[0]! : 'kernels';
  const suite = suites.find((each) => each.name === name);
  if (suite) return { suite, named, argv: named ? words.slice(1) : words };
  const names = suites.map((each) => each.name);
  const nearest = nearestName(name, names);
  throw new InputError(
    `bench: expected one of ${names.join(', ')}, found ${show(name)}${nearest === null ? '' : `; the nearest is ${nearest}`}`,
  );
}

function benchHelp(words: readonly string[]): string {
  const { suite, named } = chosen(words);
  return named ? helpOf(suite) : overview();
}

/** @returns the exit status. @throws InputError for words that no suite takes, MachineError for a wrong kernel. */
export async function bench(words: readonly string[]): Promise<number> {
  const { suite, argv } = chosen(words);
  if (wantsHelp(argv)) {
    process.stdout.write(benchHelp(words));
    return 0;
  }
  // Without a reader there is nothing left to measure for.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
  });
  return (await suite.load())(argv);
}
