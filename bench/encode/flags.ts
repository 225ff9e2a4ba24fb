/** The flags of `bench encode`. */
import {
  adapterFlag,
  boolean,
  choice,
  debugFlag,
  group,
  integer,
  listOf,
  optional,
  required,
  text,
  withDefault,
} from '../../src/flags.js';

export const encodeWorkloads = ['all', 'dense'] as const;

export const encodeBenchFlags = {
  ...group('Work', {
    model: required(text('a folder'), 'the model: a folder that all libraries read'),
    texts: optional(
      text('a path'),
      'the texts, one a line; without it those of the example rows of the package, queries and passages',
    ),
    count: withDefault(
      integer(1, 1_000_000),
      128,
      'texts: as many of them, from the beginning again where they end',
    ),
    max_length: withDefault(integer(2, 65536), 512, 'longest text, in tokens'),
    workloads: withDefault(
      listOf(choice(encodeWorkloads), `some of ${encodeWorkloads.join(', ')}`),
      [...encodeWorkloads],
      'all: dense, sparse and ColBERT; dense: that alone',
    ),
    batch_tokens: withDefault(integer(1, 1 << 24), 8192, 'tokens in a batch of ours'),
    fp16: withDefault(boolean, false, 'ours in mixed precision; its numbers are then compared to 1e-2'),
    rounds: withDefault(integer(1, 1000), 3, 'turns of each library'),
  }),
  ...group('Peers', {
    python: optional(
      text('a path'),
      'a Python with FlagEmbedding and sentence-transformers, whichever it has, to compare with',
    ),
    peer_batch_size: withDefault(
      integer(1, 1 << 20),
      32,
      'texts in a batch of theirs; FlagEmbedding computes its first batch twice, and by default takes 256',
    ),
  }),
  ...group('Output', {
    json: withDefault(boolean, false, 'one JSON object on standard output instead of a table'),
  }),
  ...adapterFlag,
  ...debugFlag,
};
