/**
 * Starts ranks as threads of this process, each with a communicator over shared memory, and waits for them. This thread
 * computes nothing: it passes on what ranks tell and what the user asks, and sees to it that the process ends when a
 * rank cannot be ended: a thread whose device owes an answer is never terminated from outside, which would abort the
 * process without a word.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { neverStops, type StopRequest } from '../console/interruption.js';
import type { Reporter } from '../console/reporter.js';
import { InputError } from '../errors.js';
import { DEFAULT_TIMEOUT_SECONDS } from './carrier.js';
import { RankError, type RankFailure } from './communicator.js';
import { type FromRank, type RankSeat, retell, type ToRank } from './rank-messages.js';
import {
  abortThreads,
  failureOfThreads,
  type ThreadsWorld,
  threadsPlace,
  threadsWorld,
} from './threads-transport.js';

/** How many ranks, what they run, and how long one may be silent. */
export interface RankThreadsOptions {
  /** How many ranks. */
  readonly size: number;
  /** A RankModule, by its URL. */
  readonly module: {
    /** As text, e.g. `file:///…/rank.js`. */
    readonly href: string;
  };
  /** Goes to each rank. */
  readonly data: unknown;
  /** Told by rank 0, and notes of the others. */
  readonly report: Reporter;
  /** Looked at between batches; every rank sees the same answer. */
  readonly stop?: StopRequest;
  /** How long a rank that others wait for may give no sign of life. */
  readonly timeoutSeconds?: number;
  /** And one in work that lets it give none: as CarrierOptions. */
  readonly busySeconds?: number | undefined;
  /** After a failure ranks that have not ended by themselves within so long are not waited for. */
  readonly graceSeconds?: number;
  /**
   * Ends the process without asking any thread (`_exit`), after it told the error, if there is one. Called when a rank
   * cannot be ended; without it such a thread is terminated, which only one without a device survives.
   */
  readonly leave?: (exitCode: number, error?: Error) => void;
}

const GRACE_SECONDS = 4;
/** A rank that is not stuck removes what it would leave behind within so long. */
const CLEAN_MILLISECONDS = 1000;
/** How often the request to stop is looked at. */
const STOP_MILLISECONDS = 50;

/** Ranks as threads of this process, each with a device. */
export class RankThreads<Result> {
  private readonly world: ThreadsWorld;
  private readonly threads: readonly RankThread[];
  private readonly stopCell = new Int32Array(new SharedArrayBuffer(4));
  private readonly failed: Promise<void>;

  /** Starts the threads. @throws as `Worker` does. */
  constructor(private readonly options: RankThreadsOptions) {
    const { size, module, data, report, timeoutSeconds = DEFAULT_TIMEOUT_SECONDS, busySeconds } = options;
    this.world = threadsWorld(size);
    let failed!: () => void;
    this.failed = new Promise((resolve) => {
      failed = resolve;
    });
    this.threads = Array.from({ length: size }, (_, rank) => {
      const transport = threadsPlace(this.world, rank);
      const seat = {
        ...{ rank, module: module.href, data, transport },
        ...{ timeoutSeconds, busySeconds, stop: this.stopCell.buffer },
      };
      return new RankThread(seat, report, (failure) => {
        // Of a thread that is gone nobody else tells the others.
        abortThreads(this.world, failure);
        failed();
      });
    });
  }

  /**
   * What each rank returned, once all threads have ended.
   * @throws RankError of the rank that failed first, InputError where what the user gave is at fault.
   */
  async results(): Promise<Result[]> {
    const { stop = neverStops, graceSeconds = GRACE_SECONDS, leave } = this.options;
    const timer = setInterval(() => {
      if (stop.requested) Atomics.store(this.stopCell, 0, stop.exitCode ?? 1);
    }, STOP_MILLISECONDS);
    try {
      await Promise.race([Promise.all(this.threads.map((thread) => thread.finished)), this.failed]);
      await this.untilEnded(1000 * graceSeconds);
      const failure = failureOfThreads(this.world);
      const error = failure && this.errorOf(failure);
      if (error && leave && this.alive.length > 0) {
        await this.clean(failure.exitCode);
        leave(failure.exitCode, error);
      }
      await Promise.all(this.alive.map((thread) => thread.terminate()));
      if (error) throw error;
      return this.threads.map(({ result }) => result as Result);
    } finally {
      clearInterval(timer);
    }
  }

  /** Leaves the process at once, whatever ranks do; what they have half written is removed where they can. */
  async leave(exitCode: number): Promise<void> {
    await this.clean(exitCode);
    this.options.leave?.(exitCode);
  }

  private get alive(): readonly RankThread[] {
    return this.threads.filter((thread) => !thread.gone);
  }

  private async untilEnded(milliseconds: number): Promise<void> {
    const late = new AbortController();
    const ended = Promise.all(this.threads.map((thread) => thread.exited));
    await Promise.race([ended, delay(milliseconds, undefined, { signal: late.signal })]);
    late.abort();
  }

  private async clean(exitCode: number): Promise<void> {
    const late = new AbortController();
    const cleaned = Promise.all(this.alive.map((thread) => thread.clean(exitCode)));
    await Promise.race([cleaned, delay(CLEAN_MILLISECONDS, undefined, { signal: late.signal })]);
    late.abort();
  }

  private errorOf(failure: RankFailure): Error {
    const rankError = new RankError(failure);
    // The rank has them that found the faults, also where all ranks end for the same reason.
    const more = this.threads.map((thread) => thread.more).find((lines) => lines && lines.length > 0);
    const error = failure.exitCode === 2 ? new InputError(rankError.message, more) : rankError;
    const { stack } = this.threads[failure.rank] ?? {};
    if (stack !== undefined) error.stack = stack;
    return error;
  }
}

/** One of them, as the starting thread sees it. */
class RankThread {
  result: unknown;
  stack: string | undefined;
  /** Lines below the message of what it failed with. */
  more: readonly string[] | undefined;
  gone = false;
  /** It has returned, or failed, and ends. */
  readonly finished: Promise<void>;
  readonly exited: Promise<void>;
  private readonly worker: Worker;
  private cleaned: () => void = () => {};

  constructor({ rank, ...seat }: RankSeat, report: Reporter, failed: (failure: RankFailure) => void) {
    const options = { workerData: { rank, ...seat } satisfies RankSeat, execArgv: [] };
    // Files are also opened by native code, of which a thread that counts its own knows nothing.
    this.worker = new Worker(new URL('./rank-thread.js', import.meta.url), {
      ...options,
      trackUnmanagedFds: false,
    });
    let finish!: () => void;
    this.finished = new Promise((resolve) => {
      finish = resolve;
    });
    let spoke = false;
    const end = (failure?: RankFailure) => {
      if (spoke) return;
      spoke = true;
      if (failure) failed(failure);
      finish();
    };
    this.worker.on('message', (message: FromRank) => {
      if ('told' in message) {
        const { told } = message;
        if (rank === 0) retell(report, told);
        else if (told[0] === 'note') report.note(`rank ${rank}: ${told[1]}`);
      } else if ('cleaned' in message) this.cleaned();
      else if ('failure' in message) {
        this.stack = message.stack;
        this.more = message.more;
        end(message.failure);
      } else {
        this.result = message.result;
        end();
      }
    });
    this.worker.on('error', (error: Error) => end({ rank, message: error.message, exitCode: 1 }));
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', (code) => {
        end({ rank, message: `its thread ended without a result (exit code ${code})`, exitCode: 1 });
        this.gone = true;
        resolve();
      });
    });
  }

  /** Resolves when what the process would leave behind is removed; never where the thread is stuck. */
  clean(exitCode: number): Promise<void> {
    return new Promise((resolve) => {
      this.cleaned = resolve;
      this.worker.postMessage({ leaving: exitCode } satisfies ToRank);
    });
  }

  async terminate(): Promise<void> {
    await this.worker.terminate();
  }
}
