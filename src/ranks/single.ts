/** One rank on its own: nobody to wait for. */
import type { Communicator, Pending, RankFailure, WireFormat } from './communicator.js';
import { pendingOf, RankError, requireRank } from './communicator.js';
import { roundToBf16 } from './sums.js';

/** The communicator of a world of one rank. */
export class SingleCommunicator implements Communicator {
  readonly rank = 0;
  /** One. */
  readonly size = 1;
  private failed: RankError | undefined;

  memory(count: number): Float32Array {
    return new Float32Array(count);
  }
  /** As on any number of ranks: with bf16 the sum is rounded. */
  startSum(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    if (wire === 'bf16') roundToBf16(values);
    return pendingOf(this.answer(undefined));
  }
  startReduceScatter(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    return this.startSum(values, wire);
  }
  startGatherParts(): Pending {
    return pendingOf(this.answer(undefined));
  }
  exchange(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return this.answer(parts.map((part) => part.slice()));
  }
  allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    return this.answer([bytes.slice()]);
  }
  async broadcast(bytes: Uint8Array, root: number): Promise<Uint8Array> {
    requireRank(root, 1);
    return this.answer(bytes.slice());
  }
  barrier(): Promise<void> {
    return this.answer(undefined);
  }
  async abort(failure: RankFailure): Promise<never> {
    this.failed ??= new RankError(failure);
    throw this.failed;
  }
  async close(): Promise<void> {}

  private async answer<T>(value: T): Promise<T> {
    if (this.failed) throw this.failed;
    return value;
  }
}
