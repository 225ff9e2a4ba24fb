/** A communicator that counts what its rank sends to others: `by` carries, for whoever runs on it nothing changes. */
import {
  type Communicator,
  type Pending,
  partOf,
  type RankFailure,
  type WireFormat,
} from '../../src/ranks/communicator.js';

/** Bytes sent to other ranks, by the call that sent them. */
export interface SentBytes {
  readonly sums: number;
  readonly parts: number;
  /** Exchanges, gathers and broadcasts of bytes. */
  readonly bytes: number;
}

export class CountedRanks implements Communicator {
  private sums = 0;
  private parts = 0;
  private bytes = 0;

  constructor(private readonly by: Communicator) {}

  get rank(): number {
    return this.by.rank;
  }
  get size(): number {
    return this.by.size;
  }
  get sent(): SentBytes {
    return { sums: this.sums, parts: this.parts, bytes: this.bytes };
  }
  reset(): void {
    this.sums = this.parts = this.bytes = 0;
  }

  memory(count: number): Float32Array {
    return this.by.memory(count);
  }
  startSum(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    // The parts of the others to their owners, and the sum of its own to each of them.
    this.sums += width(wire) * (values.length - this.own(values) + this.own(values) * (this.size - 1));
    return this.by.startSum(values, wire);
  }
  startReduceScatter(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    this.sums += width(wire) * (values.length - this.own(values));
    return this.by.startReduceScatter(values, wire);
  }
  startGatherParts(values: Float32Array): Pending {
    this.parts += 4 * this.own(values) * (this.size - 1);
    return this.by.startGatherParts(values);
  }
  exchange(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    parts.forEach((part, rank) => {
      if (rank !== this.rank) this.bytes += part.length;
    });
    return this.by.exchange(parts);
  }
  allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    this.bytes += bytes.length * (this.size - 1);
    return this.by.allGather(bytes);
  }
  broadcast(bytes: Uint8Array, root: number): Promise<Uint8Array> {
    if (root === this.rank) this.bytes += bytes.length * (this.size - 1);
    return this.by.broadcast(bytes, root);
  }
  barrier(): Promise<void> {
    return this.by.barrier();
  }
  abort(failure: RankFailure): Promise<never> {
    return this.by.abort(failure);
  }
  close(): Promise<void> {
    return this.by.close();
  }

  private own(values: Float32Array): number {
    const { start, end } = partOf(values.length, this.size, this.rank);
    return end - start;
  }
}

const width = (wire: WireFormat): number => (wire === 'bf16' ? 2 : 4);
