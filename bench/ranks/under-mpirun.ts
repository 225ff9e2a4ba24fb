/** Ranks that are processes under mpirun, seen from bench. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { serialize } from 'node:v8';
import { MachineError } from '../../src/errors.js';
import { launchWords, type MpiInstallation } from '../../src/setup/mpi.js';
import { type MpiTask, RESULTS } from './mpi-protocol.js';

const program = fileURLToPath(new URL('./mpi-rank.js', import.meta.url));

/** What each rank comes to, in rank order; what ranks say on standard error is passed on. @throws MachineError without. */
export async function underMpirun<T>(
  installation: MpiInstallation,
  ranks: number,
  task: MpiTask,
): Promise<T[]> {
  const { mpirun, env, version } = installation;
  const words = [
    ...launchWords(installation, ranks),
    process.execPath,
    program,
    serialize(task).toString('base64'),
  ];
  const child = spawn(mpirun, words, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [code] = (await once(child, 'close').catch((error: Error) => {
    throw new MachineError(`${mpirun} does not start: ${error.message}`);
  })) as [number | null];
  const line = said.split('\n').find((each) => each.startsWith(RESULTS));
  if (code !== 0 || line === undefined)
    throw new MachineError(`ranks under ${version} ended with ${code ?? 'a signal'} and no result`);
  return JSON.parse(line.slice(RESULTS.length)) as T[];
}
