/**
 * Whether ranks are alive. The thread in which a rank computes beats: by a timer, and with each sign of progress in work
 * that lets no timer run. Its communication thread tells the others, and beats for it through work of which single pieces
 * take long (a kernel that is compiled, a file that is synced), though not for ever. A rank that takes long is waited
 * for; one whose beats stay away while others wait for it (an endless loop, a stopped process, a dead machine) ends the run.
 */
import { onProgress } from '../progress.js';
import { RankError, type RankFailure } from './communicator.js';
import type { Watch } from './transport.js';

const BEAT_MILLISECONDS = 250;
/** Between two looks that do anything; between them `look` costs a clock and a comparison. */
const LOOK_MILLISECONDS = 50;
/** A look that comes later than this was late itself: the process was stopped, or the machine slept. */
const LATE_MILLISECONDS = 1000;

/** Before all ranks have met one that was never heard of may be starting, which takes its time however short the timeout. */
export const STARTING_SECONDS = 20;

const WAITED = 'waited for it';
const SILENCE = 'gave no sign of life';

/** Whether a rank failed by being silent: others say so, and it cannot. */
export const isSilence = ({ message }: RankFailure): boolean => message.startsWith(SILENCE);

/** Those of this thread. */
const hearts = new Set<Heartbeat>();

/** Work that lets no timer run may give no sign of progress for so long, or for the timeout where that is longer. */
export const BUSY_SECONDS = 900;

/**
 * `work` may let no timer run for long, and pieces of it take longer than the timeout: files are read and written, a plan
 * is made, kernels are compiled. Until it is done the communication thread beats in place of this one, so that only a
 * stopped process, a dead machine, or work that gives no sign of progress for BUSY_SECONDS is silent.
 */
export async function beatThrough<T>(work: () => T | Promise<T>): Promise<T> {
  const own = [...hearts];
  for (const heart of own) heart.busy(1);
  try {
    return await work();
  } finally {
    for (const heart of own) heart.busy(-1);
  }
}

/** What `items` gives, where making the first may let no timer run for long: kernels are compiled when first used. */
export async function* beatThroughFirst<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  const each = items[Symbol.asyncIterator]();
  try {
    for (let next = await beatThrough(() => each.next()); !next.done; next = await each.next())
      yield next.value;
  } finally {
    await each.return?.();
  }
}

/** Beats of the thread that made it, counted in a cell of shared memory; another says whether it is busy. */
export class Heartbeat {
  private readonly timer: NodeJS.Timeout;
  private readonly forget: () => void;

  constructor(
    private readonly cells: Int32Array,
    private readonly index: { readonly beats: number; readonly busy: number },
  ) {
    this.timer = setInterval(() => this.beat(), BEAT_MILLISECONDS).unref();
    this.forget = onProgress(() => this.beat());
    hearts.add(this);
    this.beat();
  }

  beat(): void {
    Atomics.add(this.cells, this.index.beats, 1);
  }

  /** By how much deeper this thread is in work that lets it not beat. */
  busy(by: 1 | -1): void {
    Atomics.add(this.cells, this.index.busy, by);
  }

  stop(): void {
    clearInterval(this.timer);
    this.forget();
    hearts.delete(this);
  }
}

/**
 * The beats that a communication thread tells of its computing one: those it counted, and, while that one is busy, one
 * with each call; not any more once it has given none itself for `seconds` of being busy.
 */
export class BeatsOfBusy {
  private borrowed = 0;
  private own = 0;
  /** Milliseconds of being busy without a beat of its own. */
  private silent = 0;
  private last: number;

  constructor(
    private readonly seconds: number,
    private readonly clock = () => performance.now(),
  ) {
    this.last = clock();
  }

  /** Called several times a second. */
  count(own: number, busy: boolean): number {
    const now = this.clock();
    // Where nobody called, the process was stopped or the machine slept.
    const passed = Math.min(now - this.last, LATE_MILLISECONDS);
    this.last = now;
    if (!busy || own !== this.own) this.silent = 0;
    else this.silent += passed;
    this.own = own;
    if (busy && this.silent < 1000 * this.seconds) this.borrowed++;
    return (own + this.borrowed) | 0;
  }
}

export interface WatchdogOptions {
  /** Which one this is, once it is known. */
  readonly rank: () => number | undefined;
  /** How long a rank may be silent while it is waited for; Infinity: for ever. */
  readonly timeoutSeconds: number;
  /** What this rank itself was told to end with. */
  readonly aborted: () => RankFailure | undefined;
  /** Of all ranks, as Transport.beats. */
  readonly beats: () => ArrayLike<number>;
  /** Milliseconds that never go back. */
  readonly clock?: () => number;
}

/** Of the communication thread. */
export class Watchdog implements Watch {
  private heard: Int32Array = new Int32Array();
  private silent: Float64Array = new Float64Array();
  private last: number;
  private haveMet = false;
  private doing = WAITED;
  private readonly clock: () => number;

  constructor(private readonly options: WatchdogOptions) {
    this.clock = options.clock ?? (() => performance.now());
    this.last = this.clock();
  }

  /** From here on ranks are waited for anew. `doing`: what this rank then did, for the failure of one that is silent. */
  begin(doing = WAITED): void {
    this.doing = doing;
    this.silent.fill(0);
    this.last = this.clock();
  }

  /** All ranks have been heard of, in an exchange. */
  met(): void {
    this.haveMet = true;
  }

  look(missing: (rank: number) => boolean = () => true): void {
    const failure = this.options.aborted();
    if (failure) throw new RankError(failure);
    const now = this.clock();
    const passed = now - this.last;
    if (passed < LOOK_MILLISECONDS) return;
    this.last = now;
    const beats = this.options.beats();
    const own = this.options.rank();
    if (this.heard.length !== beats.length) {
      this.heard = new Int32Array(beats.length);
      this.silent = new Float64Array(beats.length);
    }
    for (let rank = 0; rank < beats.length; rank++) {
      if (beats[rank] !== this.heard[rank]) {
        this.heard[rank] = beats[rank]!;
        this.silent[rank] = 0;
      } else if (rank !== own && missing(rank)) {
        this.silent[rank]! += Math.min(passed, LATE_MILLISECONDS);
        const { timeoutSeconds } = this.options;
        const starting = !this.haveMet && this.heard[rank] === 0;
        const seconds = starting ? Math.max(timeoutSeconds, STARTING_SECONDS) : timeoutSeconds;
        if (this.silent[rank]! >= seconds * 1000) throw new RankError(this.silence(rank, seconds));
      }
    }
  }

  private silence(rank: number, seconds: number): RankFailure {
    return {
      rank,
      message: `${SILENCE} for ${seconds} s while rank ${this.options.rank()} ${this.doing}: it hangs, or its process or machine is stopped`,
      exitCode: 1,
    };
  }
}
