/** The lines of `--progress json` on standard error: one JSON object each, with the keys below and no others. */
import type { Phase, Unit, Work } from '../progress.js';
import type { Pace } from './pace.js';

/** How far work has come. All keys are always there; null: not known, or not of this phase. */
export interface ProgressRecord {
  /** Tells records of progress from the others of the stream. */
  readonly kind: 'progress';
  /** What is done: `train`, `encode`, `download` … */
  readonly phase: Phase;
  /** What is worked on, where there are several. */
  readonly subject: string | null;
  /** Of `unit`, what an earlier process did included. */
  readonly done: number;
  /** Of `unit`; null where nobody knows. */
  readonly total: number | null;
  /** What is counted: steps, texts, bytes … */
  readonly unit: Unit;
  /** Units a second, of late. */
  readonly rate: number | null;
  /** Tokens that went through the model a second, of late. */
  readonly tokens_per_second: number | null;
  /** Of the device. */
  readonly memory_bytes: number | null;
  /** Until `total`, at the rate of late. */
  readonly seconds_left: number | null;
  /** Since this process began the phase. */
  readonly seconds: number;
  /** Of the newest training step; null also where it is not finite. */
  readonly loss: number | null;
}

/** A line for people, in the stream of records. */
export interface NoticeRecord {
  /** Tells lines for people from the others of the stream. */
  readonly kind: 'notice';
  /** One line. */
  readonly text: string;
}

/** Why the command failed: the last line. */
export interface ErrorRecord {
  /** Tells the last line of a command that failed. */
  readonly kind: 'error';
  /** One line, as people are told it. */
  readonly text: string;
  /** Other lines that belong to it, such as further rows at fault. */
  readonly more?: readonly string[];
}

export function progressRecord(work: Work, pace: Pace, began: number, now: number): ProgressRecord {
  const { phase, subject, done, total, unit, memoryBytes, loss } = work;
  const left = work.ended ? 0 : total === undefined ? undefined : pace.secondsLeft(now, total - done);
  return {
    ...{ kind: 'progress', phase, subject: subject ?? null, done, total: total ?? null, unit },
    rate: known(pace.rate, 4),
    tokens_per_second: known(pace.tokensPerSecond, 4),
    memory_bytes: memoryBytes ?? null,
    seconds_left: known(left, 3),
    seconds: Number((now - began).toFixed(3)),
    loss: known(loss, 6),
  };
}

/** Not more digits than say something. */
function known(value: number | undefined, digits: number): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Number(value.toPrecision(digits));
}
