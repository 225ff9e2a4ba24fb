/** The flags of `npm run interop` and of `interop:*`, by their names. */
import {
  adapterFlag,
  boolean,
  choice,
  group,
  integer,
  listOf,
  optional,
  required,
  text,
  withDefault,
} from '../../src/flags.js';

export const comparisons = ['minilm', 'bge-m3', 'run'] as const;

export const interopFlags = group('Comparison', {
  python: required(text('a path'), 'a Python with torch, transformers<5 and FlagEmbedding'),
  cases: withDefault(
    listOf(choice(comparisons), `some of ${comparisons.join(', ')}`),
    ['minilm'],
    'the step of a preset, or a whole fine-tuning run',
  ),
  rounds: withDefault(integer(1, 100), 3, 'turns of each side'),
  steps: withDefault(integer(1, 1000), 2, 'steps that a turn times; 1: without one to warm up'),
  data: optional(text('a path'), 'JSONL file of the steps, by default the goldens’ nq.jsonl'),
  model_name_or_path: optional(text('a folder'), 'the model of the run'),
  train_data: optional(text('a path'), 'the rows of the run'),
  json: withDefault(boolean, false, 'one JSON object on standard output instead of a table'),
});

export const weightsFlags = group('Weights', {
  python: required(text('a path'), 'a Python with torch, transformers<5 and FlagEmbedding'),
  folder: required(text('a folder'), 'where models are written; one of torch that is there is used again'),
  tokenizer: required(text('a folder'), 'tokenizer.json and tokenizer_config.json that go into them'),
  small: withDefault(boolean, false, 'files of two layers in every format, instead of the shapes of bge-m3'),
});

export const folderFlags = group('Comparison', {
  python: required(
    text('a path'),
    'a Python with torch, transformers<5, sentence-transformers and FlagEmbedding',
  ),
  folders: optional(
    listOf(text('a folder'), 'model folders'),
    'folders with a card, which a run has written; by default some are made of the golden model',
  ),
});

export const scoreInteropFlags = group('Comparison', {
  python: required(text('a path'), 'a Python with torch, transformers<5 and FlagEmbedding'),
  train_data: optional(
    text('a file'),
    'rows whose candidates are scored; by default the pairs of the goldens',
  ),
  model_name_or_path: optional(text('a folder'), 'an M3 model with heads; by default the golden one'),
  pooling_method: withDefault(choice(['cls', 'mean']), 'cls', 'its dense vector'),
  reranker_name_or_path: optional(text('a folder'), 'a reranker; by default the two of the goldens'),
});

export const lossInteropFlags = group('Comparison', {
  python: required(text('a path'), 'a Python with torch and sentence-transformers'),
  rows: withDefault(integer(2, 1000), 12, 'rows of the goldens, all in one batch'),
  model_name_or_path: optional(text('a folder'), 'an encoder; by default the golden one'),
});

export const graphInteropFlags = {
  ...group('Comparison', {
    python: required(text('a path'), 'a Python with torch'),
    graphs: withDefault(integer(1, 1_000_000), 500, 'how many are compared'),
    seed: withDefault(integer(0, 1_000_000), 1, 'which graphs'),
    most: withDefault(integer(1, 100), 12, 'operations of a graph at most'),
  }),
  ...adapterFlag,
};

export const evaluationInteropFlags = group('Comparison', {
  python: required(
    text('a path'),
    'a Python with torch, transformers<5, faiss, pytrec_eval and FlagEmbedding',
  ),
  dataset_dir: optional(
    text('a folder'),
    'a dataset in FlagEmbedding’s layout; by default one is made of the goldens’ rows',
  ),
  model_name_or_path: optional(text('a folder'), 'an M3 model with heads; by default the golden one'),
  pooling_method: withDefault(choice(['cls', 'mean']), 'cls', 'its dense vector'),
});

export const miningInteropFlags = group('Comparison', {
  python: required(text('a path'), 'a Python with torch, transformers<5, FlagEmbedding and faiss'),
  hn_mine: required(text('a file'), 'FlagEmbedding’s script, scripts/hn_mine.py of its repository'),
  train_data: optional(text('a file'), 'rows to mine for; by default some of the demo'),
  rows: withDefault(integer(1, 1_000_000), 300, 'how many of the demo'),
  model_name_or_path: optional(text('a folder'), 'an encoder; by default the golden one'),
  pooling_method: withDefault(choice(['cls', 'mean']), 'cls', 'its dense vector'),
});
