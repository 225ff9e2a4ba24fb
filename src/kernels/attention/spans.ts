/**
 * Which rows of queries and of keys belong together where both are tensors of their own: spans. Packed, a span is a
 * sequence, whose heads lie side by side in its rows; of [batch, heads, length, dim] it is one key head of one example,
 * and the query heads that share it lie one below the other. Also where in a bias a span's scores are, and the tables of
 * tiles (see `sides.ts`).
 */
import type { Gpu } from '../../gpu/gpu.js';
import { Tensor } from '../../tensor/tensor.js';
import type { TileSource } from './layout.js';

/** Rows [begin, end). */
export interface Rows {
  readonly begin: number;
  readonly end: number;
}

export interface Span {
  /** Of the first of the query heads that share a key head. */
  readonly queries: Rows;
  readonly keys: Rows;
  /** Element of the bias that the first query head's first score takes. */
  readonly bias: number;
}

/** Elements of a bias from one head, query and key to the next; 0 where they share it. */
export interface BiasSteps {
  readonly head: number;
  readonly query: number;
  readonly key: number;
}

export type Side = 'queries' | 'keys';

/** u32 of a tile in the tables. */
const TILE_WORDS = 16;

export class Spans {
  readonly tileWords: number = TILE_WORDS;

  constructor(
    readonly gpu: Gpu,
    /** Ascending on both sides. */
    private readonly all: readonly Span[],
    /** Heads that lie side by side in a row of queries, and in a row of keys. */
    readonly heads: number,
    readonly keyHeads: number,
    /** Query heads that share a key head. */
    readonly members: number,
    /** Rows from one of these to the next where they lie one below the other, else 0. */
    readonly memberRows: number,
    readonly steps: BiasSteps = { head: 0, query: 0, key: 0 },
  ) {}

  get count(): number {
    return this.all.length;
  }

  /** Members of a span that lie one below the other. */
  private get below(): number {
    return this.memberRows > 0 ? this.members : 1;
  }

  /** All rows of a side from the first to the last of those of span s. */
  rows(side: Side, s: number): Rows {
    const rows = this.all[s]![side];
    if (side === 'keys') return rows;
    return { begin: rows.begin, end: rows.end + (this.below - 1) * this.memberRows };
  }

  /** The most rows of one span. */
  longest(side: Side): number {
    return this.all.reduce((most, _, s) => {
      const { begin, end } = this.rows(side, s);
      return Math.max(most, end - begin);
    }, 0);
  }

  /** Elements of the bias from the first to the last that spans [first, after) take, of query heads from firstHead on. */
  biasRange(first: number, after: number, firstHead: number, heads: number): [start: number, count: number] {
    const { head, query, key } = this.steps;
    let [start, end] = [Number.POSITIVE_INFINITY, 0];
    for (const { queries, keys, bias } of this.all.slice(first, after)) {
      const [rows, columns] = [queries.end - queries.begin, keys.end - keys.begin];
      if (rows === 0 || columns === 0) continue;
      const lastHead = firstHead + heads - 1 + (this.below - 1);
      start = Math.min(start, bias + firstHead * head);
      end = Math.max(end, bias + lastHead * head + (rows - 1) * query + (columns - 1) * key + 1);
    }
    return end === 0 ? [0, 0] : [start, end - start];
  }

  /**
   * For the gradient of the bias: which pairs of span and query head take each of its matrices, of spans [first, after) and
   * heads [firstHead, firstHead + heads), of keys from firstKeyHead on. Two vec4u a matrix, (first pair, last + 1, element
   * that it begins with, 0) and (queries, keys, steps to the next of each); then two a pair, (query rows, key rows) and
   * (head and key head within the operands, those steps). Pairs are counted from the beginning of the table.
   */
  pairs(
    { first, after }: { readonly first: number; readonly after: number },
    { firstHead, heads, firstKeyHead }: Record<'firstHead' | 'heads' | 'firstKeyHead', number>,
  ): { table: Tensor; matrices: number; queries: number; keys: number } {
    const { gpu, steps, members, memberRows } = this;
    const matrices = new Map<number, { pairs: number[][]; queries: number; keys: number }>();
    for (const { queries, keys, bias } of this.all.slice(first, after)) {
      const [rows, columns] = [queries.end - queries.begin, keys.end - keys.begin];
      if (rows === 0 || columns === 0) continue;
      for (let n = 0; n < (memberRows > 0 ? members : heads); n++) {
        const [head, shift] = memberRows > 0 ? [0, n * memberRows] : [n, 0];
        const keyHead = memberRows > 0 ? 0 : Math.floor((firstHead + n) / members) - firstKeyHead;
        const at = bias + (memberRows > 0 ? n : firstHead + n) * steps.head;
        let matrix = matrices.get(at);
        if (!matrix) matrices.set(at, (matrix = { pairs: [], queries: 0, keys: 0 }));
        matrix.queries = Math.max(matrix.queries, rows);
        matrix.keys = Math.max(matrix.keys, columns);
        matrix.pairs.push([
          ...[queries.begin + shift, queries.end + shift, keys.begin, keys.end],
          ...[head, keyHead, steps.query, steps.key],
        ]);
      }
    }
    const list: number[] = [];
    let [pair, mostQueries, mostKeys] = [matrices.size, 0, 0];
    for (const [at, { pairs, queries, keys }] of matrices) {
      list.push(pair, pair + pairs.length, at, 0, queries, keys, steps.query, steps.key);
      pair += pairs.length;
      mostQueries = Math.max(mostQueries, queries);
      mostKeys = Math.max(mostKeys, keys);
    }
    for (const { pairs } of matrices.values()) for (const each of pairs) list.push(...each);
    const table = Tensor.from(gpu, Uint32Array.from(list), [list.length / 8, 8], 'u32', 'workspace');
    return { table, matrices: matrices.size, queries: mostQueries, keys: mostKeys };
  }

  tileCount(side: Side, rowsPerTile: number, s: number): number {
    const { begin, end } = this.all[s]![side];
    return Math.ceil((end - begin) / rowsPerTile) * (side === 'queries' ? this.below : 1);
  }

  /** [tiles, 16] u32; whoever asks for it disposes of it. */
  tiles(side: Side, rowsPerTile: number): Tensor {
    const { gpu, steps, members, memberRows } = this;
    const count = this.all.reduce((sum, _, s) => sum + this.tileCount(side, rowsPerTile, s), 0);
    const table = new Uint32Array(count * TILE_WORDS);
    let at = 0;
    for (const [s, span] of this.all.entries()) {
      const [own, other] = side === 'queries' ? [span.queries, span.keys] : [span.keys, span.queries];
      for (let member = 0; member < (side === 'queries' ? this.below : 1); member++) {
        const shift = member * memberRows;
        const bias = span.bias + member * steps.head;
        for (let first = own.begin; first < own.end; first += rowsPerTile, at += TILE_WORDS) {
          table.set([own.begin + shift, own.end + shift, first + shift, s], at);
          table.set([other.begin, other.end, members, memberRows], at + 4);
          table.set([bias, steps.head, steps.query, steps.key], at + 8);
        }
      }
    }
    return Tensor.from(gpu, table, [count, TILE_WORDS], 'u32', 'workspace');
  }
}

/** What the launcher asks of a batch: `Spans`, or sequences that are the same on both sides. */
export type Layout = Pick<
  Spans,
  'count' | 'heads' | 'keyHeads' | 'tileWords' | 'rows' | 'tileCount' | 'tiles' | 'biasRange'
> &
  Partial<Pick<Spans, 'pairs'>>;

/** Of rows in which query, key and value lie side by side. */
export function fusedLayout(sequences: TileSource, heads: number): Layout {
  const { bounds } = sequences;
  return {
    count: bounds.length - 1,
    heads,
    keyHeads: heads,
    tileWords: 4,
    rows: (_, s) => ({ begin: bounds[s]!, end: bounds[s + 1]! }),
    tileCount: (_, rowsPerTile, s) => Math.ceil((bounds[s + 1]! - bounds[s]!) / rowsPerTile),
    // A handle of its own, as whoever asks disposes of it.
    tiles: (_, rowsPerTile) => sequences.tiles(rowsPerTile).detach(),
    biasRange: () => [0, 0],
  };
}
