/**
 * What one process says as a rank of MPI, by the scenario that its first word names; the tests start it under mpirun.
 * Standard output is what the tests read: one line a fact.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { mpiLaunch } from '../../src/ranks/mpi/environment.js';
import { openMpi, processLines } from '../../src/ranks/mpi/open.js';
import { conversation } from '../communicator-suite.js';

const [scenario = '', word = ''] = process.argv.slice(2);
const say = (line: string) => fs.writeSync(1, `${line}\n`);

// As in a run, whose driver and locks have loaded libraries before.
koffi.load(null);
const launch = mpiLaunch();
if (!launch) throw new Error('rank.js: is to be started by mpirun with several ranks');
if (scenario === 'stopped-early' && launch.rank === 1) {
  say(`pid ${process.pid}`);
  process.kill(process.pid, 'SIGSTOP');
}
// Long enough for a machine under load, short enough for a test.
const timeoutSeconds = ['stopped', 'stopped-late', 'loops', 'goes-on'].includes(scenario) ? 5 : 20;
const { communicator, processes } = await openMpi(launch, {
  timeoutSeconds,
  ...(scenario === 'pieces' ? { pieceBytes: 1000 } : {}),
});
const { rank, size } = communicator;
if (rank !== launch.rank || size !== launch.size) throw new Error(`MPI says rank ${rank} of ${size}`);
say(`rank ${rank} of ${size} pid ${process.pid} host ${launch.host}`);
if (rank === 0) process.stderr.write(`dawntune: ${processLines(processes).join('; ')}\n`);

/** Exchanges until something ends them, as steps do. */
async function exchangeForever(): Promise<never> {
  const values = communicator.memory(100_000);
  for (;;) {
    await communicator.startSum(values.fill(1)).wait();
    if (values[0] !== size) throw new Error(`expected ${size}, found ${values[0]}`);
    await sleep(1);
  }
}

/** Rank 1 does something to itself while the others go on. */
async function fault(act: () => void): Promise<void> {
  await communicator.barrier();
  // A rank that was heard of is waited for as long as was asked, one that starts longer.
  if (timeoutSeconds < 20) await sleep(1000);
  if (rank === 1) setTimeout(act, 300);
  try {
    await exchangeForever();
  } catch (error) {
    process.stderr.write(`dawntune: ${(error as Error).message}\n`);
    process.exit((error as { exitCode?: number }).exitCode ?? 1);
  }
}

const scenarios: Record<string, () => Promise<void>> = {
  async conversation() {
    await conversation(communicator, { long: Number(word || 300_000) });
    await communicator.close();
    say(`rank ${rank} closed`);
  },
  async pieces() {
    await conversation(communicator, { long: 300_000 });
    await communicator.close();
    say(`rank ${rank} closed`);
  },
  'goes-on': () => {
    say(`rank ${rank} goes on`);
    return fault(() => {});
  },
  killed: () => fault(() => process.kill(process.pid, 'SIGKILL')),
  stopped: () => fault(() => process.kill(process.pid, 'SIGSTOP')),
  /** When all is exchanged. */
  async 'stopped-late'() {
    await communicator.barrier();
    await sleep(1000);
    if (rank === 1) process.kill(process.pid, 'SIGSTOP');
    try {
      await communicator.close();
    } catch (error) {
      process.stderr.write(`dawntune: ${(error as Error).message}\n`);
      process.exit((error as { exitCode?: number }).exitCode ?? 1);
    }
  },
  loops: () =>
    fault(() => {
      for (;;);
    }),
  throws: () =>
    fault(() => {
      throw new Error('the rows ran out');
    }),
  exits0: () => fault(() => process.exit(0)),
  exits3: () => fault(() => process.exit(3)),
  /** Nothing is left to do, and nobody has closed. */
  async forgets() {
    await communicator.barrier();
    if (rank !== 1) await fault(() => {});
  },
  async aborts() {
    await communicator.barrier();
    if (rank === 1)
      await communicator
        .abort({ rank, message: 'file.jsonl: line 3: expected a query', exitCode: 2 })
        .catch((error: Error & { exitCode?: number }) => {
          process.stderr.write(`dawntune: ${error.message}\n`);
          process.exit(2);
        });
    await fault(() => {});
  },
  /** Not the same call on all ranks. */
  async differs() {
    await communicator.barrier();
    if (rank === 1) await communicator.allGather(new Uint8Array(3));
    await fault(() => {});
  },
};
await scenarios[scenario]!();
