/**
 * Ranks as a memory plan sees them: nothing is exchanged, and the others are taken to send what this one does, which of
 * the longest batches is the most that they can.
 */
import { type Communicator, type Pending, pendingOf, RankError, type RankFailure } from './communicator.js';

export class PlannedRanks implements Communicator {
  constructor(
    readonly size: number,
    readonly rank = 0,
  ) {}

  memory(count: number): Float32Array {
    return new Float32Array(count);
  }
  startSum(): Pending {
    return pendingOf(Promise.resolve());
  }
  startReduceScatter(): Pending {
    return pendingOf(Promise.resolve());
  }
  startGatherParts(): Pending {
    return pendingOf(Promise.resolve());
  }
  async exchange(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return Array.from({ length: this.size }, () => parts[this.rank]!.slice());
  }
  async allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    return Array.from({ length: this.size }, () => bytes.slice());
  }
  async broadcast(bytes: Uint8Array): Promise<Uint8Array> {
    return bytes.slice();
  }
  async barrier(): Promise<void> {}
  async abort(failure: RankFailure): Promise<never> {
    throw new RankError(failure);
  }
  async close(): Promise<void> {}
}
