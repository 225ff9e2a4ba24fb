/** `npm run bench -- SUITE [flags]`. One suite a file. */
import { parseArgs } from 'node:util';
import { InputError } from '../src/errors.js';
import { benchKernels } from './kernels.js';
import { benchMemory } from './memory.js';
import { benchStep } from './step.js';

const suites: Record<string, (argv: string[]) => Promise<void>> = {
  async kernels(argv) {
    let values: { json: boolean; adapter?: string };
    try {
      values = parseArgs({
        args: argv,
        options: { json: { type: 'boolean', default: false }, adapter: { type: 'string' } },
      }).values;
    } catch (error) {
      throw new InputError(`bench kernels: ${(error as Error).message.split('\n')[0]}`);
    }
    await benchKernels({ json: values.json, ...(values.adapter ? { adapter: values.adapter } : {}) });
  },
  step: benchStep,
  memory: benchMemory,
};

// A reader that went away (`| head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const [first, ...rest] = process.argv.slice(2);
const named = first !== undefined && !first.startsWith('-');
const suite = suites[named ? first : 'kernels'];
try {
  if (!suite)
    throw new InputError(`bench: expected one of ${Object.keys(suites).join(', ')}, found "${first}"`);
  await suite(named ? rest : process.argv.slice(2));
} catch (error) {
  const known = error instanceof Error && 'exitCode' in error;
  process.stderr.write(`${known ? (error as Error).message : ((error as Error).stack ?? error)}\n`);
  process.exit(known ? (error as InputError).exitCode : 1);
}
