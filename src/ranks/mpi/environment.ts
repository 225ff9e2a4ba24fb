/**
 * Whether this process is one rank of several that an MPI launcher started, from what the launcher left in the
 * environment: known before MPI is initialised, so that a single run loads no MPI library. mpirun of Open MPI and of the
 * MPICH family (Hydra: MPICH, Intel MPI, MVAPICH, Cray) and Slurm's srun are told apart here.
 */
import os from 'node:os';
import { MachineError } from '../../errors.js';
import { show } from '../../show.js';

/** The two application binary interfaces that MPI libraries have: their handles and constants differ. */
export type MpiFamily = 'openmpi' | 'mpich';

export interface MpiLaunch {
  /** What started this process, for messages. */
  readonly launcher: string;
  readonly rank: number;
  readonly size: number;
  readonly host: string;
  /** The libraries to look for, the likeliest first. */
  readonly families: readonly MpiFamily[];
}

interface Dialect {
  readonly launcher: string;
  readonly rank: string;
  readonly sizes: readonly string[];
  readonly families: readonly MpiFamily[];
  /** Besides the rank, what has to be there. */
  readonly requires?: string;
}

/**
 * In the order in which they are asked: an mpirun inside a Slurm allocation leaves both its own variables and Slurm's. A
 * batch script has Slurm's number of tasks too, but is no task of a step: only srun sets the number of the step.
 */
const DIALECTS: readonly Dialect[] = [
  {
    launcher: 'mpirun of Open MPI',
    rank: 'OMPI_COMM_WORLD_RANK',
    sizes: ['OMPI_COMM_WORLD_SIZE'],
    families: ['openmpi'],
  },
  {
    launcher: 'mpirun of MVAPICH',
    rank: 'MV2_COMM_WORLD_RANK',
    sizes: ['MV2_COMM_WORLD_SIZE'],
    families: ['mpich'],
  },
  {
    launcher: 'srun --mpi=pmix',
    rank: 'PMIX_RANK',
    sizes: ['SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS'],
    families: ['openmpi', 'mpich'],
    requires: 'SLURM_STEP_ID',
  },
  {
    launcher: 'a launcher with PMI',
    rank: 'PMI_RANK',
    sizes: ['PMI_SIZE', 'SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS'],
    families: ['mpich', 'openmpi'],
  },
  {
    launcher: 'srun',
    rank: 'SLURM_PROCID',
    sizes: ['SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS'],
    families: ['openmpi', 'mpich'],
    requires: 'SLURM_STEP_ID',
  },
];

/**
 * Rank and size as the launcher left them; undefined for a process on its own, which a launch of a single rank is too.
 * @throws MachineError for variables that contradict each other.
 */
export function mpiLaunch(env: NodeJS.ProcessEnv = process.env): MpiLaunch | undefined {
  for (const dialect of DIALECTS) {
    if (env[dialect.rank] === undefined) continue;
    if (dialect.requires && env[dialect.requires] === undefined) continue;
    const sizeName = dialect.sizes.find((name) => env[name] !== undefined);
    if (!sizeName)
      throw new MachineError(
        `${dialect.launcher} set ${dialect.rank}, and none of ${dialect.sizes.join(', ')}: the number of ranks is unknown`,
      );
    const size = count(env, sizeName, 1, Number.MAX_SAFE_INTEGER);
    const rank = count(env, dialect.rank, 0, size - 1);
    if (size === 1) return undefined;
    return {
      launcher: dialect.launcher,
      rank,
      size,
      host: os.hostname(),
      families: dialect.families,
    };
  }
  // prterun without Open MPI's variables, and others that speak PMIx alone, tell the size through MPI only.
  if (env['PMIX_RANK'] !== undefined)
    throw new MachineError(
      'PMIX_RANK is set, and no variable tells the number of ranks: start with mpirun of Open MPI or srun --mpi=pmix',
    );
  const { RANK, WORLD_SIZE, MASTER_ADDR } = env;
  if (RANK !== undefined && MASTER_ADDR !== undefined && Number(WORLD_SIZE) > 1)
    throw new MachineError(
      `RANK, WORLD_SIZE and MASTER_ADDR are set, as torchrun sets them for each of ${show(WORLD_SIZE)} processes, which would not know of each other here: start one command with --nproc_per_node, or the ranks with mpirun; for one process on its own unset WORLD_SIZE`,
    );
  return undefined;
}

/**
 * What launchers of MPI and batch systems tell their processes: who a process is, where to reach the launcher, which
 * machines were given. Variables by which a person sets MPI up are not among them.
 */
const OF_A_LAUNCHER =
  /^(OMPI_(COMM_WORLD_|COMMAND$|UNIVERSE_SIZE$|NUM_APP_CTX$|FIRST_RANKS$|APP_CTX_|FILE_LOCATION$)|MV2_COMM_WORLD_|PMIX_(?!MCA_|(INSTALL_)?PREFIX$)|PRTE_(?!MCA_|PREFIX$)|PMI_|PMI2_|PALS_|HYDI?_CONTROL_FD$|MPI_LOCAL|SLURM_|PBS_|LSB_|PE_HOSTFILE$|COBALT_)/;
/** What mpirun of Open MPI hands to its processes in the form of settings. */
const OF_OPEN_MPI =
  /^OMPI_MCA_(orte_|ess$|ess_|pmix$|initial_wdir$|mpi_oversubscribe$|shmem_RUNTIME_QUERY_hint$)/;

/**
 * The environment for an mpirun that is to start ranks on this machine, whatever started this process: an mpirun that
 * takes itself for a part of another refuses, one in a batch system's allocation starts ranks on other machines, and
 * what tells a process that it is rank 0 of 1 would be read by every rank.
 */
export function withoutLauncher(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const inOpenMpi = env['OMPI_COMM_WORLD_RANK'] !== undefined;
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name]) => !OF_A_LAUNCHER.test(name) && !(inOpenMpi && OF_OPEN_MPI.test(name)),
    ),
  );
}

function count(env: NodeJS.ProcessEnv, name: string, least: number, most: number): number {
  const text = env[name]!;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most))
    throw new MachineError(
      `the launcher's ${name}: expected an integer from ${least}${most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`}, found ${show(text)}`,
    );
  return value;
}
