/**
 * How fast work goes, by what was done of late: units and tokens a second, and the time that the rest will take. Pieces that
 * took far longer than the others (a step in which the machine slept) count as long ones, not as what they took; what
 * happens beside the work (an evaluation, a save) does not count, since its clock stands still then.
 */

/** What is known of the newest pieces. Seconds. */
interface Piece {
  readonly seconds: number;
  readonly units: number;
  readonly tokens: number;
}

/** Pieces that count. */
const PIECES = 40;
/** Quick work is measured in pieces of so many seconds. */
const LEAST_SECONDS = 0.25;
/** A piece counts at most so many times as long as the usual one. */
const MOST_TIMES = 5;

export class Pace {
  private readonly pieces: Piece[] = [];
  /** Where the piece that is under way began. */
  private from: { at: number; done: number; tokens: number };
  private paused: number | undefined;

  /** `at`: seconds of a clock. */
  constructor(at: number, done: number, tokens = 0) {
    this.from = { at, done, tokens };
  }

  pause(at: number): void {
    this.paused ??= at;
  }

  resume(at: number): void {
    if (this.paused !== undefined) this.from.at += at - this.paused;
    this.paused = undefined;
  }

  /** What came since the last piece says nothing of those to come: kernels were compiled for it. */
  skip(at: number, done: number, tokens = 0): void {
    this.from = { at, done, tokens };
  }

  reached(at: number, done: number, tokens = 0): void {
    const { from, pieces } = this;
    const seconds = at - from.at;
    if (done <= from.done || seconds < LEAST_SECONDS) return;
    pieces.push({ seconds, units: done - from.done, tokens: tokens - from.tokens });
    if (pieces.length > PIECES) pieces.shift();
    this.from = { at, done, tokens };
  }

  /** Units a second; undefined until a piece was done. */
  get rate(): number | undefined {
    return this.perSecond(({ units }) => units);
  }

  get tokensPerSecond(): number | undefined {
    const rate = this.perSecond(({ tokens }) => tokens);
    return rate === 0 ? undefined : rate;
  }

  /** Of those that follow what was done; what is under way may be done any moment, however long it takes already. */
  secondsLeft(at: number, left: number): number | undefined {
    const { rate } = this;
    if (rate === undefined) return undefined;
    const under = Math.max(0, (this.paused ?? at) - this.from.at);
    return Math.max(0, left - Math.min(1, rate * under)) / rate;
  }

  private perSecond(what: (piece: Piece) => number): number | undefined {
    const { pieces } = this;
    if (pieces.length === 0) return undefined;
    const each = pieces.map(({ seconds, units }) => seconds / units).sort((a, b) => a - b);
    const longest = MOST_TIMES * each[(each.length - 1) >> 1]!;
    let [sum, time] = [0, 0];
    for (const piece of pieces) {
      sum += what(piece);
      time += Math.min(piece.seconds, longest * piece.units);
    }
    return sum / time;
  }
}
