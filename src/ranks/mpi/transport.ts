/**
 * The exchanges of a rank over MPI. All of it runs in the communication thread, which alone calls MPI
 * (MPI_THREAD_FUNNELED). Nothing blocks inside MPI: requests begin and are looked at again and again, and in between the
 * watch has its turn, so that a rank that is gone or hangs ends the wait, and so does the end of this process.
 */
import { MachineError } from '../../errors.js';
import { bytesOf, type RankFailure } from '../communicator.js';
import type { Transport, Watch } from '../transport.js';
import type { MpiLaunch } from './environment.js';
import { Leaving, leaveAll } from './leaving.js';
import { enlargeStacks, loadMpi, type Mpi, type RequestList } from './library.js';
import { Pulse } from './pulse.js';

/** What the communication thread of a rank is opened with. */
export interface MpiSeat {
  readonly launch: MpiLaunch;
  /** Of a Leaving. */
  readonly leaving: SharedArrayBuffer;
  /** Of messages; smaller ones only in tests. */
  readonly pieceBytes?: number;
}

/** MPI counts in int32: what is longer travels in pieces. */
const PIECE_BYTES = 1 << 30;

const DATA = 7;
/** Looks at the requests without sleep in between, for what is under way already. */
const EAGER_LOOKS = 50;
const FIRST_SLEEP_MILLISECONDS = 0.05;
const LONGEST_SLEEP_MILLISECONDS = 0.5;
const BACK_OFF = 1.3;
const SETTLING_MILLISECONDS = 300;

/** Initialises MPI. @throws MachineError where there is no library, or one that does not belong to the launcher. */
export function openTransport(data: unknown, watch: Watch): Transport {
  const { launch, leaving, pieceBytes = PIECE_BYTES } = data as MpiSeat;
  enlargeStacks();
  const mpi = loadMpi(launch.families);
  mpi.init();
  const end = new Leaving(leaving);
  end.initialised();
  return new MpiTransport(mpi, launch, watch, end, pieceBytes);
}

class MpiTransport implements Transport {
  readonly rank: number;
  readonly size: number;
  private readonly pulse: Pulse;

  constructor(
    private readonly mpi: Mpi,
    { launcher, rank, size }: MpiLaunch,
    private readonly watch: Watch,
    private readonly leaving: Leaving,
    private readonly pieceBytes: number,
  ) {
    this.rank = mpi.rank(mpi.world);
    this.size = mpi.size(mpi.world);
    if (this.size !== size || this.rank !== rank)
      throw new MachineError(
        `MPI: ${launcher} says rank ${rank} of ${size}, and ${mpi.file} (${mpi.version()}) says rank ${this.rank} of ${this.size}: name the library that belongs to the launcher in DAWNTUNE_MPI_LIBRARY${
          launcher === 'srun' ? ', or start with srun --mpi=pmix' : ''
        }`,
      );
    this.pulse = new Pulse(mpi, mpi.duplicate(mpi.world), this.rank, this.size);
  }

  allToAll(send: readonly Uint8Array[], receive: readonly Uint8Array[]): void {
    this.exchange((rank) => send[rank]!, receive);
  }

  allGather(send: Uint8Array, receive: readonly Uint8Array[]): void {
    this.exchange(() => send, receive);
  }

  barrier(): void {
    this.pulse.requireWhole();
    const requests = this.mpi.requests(1);
    requests.barrier(this.mpi.world);
    this.finish(requests);
  }

  beats(own: number): ArrayLike<number> {
    this.leaving.turn();
    this.leaveIfAsked();
    return this.pulse.beats(own);
  }

  abort(failure: RankFailure): void {
    this.pulse.tell(failure);
    this.leaving.known(this.pulse.failure ?? failure, this.rank);
  }

  /** After a failure MPI stays as it is: the process that ends has to end the others (leaving.ts). */
  close(): void {
    if (this.pulse.failure) return;
    this.barrier();
    this.leaving.closing();
    // From here on nobody beats, so that no message is left that nobody receives.
    const sent = this.pulse.silence().map((count) => Float64Array.of(count));
    const toCome = sent.map(() => new Float64Array(1));
    this.allToAll(sent.map(bytesOf), toCome.map(bytesOf));
    this.pulse.drain(toCome.map(([count]) => count!));
    this.barrier();
    if (this.mpi.family === 'mpich') this.settle();
    this.leaving.finalising();
    this.mpi.finalize();
    this.leaving.finalised();
  }

  /**
   * MPICH over UCX closes its connections in MPI_Finalize, and there waits for ever for one that is not wholly open when
   * the other side has gone on: 7 of 12 runs over TCP. So both sides keep UCX going for a while, which leaves few; those are
   * ended by leaving.ts.
   */
  private settle(): void {
    const until = performance.now() + SETTLING_MILLISECONDS;
    while (performance.now() < until) {
      this.mpi.probe(this.mpi.world, DATA);
      Atomics.wait(pause, 0, 0, 1);
    }
  }

  private exchange(send: (rank: number) => Uint8Array, receive: readonly Uint8Array[]): void {
    this.pulse.requireWhole();
    const { mpi, rank, size, pieceBytes } = this;
    // Every rank begins with its neighbour, so that not all of them send to rank 0 first.
    const others = Array.from({ length: size - 1 }, (_, i) => (rank + 1 + i) % size);
    const pieces = (bytes: Uint8Array) => Math.ceil(bytes.length / pieceBytes);
    const requests = mpi.requests(
      others.reduce((sum, peer) => sum + pieces(send(peer)) + pieces(receive[peer]!), 0),
    );
    for (const peer of others)
      for (const piece of cut(receive[peer]!, pieceBytes)) requests.receive(piece, peer, DATA, mpi.world);
    for (const peer of others)
      for (const piece of cut(send(peer), pieceBytes)) requests.send(piece, peer, DATA, mpi.world);
    const own = send(rank);
    const kept = receive[rank]!;
    // The memory may be the same, and then it holds it already.
    if (own.buffer !== kept.buffer || own.byteOffset !== kept.byteOffset) kept.set(own);
    this.finish(requests);
  }

  private finish(requests: RequestList): void {
    let looks = 0;
    let sleep = FIRST_SLEEP_MILLISECONDS;
    while (!requests.done()) {
      if (++looks < EAGER_LOOKS) continue;
      this.leaveIfAsked();
      this.watch.look((rank) => requests.concerns(rank));
      Atomics.wait(pause, 0, 0, sleep);
      sleep = Math.min(LONGEST_SLEEP_MILLISECONDS, sleep * BACK_OFF);
    }
  }

  /** The other thread is at the end of the process and waits for this one to end those of the other ranks. */
  private leaveIfAsked(): void {
    const asked = this.leaving.asked();
    if (asked) leaveAll(this.mpi, this.rank, asked, (failure) => this.pulse.tell(failure));
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));

function* cut(bytes: Uint8Array, length: number): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += length)
    yield bytes.subarray(start, Math.min(bytes.length, start + length));
}
