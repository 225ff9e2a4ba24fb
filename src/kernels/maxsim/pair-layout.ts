/**
 * The layout of ColBERT scores where any query meets any passage: a list of pairs of token ranges, one score each, over
 * vectors in which a range may be named by many pairs.
 */
import { ShapeError } from '../../errors.js';
import { Tensor } from '../../tensor/tensor.js';
import {
  MAXSIM_TILE_ROWS,
  type MaxSimBlock,
  type MaxSimLayout,
  type TokenRange,
  tokensBindable,
} from './layout.js';

/** The token vectors of a query and of a passage: what takes no part (the first token) is not in the range. */
export interface TokenPair {
  readonly query: TokenRange;
  readonly passage: TokenRange;
}

/** Query tokens of a block: 8 bytes each are in memory together. */
const BLOCK_ROWS = 1 << 20;

/**
 * `maxSim` gives [pairs, 1], in the order of `pairs`. vectors: [T,C]. A block of pairs is bound as the range of tokens that
 * it names, of at most `most`: pairs that are near each other should stand together. The layout's tensors belong to the scope that is open.
 * @throws ShapeError for a range that is empty or not among the vectors, or larger than a binding.
 */
export function maxSimPairs(
  vectors: Tensor,
  pairs: readonly TokenPair[],
  most = tokensBindable(vectors),
): MaxSimLayout {
  const { gpu } = vectors;
  const queries = new Uint32Array(pairs.length * 4);
  const passages = new Uint32Array(pairs.length * 4);
  const tokens: number[] = [];
  const tiles: number[] = [];
  const blocks: MaxSimBlock[] = [];
  const joined = (a: TokenRange, b: TokenRange): TokenRange => ({
    begin: Math.min(a.begin, b.begin),
    end: Math.max(a.end, b.end),
  });
  const fits = ({ begin, end }: TokenRange) => end - begin <= most;
  for (let first = 0; first < pairs.length; ) {
    const [firstRow, firstTile] = [tokens.length / 2, tiles.length / 4];
    let { query: own, passage: others } = pairs[first]!;
    let after = first;
    for (; after < pairs.length; after++) {
      const { query, passage } = pairs[after]!;
      for (const { begin, end } of [query, passage])
        if (!(begin >= 0 && begin < end && end <= vectors.rows && end - begin <= most))
          throw new ShapeError('maxSimPairs', `pair ${after} names tokens ${begin} to ${end}`, { vectors });
      const [wider, longer] = [joined(own, query), joined(others, passage)];
      const rows = tokens.length / 2 - firstRow + query.end - query.begin;
      if (after > first && !(fits(wider) && fits(longer) && rows <= BLOCK_ROWS)) break;
      [own, others] = [wider, longer];
      const row = tokens.length / 2;
      queries.set([query.begin, query.end, after, row], after * 4);
      passages.set([passage.begin, passage.end, 0, 0], after * 4);
      for (let t = query.begin; t < query.end; t++) tokens.push(t, after);
      const end = tokens.length / 2;
      for (let at = row; at < end; at += MAXSIM_TILE_ROWS)
        tiles.push(at, Math.min(at + MAXSIM_TILE_ROWS, end), after, 0);
    }
    const count = after - first;
    blocks.push({
      ...{ firstQuery: first, queries: count, firstRow, rows: tokens.length / 2 - firstRow },
      ...{ firstTile, tiles: tiles.length / 4 - firstTile, tokens: own },
      parts: [{ firstPassage: first, passages: count, firstSlot: 0, slots: 1, tokens: others }],
    });
    first = after;
  }
  const device = (list: ArrayLike<number>, width: number) =>
    Tensor.from(gpu, Uint32Array.from(list), [list.length / width, width], 'u32', 'workspace');
  return {
    vectors: vectors.rows,
    queries: device(queries, 4),
    passages: device(passages, 4),
    tokens: device(tokens, 2),
    tiles: device(tiles, 4),
    columns: 1,
    blocks,
  };
}
