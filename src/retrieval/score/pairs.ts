/** Which queries are scored against which passages, by the numbers of both: a few bytes a pair. */
import { ShapeError } from '../../errors.js';

/** Pair i is query `queryOf[i]` with passage `passageOf[i]`. */
export interface Pairs {
  /** Numbers of queries, from 0. */
  readonly queryOf: Uint32Array;
  /** Numbers of passages, from 0; as many. */
  readonly passageOf: Uint32Array;
}

/** The pairs by their passages. */
export class InvertedPairs {
  readonly count: number;
  /** One more than the largest number; 0 without pairs. */
  readonly queries: number;
  readonly passages: number;
  /** Places of pairs, passage after passage. */
  private readonly slots: Uint32Array;
  private readonly starts: Float64Array;

  /** @throws ShapeError unless there is a passage for each query. */
  constructor(private readonly pairs: Pairs) {
    const { queryOf, passageOf } = pairs;
    if (queryOf.length !== passageOf.length)
      throw new ShapeError('Pairs', `${queryOf.length} queries for ${passageOf.length} passages`);
    this.count = queryOf.length;
    this.queries = queryOf.reduce((most, query) => Math.max(most, query + 1), 0);
    this.passages = passageOf.reduce((most, passage) => Math.max(most, passage + 1), 0);
    this.starts = new Float64Array(this.passages + 1);
    for (const passage of passageOf) this.starts[passage + 1]! += 1;
    for (let p = 0; p < this.passages; p++) this.starts[p + 1]! += this.starts[p]!;
    this.slots = new Uint32Array(this.count);
    const next = this.starts.slice();
    for (let i = 0; i < this.count; i++) this.slots[next[passageOf[i]!]!++] = i;
  }

  /** The pairs of a passage, in their order. */
  slotsOf(passage: number): Uint32Array {
    if (passage >= this.passages) return new Uint32Array();
    return this.slots.subarray(this.starts[passage], this.starts[passage + 1]);
  }

  queryOf(slot: number): number {
    return this.pairs.queryOf[slot]!;
  }
}
