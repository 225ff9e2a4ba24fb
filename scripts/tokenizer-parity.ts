/** `npm run tokenizer-parity -- FOLDER LINES`: see src/tokenizer/parity.ts. */
import { InputError, MachineError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import { messageLine } from '../src/show.js';
import {
  compareTokenizer,
  describeTokenizerParity,
  parseTokenizerParityArguments,
  tokenizerParityFlags,
} from '../src/tokenizer/parity.js';

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    const usage = usageLine('npm run tokenizer-parity -- FOLDER LINES', tokenizerParityFlags);
    const about =
      'A tokenizer’s ids beside those of another implementation, and its speed (docs/tokenizer.md)';
    process.stdout.write(renderHelp(`${usage}\n\n${about}`, tokenizerParityFlags));
    return 0;
  }
  const report = await compareTokenizer(parseTokenizerParityArguments(argv));
  process.stdout.write(describeTokenizerParity(report));
  return report.different === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(
    `tokenizer-parity: ${known ? messageLine(error.message) : String((error as Error).stack)}\n`,
  );
  process.exitCode = known ? error.exitCode : 1;
}
