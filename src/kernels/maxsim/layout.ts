/**
 * Which token vectors ColBERT compares: queries, passages and the pairs that are scored, as tables for the kernels, in blocks
 * whose maxima fit memory and parts whose tokens one binding sees. A batch is packed as queries first, then passages
 * query-major.
 */
import { ShapeError } from '../../errors.js';
import type { PackedSequences } from '../../tensor/packed.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type Operand, type Range, windowed } from '../launch/operands.js';

/** Where queries and passages lie in the packed token vectors, and which pairs are scored. */
export interface MaxSimLayout {
  /** Rows of the vectors that the layout was made for. */
  readonly vectors: number;
  /** [queries, 4] u32: first token that takes part, end, first scored passage, row of `best` of the first token. */
  readonly queries: Tensor;
  /** [passages, 4] u32: first token that takes part, end, 1 if the maximum is floored at 0, unused. */
  readonly passages: Tensor;
  /** [rows, 2] u32 per query token: its token position, its query. */
  readonly tokens: Tensor;
  /** Scored passages per query: all, or the own group. */
  readonly columns: number;
  /**
   * [tiles, 4] u32: first row, end row, query's first passage, unused; 32 rows at most, of one passage range and
   * one block.
   */
  readonly tiles: Tensor;
  /** Cover all queries in order. */
  readonly blocks: readonly MaxSimBlock[];
}

/** Consecutive queries whose maxima and positions, [rows, columns] each, are in memory together. */
export interface MaxSimBlock {
  /** Number of its first query. */
  readonly firstQuery: number;
  /** How many queries. */
  readonly queries: number;
  /** Row of `MaxSimLayout.tokens` of its first query's first token. */
  readonly firstRow: number;
  /** Tokens of its queries that take part. */
  readonly rows: number;
  /** Row of `MaxSimLayout.tiles` of its first tile. */
  readonly firstTile: number;
  /** How many tiles. */
  readonly tiles: number;
  /** Tokens [begin, end) of the queries. */
  readonly tokens: TokenRange;
  /** The passages that these queries are scored against, in order, cut so that one binding sees a part's tokens. */
  readonly parts: readonly MaxSimPart[];
}

/** Tokens of one text among those of a batch. */
export interface TokenRange {
  /** The first token. */
  readonly begin: number;
  /** The token behind the last. */
  readonly end: number;
}

/** Consecutive passages, and for each query the columns that they are. */
export interface MaxSimPart {
  /** Number of its first passage. */
  readonly firstPassage: number;
  /** How many passages. */
  readonly passages: number;
  /** Column of the first of them in a query's row of scores. */
  readonly firstSlot: number;
  /** Columns that a query has of this part. */
  readonly slots: number;
  /** Of its passages. */
  readonly tokens: TokenRange;
}

/** The elements of [T,C] vectors that tokens are, seen whatever the `units` that a launch walks. */
export function windowOfTokens(vectors: Tensor, units: number, { begin, end }: TokenRange): Operand {
  const range: Range = [begin * vectors.cols, (end - begin) * vectors.cols];
  return windowed(vectors, units, () => range);
}

/** Tokens that one binding sees at once, wherever the first of them lies. */
export function tokensBindable({ gpu, cols }: Tensor): number {
  const { maxBindingSize, bindingAlignment } = gpu.capabilities;
  return Math.floor((maxBindingSize - aheadOf(bindingAlignment)) / (cols * 4));
}

/** Bytes that a window may begin before its first token. */
const aheadOf = (alignment: number) => Math.max(16, alignment);

/** Query tokens of a tile at most. */
export const MAXSIM_TILE_ROWS = 32;

export interface PairOptions {
  /** How many of the sequences, from the first, are queries. */
  queries: number;
  /** Score each query against its own group of passages only. */
  ownGroup?: boolean;
}

/** Passages, and those that a query is scored against. @throws ShapeError when they are no equal groups. */
export function pairsOf(
  op: string,
  packed: PackedSequences,
  { queries, ownGroup = false }: PairOptions,
): { passages: number; columns: number } {
  const passages = packed.count - queries;
  if (!Number.isInteger(queries) || queries < 0 || passages < 0)
    throw new ShapeError(op, `${queries} queries among ${packed.count} sequences`);
  if (ownGroup && (queries === 0 ? passages > 0 : passages % queries !== 0))
    throw new ShapeError(op, `${passages} passages are no equal groups for ${queries} queries`);
  return { passages, columns: !ownGroup ? passages : queries === 0 ? 0 : passages / queries };
}

/** Bytes of ColBERT maxima and positions that are in memory together, unless one query alone takes more. */
const BLOCK_BYTES = 32 << 20;

export interface MaxSimOptions extends PairOptions {
  /** Per passage, whether padding floored its maxima at 0 upstream (compat colbert-floor). */
  floor?: readonly boolean[] | undefined;
  /** Bound of maxima and positions of a block of queries; by default 32 MiB. */
  blockBytes?: number;
  /** Columns of the vectors, where one binding may be too small for all of them. */
  width?: number;
  /** Whether the first token of each text (CLS) takes part; by default not. */
  firstToken?: boolean;
}

export function maxSimLayout(
  packed: PackedSequences,
  {
    queries,
    ownGroup = false,
    floor,
    blockBytes = BLOCK_BYTES,
    width = 0,
    firstToken = false,
  }: MaxSimOptions,
): MaxSimLayout {
  const { bounds } = packed;
  const { passages, columns } = pairsOf('maxSim', packed, { queries, ownGroup });
  if (floor && floor.length !== passages)
    throw new ShapeError('maxSim', `floors of ${floor.length} passages for ${passages}`);
  const key = `maxSim.${queries}.${ownGroup}.${firstToken}.${floor ? floor.map(Number).join('') : ''}`;
  const skipped = firstToken ? 0 : 1;
  // Every text before it has a row per token but for those that are skipped.
  const rowOf = (query: number) => bounds[query]! - skipped * query;
  const queryList: number[] = [];
  const tokenList: number[] = [];
  for (let b = 0; b < queries; b++) {
    const first = bounds[b]! + skipped;
    const end = bounds[b + 1]!;
    queryList.push(first, end, ownGroup ? b * columns : 0, rowOf(b));
    for (let t = first; t < end; t++) tokenList.push(t, b);
  }
  const tiles: number[] = [];
  const addTiles = (first: number, end: number, passage: number) => {
    for (let row = first; row < end; row += MAXSIM_TILE_ROWS)
      tiles.push(row, Math.min(row + MAXSIM_TILE_ROWS, end), passage, 0);
  };
  const { maxBindingSize, bindingAlignment } = packed.gpu.capabilities;
  // Both arrays have 4 bytes an element, are in memory together and are bound one by one in whole vec4s.
  const bindable = Math.floor(maxBindingSize / 16) * 4;
  const mostRows = Math.min(blockBytes / 8, bindable) / columns;
  const whole = packed.tokens * width * 4 <= maxBindingSize;
  const ahead = aheadOf(bindingAlignment);
  /** Whether one binding sees the tokens of texts [from, to). */
  const visible = (from: number, to: number) =>
    whole || (bounds[to]! - bounds[from]!) * width * 4 + ahead <= maxBindingSize;
  const tokensOf = (from: number, to: number) => ({ begin: bounds[from]!, end: bounds[to]! });
  /** Passages [from, to) in parts, in the columns from `firstSlot` on. */
  const partsOf = (from: number, to: number, firstSlot: number): MaxSimPart[] => {
    const parts: MaxSimPart[] = [];
    for (let first = from; first < to; ) {
      let after = first + 1;
      while (after < to && visible(queries + first, queries + after + 1)) after++;
      parts.push({
        firstPassage: first,
        passages: after - first,
        firstSlot: firstSlot + first - from,
        slots: after - first,
        tokens: tokensOf(queries + first, queries + after),
      });
      first = after;
    }
    return parts;
  };
  const all = ownGroup ? [] : partsOf(0, passages, 0);
  const blocks: MaxSimBlock[] = [];
  for (let first = 0; first < queries; ) {
    let after = first + 1;
    while (
      after < queries &&
      rowOf(after + 1) - rowOf(first) <= mostRows &&
      visible(first, after + 1) &&
      // Own groups of several queries are one part: their columns are the same for all. A query alone may have more.
      (!ownGroup || visible(queries + first * columns, queries + (after + 1) * columns))
    )
      after++;
    const firstTile = tiles.length / 4;
    // Against all passages a tile may cross queries: rows are only rows.
    if (ownGroup) for (let b = first; b < after; b++) addTiles(rowOf(b), rowOf(b + 1), b * columns);
    else addTiles(rowOf(first), rowOf(after), 0);
    blocks.push({
      firstQuery: first,
      queries: after - first,
      firstRow: rowOf(first),
      rows: rowOf(after) - rowOf(first),
      firstTile,
      tiles: tiles.length / 4 - firstTile,
      tokens: tokensOf(first, after),
      parts: !ownGroup
        ? all
        : after === first + 1
          ? partsOf(first * columns, after * columns, 0)
          : [
              {
                firstPassage: first * columns,
                passages: (after - first) * columns,
                firstSlot: 0,
                slots: columns,
                tokens: tokensOf(queries + first * columns, queries + after * columns),
              },
            ],
    });
    first = after;
  }
  const passageList: number[] = [];
  for (let j = 0; j < passages; j++)
    passageList.push(bounds[queries + j]! + skipped, bounds[queries + j + 1]!, floor?.[j] ? 1 : 0, 0);
  const device = (name: string, list: number[], width: number) =>
    packed.cache(`${key}.${name}`, () => [Uint32Array.from(list), [list.length / width, width]]);
  return {
    vectors: packed.tokens,
    queries: device('queries', queryList, 4),
    passages: device('passages', passageList, 4),
    tokens: device('tokens', tokenList, 2),
    tiles: device(`tiles.${blockBytes}.${width}`, tiles, 4),
    columns,
    blocks,
  };
}
