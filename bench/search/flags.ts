/** The flags of `bench search`. */
import {
  adapterFlag,
  choice,
  debugFlag,
  group,
  integer,
  listOf,
  optional,
  text,
  withDefault,
} from '../../src/flags.js';
import { METRICS } from '../../src/retrieval/search/neighbours.js';
import { formatFlags } from '../report/flags.js';

export const searchFlags = {
  ...group('Search', {
    rows: withDefault(
      listOf(integer(1, 1e8), 'whole numbers'),
      [100_000],
      'rows of the corpus, which lies in a temporary file',
    ),
    width: withDefault(integer(1, 65536), 256, 'values of a vector'),
    queries: withDefault(integer(1, 1e6), 1000, 'queries'),
    k: withDefault(listOf(integer(1, 65536), 'whole numbers'), [10, 100, 1000], 'neighbours of each'),
    metric: withDefault(choice(METRICS), 'ip', 'what is near'),
    rounds: withDefault(integer(1, 1000), 3, 'turns of each'),
    checked: withDefault(
      integer(1, 1e6),
      20,
      'queries whose neighbours are compared with brute force in float64',
    ),
  }),
  ...group('Beside', {
    usearch_rows: withDefault(
      integer(0, 1e8),
      100_000,
      'largest corpus of which usearch builds an index, in memory and on disk; 0: none',
    ),
    python: optional(text('a path'), 'a Python with faiss, whose flat index is searched too'),
  }),
  json: formatFlags.json,
  ...adapterFlag,
  ...debugFlag,
};
