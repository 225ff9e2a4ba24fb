/**
 * A command that is interrupted (Ctrl-C) or terminated. What it says then, and whether it ends by itself when it is asked
 * to, is the command's business. A training run is asked to stop by the first signal once steps are taken, which saves a
 * checkpoint, and a second one ends it at once; it says how far it came and what is saved. Half-written saves and locks
 * are removed as at every end of the process (files/publish.ts, files/lock.ts).
 */
import type { Phase } from '../progress.js';
import type { Reporter } from './reporter.js';

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
type Signal = keyof typeof EXIT_CODES;

/** What a run looks at between two batches. */
export interface StopRequest {
  /** True from a signal on: the run saves, and ends. */
  readonly requested: boolean;
  /** Of a process that ends for it. */
  readonly exitCode?: number | undefined;
}

export const neverStops: StopRequest = { requested: false };

/** Batches as long as no stop is requested; the one that is not passed on is freed. */
export async function* untilStopped<Batch extends { readonly tokens: { dispose(): void } }>(
  batches: AsyncIterable<Batch> | Iterable<Batch>,
  stop: StopRequest,
): AsyncGenerator<Batch, void, undefined> {
  for await (const batch of batches) {
    if (stop.requested) {
      batch.tokens.dispose();
      return;
    }
    yield batch;
  }
}

/** What a command has told of itself until a signal comes, through its reporter. */
export interface Reached {
  /** Undefined until it tells its `start`. */
  readonly totalSteps: number | undefined;
  readonly step: number;
  /** What it told last of work without steps, e.g. `1024 texts`. */
  readonly counted?: string | undefined;
  /** The newest of those that it told to be whole. */
  readonly saved: string | undefined;
}

/** How a command is interrupted. */
export interface Interruption {
  /**
   * What the command does when it is asked to stop: it looks at `requested`, and the first signal after its `start` is
   * left to it. Without it every signal ends the process.
   */
  readonly stopsBy?: string;
  /** Of a command that has no steps: ends it, once there is something to end. The first signal is left to it then. */
  stop?: (() => void) | undefined;
  /** Where the command was interrupted, and what there is of its work; one line. */
  where(reached: Reached): string;
}

/** What a run tells, with what is needed to say where it was interrupted. */
export interface InterruptibleReporter extends Reporter, StopRequest {
  /** Of the signal that asked the run to stop. */
  readonly exitCode: number | undefined;
  /** What there is to say when the run has stopped. */
  whereItStopped(): string;
  /** From now on signals do what they do in any process. */
  release(): void;
}

/** Of the other phases nothing is left when a command is interrupted. */
const COUNTED: ReadonlySet<Phase> = new Set(['encode', 'index', 'search', 'score', 'mine', 'split']);

/**
 * A terminal's Ctrl-C reaches a program once by itself and once more through the `npm`, `npx` or `timeout` that started
 * it: signals that come within so many milliseconds of the first are the same one.
 */
const SAME_SIGNAL = 500;

/**
 * From now on a signal ends the process with one line through `report`. It is handled when the process next waits, so
 * between two writes of a file and never between two renames of a save. `leave` ends the process.
 */
export function interruptible(
  report: Reporter,
  interruption: Interruption,
  leave: (exitCode: number) => void = (exitCode) => process.exit(exitCode),
): InterruptibleReporter {
  const { stopsBy, where } = interruption;
  let totalSteps: number | undefined;
  let step = 0;
  let saved: string | undefined;
  let counted: string | undefined;
  let asked: { readonly signal: Signal; readonly at: number } | undefined;
  const whereItStopped = () => where({ totalSteps, step, counted, saved });
  const end = (signal: Signal) => {
    const now = performance.now();
    if (asked && now - asked.at < SAME_SIGNAL) return;
    const { stop } = interruption;
    if (stopsBy !== undefined && (totalSteps !== undefined || stop) && !asked) {
      asked = { signal, at: now };
      stop?.();
      report.note(
        `${signal}: ${stopsBy}; a second ${signal === 'SIGINT' ? 'Ctrl-C' : signal} ends it at once`,
      );
      return;
    }
    release();
    report.end();
    report.note(whereItStopped());
    leave(EXIT_CODES[signal]);
  };
  const release = () => {
    for (const signal of Object.keys(EXIT_CODES)) process.removeListener(signal, end);
  };
  for (const signal of Object.keys(EXIT_CODES)) process.on(signal, end);
  return {
    get requested() {
      return asked !== undefined;
    },
    get exitCode() {
      return asked && EXIT_CODES[asked.signal];
    },
    whereItStopped,
    note: (line) => report.note(line),
    log: (entry) => report.log(entry),
    start(total, taken = 0) {
      totalSteps = total;
      step = taken;
      report.start(total, taken);
    },
    step(number, loss, figures) {
      step = number;
      report.step(number, loss, figures);
    },
    progress(work) {
      if (COUNTED.has(work.phase)) counted = `${work.done} ${work.unit}`;
      report.progress?.(work);
    },
    saved(name) {
      saved = name;
      report.saved?.(name);
    },
    end: () => report.end(),
    release,
  };
}
