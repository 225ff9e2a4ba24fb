/** How a search is cut: tiles of scores, blocks of the corpus that are on the device, groups of queries that are. */
import type { Capabilities } from '../../gpu/capabilities.js';
import { topKCapacity } from '../../kernels/top-k/top-k.js';

export interface SearchPlan {
  /** Candidates that are kept for each query, of which the best k by their float64 scores are the result. */
  readonly kept: number;
  /** The same for queries of which it is not sure that these are enough. */
  readonly keptAgain: number;
  /** Queries and rows of the corpus of a tile of scores: all products of a search are of this size. */
  readonly queryTile: number;
  readonly corpusTile: number;
  /** Rows of the corpus that are uploaded at once, whole tiles; two such blocks are on the device. */
  readonly blockRows: number;
  /** Tiles of queries that are searched with while the corpus passes once, keeping so many candidates. */
  groupTiles(kept: number): number;
}

/** Candidates that are kept where it is close. */
const KEPT_AGAIN = 4096;

const QUERY_TILE = 1024;
const CORPUS_TILE = 4096;
/** Bytes of a block where a binding could be larger: enough to be busy with while the next is made ready. */
const BLOCK_BYTES = 32 << 20;
/** Bytes that a group of queries takes on the device with their lists, where bindings are not so small that it is less. */
const GROUP_BYTES = 512 << 20;
const GROUP_BINDINGS = 4;
/** Rows, and lists of 32 bits, in multiples of it begin where every adapter can bind. */
const ALIGNED_ROWS = 64;

const up = (n: number, step: number): number => Math.ceil(n / step) * step;

/**
 * It depends on the extents and the adapter's limits alone, never on how many ranks share the queries: so all make the
 * same products, whose sums have the same bits wherever a vector stands.
 */
export function planSearch(
  { maxBindingSize }: Pick<Capabilities, 'maxBindingSize'>,
  { queries, corpus, width, k }: { queries: number; corpus: number; width: number; k: number },
): SearchPlan {
  // Beside the k best a few, since f32 may take the last of them for worse than it is.
  const kept = up(k + Math.max(16, Math.ceil(k / 16)), ALIGNED_ROWS);
  const rowBytes = 4 * width;
  const blockBytes = Math.min(BLOCK_BYTES, Math.floor(maxBindingSize / 2));
  const fitting = Math.max(ALIGNED_ROWS, Math.floor(blockBytes / rowBytes / ALIGNED_ROWS) * ALIGNED_ROWS);
  const tiles = Math.max(1, Math.ceil(queries / QUERY_TILE));
  const queryTile = up(Math.ceil(queries / tiles), 8);
  const scoreRoom = Math.floor(maxBindingSize / (4 * queryTile) / ALIGNED_ROWS) * ALIGNED_ROWS;
  const corpusTile = Math.max(
    ALIGNED_ROWS,
    Math.min(CORPUS_TILE, fitting, scoreRoom, up(corpus, ALIGNED_ROWS)),
  );
  const blockRows = Math.min(Math.floor(fitting / corpusTile) * corpusTile, up(corpus, corpusTile));
  return {
    kept,
    keptAgain: up(Math.min(corpus, Math.max(KEPT_AGAIN, 4 * k)), ALIGNED_ROWS),
    queryTile,
    corpusTile,
    blockRows,
    groupTiles(lists) {
      const tileBytes = queryTile * (rowBytes + 8 * topKCapacity(lists));
      const bytes = Math.min(GROUP_BYTES, GROUP_BINDINGS * maxBindingSize);
      return Math.max(1, Math.floor(bytes / tileBytes));
    },
  };
}
