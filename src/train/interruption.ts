/**
 * A run of the command that is interrupted (Ctrl-C) or terminated: once steps are taken the first signal asks it to stop,
 * which saves a checkpoint, and a second one ends it at once. It says how far it came and what is saved. Half-written
 * saves and locks are removed as at every end of the process (files/publish.ts, files/lock.ts).
 */
import type { Reporter } from './report.js';

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
type Signal = keyof typeof EXIT_CODES;

/** What a run looks at between two batches. */
export interface StopRequest {
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

/** What a run tells, with what is needed to say where it was interrupted. */
export interface InterruptibleReporter extends Reporter, StopRequest {
  /** Of the signal that asked the run to stop. */
  readonly exitCode: number | undefined;
  /** What there is to say when the run has stopped. */
  whereItStopped(): string;
  /** From now on signals do what they do in any process. */
  release(): void;
}

/**
 * A terminal's Ctrl-C reaches a program once by itself and once more through the `npm`, `npx` or `timeout` that started
 * it: signals that come within so many milliseconds of the first are the same one.
 */
const SAME_SIGNAL = 500;

/**
 * From now on a signal ends the process with one line through `report`. It is handled when the process next waits, so
 * between two writes of a file and never between two renames of a save. `saves`: the run looks at `requested`, and the
 * first signal that comes after `start` is left to it. `leave` ends the process.
 */
export function interruptible(
  report: Reporter,
  { saves = false, leave = (exitCode: number): void => process.exit(exitCode) } = {},
): InterruptibleReporter {
  let total: number | undefined;
  let reached = 0;
  let newest: string | undefined;
  let asked: { readonly signal: Signal; readonly at: number } | undefined;
  const where = () => {
    const step = total === undefined ? 'before the first step' : `at step ${reached} of ${total}`;
    const saved =
      newest === undefined
        ? 'no checkpoint yet'
        : newest === 'model'
          ? 'the model is written'
          : `newest whole checkpoint: ${newest}`;
    return `interrupted ${step}; ${saved}`;
  };
  const end = (signal: Signal) => {
    const now = performance.now();
    if (asked && now - asked.at < SAME_SIGNAL) return;
    if (saves && total !== undefined && !asked) {
      asked = { signal, at: now };
      report.note(
        `${signal}: the run ends with the step that is in hand and saves a checkpoint; a second ${signal === 'SIGINT' ? 'Ctrl-C' : signal} ends it at once`,
      );
      return;
    }
    release();
    report.end();
    report.note(where());
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
    whereItStopped: where,
    note: (line) => report.note(line),
    log: (entry) => report.log(entry),
    download: (progress) => report.download?.(progress),
    start(totalSteps, taken = 0) {
      total = totalSteps;
      reached = taken;
      report.start(totalSteps, taken);
    },
    step(step, loss) {
      reached = step;
      report.step(step, loss);
    },
    saved(name) {
      newest = name;
      report.saved?.(name);
    },
    end: () => report.end(),
    release,
  };
}
