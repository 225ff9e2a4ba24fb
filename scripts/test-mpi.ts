/**
 * `npm run test:mpi`: ranks as processes, under Open MPI and under MPICH. Those that the machine has are used; where one
 * is missing, Debian's packages of it are unpacked into the cache folder (src/setup/mpi.ts). Where none can be had, a line
 * says why and the exit code is 0.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError, MachineError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import { parseFlags } from '../src/flags.js';
import { mpiTestFlags } from '../src/setup/arguments.js';
import { fetchMpi, findMpi, type MpiName, mpiNames, noMpiReason } from '../src/setup/mpi.js';
import { messageLine } from '../src/show.js';
import { runTests, testNames } from './run-tests.js';

const folder = path.join(fileURLToPath(new URL('..', import.meta.url)), 'test', 'mpi');

function say(line: string): void {
  process.stdout.write(`test:mpi: ${line}\n`);
}

/** Whether there is one, found or fetched. */
async function provide(name: MpiName): Promise<boolean> {
  let found = findMpi(name);
  const reason = found ? undefined : noMpiReason();
  if (!found && reason) say(`${name}: skipped: ${reason}`);
  if (!found && !reason)
    try {
      say(`${name}: unpacking Debian's packages into the cache folder …`);
      found = await fetchMpi(name);
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      say(`${name}: skipped: ${messageLine(error.message)}`);
    }
  if (found) say(`${name}: ${found.version}, ${found.mpirun}`);
  return found !== undefined;
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    const usage = usageLine('npm run test:mpi --', mpiTestFlags);
    process.stdout.write(
      renderHelp(`${usage}\n\nRanks as processes, under Open MPI and MPICH`, mpiTestFlags),
    );
    return 0;
  }
  const { only } = parseFlags(mpiTestFlags, argv).values;
  const names = testNames(folder, only);
  let any = false;
  for (const name of mpiNames) any = (await provide(name)) || any;
  if (!any) return 0;
  return runTests({ names, folder, say });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(`test:mpi: ${known ? messageLine(error.message) : String((error as Error).stack)}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
