/** What a search finds, and by which measure: the same for exact and approximate search. */
import { InputError } from '../../errors.js';
import { show } from '../../show.js';
import type { VectorRows } from '../vectors/rows.js';

/** `ip`: inner product; `cosine`: of the vectors at length 1; `l2`: squared distance, of which the smallest is best. */
export const METRICS = ['ip', 'cosine', 'l2'] as const;
/** What neighbours are near by: inner product, cosine, or Euclidean distance. */
export type Metric = (typeof METRICS)[number];

/** The best of a search: their numbers and scores, a row a query. */
export interface Neighbours {
  /** Neighbours of each query: as many as were asked for, or as the corpus has rows. */
  readonly k: number;
  /** [queries · k] rows of the corpus, best first; of equal scores the lower row first. */
  readonly indices: Uint32Array;
  /** [queries · k]: their scores; of `l2` squared distances. */
  readonly scores: Float32Array;
}

/** What is searched with and in: row numbers are u32, and one of them means no row. */
const MOST_ROWS = 2 ** 32 - 1;

/** @throws InputError that says what was expected and what was found. */
export function checkSearch(
  queries: Pick<VectorRows, 'width' | 'count'>,
  corpus: Pick<VectorRows, 'width' | 'count'>,
  { metric, k }: { readonly metric: Metric; readonly k: number },
): void {
  if (!METRICS.includes(metric))
    throw new InputError(`search: the metric must be one of ${METRICS.join(', ')}, found ${show(metric)}`);
  if (!(Number.isInteger(k) && k >= 1))
    throw new InputError(`search: k must be a whole number of at least 1, found ${show(k)}`);
  if (queries.count > 0 && corpus.count > 0 && queries.width !== corpus.width)
    throw new InputError(
      `search: queries and corpus must be of one width, found queries of ${queries.width} values and a corpus of ${corpus.width}`,
    );
  if (corpus.count > MOST_ROWS)
    throw new InputError(`search: a corpus of ${corpus.count} rows; expected at most ${MOST_ROWS}`);
}
