/**
 * Standard error of a command that works for long: lines for people, and under them how far work has come, as a bar, as a
 * line now and then, or as records for programs. One display owns the stream, so that whatever is said stands above the bar.
 *
 * The cursor waits at the beginning of the bar's line. So a terminal that was made narrower, and wraps the old line or
 * cuts it, is drawn over from where the line begins, and what others write begins there too.
 */
import type { ProgressMode } from '../flags.js';
import type { Phase, Work } from '../progress.js';
import { messageLine } from '../show.js';
import { widthOf } from './columns.js';
import { Pace } from './pace.js';
import { ASCII, progressLine, UNICODE } from './progress-line.js';
import { type NoticeRecord, progressRecord } from './progress-record.js';

/** What a display asks of a stream. */
export interface ErrorStream {
  /** As of a stream of Node. */
  write(text: string): unknown;
  /** Whether it is a terminal; undefined: it is none. */
  readonly isTTY?: boolean | undefined;
  /** The terminal's width, in cells. */
  readonly columns?: number | undefined;
  /** False once it has ended: then nothing is written. */
  readonly writable?: boolean | undefined;
  /** Bytes that wait to be taken; what only redraws is left out meanwhile. */
  readonly writableLength?: number | undefined;
  /** `error`: it can take nothing more; `resize`: the terminal has another width. */
  on(event: 'error' | 'resize', listener: () => void): unknown;
  /** Takes a listener back. */
  off(event: 'error' | 'resize', listener: () => void): unknown;
}

export interface DisplayOptions {
  readonly mode?: ProgressMode | undefined;
  readonly stream?: ErrorStream;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly platform?: string;
  /** Seconds that never go back. */
  readonly clock?: () => number;
  /** Whether the log lines of standard output stand on the same terminal. */
  readonly outputIsTerminal?: boolean;
}

/** Seconds between two lines in a file, two records, two drawings, and two drawings of what does not change. */
const LINE_SECONDS = 30;
const RECORD_SECONDS = 1;
const DRAW_SECONDS = 0.1;
const STILL_SECONDS = 1;

/** Work that others wait for stands above theirs, which goes on after it; its clock stands still so long. */
const DEPTH: Partial<Record<Phase, number>> = { evaluate: 1, save: 1, compile: 2 };
const depthOf = ({ phase }: Work) => DEPTH[phase] ?? 0;
/** What is gone from the terminal when it is done: nobody started the command for it. */
const PASSING: ReadonlySet<Phase> = new Set([
  'read',
  'load',
  'plan',
  'compile',
  'evaluate',
  'save',
  'check',
  'install',
]);

/** Of these the subject is what is looked at just now: with another one the same work goes on. */
const PASSING_SUBJECTS: ReadonlySet<Phase> = new Set(['check', 'measure']);

/** A piece of work that is under way. */
interface Current {
  work: Work;
  readonly pace: Pace;
  readonly began: number;
  /** When there was news of it. */
  heard: number;
  /** Kernels were compiled since the last news of it. */
  interrupted: boolean;
  /** When, and of how much, a line or a record was last written. */
  told: number;
  toldDone: number | undefined;
}

export class Display {
  /** `auto` is decided. */
  readonly mode: Exclude<ProgressMode, 'auto'>;
  private readonly stream: ErrorStream;
  private readonly clock: () => number;
  private readonly outputIsTerminal: boolean;
  /** Escape sequences are understood. */
  private readonly escapes: boolean;
  private readonly glyphs: typeof UNICODE;
  private readonly width: number;
  /** The innermost is last. */
  private readonly stack: Current[] = [];
  /** Columns of the bar that stands on the terminal; 0: none does. */
  private shown = 0;
  private drawn = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  /** Since when nothing was told in lines. */
  private quiet: number;

  constructor(options: DisplayOptions = {}) {
    const { stream = process.stderr, environment = process.env } = options;
    const { platform = process.platform, clock = () => performance.now() / 1000 } = options;
    this.stream = stream;
    this.clock = clock;
    this.outputIsTerminal = options.outputIsTerminal ?? process.stdout.isTTY === true;
    const terminal = stream.isTTY === true;
    const dumb = environment['TERM'] === 'dumb';
    this.escapes = terminal && !dumb;
    const usual = this.escapes && !isCi(environment) ? 'bar' : 'lines';
    this.mode = options.mode === undefined || options.mode === 'auto' ? usual : options.mode;
    this.glyphs = showsUnicode(environment, platform) ? UNICODE : ASCII;
    const { COLUMNS: columns = '' } = environment;
    this.width = /^[1-9]\d{0,3}$/.test(columns) ? Number(columns) : 80;
    this.quiet = clock();
  }

  /** A line for people. */
  line(text: string): void {
    const line = messageLine(text);
    if (this.mode === 'json') this.record({ kind: 'notice', text: line } satisfies NoticeRecord);
    else this.above(() => this.write(`${line}\n`));
  }

  /** Something is written to standard output. */
  output(write: () => void): void {
    if (this.outputIsTerminal) this.above(write);
    else write();
  }

  /** How far work has come. */
  at(work: Work): void {
    if (this.mode === 'none') return;
    if (work.ended && !this.stack.some(({ work: { phase } }) => phase === work.phase)) return;
    const now = this.clock();
    const current = this.currentFor(work, now);
    const { pace } = current;
    if (current.interrupted) pace.skip(now, work.done, work.tokens);
    else pace.reached(now, work.done, work.tokens);
    current.interrupted = false;
    current.work = work;
    current.heard = now;
    if (work.ended || (PASSING.has(work.phase) && work.done === work.total)) {
      this.pop(now);
      if (this.mode === 'bar') this.redraw();
    } else this.tell(current, now);
  }

  /** A sign that work goes on, which may come while no timer runs. */
  tick(): void {
    const current = this.stack.at(-1);
    if (!current || (this.mode !== 'bar' && this.mode !== 'lines')) return;
    if (this.forgetCompiled()) return;
    const now = this.clock();
    if (this.mode === 'lines') this.plainNowAndThen(current, now);
    else if (now - this.drawn >= STILL_SECONDS) this.draw();
  }

  /** Nothing more is under way. */
  end(): void {
    const now = this.clock();
    while (this.stack.length > 0) this.pop(now);
  }

  // ---- what is under way ---------------------------------------------------------------------------------

  private currentFor(work: Work, now: number): Current {
    for (let top = this.stack.at(-1); top; top = this.stack.at(-1)) {
      const depth = depthOf(work) - depthOf(top.work);
      if (depth === 0 && goesOn(top.work, work)) return top;
      if (depth > 0) {
        top.pace.pause(now);
        if (work.phase === 'compile') top.interrupted = true;
        break;
      }
      this.pop(now);
    }
    const { done, tokens } = work;
    const current: Current = {
      ...{ work, pace: new Pace(now, done, tokens), began: now, heard: now, interrupted: false },
      ...{ told: Number.NEGATIVE_INFINITY, toldDone: undefined },
    };
    this.stack.push(current);
    this.drawn = Number.NEGATIVE_INFINITY;
    if ((this.mode === 'bar' || this.mode === 'lines') && this.stack.length === 1) this.begin();
    return current;
  }

  private pop(now: number): void {
    const current = this.stack.at(-1)!;
    const { work, told, toldDone } = current;
    const whole = work.total === undefined || work.done === work.total;
    current.work = { ...work, ended: work.ended ?? whole };
    if (this.mode === 'json' && (toldDone !== work.done || work.ended)) this.emit(current, now);
    if (this.mode === 'lines' && told > Number.NEGATIVE_INFINITY && toldDone !== work.done)
      this.plain(current, now);
    if (this.mode === 'bar') {
      if (PASSING.has(work.phase)) this.clear();
      else {
        this.draw(current);
        this.write('\n');
        this.shown = 0;
      }
    }
    this.stack.pop();
    const below = this.stack.at(-1);
    below?.pace.resume(untilOf(current, now));
    // A step begins after an evaluation or a save; kernels are compiled within one.
    if (below && work.phase !== 'compile') below.heard = now;
    // What is below is drawn with the next news of it.
    this.drawn = Number.NEGATIVE_INFINITY;
    if (this.stack.length === 0) this.leave();
  }

  /**
   * Kernels are compiled within a turn of this thread and nobody says which is the last: where there was no news of them for
   * a while, the work goes on for which they were.
   */
  private forgetCompiled(): boolean {
    const current = this.stack.at(-1);
    const now = this.clock();
    if (current?.work.phase !== 'compile' || now - current.heard < STILL_SECONDS) return false;
    this.pop(now);
    if (this.mode === 'bar') this.redraw();
    return true;
  }

  private tell(current: Current, now: number): void {
    if (this.mode === 'bar' && now - this.drawn >= DRAW_SECONDS) this.draw();
    if (this.mode === 'json' && now - current.told >= RECORD_SECONDS) this.emit(current, now);
    if (this.mode === 'lines') this.plainNowAndThen(current, now);
  }

  // ---- records and lines ---------------------------------------------------------------------------------

  private emit(current: Current, now: number): void {
    const { work, pace, began } = current;
    this.record(progressRecord(work, pace, began, untilOf(current, now)));
    current.told = now;
    current.toldDone = work.done;
  }

  private record(record: object): void {
    this.write(`${JSON.stringify(record)}\n`);
  }

  private plainNowAndThen(current: Current, now: number): void {
    if (now - this.quiet >= LINE_SECONDS) this.plain(current, now);
  }

  private plain(current: Current, now: number): void {
    const { work, pace, began, heard } = current;
    const told = { work, pace, began, heard, now: untilOf(current, now) };
    this.write(`${progressLine(told, undefined, this.glyphs, false)}\n`);
    current.told = this.quiet = now;
    current.toldDone = work.done;
  }

  // ---- the bar -------------------------------------------------------------------------------------------

  private begin(): void {
    if (this.mode === 'bar') {
      this.stream.on('resize', this.redraw);
      process.on('exit', this.clear);
    }
    const still = () => {
      if (this.mode === 'lines') this.tick();
      else if (!this.forgetCompiled()) this.redraw();
    };
    this.timer = setInterval(still, 1000 * STILL_SECONDS).unref();
  }

  private leave(): void {
    clearInterval(this.timer);
    this.stream.off('resize', this.redraw);
    process.off('exit', this.clear);
  }

  private readonly redraw = (): void => {
    if (this.stack.length > 0) this.draw();
  };

  private draw(current = this.stack.at(-1)!): void {
    // A reader that is slow gets the next one.
    if ((this.stream.writableLength ?? 0) > 0) return;
    const now = this.clock();
    // What ends in the last column would wrap on some terminals.
    const columns = Math.max(1, (this.stream.columns || this.width) - 1);
    const { work, pace, began, heard } = current;
    const told = { work, pace, began, heard, now: untilOf(current, now) };
    const line = progressLine(told, columns, this.glyphs);
    const width = widthOf(line);
    this.write(this.escapes ? `${line}\x1b[J\r` : `${line}${' '.repeat(Math.max(0, this.shown - width))}\r`);
    this.shown = width;
    this.drawn = now;
  }

  /** Takes the bar off the terminal. */
  private readonly clear = (): void => {
    if (this.shown === 0) return;
    this.write(this.escapes ? '\x1b[J' : `${' '.repeat(this.shown)}\r`);
    this.shown = 0;
  };

  private above(write: () => void): void {
    const shown = this.shown > 0;
    this.clear();
    write();
    if (shown) this.redraw();
  }

  private write(text: string): void {
    if (!isLost(this.stream)) this.stream.write(text);
  }
}

/** Until when work is known to have gone on: compiling to the newest kernel, other work to this moment. */
const untilOf = ({ work, heard }: Current, now: number): number => (work.phase === 'compile' ? heard : now);

/** Streams that displays have, and whether each is lost: a terminal that was closed, a reader that ended. */
const streams = new WeakMap<ErrorStream, { lost: boolean }>();

function isLost(stream: ErrorStream): boolean {
  let state = streams.get(stream);
  if (!state) {
    const fresh = { lost: false };
    // Once for each stream: without a listener its error would end the process.
    stream.on('error', () => {
      fresh.lost = true;
    });
    streams.set(stream, (state = fresh));
  }
  return state.lost || stream.writable === false;
}

/** Whether `next` is news of the same work; what begins anew has less done. */
function goesOn(before: Work, next: Work): boolean {
  if (before.phase !== next.phase || next.ended) return before.phase === next.phase;
  if (before.subject !== next.subject && !PASSING_SUBJECTS.has(next.phase)) return false;
  return before.unit === next.unit && next.done >= before.done;
}

/** As programs of continuous integration say of themselves. */
function isCi({ CI: ci = '' }: Readonly<Record<string, string | undefined>>): boolean {
  return !/^(?:|0|false|no)$/i.test(ci);
}

/** Whether what is written in UTF-8 is shown as such. Where nothing is said about it, it is on these systems. */
function showsUnicode(environment: Readonly<Record<string, string | undefined>>, platform: string): boolean {
  const said = environment['LC_ALL'] || environment['LC_CTYPE'] || environment['LANG'];
  if (said) return /utf-?8/i.test(said);
  return platform === 'win32' || platform === 'darwin';
}
