/** `npm run test:long`: the tests that take longer than those of `npm test` may. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import { parseFlags } from '../src/flags.js';
import { longTestFlags } from '../src/setup/arguments.js';
import { messageLine } from '../src/show.js';
import { runTests, testNames } from './run-tests.js';

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    const usage = usageLine('npm run test:long --', longTestFlags);
    process.stdout.write(renderHelp(`${usage}\n\nTests that take long`, longTestFlags));
    return 0;
  }
  const { only } = parseFlags(longTestFlags, argv).values;
  const folder = path.join(fileURLToPath(new URL('..', import.meta.url)), 'test', 'long');
  return runTests({
    names: testNames(folder, only),
    folder,
    say: (line) => void process.stdout.write(`test:long: ${line}\n`),
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError;
  process.stderr.write(`test:long: ${known ? messageLine(error.message) : String((error as Error).stack)}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
