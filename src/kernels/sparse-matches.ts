/**
 * Host-side index lists for lexical scores: which ids match.
 * A batch is packed as queries first, then passages query-major.
 */
import { ShapeError } from '../errors.js';
import type { PackedSequences } from '../tensor/packed.js';
import type { Tensor } from '../tensor/tensor.js';
import { type PairOptions, pairsOf } from './maxsim/layout.js';
import type { SparseMatches } from './sparse.js';

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
  ids: ArrayLike<number>,
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
