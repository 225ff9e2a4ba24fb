/**
 * What a communication thread (carrier-thread.ts) stands on: the few collective exchanges of bytes that shared memory,
 * or MPI, provides. A transport blocks its thread, so it is never used from the thread in which a rank computes.
 */
import type { RankFailure } from './communicator.js';

/**
 * All ranks make the same calls, and lengths agree: what rank a sends to b is as long as what b receives from a. A call
 * returns when `send` may be written again and `receive` is there. While it waits it looks at its `Watch`, at least
 * every 100 ms. Every call throws RankError once any rank has failed.
 */
export interface Transport {
  readonly rank: number;
  readonly size: number;
  /** In slices of so many bytes of each part sums go best; a thread has room for one of each rank. By default at most 4 MiB, and 32 MiB of all ranks together. */
  readonly sliceBytes?: number;
  /** `send[r]` goes to rank r, `receive[r]` comes from it; what a rank sends to itself is copied. Lengths may be 0. */
  allToAll(send: readonly Uint8Array[], receive: readonly Uint8Array[]): void;
  /** `send` goes to all ranks, `receive[r]` comes from rank r. `receive[rank]` may be the memory of `send`. */
  allGather(send: Uint8Array, receive: readonly Uint8Array[]): void;
  barrier(): void;
  /**
   * How often the computing thread of each rank has beaten, as far as it is known here; this one's `own` beats are told
   * to the others. Called several times a second, between calls too; waits for nobody. A rank that failed is told by a
   * RankError.
   */
  beats(own: number): ArrayLike<number>;
  /** Tells all ranks why this one ends, unless another was first. Waits for none of them. */
  abort(failure: RankFailure): void;
  /** After the last call; also after a failure, and then without waiting. */
  close(): void;
}

/** What a transport looks at while it waits (heartbeat.ts). */
export interface Watch {
  /**
   * Cheap enough for a loop that polls. `missing`: whether a rank is still waited for; without it, all are.
   * @throws RankError when this rank is to end, or when a rank that is waited for has been silent for too long.
   */
  look(missing?: (rank: number) => boolean): void;
}

/** What a module that holds a transport exports: `data` is that of TransportPlace. */
export interface TransportModule {
  openTransport(data: unknown, watch: Watch): Transport | Promise<Transport>;
}

/** Where a communication thread finds its transport. */
export interface TransportPlace {
  /** URL of a TransportModule. */
  readonly module: string;
  /** What the transport is opened with; goes to another thread. */
  readonly data: unknown;
}
