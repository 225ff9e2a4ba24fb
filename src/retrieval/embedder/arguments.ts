/**
 * The flags of every command that encodes texts with a model, under the names of `finetune` where it has them. The other
 * names that FlagEmbedding's scripts give the same things (docs/spec/flagembedding-m3.md §7, §8) are aliases.
 */
import {
  adapterFlag,
  anyText,
  boolean,
  choice,
  debugFlag,
  type FlagValues,
  type ForeignFlag,
  group,
  inert,
  integer,
  LARGEST_COUNT,
  listOf,
  optional,
  progressFlag,
  text,
  withDefault,
} from '../../flags.js';
import { accessToken } from '../../hub/flags.js';
import { startFlags } from '../../ranks/arguments.js';

const path = text('a path');
const count = integer(1, LARGEST_COUNT);

const format = (side: string) =>
  withDefault(
    anyText,
    '{}{}',
    `how the ${side} instruction (slot 1) and the text (slot 2) are joined; \\n is a newline`,
  );

export const embedderFlags = {
  ...group('Model', {
    model_name_or_path: optional(text('a folder or a hub id'), 'the model: a folder or a hub id'),
    revision: optional(
      text('a branch, tag or commit'),
      'which revision of a model of the hub; main if not given',
    ),
    cache_dir: optional(
      path,
      'where models of the hub are kept; by default where HF_HUB_CACHE or HF_HOME say',
    ),
    token: optional(accessToken, 'access token of the hub; by default that of HF_TOKEN or of the token file'),
    pooling_method: optional(
      choice(['cls', 'mean', 'last_token']),
      'the dense vector; by default as the model’s folder says, else cls',
    ),
    normalize_embeddings: optional(
      boolean,
      'dense and ColBERT vectors have length 1; by default as the model’s folder says, else True',
    ),
    query_instruction_for_retrieval: optional(
      anyText,
      'instruction for queries; by default the prompt of the model’s folder, if it has one',
    ),
    query_instruction_format: format('query'),
    passage_instruction_for_retrieval: optional(
      anyText,
      'instruction for passages; by default the prompt of the model’s folder, if it has one',
    ),
    passage_instruction_format: format('passage'),
    query_max_length: optional(
      integer(2, LARGEST_COUNT),
      'longest query, in tokens; by default 512, or what the model’s folder says where that is less',
    ),
    passage_max_length: optional(
      integer(2, LARGEST_COUNT),
      'longest passage, in tokens; by default 512, or what the model’s folder says where that is less',
    ),
    truncate_dim: optional(count, 'width of dense and ColBERT vectors, cut before they are normalised'),
    fp16: withDefault(boolean, false, 'compute in mixed precision: f16 activations, sums in f32'),
    batch_tokens: withDefault(count, 8192, 'tokens in a batch; there is no padding'),
    embedder_model_class: inert(
      optional(
        choice(['encoder-only-base', 'encoder-only-m3', 'decoder-only-base', 'decoder-only-icl']),
        'FlagEmbedding’s class of the model',
      ),
      'the model’s folder says what it is',
      (name) => name === null || name.startsWith('encoder-only'),
    ),
    trust_remote_code: inert(
      withDefault(boolean, false, 'run code of the hub'),
      'no code of a model is ever run',
    ),
    devices: inert(
      optional(listOf(text(), 'names of devices'), 'names that PyTorch has for devices'),
      '--adapter picks a GPU, --nproc_per_node and --adapters several',
    ),
    batch_size: inert(
      optional(count, 'texts in a batch'),
      '--batch_tokens bounds a batch, and texts are not padded',
    ),
  }),
  ...progressFlag,
  ...startFlags,
  ...adapterFlag,
  ...group('Output', {
    disable_tqdm: optional(boolean, 'no bar but lines, where --progress is auto'),
  }),
  ...debugFlag,
};

/** What FlagEmbedding's scripts call the flags above. */
export const embedderAliases = {
  embedder_name_or_path: 'model_name_or_path',
  sentence_pooling_method: 'pooling_method',
  query_instruction_format_for_retrieval: 'query_instruction_format',
  embedder_query_max_length: 'query_max_length',
  query_max_len: 'query_max_length',
  embedder_passage_max_length: 'passage_max_length',
  passage_max_len: 'passage_max_length',
  use_fp16: 'fp16',
  embedder_batch_size: 'batch_size',
} as const satisfies Readonly<Record<string, keyof typeof embedderFlags>>;

const decoder: ForeignFlag = {
  reason: 'it is of models that are decoders, which are not read here',
  refused: true,
  holds: ['{}{}'],
};

/** Flags of FlagEmbedding's scripts that mean something for other models only. */
export const foreignEmbedderFlags: Readonly<Record<string, ForeignFlag>> = {
  examples_for_task: decoder,
  examples_instruction_format: decoder,
  domain_for_pseudo_moe: decoder,
  use_bf16: { reason: 'bfloat16 is not computed in; --fp16 is', refused: false, holds: ['False'] },
};

export type EmbedderArguments = FlagValues<typeof embedderFlags>;
