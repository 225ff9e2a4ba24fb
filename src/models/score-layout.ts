/**
 * Host-side index lists for the score kernels: which tokens are compared (ColBERT), which ids match (lexical).
 * A batch is packed as queries first, then passages query-major.
 */
import { ShapeError } from '../errors.js';
import { MAXSIM_TILE_ROWS, type MaxSimBlock, type MaxSimLayout, type MaxSimPart } from '../kernels/maxsim.js';
import type { SparseMatches } from '../kernels/sparse.js';
import type { PackedSequences } from '../tensor/packed.js';
import type { Tensor } from '../tensor/tensor.js';

export interface PairOptions {
  /** How many of the sequences, from the first, are queries. */
  queries: number;
  /** Score each query against its own group of passages only. */
  ownGroup?: boolean;
}

/** Passages, and those that a query is scored against. @throws ShapeError when they are no equal groups. */
function pairsOf(
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
}

export function maxSimLayout(
  packed: PackedSequences,
  { queries, ownGroup = false, floor, blockBytes = BLOCK_BYTES, width = 0 }: MaxSimOptions,
): MaxSimLayout {
  const { bounds } = packed;
  const { passages, columns } = pairsOf('maxSim', packed, { queries, ownGroup });
  if (floor && floor.length !== passages)
    throw new ShapeError('maxSim', `floors of ${floor.length} passages for ${passages}`);
  const key = `maxSim.${queries}.${ownGroup}.${floor ? floor.map(Number).join('') : ''}`;
  // Every text before it has a row per token but for its CLS.
  const rowOf = (query: number) => bounds[query]! - query;
  const queryList: number[] = [];
  const tokenList: number[] = [];
  for (let b = 0; b < queries; b++) {
    const first = bounds[b]! + 1;
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
  // A window may begin that much before its first token.
  const ahead = Math.max(16, bindingAlignment);
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
    passageList.push(bounds[queries + j]! + 1, bounds[queries + j + 1]!, floor?.[j] ? 1 : 0, 0);
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

/** Distinct ids of every text with the positions that hold them, as kernels' segments. */
export interface IdGroups {
  /** Positions sorted by (sequence, id). */
  readonly order: Tensor;
  /** [groups+1] bounds in `order`. */
  readonly starts: Tensor;
}

/** Ids per position of the whole batch; `special` ids never match. */
export function sparseMatches(
  packed: PackedSequences,
  ids: Uint32Array,
  { queries, ownGroup = false, special }: PairOptions & { special: readonly number[] },
): { groups: IdGroups; matches: SparseMatches; groupCount: number } {
  const { bounds } = packed;
  const { passages, columns } = pairsOf('sparseScores', packed, { queries, ownGroup });
  if (ids.length !== packed.tokens)
    throw new ShapeError('sparseScores', `${ids.length} ids for ${packed.tokens} tokens`);
  const skip = new Set(special);
  const order: number[] = [];
  const starts: number[] = [];
  const groupIds: number[] = [];
  const groupBounds: number[] = [0];
  for (let s = 0; s < packed.count; s++) {
    const positions: number[] = [];
    for (let t = bounds[s]!; t < bounds[s + 1]!; t++) if (!skip.has(ids[t]!)) positions.push(t);
    positions.sort((a, b) => ids[a]! - ids[b]! || a - b);
    positions.forEach((position, i) => {
      if (i === 0 || ids[position] !== ids[positions[i - 1]!]) {
        starts.push(order.length);
        groupIds.push(ids[position]!);
      }
      order.push(position);
    });
    groupBounds.push(groupIds.length);
  }
  starts.push(order.length);
  // Inverted index over the queries, so that only real matches cost anything.
  const holders = new Map<number, { query: number; group: number }[]>();
  for (let b = 0; b < queries; b++)
    for (let g = groupBounds[b]!; g < groupBounds[b + 1]!; g++) {
      const list = holders.get(groupIds[g]!);
      if (list) list.push({ query: b, group: g });
      else holders.set(groupIds[g]!, [{ query: b, group: g }]);
    }
  const eachMatch = (visit: (pair: number, group: number, other: number) => void): void => {
    for (let j = 0; j < passages; j++)
      for (let g = groupBounds[queries + j]!; g < groupBounds[queries + j + 1]!; g++)
        for (const { query, group } of holders.get(groupIds[g]!) ?? []) {
          if (ownGroup && Math.floor(j / columns) !== query) continue;
          visit(query * columns + (ownGroup ? j % columns : j), group, g);
        }
  };
  // Counted first, so that the lists of a large batch (millions of matches) are made in their final memory.
  const pairStarts = new Uint32Array(queries * columns + 1);
  const weightStarts = new Uint32Array(groupIds.length + 1);
  eachMatch((pair, group, other) => {
    pairStarts[pair + 1]!++;
    weightStarts[group + 1]!++;
    weightStarts[other + 1]!++;
  });
  for (const starts of [pairStarts, weightStarts])
    for (let i = 1; i < starts.length; i++) starts[i]! += starts[i - 1]!;
  const pairMatches = new Uint32Array(2 * pairStarts[queries * columns]!);
  const weightMatches = new Uint32Array(2 * weightStarts[groupIds.length]!);
  const nextOfPair = pairStarts.slice();
  const nextOfWeight = weightStarts.slice();
  const put = (list: Uint32Array, next: Uint32Array, of: number, first: number, second: number): void => {
    const at = 2 * next[of]!++;
    list[at] = first;
    list[at + 1] = second;
  };
  eachMatch((pair, group, other) => {
    put(pairMatches, nextOfPair, pair, group, other);
    put(weightMatches, nextOfWeight, group, pair, other);
    put(weightMatches, nextOfWeight, other, pair, group);
  });
  const key = `sparse.${queries}.${ownGroup}`;
  const list = (name: string, data: readonly number[] | Uint32Array, width = 1) =>
    packed.cache(`${key}.${name}`, () => [
      data instanceof Uint32Array ? data : Uint32Array.from(data),
      width === 1 ? [data.length] : [data.length / width, width],
    ]);
  return {
    groups: { order: list('order', order), starts: list('starts', starts) },
    groupCount: groupIds.length,
    matches: {
      shape: [queries, columns],
      pairStarts: list('pairs.starts', pairStarts),
      pairMatches: list('pairs.matches', pairMatches, 2),
      weightStarts: list('weights.starts', weightStarts),
      weightMatches: list('weights.matches', weightMatches, 2),
    },
  };
}
