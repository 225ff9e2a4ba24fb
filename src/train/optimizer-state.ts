/** What a checkpoint holds of AdamW over a store: how far it came, and, where ranks divide its tensors, how rank 0 reads them. */
import { sizeOfRanges } from '../autograd/buckets.js';
import { InputError } from '../errors.js';
import { isJsonObject } from '../files/json.js';
import { type Placement, type Span, savedSpans } from '../optim/state.js';
import { bytesOf, type Communicator, floatsOf } from '../ranks/communicator.js';
import { show } from '../show.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import type { StateTensor } from '../weights/save-tensors.js';

/** As JSON. */
export interface AdamWState {
  /** Updates done; steps that were skipped are none. */
  readonly updates: number;
}

/** A saved tensor whose elements ranks have parts of. */
export interface DividedTensor {
  readonly name: string;
  readonly shape: Shape;
  /** What this rank has of it, where `placement` says. */
  readonly spans: readonly Span[];
  readonly placement: Placement;
}

/**
 * Divided tensors as rank 0 reads them, in any order and pieces, while the other ranks `answer`: each read asks all ranks
 * for what they have, and has zeros where none has anything.
 */
export class DividedReads {
  private readonly tensors: DividedTensor[] = [];
  private before: Promise<unknown> = Promise.resolve();
  private ended = false;

  constructor(private readonly communicator: Communicator) {}

  /** Adds one, on all ranks in the same order. Returns what rank 0 reads it by. */
  add(tensor: DividedTensor): StateTensor {
    const n = this.tensors.push(tensor) - 1;
    const { name, shape } = tensor;
    return {
      ...{ name, shape, dtype: 'f32' },
      // One after the other, whoever asks: the others answer so.
      read: (start = 0, count = sizeOf(shape) - start) => {
        const reading = this.before.then(() => this.ask(n, start, count));
        this.before = reading.catch(() => undefined);
        return reading;
      },
    };
  }

  /** On rank 0: the others need not answer any more. */
  async end(): Promise<void> {
    await this.before;
    this.ended = true;
    await this.communicator.broadcast(new Uint8Array(), 0);
  }

  /** On the others: gives what rank 0 reads, until it ends. */
  async answer(): Promise<void> {
    for (;;) {
      const asked = await this.communicator.broadcast(new Uint8Array(), 0);
      if (asked.length === 0) return;
      const [n, start, count] = new Float64Array(asked.slice().buffer) as unknown as [number, number, number];
      await this.give(n, start, count);
    }
  }

  private async ask(n: number, start: number, count: number): Promise<Float32Array> {
    const { communicator } = this;
    const tensor = this.tensors[n]!;
    if (this.ended) throw new RangeError(`${tensor.name} is read when no other rank answers any more`);
    await communicator.broadcast(bytesOf(Float64Array.of(n, start, count)), 0);
    const values = new Float32Array(count);
    for (const [rank, bytes] of (await this.give(n, start, count)).entries()) {
      const theirs = floatsOf(bytes);
      let at = 0;
      for (const piece of tensor.placement.of(rank, { start, end: start + count }).pieces) {
        const length = piece.end - piece.start;
        values.set(theirs.subarray(at, at + length), piece.start - start);
        at += length;
      }
    }
    return values;
  }

  /** What this rank has goes to rank 0. Returns what came here. */
  private async give(n: number, start: number, count: number): Promise<Uint8Array[]> {
    const { name, shape, spans, placement } = this.tensors[n]!;
    const { size, rank } = this.communicator;
    const { first, pieces } = placement.of(rank, { start, end: start + count });
    const own = bytesOf(
      (await savedSpans(name, shape, spans).read(first, sizeOfRanges(pieces))) as Float32Array,
    );
    const nothing = new Uint8Array();
    return this.communicator.exchange(
      Array.from({ length: size }, (_, other) => (other === 0 ? own : nothing)),
    );
  }
}

/** @throws InputError for what is no state of AdamW. */
export function requireState(state: unknown, where: string): AdamWState {
  const updates = isJsonObject(state) ? state['updates'] : undefined;
  if (typeof updates !== 'number' || !Number.isSafeInteger(updates) || updates < 0)
    throw new InputError(
      `${where}: expected "updates" of the optimiser to be an integer from 0, found ${show(updates)}`,
    );
  return { updates };
}
