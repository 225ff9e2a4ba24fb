/**
 * A run of the command that is interrupted (Ctrl-C) or terminated: it says how far it came and what is saved, and
 * ends. Half-written saves and locks are removed as at every end of the process (files/publish.ts, files/lock.ts).
 */
import type { Reporter } from './report.js';

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** What a run tells, with what is needed to say where it was interrupted. */
export interface InterruptibleReporter extends Reporter {
  /** From now on signals do what they do in any process. */
  release(): void;
}

/**
 * From now on a signal ends the process with one line through `report`. It is handled when the process next waits, so
 * between two writes of a file and never between two renames of a save. A second signal ends the process at once.
 */
export function interruptible(report: Reporter): InterruptibleReporter {
  let total: number | undefined;
  let reached = 0;
  let newest: string | undefined;
  const end = (signal: keyof typeof EXIT_CODES) => {
    release();
    report.end();
    const where = total === undefined ? 'before the first step' : `at step ${reached} of ${total}`;
    const saved =
      newest === undefined ? 'no checkpoint yet' : newest === 'model' ? 'the model is written' : undefined;
    report.note(`interrupted ${where}; ${saved ?? `newest whole checkpoint: ${newest}`}`);
    process.exit(EXIT_CODES[signal]);
  };
  const release = () => {
    for (const signal of Object.keys(EXIT_CODES)) process.removeListener(signal, end);
  };
  for (const signal of Object.keys(EXIT_CODES)) process.on(signal, end);
  return {
    note: (line) => report.note(line),
    log: (entry) => report.log(entry),
    download: (progress) => report.download?.(progress),
    start(totalSteps) {
      total = totalSteps;
      report.start(totalSteps);
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
