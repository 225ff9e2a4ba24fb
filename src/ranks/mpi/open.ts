/** A rank of several processes that an MPI launcher started: its communicator, carried by MPI. */
import { CarriedCommunicator, DEFAULT_TIMEOUT_SECONDS } from '../carrier.js';
import { allGatherJson, type Communicator } from '../communicator.js';
import type { MpiLaunch } from './environment.js';
import { Leaving, ownProcess, type RankProcess } from './leaving.js';
import type { MpiSeat } from './transport.js';

export interface MpiOptions {
  /** How long a rank that others wait for may give no sign of life. */
  readonly timeoutSeconds?: number;
  /** Of messages, at most; smaller ones only in tests. */
  readonly pieceBytes?: number;
}

export interface MpiRanks {
  readonly communicator: Communicator;
  /** Of each rank. */
  readonly processes: readonly RankProcess[];
  /**
   * Ends this process, and with it all ranks, for an error of this rank that it has told, a RankError, which its rank
   * tells, or, without one, a signal that it has told of.
   */
  leave(exitCode: number, error?: unknown): never;
}

/**
 * UCX, on which Open MPI and MPICH can stand, patches the calls by which a process gets memory while its other threads
 * are in them: a driver that is loaded after MPI then crashes now and then, and hangs, because UCX has taken the signal of
 * the crash too. It does so to register memory for network cards once; what is exchanged here lies in a few buffers.
 * Whoever sets these variables is left alone.
 */
const UCX_SETTINGS = { UCX_MEM_EVENTS: 'n', UCX_ERROR_SIGNALS: '' } as const;

/**
 * Initialises MPI, in a thread of its own. From then on this process must close the communicator before it ends, or ends
 * all ranks with it (leaving.ts).
 * @throws MachineError where there is no MPI library, or one that does not belong to the launcher.
 */
export async function openMpi(
  launch: MpiLaunch,
  { timeoutSeconds = DEFAULT_TIMEOUT_SECONDS, pieceBytes }: MpiOptions = {},
): Promise<MpiRanks> {
  for (const [name, value] of Object.entries(UCX_SETTINGS)) process.env[name] ??= value;
  const leaving = new Leaving();
  leaving.watch(launch);
  leaving.guardStart(launch, timeoutSeconds);
  const data: MpiSeat = {
    launch,
    leaving: leaving.memory,
    ...(pieceBytes === undefined ? {} : { pieceBytes }),
  };
  const transport = { module: new URL('./transport.js', import.meta.url).href, data };
  const communicator = await CarriedCommunicator.open({ transport, timeoutSeconds });
  const processes = await allGatherJson(communicator, ownProcess(launch.host));
  leaving.guard(launch, processes, timeoutSeconds);
  const leave = (exitCode: number, error?: unknown): never => {
    leaving.isTold(error, launch.rank);
    process.exit(exitCode);
  };
  return { communicator, processes, leave };
}

/**
 * One line a host: which rank is which process there, since what launchers say of a process that died is its number
 * alone.
 */
export function processLines(processes: readonly RankProcess[]): string[] {
  const hosts = [...new Set(processes.map(({ host }) => host))];
  return hosts.map((each) => {
    const there = processes.flatMap(({ host, pid }, rank) =>
      host === each ? [`rank ${rank} is process ${pid}`] : [],
    );
    return `on ${each} ${there.join(', ')}`;
  });
}
