/**
 * What ranks tell each other besides their exchanges, on a communicator of its own: how often the thread in which a rank
 * computes has beaten (heartbeat.ts judges that), and why a rank ends. Nothing here waits for anybody but `drain`.
 */
import { RankError, type RankFailure } from '../communicator.js';
import type { Mpi, RequestList } from './library.js';

const BEAT = 1;
const FAILURE = 2;
const BEAT_MILLISECONDS = 500;
/** A failure travels as JSON in as many bytes, filled up with spaces. */
const FAILURE_BYTES = 4096;
/** The others may take the reason of a failure within so long. */
const TELLING_MILLISECONDS = 2000;
const DRAINING_MILLISECONDS = 10_000;

interface Peer {
  sent: number;
  received: number;
  readonly outgoing: RequestList;
  readonly beat: Float64Array;
}

export class Pulse {
  private readonly peers: (Peer | undefined)[];
  private readonly counts: Float64Array;
  private readonly incoming = new Float64Array(1);
  private nextBeat = 0;
  private silenced = false;
  private failed: RankFailure | undefined;

  constructor(
    private readonly mpi: Mpi,
    private readonly communicator: bigint | number,
    private readonly rank: number,
    size: number,
  ) {
    this.counts = new Float64Array(size);
    this.peers = Array.from({ length: size }, (_, peer) =>
      peer === rank
        ? undefined
        : { sent: 0, received: 0, outgoing: mpi.requests(1), beat: new Float64Array(1) },
    );
  }

  get failure(): RankFailure | undefined {
    return this.failed;
  }

  /** As Transport.beats. @throws RankError when some rank failed. */
  beats(own: number): ArrayLike<number> {
    this.requireWhole();
    this.counts[this.rank] = own;
    const now = performance.now();
    if (!this.silenced && now >= this.nextBeat) {
      this.nextBeat = now + BEAT_MILLISECONDS;
      for (const [rank, peer] of this.peers.entries()) {
        // To a rank that does not take them one beat is enough.
        if (!peer?.outgoing.done()) continue;
        peer.beat[0] = own;
        peer.sent++;
        peer.outgoing.send(new Uint8Array(peer.beat.buffer), rank, BEAT, this.communicator);
      }
    }
    this.listen();
    return this.counts;
  }

  /** @throws RankError when some rank failed before. */
  requireWhole(): void {
    if (this.failed) throw new RankError(this.failed);
  }

  /** Sends the failure to all other ranks, as far as they take it. The first failure stays. */
  tell(failure: RankFailure): void {
    if (this.failed) return;
    this.failed = failure;
    const bytes = failureBytes(failure);
    const requests = this.mpi.requests(this.peers.length);
    for (const [rank, peer] of this.peers.entries())
      if (peer) requests.send(bytes, rank, FAILURE, this.communicator);
    const until = performance.now() + TELLING_MILLISECONDS;
    while (!requests.done() && performance.now() < until) Atomics.wait(pause, 0, 0, 1);
    undelivered.push(bytes, requests);
  }

  /** No more beats. @returns how many each rank was sent. */
  silence(): number[] {
    this.silenced = true;
    return this.peers.map((peer) => peer?.sent ?? 0);
  }

  /** Receives what is still to come of the `sent[r]` beats that rank r has sent here, and sends its own to the end. */
  drain(sent: readonly number[]): void {
    const until = performance.now() + DRAINING_MILLISECONDS;
    const drained = () =>
      this.peers.every((peer, rank) => !peer || (peer.received >= sent[rank]! && peer.outgoing.done()));
    while (!drained() && performance.now() < until) {
      this.listen();
      Atomics.wait(pause, 0, 0, 0.1);
    }
  }

  private listen(): void {
    for (;;) {
      const from = this.mpi.probe(this.communicator, BEAT);
      if (from === undefined) break;
      this.mpi.receive(new Uint8Array(this.incoming.buffer), from, BEAT, this.communicator);
      this.counts[from] = this.incoming[0]!;
      this.peers[from]!.received++;
    }
    const from = this.mpi.probe(this.communicator, FAILURE);
    if (from === undefined) return;
    const bytes = new Uint8Array(FAILURE_BYTES);
    this.mpi.receive(bytes, from, FAILURE, this.communicator);
    this.failed = JSON.parse(Buffer.from(bytes).toString()) as RankFailure;
    throw new RankError(this.failed);
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));
/** Memory that MPI may still read while the process ends. */
const undelivered: unknown[] = [];

function failureBytes(failure: RankFailure): Uint8Array {
  // A long message is cut until all of it fits.
  let { message } = failure;
  for (;;) {
    const bytes = Buffer.from(JSON.stringify({ ...failure, message }));
    if (bytes.length <= FAILURE_BYTES) {
      const filled = new Uint8Array(FAILURE_BYTES).fill(0x20);
      filled.set(bytes);
      return filled;
    }
    message = `${message.slice(0, Math.floor(message.length * 0.9))}…`;
  }
}
