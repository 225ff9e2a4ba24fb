/**
 * A program for cards.test.ts. As a rank of MPI: opens the adapter of its place and says which it holds. `alone`: what a
 * command does before it starts a process for each of two cards.
 */
import fs from 'node:fs';
import { identityOf, visibleAdapters } from '../../src/gpu/adapter-list.js';
import { chooseRanks } from '../../src/ranks/choose-ranks.js';
import { mpiLaunch } from '../../src/ranks/mpi/environment.js';
import { openMpi } from '../../src/ranks/mpi/open.js';
import { adapterOfProcess, openRankGpu } from '../../src/ranks/rank-adapter.js';
import { requireCardsAlone } from '../../src/ranks/self-start.js';

async function rank(launch: NonNullable<ReturnType<typeof mpiLaunch>>): Promise<void> {
  const { communicator, processes } = await openMpi(launch);
  const hosts = processes.map(({ host }) => host);
  const wanted = { nprocPerNode: 1, adapter: null, adapters: null };
  const adapter = await adapterOfProcess(hosts, communicator.rank, wanted);
  const gpu = await openRankGpu(communicator, adapter);
  const held = identityOf(await visibleAdapters(), adapter.name);
  fs.writeSync(1, `rank ${communicator.rank} holds ${held?.name} at ${held?.pci}\n`);
  await gpu.close();
  await communicator.close();
}

try {
  const launch = mpiLaunch();
  if (launch) await rank(launch);
  else if (process.argv[2] === 'alone') {
    const { adapters } = chooseRanks(await visibleAdapters(), { ranks: 2 });
    requireCardsAlone(adapters);
  }
} catch (error) {
  process.stderr.write(`dawntune: ${(error as Error).message}\n`);
  process.exit((error as { exitCode?: number }).exitCode ?? 1);
}
