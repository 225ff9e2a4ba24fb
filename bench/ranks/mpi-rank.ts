/** A rank of `bench ranks` and `bench step` under mpirun: does what its last word says; rank 0 prints what all come to. */
import { deserialize } from 'node:v8';
import { allGatherJson, RankError } from '../../src/ranks/communicator.js';
import { mpiLaunch } from '../../src/ranks/mpi/environment.js';
import { openMpi } from '../../src/ranks/mpi/open.js';
import { exchangeTimes } from './exchange.js';
import { type MpiTask, RESULTS } from './mpi-protocol.js';
import { stepsOfRank } from './rank-steps.js';

const asked = deserialize(Buffer.from(process.argv[2]!, 'base64')) as MpiTask;
const { communicator } = await openMpi(mpiLaunch()!);
const { rank } = communicator;
try {
  const note = (line: string) => void (rank === 0 && process.stderr.write(`${line}\n`));
  const own =
    asked.do === 'exchange'
      ? await exchangeTimes(communicator, asked.options)
      : await stepsOfRank(asked.task, communicator, note);
  const all = await allGatherJson<unknown>(communicator, own);
  if (rank === 0) process.stdout.write(`${RESULTS}${JSON.stringify(all)}\n`);
  await communicator.close();
} catch (error) {
  const { message } = error as Error;
  const failure = error instanceof RankError ? error.failure : { rank, message, exitCode: 1 as const };
  if (!(error instanceof RankError)) process.stderr.write(`dawntune: rank ${rank}: ${message}\n`);
  await communicator.abort(failure).catch(() => undefined);
  process.exit(failure.exitCode);
}
