/** A probe in a process of its own (children.ts): `child.js PROBE OPTIONS`, the answer in one line of standard output. */
import { InputError } from '../errors.js';
import { messageLine } from '../show.js';
import { ANSWER, type Answer } from './children.js';

/** Loaded one by one: what one of them loads may crash. */
const probes: Record<string, () => Promise<(options: never) => unknown>> = {
  dawn: async () => (await import('./probes/dawn.js')).loadDawn,
  adapters: async () => (await import('./probes/adapters.js')).probeAdapters,
  chosen: async () => (await import('./probes/adapters.js')).probeChosen,
  kernels: async () => (await import('./probes/kernels.js')).probeKernels,
  fit: async () => (await import('./probes/fit.js')).probeFit,
  mpi: async () => (await import('./probes/mpi.js')).probeMpi,
};

const [name, options] = process.argv.slice(2);
const answer = await run().catch(
  (error: unknown): Answer => ({
    failed: messageLine(error instanceof Error ? error.message.split('\n')[0]! : String(error)),
    ...(error instanceof InputError ? { input: true } : {}),
  }),
);
// Waits until it is written, since a device that is still open may end the process otherwise.
process.stdout.write(`\n${ANSWER}${JSON.stringify(answer)}\n`, () => process.exit(0));

async function run(): Promise<Answer> {
  const probe = await probes[name!]!();
  return { found: await probe(JSON.parse(options!) as never) };
}
