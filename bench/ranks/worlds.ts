/** Where ranks live while their exchanges are measured: whoever carries, each rank does the same. */
import { MachineError } from '../../src/errors.js';
import { CarriedCommunicator } from '../../src/ranks/carrier.js';
import type { Communicator } from '../../src/ranks/communicator.js';
import { EmulatedRanks } from '../../src/ranks/emulated.js';
import { threadsPlace, threadsWorld } from '../../src/ranks/threads-transport.js';
import { findMpi } from '../../src/setup/mpi.js';
import { type ExchangeOptions, type ExchangeRow, exchangeTimes } from './exchange.js';
import { type CarrierName, carrierNames } from './flags.js';
import { underMpirun } from './under-mpirun.js';

/** By their carriers. */
const MPI = { openmpi: 'Open MPI', mpich: 'MPICH' } as const;

const isMpi = (carrier: CarrierName): carrier is keyof typeof MPI => Object.hasOwn(MPI, carrier);

/** Those that were asked for, or all that are there. @throws MachineError for an MPI that is asked for and not there. */
export function carriersOf(
  asked: readonly CarrierName[] | null,
  note: (line: string) => void,
): readonly CarrierName[] {
  return (asked ?? carrierNames).filter((carrier) => {
    if (!isMpi(carrier) || findMpi(MPI[carrier])) return true;
    const missing = `${MPI[carrier]} is not there; npm run test:mpi unpacks it where it can`;
    if (asked) throw new MachineError(`--carriers ${carrier}: ${missing}`);
    note(`without ${carrier}: ${missing}`);
    return false;
  });
}

/** What each rank finds, in rank order. */
export async function exchangeOver(
  carrier: CarrierName,
  size: number,
  options: ExchangeOptions,
): Promise<ExchangeRow[][]> {
  if (isMpi(carrier)) return underMpirun(findMpi(MPI[carrier])!, size, { do: 'exchange', options });
  const ranks = carrier === 'emulated' ? emulated(size) : await inThreads(size);
  return Promise.all(ranks.map((communicator) => ofRank(communicator, options)));
}

/** One thread plays all ranks. */
function emulated(size: number): Communicator[] {
  const ranks = new EmulatedRanks(size);
  return Array.from({ length: size }, (_, rank) => ranks.rank(rank));
}

/** Each has its communication thread; what is said in them comes from this one. */
function inThreads(size: number): Promise<Communicator[]> {
  const world = threadsWorld(size);
  return Promise.all(
    Array.from({ length: size }, (_, rank) =>
      CarriedCommunicator.open({ transport: threadsPlace(world, rank) }),
    ),
  );
}

/** A rank that fails ends all. */
async function ofRank(communicator: Communicator, options: ExchangeOptions): Promise<ExchangeRow[]> {
  try {
    return await exchangeTimes(communicator, options);
  } catch (error) {
    const { rank } = communicator;
    await communicator.abort({ rank, message: (error as Error).message, exitCode: 1 }).catch(() => undefined);
    throw error;
  } finally {
    await communicator.close();
  }
}
