/**
 * A command that starts itself again under mpirun, once for each rank, because its ranks need processes of their own
 * (choose-ranks.ts). This process then only waits, hands signals on and ends as the ranks do.
 *
 * Signals: a terminal's Ctrl-C would make mpirun end the ranks before they have saved, and what mpirun hands on differs
 * between its makers. So mpirun runs in a session of its own, and a line in the standard input of rank 0, which every
 * mpirun connects to its own, names the signal; ranks agree on it before the next step. When this process is killed, that
 * input ends, and so does the run.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { MachineError } from '../errors.js';
import { type PhysicalDevice, physicalDevices } from '../gpu/physical-devices.js';
import { findMpi, launchWords, type MpiInstallation, mpiNames } from '../setup/mpi.js';
import { printable } from '../show.js';
import type { RankAdapter } from './choose-ranks.js';
import { withoutLauncher } from './mpi/environment.js';

/** Set for the ranks: standard input of rank 0 is from here. */
export const STARTED_BY_SELF = 'DAWNTUNE_SELF_STARTED';

/** One that the machine has goes before one that was unpacked into the cache folder. @throws MachineError for none. */
export function findMpirun(
  find: (name: (typeof mpiNames)[number]) => MpiInstallation | undefined = findMpi,
): MpiInstallation {
  const found = mpiNames.flatMap((name) => find(name) ?? []);
  const own = found.find(({ env }) => Object.keys(env).length === 0) ?? found[0];
  if (!own)
    throw new MachineError(
      'ranks that are processes need mpirun, and there is none: install Open MPI or MPICH (openmpi-bin or mpich of Debian and Ubuntu)',
    );
  return own;
}

/**
 * A rank that cannot tell that it is one would start ranks itself, and so would those.
 * @throws MachineError for a process that is to be one.
 */
export function requireFirstStart(env: NodeJS.ProcessEnv = process.env): void {
  if (env[STARTED_BY_SELF])
    throw new MachineError(
      'mpirun has started this process and did not tell it which rank it is: expected OMPI_COMM_WORLD_RANK (Open MPI) or PMI_RANK (MPICH) in its environment; is it the mpirun of one of them?',
    );
}

/**
 * Whether the environment that a rank is to set shows it its card alone, tried here with the last rank's.
 * @throws MachineError where it does not.
 */
export function requireCardsAlone(
  adapters: readonly RankAdapter[],
  look: () => PhysicalDevice[] | undefined = physicalDevices,
): void {
  const { name, environment } = adapters.at(-1)!;
  const names = Object.keys(environment);
  if (names.length === 0) return;
  const before = names.map((each) => process.env[each]);
  Object.assign(process.env, environment);
  try {
    const seen = look()?.filter((device) => device.name === name) ?? [];
    const [only] = seen;
    if (
      seen.length === 1 &&
      only!.pci &&
      environment['DRI_PRIME']?.includes(only!.pci.replaceAll(/[:.]/g, '_'))
    )
      return;
    throw new MachineError(
      `there are several cards of the name ${printable(name)}, and DRI_PRIME does not show one alone (${seen.length} seen): Mesa's device-select layer (VkLayer_MESA_device_select, of mesa-vulkan-drivers) is not there, does not know the "!" (that of Mesa 22 does not), or does not serve this driver; install it, or start the ranks with mpirun so that each process is shown one card in another way, such as a container with one /dev/nvidiaN`,
    );
  } finally {
    for (const [i, each] of names.entries()) {
      if (before[i] === undefined) delete process.env[each];
      else process.env[each] = before[i];
    }
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** As in console/interruption.ts: one Ctrl-C comes more than once through `npm` or `npx`. */
const SAME_SIGNAL = 500;
/** What is left of mpirun this long after it was told to end is killed. */
const END_MILLISECONDS = 10_000;

/** Exit codes that a rank has by itself; of others (a rank that was killed) mpirun tells the signal in ways of its own. */
const OWN_CODES = new Set([0, 1, 2, 130, 143]);

/**
 * Lines by which launchers tell of an end. Open MPI: of what several ranks that end at once made it say, that it left it
 * out, or could not put it together. MPICH: the call that ended a rank, and what its own processes make of being told to end.
 */
const OF_AN_END =
  /^\[.*(ORTE_ERROR_LOG: .*show_help\.c|more process(es)? ha(s|ve) sent help message|orte_base_help_aggregate)|^Abort\(\d+\) on node \d+|^\[(mpiexec|proxy:[\d:]+)@|^Ctrl-C caught\.\.\. cleaning up/;

/** Where a process of Open MPI crashed, and every line of that begins alike, up to the last one. */
const CRASH = /^(\[[^\]]+:\d+\] )\*\*\* Process received signal \*\*\*/;
const CRASH_END = '*** End of error message ***';

/**
 * What comes through mpirun's standard error: lines of ranks as they come, and what launchers themselves say of the end
 * (Open MPI's stands between two lines of dashes, or tells where it crashed) only where the ranks have not said why.
 */
export class LauncherWords {
  private line = '';
  private block: string[] | undefined;
  /** How lines begin that tell of a crash. */
  private crash: string | undefined;
  private readonly blocks: string[] = [];
  /** Whether a line has come with which this command ends. */
  ranksSaidWhy = false;

  constructor(private readonly pass: (text: string) => void) {}

  write(text: string): void {
    const lines = (this.line + text).split('\n');
    this.line = lines.pop()!;
    for (const line of lines) {
      const fence = /^-{70,}\r?$/.test(line);
      this.crash ??= CRASH.exec(line)?.[1];
      if (this.crash !== undefined && line.startsWith(this.crash)) {
        this.blocks.push(line);
        if (line.includes(CRASH_END)) this.crash = undefined;
      } else if (this.block) {
        this.block.push(line);
        if (fence) {
          this.blocks.push(...this.block);
          this.block = undefined;
        }
      } else if (fence) this.block = [line];
      else if (OF_AN_END.test(line)) this.blocks.push(line);
      else {
        this.ranksSaidWhy ||= line.startsWith('dawntune: ') || line.startsWith('{"kind":"error"');
        this.pass(`${line}\n`);
      }
    }
  }

  /** `all`: what was kept back is said now. A block that has no end is none. */
  end(all: boolean): void {
    for (const line of [...(all ? this.blocks : []), ...(this.block ?? [])]) this.pass(`${line}\n`);
    if (this.line) this.pass(this.line);
  }
}

/**
 * Runs `program` with `words` as every rank, to the end.
 * @returns the exit code: that of the ranks, 1 where they ended otherwise.
 */
export async function runUnderMpirun(
  { mpirun, name, env }: MpiInstallation,
  ranks: number,
  program: string,
  words: readonly string[],
): Promise<number> {
  const all = [...launchWords({ name }, ranks), process.execPath, ...process.execArgv, program, ...words];
  const child = spawn(mpirun, all, {
    // Its own session, which a terminal's signals do not reach.
    detached: true,
    env: { ...withoutLauncher(process.env), ...env, [STARTED_BY_SELF]: '1' },
    stdio: ['pipe', 'inherit', 'pipe'],
  });
  const said = new LauncherWords((text) => void process.stderr.write(text));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => said.write(text));
  // Rank 0 may be gone when it is written to.
  child.stdin!.on('error', () => undefined);
  const signalAll = (signal: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, signal);
    } catch {
      // Nothing of it is left.
    }
  };
  let first: number | undefined;
  /** By a second signal; mpirun then ends with a code of its own. */
  let ended: (typeof SIGNALS)[number] | undefined;
  const pass = (signal: (typeof SIGNALS)[number]) => {
    const now = performance.now();
    // mpirun that is told to end a second time does so without removing what it has made, or crashes.
    if (ended !== undefined || (first !== undefined && now - first < SAME_SIGNAL)) return;
    if (first === undefined) child.stdin!.write(`${signal}\n`);
    else {
      ended = signal;
      child.kill('SIGTERM');
      setTimeout(() => signalAll('SIGKILL'), END_MILLISECONDS).unref();
    }
    first ??= now;
  };
  const end = () => signalAll('SIGTERM');
  for (const signal of SIGNALS) process.on(signal, pass);
  process.on('exit', end);
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    if (ended !== undefined) {
      said.end(false);
      return ended === 'SIGINT' ? 130 : 143;
    }
    const own = code !== null && OWN_CODES.has(code);
    // mpirun that cannot start its ranks ends with 1 too, and says why.
    said.end(!own || ((code === 1 || code === 2) && !said.ranksSaidWhy));
    if (!own && !said.ranksSaidWhy) {
      const how = code === null ? `was ended by ${signal}` : `ended with exit code ${code}`;
      process.stderr.write(
        `dawntune: mpirun ${how}, and no rank has said why: one of them was killed, or it\n`,
      );
    }
    return own ? code : 1;
  } catch (error) {
    throw new MachineError(`${mpirun} does not start: ${(error as Error).message}`);
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, pass);
    process.removeListener('exit', end);
  }
}

/** Whether this process is a rank that the command itself started, by mpirun. */
export const isSelfStarted = (): boolean => process.env[STARTED_BY_SELF] !== undefined;

/**
 * For rank 0 of a command that started itself: signals that come as lines are handled as if this process had got them,
 * and the end of the input as a termination. Does not keep the process running.
 */
export function followSelfStart(rank: number, input: NodeJS.ReadStream = process.stdin): void {
  if (!process.env[STARTED_BY_SELF] || rank !== 0) return;
  let line = '';
  const act = (signal: string) => {
    if (signal === 'SIGINT' || signal === 'SIGTERM') process.emit(signal, signal);
  };
  input.setEncoding('utf8');
  input.on('data', (text: string) => {
    line += text;
    const lines = line.split('\n');
    line = lines.pop()!;
    lines.forEach(act);
  });
  input.once('end', () => act('SIGTERM'));
  input.once('error', () => act('SIGTERM'));
  input.unref?.();
}
