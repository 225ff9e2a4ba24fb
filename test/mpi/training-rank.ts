/** One process that trains as a rank of MPI: its first word is the run as JSON. Prints what the weights came to, and the losses. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { Gpu } from '../../src/gpu/gpu.js';
import { mpiLaunch } from '../../src/ranks/mpi/environment.js';
import { openMpi } from '../../src/ranks/mpi/open.js';
import { type RankedRun, type Trained, trainRank } from '../ranked-runs.js';

/** One line; the same where losses, norms and weights are the same to the bit. */
export function digestOf({ steps, weights }: Trained): string {
  const hash = createHash('sha256').update(JSON.stringify(steps.map(({ loss, norm }) => [loss, norm])));
  for (const [name, { buffer, byteOffset, byteLength }] of weights)
    hash.update(name).update(new Uint8Array(buffer, byteOffset, byteLength));
  return `trained ${hash.digest('hex')}`;
}

const launch = mpiLaunch();
if (launch) {
  const { communicator } = await openMpi(launch, { timeoutSeconds: 60 });
  const gpu = await Gpu.open();
  const trained = await trainRank(gpu, communicator, JSON.parse(process.argv[2]!) as RankedRun);
  await gpu.close();
  await communicator.close();
  fs.writeSync(1, `rank ${communicator.rank} pid ${process.pid}: ${digestOf(trained)}\n`);
}
