/**
 * Ranks in threads of one process exchange through shared memory: each rank has a staging area into which it alone
 * writes. A call goes in rounds of as many bytes as staging holds; a round is: write, arrive, wait until all have
 * arrived, read. Staging has two halves, used in turn, so a rank that reads late is never overwritten: whoever writes a
 * half again has met all readers at the round between.
 */
import { RankError, type RankFailure } from './communicator.js';
import type { Transport, TransportPlace, Watch } from './transport.js';

/** What all ranks of a process share. */
export interface ThreadsWorld {
  readonly size: number;
  /** Of the sums of one part that are taken at once. */
  readonly sliceBytes: number;
  /** Int32 cells, as Control reads them. */
  readonly control: SharedArrayBuffer;
  /** One of each rank. */
  readonly staging: readonly SharedArrayBuffer[];
}

/** What is copied from hand to hand stays in a core's cache. */
const SLICE_BYTES = 512 << 10;

const MOST_MESSAGE_BYTES = 8192;
/** A wait ends at least so often, to look at the watch and at failures whose notice came too early. */
const WAIT_MILLISECONDS = 50;

/** What one round of an exchange takes is a slice for each other rank. */
export function threadsWorld(size: number, sliceBytes = SLICE_BYTES): ThreadsWorld {
  const stagingBytes = 2 * sliceBytes * Math.max(1, size - 1);
  return {
    size,
    sliceBytes,
    control: new SharedArrayBuffer(4 * (FAILURE_CELLS + size * CELLS_A_RANK) + MOST_MESSAGE_BYTES),
    staging: Array.from({ length: size }, () => new SharedArrayBuffer(stagingBytes)),
  };
}

/** Where the communication thread of a rank finds it. */
export function threadsPlace(world: ThreadsWorld, rank: number): TransportPlace {
  return { module: import.meta.url, data: { world, rank } satisfies Seat };
}

/** Ends the exchanges of all ranks, from any thread: for a rank whose thread is gone. */
export function abortThreads(world: ThreadsWorld, failure: RankFailure): void {
  new Control(world).fail(failure);
}

/** What ended the exchanges of all ranks, if they are ended. */
export function failureOfThreads(world: ThreadsWorld): RankFailure | undefined {
  return new Control(world).failed();
}

interface Seat {
  readonly world: ThreadsWorld;
  readonly rank: number;
}

export function openTransport(data: unknown, watch: Watch): Transport {
  const { world, rank } = data as Seat;
  return new ThreadsTransport(world, rank, watch);
}

// ---- the cells -----------------------------------------------------------------------------------------------

/** State, rank, exit code and length in bytes of the failure's message. */
const FAILURE_CELLS = 4;
const NONE = 0;
const BEING_WRITTEN = 1;
const WRITTEN = 2;
/** Arrived, closed, beats, and the rounds that it needs, of two calls in turn. */
const CELLS_A_RANK = 5;

class Control {
  private readonly failure: Int32Array;
  private readonly message: Uint8Array;
  /** How often each rank has arrived; wraps around. */
  readonly arrived: Int32Array;
  readonly closed: Int32Array;
  readonly beats: Int32Array;
  readonly rounds: readonly [Int32Array, Int32Array];

  constructor({ control, size }: ThreadsWorld) {
    let at = 0;
    const cells = (count: number) => {
      const view = new Int32Array(control, at, count);
      at += 4 * count;
      return view;
    };
    this.failure = cells(FAILURE_CELLS);
    this.arrived = cells(size);
    this.closed = cells(size);
    this.beats = cells(size);
    this.rounds = [cells(size), cells(size)];
    this.message = new Uint8Array(control, at);
  }

  /** The first failure stays. */
  fail({ rank, message, exitCode }: RankFailure): void {
    if (Atomics.compareExchange(this.failure, 0, NONE, BEING_WRITTEN) !== NONE) return;
    const bytes = Buffer.from(message).subarray(0, MOST_MESSAGE_BYTES);
    this.message.set(bytes);
    this.failure.set([rank, exitCode, bytes.length], 1);
    Atomics.store(this.failure, 0, WRITTEN);
    Atomics.notify(this.failure, 0);
    for (let each = 0; each < this.arrived.length; each++) Atomics.notify(this.arrived, each);
  }

  failed(): RankFailure | undefined {
    if (Atomics.load(this.failure, 0) === NONE) return undefined;
    // Whoever writes it is not stopped in between by anything but the end of the process.
    while (Atomics.load(this.failure, 0) === BEING_WRITTEN)
      Atomics.wait(this.failure, 0, BEING_WRITTEN, WAIT_MILLISECONDS);
    const [, rank, exitCode, length] = this.failure;
    const message = Buffer.from(this.message.slice(0, length)).toString();
    return { rank: rank!, message, exitCode: exitCode === 2 ? 2 : 1 };
  }

  /** @throws RankError once there is a failure. */
  throwFailure(): void {
    const failure = this.failed();
    if (failure) throw new RankError(failure);
  }
}

// ---- the transport -------------------------------------------------------------------------------------------

class ThreadsTransport implements Transport {
  readonly size: number;
  readonly sliceBytes: number;
  private readonly control: Control;
  /** [half][rank]. */
  private readonly staging: readonly (readonly Uint8Array[])[];
  private readonly half: number;
  /** How often this rank has arrived. */
  private sequence = 0;

  constructor(
    world: ThreadsWorld,
    readonly rank: number,
    private readonly watch: Watch,
  ) {
    this.size = world.size;
    this.sliceBytes = world.sliceBytes;
    this.control = new Control(world);
    this.half = world.staging[0]!.byteLength / 2;
    this.staging = [0, 1].map((half) =>
      world.staging.map((memory) => new Uint8Array(memory, half * this.half, this.half)),
    );
  }

  allToAll(send: readonly Uint8Array[], receive: readonly Uint8Array[]): void {
    const { rank, size } = this;
    copy(receive[rank]!, send[rank]!);
    // A rank's staging holds what it sends to each of the others, one after the other.
    const room = Math.floor(this.half / Math.max(1, size - 1));
    const place = (from: number, to: number) => room * (to < from ? to : to - 1);
    let rounds = 1;
    for (let to = 0; to < size; to++)
      if (to !== rank) rounds = Math.max(rounds, Math.ceil(send[to]!.length / room));
    for (let round = 0; round < rounds; round++) {
      const staging = this.staging[this.sequence & 1]!;
      for (let to = 0; to < size; to++)
        if (to !== rank) copy(staging[rank]!, send[to]!, place(rank, to), room * round, room);
      const needed = this.control.rounds[this.sequence & 1]!;
      if (round === 0) Atomics.store(needed, rank, rounds);
      this.meet();
      // Nobody knows what others send to third ranks: the longest of all decides how many rounds there are.
      if (round === 0) for (let r = 0; r < size; r++) rounds = Math.max(rounds, Atomics.load(needed, r));
      for (let from = 0; from < size; from++)
        if (from !== rank) copyOut(receive[from]!, staging[from]!, room * round, place(from, rank), room);
    }
  }

  allGather(send: Uint8Array, receive: readonly Uint8Array[]): void {
    const { rank, size, half } = this;
    copy(receive[rank]!, send);
    const longest = receive.reduce((most, { length }) => Math.max(most, length), 0);
    for (let from = 0; from < longest; from += half) {
      const staging = this.staging[this.sequence & 1]!;
      copy(staging[rank]!, send, 0, from, half);
      this.meet();
      for (let r = 0; r < size; r++) if (r !== rank) copyOut(receive[r]!, staging[r]!, from, 0, half);
    }
  }

  barrier(): void {
    this.meet();
  }

  beats(own: number): ArrayLike<number> {
    this.control.throwFailure();
    Atomics.store(this.control.beats, this.rank, own);
    return this.control.beats;
  }

  abort(failure: RankFailure): void {
    this.control.fail(failure);
  }

  close(): void {
    Atomics.store(this.control.closed, this.rank, 1);
    Atomics.notify(this.control.arrived, this.rank);
  }

  /** Waits until all ranks have come here as often as this one. */
  private meet(): void {
    const { arrived, closed } = this.control;
    const mine = (this.sequence + 1) | 0;
    this.sequence = mine;
    Atomics.store(arrived, this.rank, mine);
    Atomics.notify(arrived, this.rank);
    const missing = (rank: number) => ((Atomics.load(arrived, rank) - mine) | 0) < 0;
    for (let rank = 0; rank < this.size; rank++)
      for (;;) {
        // A rank closes after its last arrival.
        const gone = Atomics.load(closed, rank) === 1;
        const count = Atomics.load(arrived, rank);
        if (((count - mine) | 0) >= 0) break;
        this.control.throwFailure();
        if (gone)
          throw new RankError({
            rank,
            message: `ended its exchanges while rank ${this.rank} waited for it`,
            exitCode: 1,
          });
        Atomics.wait(arrived, rank, count, WAIT_MILLISECONDS);
        this.watch.look(missing);
      }
    this.control.throwFailure();
  }
}

/** At most `most` bytes of `source` from `from` on to `target` at `at`; nothing where it is the same memory. */
function copy(
  target: Uint8Array,
  source: Uint8Array,
  at = 0,
  from = 0,
  most = Number.POSITIVE_INFINITY,
): void {
  const end = Math.min(source.length, from + most);
  if (from >= end) return;
  if (target.buffer === source.buffer && target.byteOffset + at === source.byteOffset + from) return;
  target.set(source.subarray(from, end), at);
}

/** What `target` holds from `at` on, at most `most` bytes of it, from `source` at `from`. */
function copyOut(target: Uint8Array, source: Uint8Array, at: number, from: number, most: number): void {
  const length = Math.min(target.length - at, most);
  if (length > 0) target.set(source.subarray(from, from + length), at);
}
