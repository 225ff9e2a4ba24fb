/**
 * The flags of `dawntune mine`: those of FlagEmbedding's hn_mine under its names (docs/spec/flagembedding-m3.md §7.1), the
 * metric, and what keeps false negatives out.
 */
import { InputError } from '../../errors.js';
import {
  boolean,
  choice,
  decimal,
  type FlagValues,
  group,
  inert,
  integer,
  LARGEST_COUNT,
  optional,
  type ParsedCommand,
  parseFlags,
  required,
  text,
  type ValueType,
  withDefault,
} from '../../flags.js';
import { checkStartArguments } from '../../ranks/arguments.js';
import { show } from '../../show.js';
import { embedderAliases, embedderFlags, foreignEmbedderFlags } from '../embedder/arguments.js';
import { hybridWeights } from '../hybrid-weights.js';
import type { NegativeRules } from './negatives.js';

export const mineMetrics = ['ip', 'l2', 'cosine'] as const;
export const mineModes = ['dense', 'sparse', 'colbert', 'hybrid'] as const;
export type MineMode = (typeof mineModes)[number];

/** `10-210`: ranks from the first number, counted from 0, up to the second, which is not among them. */
const rankRange: ValueType<NegativeRules['range']> = {
  expects: 'a range of ranks such as 10-210',
  placeholder: 'LO-HI',
  many: false,
  parse([word]) {
    const match = /^(\d{1,9})-(\d{1,9})$/.exec(word ?? '');
    const [lowest, highest] = match ? [Number(match[1]), Number(match[2])] : [0, 0];
    return lowest < highest ? { lowest, highest } : undefined;
  },
  words: ({ lowest, highest }) => `${lowest}-${highest}`,
};

const path = text('a path');
const count = integer(1, LARGEST_COUNT);
const notNegative = decimal('a number of at least 0', (value) => value >= 0);

export const mineFlags = {
  ...group('Mining', {
    input_file: required(path, 'rows of training data: query, pos and, if there are any, neg'),
    output_file: required(path, 'where the same rows go, with the negatives that were found'),
    candidate_pool: optional(
      path,
      'JSONL with a text in each row, to mine in; by default every pos and neg of the input',
    ),
    range_for_sampling: withDefault(
      rankRange,
      { lowest: 10, highest: 210 },
      'ranks to take negatives from, counted from 0, the second not among them',
    ),
    negative_number: withDefault(count, 15, 'negatives of each row'),
    metric: withDefault(
      choice(mineMetrics),
      'ip',
      'what is near: a large inner product, a small L2 distance (its square is the score), a large cosine',
    ),
    mode: withDefault(
      choice(mineModes),
      'dense',
      'scores that rank the candidates; all but dense read the model’s other heads',
    ),
    weights: withDefault(
      hybridWeights,
      [1, 0.3, 1],
      'of dense, sparse and ColBERT scores with --mode hybrid',
    ),
    rerank_candidates: optional(
      count,
      'how many texts dense and sparse search each bring for --mode colbert and hybrid; by default twice the ranks',
    ),
    sampling: withDefault(
      choice(['random', 'top']),
      'random',
      'which of the candidates left are taken: any, or those that rank first',
    ),
    fill: optional(
      choice(['random', 'none']),
      'where too few are left: others of the pool, or fewer negatives; by default none where a bound or margin is given, as those drawn need not keep it',
    ),
    max_score: optional(
      decimal(),
      'candidates nearer than this are left out: of a greater score, with l2 of a smaller squared distance',
    ),
    min_score: optional(
      decimal(),
      'candidates farther than this are left out: of a smaller score, with l2 of a greater squared distance',
    ),
    absolute_margin: optional(
      notNegative,
      'by how much the score of a candidate must be worse than that of the row’s worst positive',
    ),
    relative_margin: optional(
      notNegative,
      'by how much the score of a candidate must be worse than that of the row’s worst positive, as a share of that score: 0.05 keeps what is below 95 % of it',
    ),
    positives_elsewhere: withDefault(
      boolean,
      true,
      'what is a positive of the same query in another row is no negative of it; False as upstream',
    ),
    use_row_prompts: withDefault(
      boolean,
      false,
      'a row’s "prompt" goes before its query, in place of --query_instruction_for_retrieval',
    ),
    write_scores: withDefault(
      boolean,
      false,
      'write pos_scores and neg_scores, as mined; by default those that a row has are dropped, as they no longer fit',
    ),
    index: withDefault(
      choice(['exact', 'usearch']),
      'exact',
      'search through all vectors on the GPU, or through a graph (HNSW) of the package usearch: faster, not exact',
    ),
    index_path: optional(
      path,
      'where --index usearch keeps its index; by default a temporary folder, which goes at the end',
    ),
    seed: withDefault(integer(), 42, 'of the sample of negatives'),
    use_gpu_for_searching: inert(
      withDefault(boolean, false, 'search on the GPU'),
      'exact search is always on the GPU that encodes',
      () => true,
    ),
    search_batch_size: inert(
      withDefault(count, 64, 'queries that are searched for together'),
      'memory decides how many queries are searched for together',
    ),
  }),
  ...embedderFlags,
};

/** Flags of `dawntune mine` as values; `parseMineArguments` makes them of words. */
export type MineArguments = FlagValues<typeof mineFlags>;

/** @throws InputError, one line that names the flag. */
export function parseMineArguments(argv: readonly string[], ranks?: number): ParsedCommand<MineArguments> {
  const {
    values: args,
    notices,
    given,
  } = parseFlags(mineFlags, argv, { aliases: embedderAliases, foreign: foreignEmbedderFlags });
  const { mode, metric, index } = args;
  if (args.modelNameOrPath === null)
    throw new InputError(
      '--model_name_or_path: expected a folder or a hub id, found nothing (the flag is required)',
    );
  if (mode !== 'dense' && metric !== 'ip')
    throw new InputError(
      `--metric: expected ip with --mode ${mode}, found ${show(metric)}: only dense vectors have another`,
    );
  if (mode !== 'dense' && index !== 'exact')
    throw new InputError(`--index: expected exact with --mode ${mode}, found ${show(index)}`);
  if (args.fill === 'random' && unscored(args))
    throw new InputError(
      `--fill: expected none with --write_scores and --mode ${mode}, found random: what is drawn has no such score`,
    );
  const ineffective = (flag: string, needed: string) =>
    notices.push(`--${flag} has no effect without ${needed}`);
  if (given.has('weights') && mode !== 'hybrid') ineffective('weights', '--mode hybrid');
  if (args.rerankCandidates !== null && (mode === 'dense' || mode === 'sparse'))
    ineffective('rerank_candidates', '--mode colbert or hybrid');
  if (args.indexPath !== null && index !== 'usearch') ineffective('index_path', '--index usearch');
  notices.push(...checkStartArguments(args, ranks ?? args.nprocPerNode));
  return { args, notices };
}

const bounded = ({ maxScore, minScore, absoluteMargin, relativeMargin }: MineArguments) =>
  [maxScore, minScore, absoluteMargin, relativeMargin].some((bound) => bound !== null);

/** Whether a text drawn from the pool would have no score that could be written. */
const unscored = ({ writeScores, mode }: MineArguments) => writeScores && mode !== 'dense';

/** Whether the scores of positives are needed. */
export const scoresPositives = (args: MineArguments): boolean =>
  args.writeScores || args.absoluteMargin !== null || args.relativeMargin !== null;

/** What the flags say of a row's negatives. */
export const rulesOf = (args: MineArguments): NegativeRules => ({
  range: args.rangeForSampling,
  negatives: args.negativeNumber,
  sampling: args.sampling,
  fill: args.fill ?? (bounded(args) || unscored(args) ? 'none' : 'random'),
  ascending: args.metric === 'l2',
  nearest: args.maxScore,
  farthest: args.minScore,
  absoluteMargin: args.absoluteMargin,
  relativeMargin: args.relativeMargin,
  seed: args.seed,
});
