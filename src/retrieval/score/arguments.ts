/** The flags of `dawntune score`, those of FlagEmbedding's `add_reranker_score` among them. */
import { InputError } from '../../errors.js';
import {
  anyText,
  boolean,
  choice,
  decimal,
  type FlagValues,
  type ForeignFlag,
  group,
  integer,
  LARGEST_COUNT,
  optional,
  type ParsedCommand,
  parseFlags,
  text,
  withDefault,
} from '../../flags.js';
import { checkStartArguments } from '../../ranks/arguments.js';
import { embedderAliases, embedderFlags, foreignEmbedderFlags } from '../embedder/arguments.js';
import { hybridWeights } from '../hybrid-weights.js';
import { ENSEMBLE_WEIGHTS, scoreModes } from './teacher.js';

const count = integer(1, LARGEST_COUNT);

const modelFlags = group('Scores of the model', {
  mode: withDefault(choice(scoreModes), 'hybrid', 'which score; hybrid: all three by their weights'),
  weights: withDefault(
    hybridWeights,
    ENSEMBLE_WEIGHTS,
    'weights of dense, sparse and ColBERT scores in hybrid ones',
  ),
  normalize_weights: withDefault(
    boolean,
    false,
    'divide hybrid scores by the sum of the weights, as compute_score of FlagEmbedding does; else they are the sum that training uses',
  ),
  same_dataset_within_batch: withDefault(
    boolean,
    true,
    'as in the training run that follows: the prompt of a row goes before its query, and its type may make its passages queries',
  ),
});

/** Of commands that score with a cross-encoder. */
export const rerankerFlags = group('Reranker', {
  reranker_name_or_path: optional(
    text('a folder or a hub id'),
    'score with this cross-encoder (XLM-RoBERTa, RoBERTa or BERT with one label), in place of a model',
  ),
  reranker_model_class: optional(
    text('a class of FlagEmbedding'),
    'FlagEmbedding’s class of the reranker: encoder-only-base is what there is',
  ),
  query_instruction_for_rerank: optional(anyText, 'instruction for queries'),
  query_instruction_format_for_rerank: withDefault(
    anyText,
    '{}{}',
    'how the query instruction (slot 1) and the text (slot 2) are joined; \\n is a newline',
  ),
  passage_instruction_for_rerank: optional(anyText, 'instruction for passages'),
  passage_instruction_format_for_rerank: withDefault(
    anyText,
    '{}{}',
    'how the passage instruction (slot 1) and the text (slot 2) are joined; \\n is a newline',
  ),
  reranker_batch_size: withDefault(count, 3000, 'most pairs in a batch, which --batch_tokens bounds too'),
  reranker_query_max_length: optional(
    count,
    'longest query, in tokens without special ones; three quarters of --reranker_max_length if not given',
  ),
  reranker_max_length: withDefault(count, 512, 'longest pair, in tokens; the passage is cut to what is left'),
  normalize: withDefault(boolean, false, 'scores between 0 and 1, the sigmoid of the logits'),
});

export const scoreFlags = {
  ...group('Rows', {
    input_file: optional(
      text('a path, or - for standard input'),
      'rows with query, pos and neg; may be given as the first word without a flag',
    ),
    output_file: optional(
      text('a path, or - for standard output'),
      'the same rows with pos_scores and neg_scores; the second word',
    ),
    scale: optional(
      decimal('a number above 0', (value) => value > 0),
      'scores are multiplied by it: 50 for those of a model, which is 1/0.02, the temperature of training; 1 for those of a reranker',
    ),
  }),
  ...modelFlags,
  ...rerankerFlags,
  ...embedderFlags,
};

const LLM: ForeignFlag = {
  reason: 'it is of rerankers that are decoders, which are not read here',
  refused: true,
  holds: [],
};

/** FlagEmbedding's flags of rerankers that mean something for other ones only. */
export const foreignRerankerFlags: Readonly<Record<string, ForeignFlag>> = {
  reranker_peft_path: LLM,
  prompt: LLM,
  cutoff_layers: LLM,
  compress_layers: LLM,
  compress_ratio: { ...LLM, holds: ['1'] },
};

/** @throws InputError for FlagEmbedding's name of a kind of rerankers that is not read here. */
export function requireRerankerClass(kind: string | null): void {
  if (kind === null || kind === 'encoder-only-base') return;
  throw new InputError(
    /^decoder-only-(?:base|layerwise|lightweight)$/.test(kind)
      ? `--reranker_model_class: expected encoder-only-base, found ${kind}: rerankers that are decoders are not read here`
      : `--reranker_model_class: expected encoder-only-base, found ${JSON.stringify(kind)}`,
  );
}

/** Of the one kind of scores alone. */
const OF_MODELS = [
  ...Object.keys(modelFlags),
  ...[
    'pooling_method',
    'normalize_embeddings',
    'query_instruction_for_retrieval',
    'query_instruction_format',
  ],
  ...['passage_instruction_for_retrieval', 'passage_instruction_format', 'query_max_length'],
  ...['passage_max_length', 'truncate_dim'],
];
const OF_RERANKERS = Object.keys(rerankerFlags).filter((name) => name !== 'reranker_name_or_path');

/** What scores of a model are multiplied by, where nothing is told: 1/0.02, τ of training by default. */
const MODEL_SCALE = 50;

/** Flags of `dawntune score` as values; `parseScoreArguments` makes them of words. */
export type ScoreArguments = Omit<FlagValues<typeof scoreFlags>, 'inputFile' | 'outputFile' | 'scale'> & {
  /** Rows of training data. */
  readonly inputFile: string;
  /** The same rows with `pos_scores` and `neg_scores`. */
  readonly outputFile: string;
  /** Scores are multiplied by it. */
  readonly scale: number;
};

/** @throws InputError, one line that names the flag. */
export function parseScoreArguments(argv: readonly string[], ranks?: number): ParsedCommand<ScoreArguments> {
  const { values, notices, positionals, given } = parseFlags(scoreFlags, argv, {
    positionals: true,
    aliases: embedderAliases,
    foreign: { ...foreignEmbedderFlags, ...foreignRerankerFlags },
  });
  const words = [...positionals];
  const inputFile = values.inputFile ?? words.shift();
  const outputFile = values.outputFile ?? words.shift();
  for (const [flag, value] of [
    ['input_file', inputFile],
    ['output_file', outputFile],
  ] as const)
    if (value === undefined) throw new InputError(`--${flag}: expected a path, found nothing`);
  if (words.length > 0)
    throw new InputError(`expected one file to read and one to write, found ${JSON.stringify(words[0])} too`);
  const reranker = values.rerankerNameOrPath !== null;
  if (reranker === (values.modelNameOrPath !== null))
    throw new InputError(
      `--model_name_or_path and --reranker_name_or_path: expected one of them, found ${reranker ? 'both' : 'neither'}`,
    );
  requireRerankerClass(values.rerankerModelClass);
  const idle = (name: string, where: string) => {
    if (given.has(name)) notices.push(`--${name} has no effect ${where}`);
  };
  for (const name of reranker ? OF_MODELS : OF_RERANKERS)
    idle(name, reranker ? 'with --reranker_name_or_path' : 'without --reranker_name_or_path');
  if (!reranker && values.mode !== 'hybrid')
    for (const name of ['weights', 'normalize_weights']) idle(name, `with --mode ${values.mode}`);
  const formats: readonly (readonly [format: string, instruction: string | null, flag: string])[] = [
    ['query_instruction_format_for_rerank', values.queryInstructionForRerank, 'query_instruction_for_rerank'],
    [
      'passage_instruction_format_for_rerank',
      values.passageInstructionForRerank,
      'passage_instruction_for_rerank',
    ],
  ];
  if (reranker)
    for (const [format, instruction, flag] of formats)
      if (instruction === null) idle(format, `without --${flag}`);
  notices.push(...checkStartArguments(values, ranks ?? values.nprocPerNode));
  const scale = values.scale ?? (reranker ? 1 : MODEL_SCALE);
  return { args: { ...values, inputFile: inputFile!, outputFile: outputFile!, scale }, notices };
}
