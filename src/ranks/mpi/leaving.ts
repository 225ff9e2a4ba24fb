/**
 * The end of a process that is a rank of MPI. One that has not finalised MPI takes all others with it: a launcher would
 * not always notice (MPICH takes exit code 0 without MPI_Finalize for success, and across hosts it waits for ever), so at
 * the end of such a process its communication thread calls MPI_Abort, or, where that does not come to it, the thread in
 * which the process ends.
 */
import { readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { messageLine } from '../../show.js';
import { RankError, type RankFailure } from '../communicator.js';
import { STARTING_SECONDS } from '../heartbeat.js';
import { type MpiLaunch, mpiLaunch } from './environment.js';
import { loadMpi, type Mpi } from './library.js';

/** How long the other ranks have to end by themselves, once they are told of a failure, before MPI ends them. */
const GRACE_MILLISECONDS = 1000;
/** The communication thread ends the process within so long, or does not come to it any more. */
const THREAD_MILLISECONDS = 4000;
/** Whoever did not fail itself leaves later than the one that did, whose exit code is the run's. */
const HEARD_MILLISECONDS = 1700;
/** The kernel ends the process, by SIGALRM, when MPI_Abort has not within so long. */
const ALARM_SECONDS = 3;
const GUARD_MILLISECONDS = 1000;
/** For MPI_Finalize, in which nothing is left to be exchanged. */
const FINALISING_MILLISECONDS = 10_000;
/** So much later than the rank before it a rank gives up starting, so that one tells of it. */
const TURN_MILLISECONDS = 500;

/** Cells, and the values of the first. */
const STATE = 0;
const INITIALISED = 1;
const CLOSING = 2;
const FINALISING = 3;
const FINALISED = 4;
/** 1: the process ends, and the communication thread is to end the other ranks. */
const ASKED = 1;
const EXIT_CODE = 2;
/** All ranks know why the run ends: the exit code of the failure, else 0. */
const KNOWN = 3;
/** 1 where it was another rank that failed. */
const HEARD = 4;
/** Grows as long as the communication thread comes back from MPI. */
const TURNS = 5;
/** Bytes of the reason, which follows. */
const LENGTH = 6;
const CELLS = 7;
const REASON_BYTES = 2048;

/** Where a rank runs. */
export interface RankProcess {
  readonly host: string;
  readonly pid: number;
  /** Among which processes the number counts: two containers of a host may each have a process of that number. */
  readonly pidNamespace: string;
}

export function ownProcess(host: string): RankProcess {
  let pidNamespace = '';
  try {
    pidNamespace = readlinkSync('/proc/self/ns/pid');
  } catch {
    // Only Linux has them.
  }
  return { host, pid: process.pid, pidNamespace };
}

/** What both threads of a rank know of its end. */
export class Leaving {
  private readonly cells: Int32Array<SharedArrayBuffer>;
  private readonly text: Uint8Array;
  private reason: string | undefined;
  private stuck = false;

  /** `memory`: of the other thread's; without it, new. */
  constructor(readonly memory = new SharedArrayBuffer(4 * CELLS + REASON_BYTES)) {
    this.cells = new Int32Array(memory, 0, CELLS);
    this.text = new Uint8Array(memory, 4 * CELLS);
  }

  // ---- of the communication thread ----

  initialised(): void {
    Atomics.store(this.cells, STATE, INITIALISED);
  }

  /** From here on others may end before this rank does. */
  closing(): void {
    Atomics.store(this.cells, STATE, CLOSING);
  }

  /** All that ranks exchange has been exchanged. */
  finalising(): void {
    Atomics.store(this.cells, STATE, FINALISING);
  }

  finalised(): void {
    Atomics.store(this.cells, STATE, FINALISED);
  }

  /** All ranks know why the run ends. From here on the communication thread leaves the end to the other one. */
  known({ rank, exitCode }: RankFailure, self: number): void {
    Atomics.store(this.cells, HEARD, rank === self ? 0 : 1);
    Atomics.store(this.cells, KNOWN, exitCode);
  }

  turn(): void {
    Atomics.add(this.cells, TURNS, 1);
  }

  /** Once the process is at its end: why, for the others, and what it ends with. */
  asked(): { readonly message: string; readonly exitCode: number } | undefined {
    if (Atomics.load(this.cells, ASKED) === 0) return undefined;
    const message = Buffer.from(this.text.slice(0, this.cells[LENGTH])).toString();
    return { message, exitCode: this.cells[EXIT_CODE]! };
  }

  // ---- of the thread in which the process ends ----

  /** The process is about to end for a reason that has been told, or that another rank tells, whose it is. */
  isTold(error: unknown, self: number): void {
    if (error instanceof RankError) this.known(error.failure, self);
    this.reason ??= error instanceof Error ? error.message : 'was interrupted';
  }

  /**
   * From now on the end of this process is the end of all ranks, unless MPI was finalised or never initialised. The exit
   * code is that of the failure where one is known, else that of the process, and 1 where that would say that all is well.
   */
  watch({ rank, families }: MpiLaunch): void {
    process.on('uncaughtExceptionMonitor', (error: unknown) => {
      this.reason = error instanceof Error ? error.message : String(error);
      tell(error instanceof RankError ? this.reason : `rank ${rank}: ${this.reason}`);
    });
    const leave = (code: number) => {
      const state = Atomics.load(this.cells, STATE);
      if (![INITIALISED, CLOSING, FINALISING].includes(state)) return;
      // Whoever else has something to do at the end of the process would not come to it.
      const listeners = process.rawListeners('exit');
      for (const listener of listeners.slice(listeners.indexOf(leave) + 1)) listener.call(process, code);
      // Node would wait for the thread.
      if (state === FINALISING) systemCall('void _exit(int code)')(code);
      const known = Atomics.load(this.cells, KNOWN);
      if (!this.reason && known === 0) {
        this.reason = `left before the end of the run, with exit code ${code}`;
        tell(`rank ${rank}: ${this.reason}`);
      }
      const bytes = Buffer.from(this.reason ?? '').subarray(0, REASON_BYTES);
      this.text.set(bytes);
      const exitCode = known || code || 1;
      this.cells.set([exitCode], EXIT_CODE);
      this.cells.set([bytes.length], LENGTH);
      Atomics.store(this.cells, ASKED, 1);
      const heard = Atomics.load(this.cells, HEARD) === 1 ? HEARD_MILLISECONDS : GRACE_MILLISECONDS;
      if (!this.stuck) Atomics.wait(this.cells, ASKED, 1, known ? heard : THREAD_MILLISECONDS);
      abortMpi(loadMpi(families), exitCode);
    };
    process.on('exit', leave);
  }

  /**
   * Ends this process, and by that the run, when other ranks do not come to MPI_Init, in which it waits for them and
   * nothing of MPI can be called yet.
   */
  guardStart({ rank, host }: MpiLaunch, timeoutSeconds: number): void {
    const seconds = Math.max(timeoutSeconds, STARTING_SECONDS);
    let waited = -TURN_MILLISECONDS * rank;
    let last = performance.now();
    const timer = setInterval(() => {
      if (Atomics.load(this.cells, STATE) !== 0) return clearInterval(timer);
      const now = performance.now();
      waited += Math.min(now - last, 2 * GUARD_MILLISECONDS);
      last = now;
      if (waited < seconds * 1000) return;
      const waits = `rank ${rank} waits for it in MPI_Init for ${seconds} s`;
      const stopped = stoppedBeside();
      tell(
        stopped
          ? `rank ${stopped.rank}: its process ${stopped.pid} on ${host} is stopped, and ${waits}`
          : `another rank hangs, is stopped or has ended before it takes part: ${waits}`,
      );
      // Node would wait for the thread.
      systemCall('void _exit(int code)')(1);
    }, TURN_MILLISECONDS / 2).unref();
  }

  /**
   * Ends the run where MPI cannot: when the communication thread does not come back from MPI (a process that is stopped
   * in the middle of a message can keep Open MPI's others waiting inside), and when a process of this host is gone and
   * the launcher lets the others go on. A run that is complete but for MPI_Finalize is left as complete.
   */
  guard(
    { rank, host }: Pick<MpiLaunch, 'rank' | 'host'>,
    processes: readonly RankProcess[],
    timeoutSeconds: number,
  ): void {
    const { pidNamespace } = processes[rank]!;
    const here = processes.flatMap((each, other) =>
      other !== rank && each.host === host && each.pidNamespace === pidNamespace
        ? [{ rank: other, pid: each.pid }]
        : [],
    );
    const end = (reason: string) => {
      this.reason = reason;
      tell(reason);
      process.exit(1);
    };
    const onItsWay = () =>
      Atomics.load(this.cells, STATE) === INITIALISED && Atomics.load(this.cells, KNOWN) === 0;
    const requireOthers = () => {
      if (!onItsWay()) return;
      for (const other of here)
        if (stateOf(other.pid) === undefined)
          end(`rank ${other.rank}: its process ${other.pid} on ${host} has ended`);
    };
    let seen = 0;
    let stalled = 0;
    let finalising = 0;
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      const turns = Atomics.load(this.cells, TURNS);
      // A tick that comes late was late itself.
      stalled = turns === seen ? stalled + Math.min(now - last, 2 * GUARD_MILLISECONDS) : 0;
      seen = turns;
      last = now;
      finalising = Atomics.load(this.cells, STATE) === FINALISING ? finalising + GUARD_MILLISECONDS : 0;
      if (finalising >= FINALISING_MILLISECONDS) {
        tell(`rank ${rank}: all is exchanged, and MPI_Finalize does not come back: left without it`);
        process.exit();
      }
      requireOthers();
      if (!onItsWay() || stalled < timeoutSeconds * 1000) return;
      this.stuck = true;
      const stopped = here.find(({ pid }) => stateOf(pid) === 'T');
      const waits = `rank ${rank} waits inside MPI for ${timeoutSeconds} s`;
      end(
        stopped
          ? `rank ${stopped.rank}: its process ${stopped.pid} on ${host} is stopped, and ${waits}`
          : `${waits}: another rank is stopped, or its host or network is gone`,
      );
    }, GUARD_MILLISECONDS).unref();
  }
}

function tell(text: string): void {
  try {
    writeSync(2, `dawntune: ${messageLine(text)}\n`);
  } catch {
    // Nobody reads standard error any more.
  }
}

/** The kernel's letter for the state of a process; undefined where it has ended, or on systems that do not say. */
function stateOf(pid: number): string | undefined {
  if (process.platform !== 'linux') return '?';
  try {
    const state = /^\d+ \(.*\) (\w)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
    return state === 'Z' || state === 'X' ? undefined : state;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : '?';
  }
}

/** Among the processes that were started with this one, a rank that is stopped; undefined where the system tells of none. */
function stoppedBeside(): { readonly rank: number; readonly pid: number } | undefined {
  if (process.platform !== 'linux') return undefined;
  for (const name of readdirSync('/proc')) {
    try {
      const [, state, parent] =
        /^\d+ \(.*\) (\w) (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? [];
      if (state !== 'T' || Number(parent) !== process.ppid) continue;
      const variables = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
      const launch = mpiLaunch(
        Object.fromEntries(
          variables.map((each) => [each.split('=', 1)[0]!, each.slice(each.indexOf('=') + 1)]),
        ),
      );
      if (launch) return { rank: launch.rank, pid: Number(name) };
    } catch {
      // No process, one that has ended, or another user's.
    }
  }
  return undefined;
}

/** In the communication thread: tells the others why, gives them time to end by themselves, and ends them. */
export function leaveAll(
  mpi: Mpi,
  rank: number,
  { message, exitCode }: { readonly message: string; readonly exitCode: number },
  tell: (failure: RankFailure) => void,
): never {
  tell({ rank, message, exitCode: exitCode === 2 ? 2 : 1 });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, GRACE_MILLISECONDS);
  return abortMpi(mpi, exitCode);
}

/** Ends the processes of all ranks; does not return. */
function abortMpi(mpi: Mpi, code: number): never {
  systemCall('unsigned int alarm(unsigned int seconds)')(ALARM_SECONDS);
  mpi.abort(code);
  process.kill(process.pid, 'SIGKILL');
  throw new Error('MPI_Abort and SIGKILL came back');
}

/** Of the C library, by its signature. */
function systemCall(signature: string): (value: number) => unknown {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
  return koffi.load(null).func(signature) as (value: number) => unknown;
}
