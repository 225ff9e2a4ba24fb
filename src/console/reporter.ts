/** What a run tells: log lines for programs on standard output, lines and progress for people on standard error. */

import type { ProgressMode } from '../flags.js';
import { onProgress, type Work } from '../progress.js';
import { printable } from '../show.js';
import { Display, type ErrorStream } from './display.js';

/** A line of the training log. */
export interface LogEntry {
  readonly [key: string]: number | string;
}

/** What a step of training took. */
export interface StepFigures {
  /** Of its batches on all ranks. */
  readonly tokens?: number | undefined;
  /** That this rank's device holds after it. */
  readonly memoryBytes?: number | undefined;
}

/** Who is told of a training run. */
export interface Reporter {
  /** For people, one line. */
  note(line: string): void;
  /** One record of the run's log. */
  log(entry: LogEntry): void;
  /** `taken`: steps that an earlier process took. */
  start(totalSteps: number, taken?: number): void;
  /** Step `step`, from 1, has been taken, with this loss; NaN or an infinity where it is none. */
  step(step: number, loss: number, figures?: StepFigures): void;
  /** How far other work came than steps: a download, texts that are encoded, an evaluation between steps. */
  progress?(work: Work): void;
  /** A save is whole: the name of a checkpoint's folder, or `model` for the output folder itself. */
  saved?(name: string): void;
  /** The run has ended, well or not. */
  end(): void;
}

/** How `consoleReporter` tells. */
export interface ConsoleOptions {
  /** As `--progress`; default: `auto`. */
  readonly mode?: ProgressMode;
  /** In place of standard error. */
  readonly stream?: ErrorStream;
}

/**
 * Tells a terminal or what standard error is (console/display.ts). It hears of kernels that are compiled and weights that
 * are read by their signs (progress.ts), until its `end` and again from what it is told next.
 */
export function consoleReporter(options: ConsoleOptions = {}): Reporter {
  const display = new Display(options);
  const training = { total: 0, tokens: 0 };
  let forget: (() => void) | undefined;
  const listen = () => {
    forget ??= onProgress((work) => {
      if (work) display.at(work);
      else display.tick();
    });
  };
  listen();
  return {
    note(line) {
      listen();
      display.line(line);
    },
    log(entry) {
      display.output(() => process.stdout.write(`${printable(JSON.stringify(entry))}\n`));
    },
    start(total, taken = 0) {
      listen();
      Object.assign(training, { total, tokens: 0 });
      display.at({ phase: 'train', done: taken, total, unit: 'steps' });
    },
    step(step, loss, { tokens = 0, memoryBytes } = {}) {
      training.tokens += tokens;
      const { total } = training;
      display.at({
        ...{ phase: 'train', done: step, total, unit: 'steps', loss },
        ...{ tokens: training.tokens, memoryBytes },
      });
    },
    progress(work) {
      listen();
      display.at(work);
    },
    end() {
      forget?.();
      forget = undefined;
      display.end();
    },
  };
}

/** For ranks beside rank 0, which tells what concerns all: of theirs only what a signal asks about is passed on. */
export function quiet(report: Reporter): Reporter {
  return {
    ...silentReporter,
    start: (totalSteps, taken) => report.start(totalSteps, taken),
    step: (step, loss) => report.step(step, loss),
    progress: (work) => report.progress?.(work),
    saved: (name) => report.saved?.(name),
    end: () => report.end(),
  };
}

/** Says nothing; for tests and library use. */
export const silentReporter: Reporter = {
  note() {},
  log() {},
  start() {},
  step() {},
  end() {},
};
