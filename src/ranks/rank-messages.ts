/** What the threads of ranks and the one that started them say to each other (rank-threads.ts, rank-thread.ts). */
import type { StopRequest } from '../console/interruption.js';
import type { Reporter } from '../console/reporter.js';
import type { Communicator, RankFailure } from './communicator.js';
import type { TransportPlace } from './transport.js';

/** What a rank in a thread of its own is given. */
export interface RankContext<Data = unknown> {
  /** What joins this rank with the others. */
  readonly communicator: Communicator;
  /** As `RankThreadsOptions.data` has it, copied to this thread. */
  readonly data: Data;
  /** Goes to the reporter of the thread that started the ranks: all of rank 0, of the others their notes. */
  readonly report: Reporter;
  /** Whether the run is asked to end. */
  readonly stop: StopRequest;
}

/** What the module of a rank exports. What `runRank` returns goes to another thread. */
export interface RankModule<Data = unknown, Result = unknown> {
  /** The rank's work, from the first call to the communicator to the last. */
  runRank(context: RankContext<Data>): Promise<Result>;
}

/** What the thread of a rank is started with. */
export interface RankSeat {
  readonly rank: number;
  /** URL of a RankModule. */
  readonly module: string;
  readonly data: unknown;
  readonly transport: TransportPlace;
  readonly timeoutSeconds: number;
  readonly busySeconds: number | undefined;
  /** One Int32 cell: 0, or what the run is asked to stop with. */
  readonly stop: SharedArrayBuffer;
}

/** A call of a reporter's method. */
export type Told = {
  [Method in keyof Reporter]-?: readonly [Method, ...Parameters<NonNullable<Reporter[Method]>>];
}[keyof Reporter];

export type FromRank =
  | { readonly told: Told }
  | { readonly result: unknown }
  /** `stack`: of what this rank threw; none where another one's failure ended it. `more`: lines below its message. */
  | {
      readonly failure: RankFailure;
      readonly stack?: string | undefined;
      readonly more?: readonly string[] | undefined;
    }
  /** What a process leaves behind has been removed. */
  | { readonly cleaned: true };

/** The process is about to be left, whatever the rank is doing. */
export type ToRank = { readonly leaving: number };

/** A reporter whose calls go to another thread. */
export function reporterTo(tell: (told: Told) => void): Reporter {
  return {
    note: (line) => tell(['note', line]),
    log: (entry) => tell(['log', entry]),
    start: (totalSteps, taken) => tell(['start', totalSteps, taken]),
    step: (...taken) => tell(['step', ...taken]),
    progress: (work) => tell(['progress', work]),
    saved: (name) => tell(['saved', name]),
    end: () => tell(['end']),
  };
}

/** The call, made. */
export function retell(report: Reporter, [method, ...given]: Told): void {
  (report[method] as ((...given: unknown[]) => void) | undefined)?.apply(report, given);
}
