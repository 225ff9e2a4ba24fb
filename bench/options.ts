/** The flags of the bench suites: a table each, put together from the groups that they share. */
import {
  adapterFlag,
  boolean,
  choice,
  debugFlag,
  group,
  integer,
  listOf,
  optional,
  profileFlag,
  text,
  tuneFlag,
  withDefault,
} from '../src/flags.js';
import { launchers } from '../src/ranks/choose-ranks.js';
import { compareFlags, formatFlags } from './report/flags.js';

export const presetNames = ['tiny', 'minilm', 'bge-m3'] as const;

export type PresetName = (typeof presetNames)[number];

const modelFlags = (model: PresetName) =>
  group('Model', {
    model: withDefault(choice(presetNames), model, 'size of the model; its weights are random'),
    layers: optional(integer(1, 1000), 'so many layers instead of the preset’s'),
  });

/** Texts have two special tokens and at least one word. */
const length = integer(3, 65536);

const batchFlags = (defaults: { queryMaxLen: number; passageMaxLen: number }) =>
  group('Batch', {
    batch: withDefault(integer(1, 65536), 2, 'queries a step'),
    group: withDefault(integer(1, 65536), 8, 'passages per query'),
    query_max_len: withDefault(length, defaults.queryMaxLen, 'longest query, in tokens'),
    passage_max_len: withDefault(length, defaults.passageMaxLen, 'longest passage, in tokens'),
    sub_batch_size: optional(integer(1), 'encode in chunks of so many texts'),
  });

export const dispatchFlags = { json: formatFlags.json, ...adapterFlag, ...debugFlag };

export const stepFlags = {
  ...modelFlags('minilm'),
  ...batchFlags({ queryMaxLen: 64, passageMaxLen: 256 }),
  ...group('Step', {
    data: optional(
      text('a path'),
      'JSONL file to take the texts from; without it the example rows of the package',
    ),
    full_length: withDefault(
      boolean,
      false,
      'made-up texts, all of the longest length, instead of rows of a file',
    ),
    steps: withDefault(integer(1, 10000), 3, 'steps that are timed'),
    fp16: withDefault(boolean, false, 'mixed precision'),
    gradient_checkpointing: withDefault(boolean, false, 'recompute activations'),
  }),
  ...group('Ranks', {
    nproc_per_node: withDefault(integer(1, 64), 1, 'ranks, each with such batches of its own'),
    launcher: withDefault(choice(launchers), 'auto', 'what ranks are: threads, or processes of mpirun'),
    reduce_dtype: withDefault(
      choice(['f32', 'bf16']),
      'f32',
      'format in which gradients travel between ranks',
    ),
  }),
  ...formatFlags,
  ...profileFlag,
  ...compareFlags,
  ...adapterFlag,
  ...debugFlag,
  ...tuneFlag,
};

export const memoryFlags = {
  ...modelFlags('bge-m3'),
  ...batchFlags({ queryMaxLen: 512, passageMaxLen: 512 }),
  ...group('Memory', {
    run: withDefault(boolean, false, 'take the steps too and compare'),
    long: withDefault(boolean, false, 'one sequence of 1k to 8k tokens instead of a batch'),
  }),
  ...formatFlags,
  ...adapterFlag,
  ...debugFlag,
};

export const scalingFlags = {
  ...modelFlags('bge-m3'),
  ...batchFlags({ queryMaxLen: 512, passageMaxLen: 512 }),
  ...group('Step', {
    fp16: withDefault(boolean, false, 'mixed precision'),
    gradient_checkpointing: withDefault(boolean, false, 'recompute activations'),
  }),
  ...group('Ranks', {
    ranks: withDefault(
      listOf(integer(1, 1024), 'whole numbers up to 1024'),
      [1, 2, 4, 8, 16, 32, 64],
      'how many, each with such a batch of its own',
    ),
    words: optional(
      integer(1),
      'distinct words of the whole run, whose rows of the table have moments; without it all that there are',
    ),
  }),
  ...formatFlags,
  ...adapterFlag,
  ...debugFlag,
};

export const tuneFlags = {
  ...group('What', {
    filter: optional(text('a regular expression'), 'only kernels whose key (family, form, sizes) it matches'),
    model: optional(
      choice(presetNames),
      'what a step of this model asks for instead of the sizes of the records',
    ),
    batch: withDefault(integer(1, 65536), 2, 'with --model: queries a step'),
    group: withDefault(integer(1, 65536), 8, 'with --model: passages per query'),
    query_max_len: withDefault(length, 64, 'with --model: tokens of a query'),
    passage_max_len: withDefault(length, 256, 'with --model: tokens of a passage'),
    fp16: withDefault(boolean, false, 'with --model: mixed precision'),
    gradient_checkpointing: withDefault(boolean, false, 'with --model: recompute activations'),
  }),
  ...group('How', {
    again: withDefault(boolean, false, 'also what was tuned before'),
    all: withDefault(boolean, false, 'also variants that are known to lose on such an adapter'),
    rounds: withDefault(integer(3, 1000), 9, 'timed rounds, the candidates in turns'),
  }),
  json: formatFlags.json,
  ...adapterFlag,
  ...debugFlag,
};
