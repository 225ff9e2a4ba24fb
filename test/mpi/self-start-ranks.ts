/**
 * A program for self-start.test.ts that starts itself under mpirun, as the command does: each rank opens the adapter of
 * its place, and they exchange until they are asked to stop. Words: which mpirun (Open MPI, MPICH), and `adapters=A,B`.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { allGatherJson } from '../../src/ranks/communicator.js';
import { mpiLaunch } from '../../src/ranks/mpi/environment.js';
import { openMpi } from '../../src/ranks/mpi/open.js';
import { adapterOfProcess, openRankGpu } from '../../src/ranks/rank-adapter.js';
import { followSelfStart, runUnderMpirun } from '../../src/ranks/self-start.js';
import { findMpi, mpiNames } from '../../src/setup/mpi.js';

const [name, named] = process.argv.slice(2);
const adapters = named?.replace('adapters=', '').split(',') ?? null;
const launch = mpiLaunch();

async function rank(): Promise<void> {
  const { communicator, processes } = await openMpi(launch!);
  followSelfStart(communicator.rank);
  let asked: string | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.on(signal, () => {
      asked = signal;
    });
  const hosts = processes.map(({ host }) => host);
  const adapter = await adapterOfProcess(hosts, communicator.rank, {
    nprocPerNode: 2,
    adapter: null,
    adapters,
  });
  const gpu = await openRankGpu(communicator, adapter);
  fs.writeSync(1, `rank ${communicator.rank} pid ${process.pid} holds ${gpu.capabilities.name}\n`);
  let stop: string | undefined;
  while (stop === undefined) {
    stop = (await allGatherJson(communicator, asked ?? null)).find((each) => each !== null) ?? undefined;
    await sleep(5);
  }
  await gpu.close();
  await communicator.close();
  fs.writeSync(1, `rank ${communicator.rank} stopped by ${stop}\n`);
  process.exitCode = stop === 'SIGINT' ? 130 : 143;
}

if (launch) await rank();
else {
  const mpi = findMpi(mpiNames.find((each) => each === name)!)!;
  process.exitCode = await runUnderMpirun(mpi, 2, process.argv[1]!, process.argv.slice(2));
}
