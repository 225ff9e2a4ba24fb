/**
 * The flags of `dawntune evaluate`: those of FlagEmbedding's custom evaluation (docs/spec/flagembedding-m3.md §8) and our own for
 * other files, other modes than dense, comparison and significance.
 */
import { InputError } from '../../errors.js';
import {
  boolean,
  choice,
  type FlagTable,
  type FlagValues,
  group,
  inert,
  integer,
  listOf,
  optional,
  type ParsedCommand,
  parseFlags,
  text,
  type ValueType,
  withDefault,
} from '../../flags.js';
import { checkStartArguments } from '../../ranks/arguments.js';
import { embedderAliases, embedderFlags, foreignEmbedderFlags } from '../embedder/arguments.js';
import { hybridWeights } from '../hybrid-weights.js';
import { foreignRerankerFlags, requireRerankerClass, rerankerFlags } from '../score/arguments.js';
import { type Metric, metricName, metricsAt, parseMetric } from './metrics.js';

/** What ranks. `hybrid` is a weighted sum of the other three. */
export const retrievalModes = ['dense', 'sparse', 'colbert', 'hybrid'] as const;
/** By what `evaluate` ranks. */
export type RetrievalMode = (typeof retrievalModes)[number];

const MOST = 1_000_000;
const path = text('a path');
const place = integer(1, MOST);

const modes: ValueType<RetrievalMode[]> = {
  expects: `some of ${retrievalModes.join(', ')}`,
  placeholder: 'MODE,…',
  many: true,
  choices: retrievalModes,
  parse(words) {
    const names = words.flatMap((word) => word.split(/[\s,]+/)).filter((name) => name !== '');
    const known = retrievalModes.filter((mode) => names.includes(mode));
    return names.length > 0 && names.every((name) => (retrievalModes as readonly string[]).includes(name))
      ? known
      : undefined;
  },
};

const metric: ValueType<Metric> = {
  expects:
    'names such as ndcg_at_10, map_at_100, recall_at_5, precision_at_1, mrr_at_10, recall_cap_at_10, mrr',
  placeholder: 'METRIC',
  many: false,
  parse: ([word]) => parseMetric(word!),
  words: metricName,
};

export const evaluateFlags = {
  ...group('Data', {
    dataset_dir: optional(
      path,
      'a folder with corpus.jsonl and test_queries.jsonl and test_qrels.jsonl beside it (FlagEmbedding), or queries.jsonl and qrels/test.tsv (BEIR)',
    ),
    dataset_names: optional(
      listOf(text('names'), 'names of folders'),
      'folders in --dataset_dir, each a dataset of its own',
    ),
    splits: withDefault(listOf(text('names'), 'names of splits'), ['test'], 'which splits of the dataset'),
    corpus: optional(path, 'documents: JSONL with id and text, or lines of id, tab, text'),
    queries: optional(path, 'queries: JSONL with id and text, or lines of id, tab, text'),
    qrels: optional(path, 'judgements: TREC’s four columns, BEIR’s three, or FlagEmbedding’s JSONL'),
    eval_data: optional(
      listOf(path, 'one or more paths'),
      'rows of training data: each query with its pos as relevant, among every pos and neg',
    ),
    exclude_query_text: withDefault(
      boolean,
      true,
      'with --eval_data, a text that is the query itself and not its positive is not found',
    ),
    ignore_identical_ids: withDefault(boolean, false, 'a document that has the id of the query is not found'),
    group_by: optional(
      text('a field'),
      'the field of queries by which results are broken down; by default language or lang, where there is one',
    ),
  }),
  ...group('Retrieval', {
    modes: withDefault(modes, ['dense'], 'what ranks'),
    search_top_k: withDefault(place, 1000, 'documents that a query finds'),
    colbert_candidates: withDefault(
      place,
      100,
      'so many of the best by dense and by sparse, where that is computed, are scored by ColBERT and hybrid',
    ),
    weights: withDefault(hybridWeights, [1, 0.3, 1], 'of dense, sparse and ColBERT in the hybrid sum'),
    tune_weights: optional(
      text('a split or a path'),
      'find the weights on this split of the dataset, or on these rows of training data, before they are used',
    ),
    tune_metric: withDefault(
      metric,
      { kind: 'ndcg', k: 10 } as Metric,
      'what the weights of --tune_weights are best for',
    ),
    run: optional(path, 'evaluate this TREC run file in place of a model'),
  }),
  ...group('Metrics', {
    k_values: withDefault(
      listOf(place, 'whole numbers from 1'),
      [1, 3, 5, 10, 100, 1000],
      'cut-offs of the metrics that are computed',
    ),
    eval_metrics: withDefault(
      listOf(metric, metric.expects),
      [
        { kind: 'ndcg', k: 10 },
        { kind: 'recall', k: 10 },
      ] as Metric[],
      'metrics that tables show and comparisons are made by',
    ),
    complete_qrels: withDefault(
      boolean,
      false,
      'average over all judged queries, those that a run has no line for as 0 (trec_eval -c)',
    ),
  }),
  ...group('Comparison', {
    compare: optional(
      text('a folder, a hub id or a run file'),
      'a second model, or TREC run file, to be compared query by query',
    ),
    permutations: withDefault(integer(1, 10_000_000), 10_000, 'of the paired randomisation test'),
    seed: withDefault(integer(0, 2 ** 32 - 1), 42, 'of the randomisation test'),
  }),
  ...rerankerFlags,
  ...group('Reranker', {
    rerank_top_k: withDefault(place, 100, 'so many of the first documents of a query are ranked anew'),
  }),
  ...embedderFlags,
  ...group('Output', {
    eval_name: optional(text('a name'), 'title of the report'),
    output_dir: optional(
      path,
      'rankings go here as FlagEmbedding has them, MODEL/NoReranker/test.json and EVAL/eval_results.json, with TREC run files beside',
    ),
    eval_output_path: optional(path, 'the report goes to this file; to standard output if not given'),
    eval_output_method: optional(
      choice(['json', 'markdown', 'html']),
      'format of the report; by the end of --eval_output_path if not given, else markdown',
    ),
    overwrite: inert(
      withDefault(boolean, false, 'replace earlier results'),
      'results are computed anew and replace earlier ones either way',
      () => true,
    ),
    corpus_embd_save_dir: inert(
      optional(path, 'where vectors of the corpus are kept'),
      'vectors are not kept: those of another model or corpus would be taken for them; `dawntune encode` writes some',
    ),
    cache_path: inert(optional(path, 'where prepared data is kept'), 'files are read themselves'),
    force_redownload: inert(
      withDefault(boolean, false, 'download datasets again'),
      'datasets are not downloaded',
    ),
  }),
};

export const evaluateAliases = embedderAliases;

/** Flags of `dawntune evaluate` as values; `parseEvaluateArguments` makes them of words. */
export type EvaluateArguments = FlagValues<typeof evaluateFlags>;

/** @throws InputError, one line that names the flag, what was expected and what was found. */
export function parseEvaluateArguments(
  argv: readonly string[],
  ranks?: number,
): ParsedCommand<EvaluateArguments> {
  const {
    values: args,
    notices,
    given,
  } = parseFlags(evaluateFlags, argv, {
    foreign: { ...foreignEmbedderFlags, ...foreignRerankerFlags },
    aliases: evaluateAliases,
  });
  const flags = new Set(given);
  const sources = [
    ['--dataset_dir', args.datasetDir !== null],
    ['--eval_data', args.evalData !== null],
    ['--qrels', args.qrels !== null],
  ].filter(([, there]) => there);
  if (sources.length !== 1)
    throw new InputError(
      `evaluate: expected one of --dataset_dir, --eval_data, and --corpus, --queries and --qrels, found ${sources.length === 0 ? 'none' : sources.map(([flag]) => flag).join(' and ')}`,
    );
  if (args.qrels !== null && args.run === null)
    for (const [flag, value] of [
      ['corpus', args.corpus],
      ['queries', args.queries],
    ] as const)
      if (value === null) throw new InputError(`--${flag}: expected a path beside --qrels, found nothing`);
  if (args.qrels === null)
    for (const [flag, value] of [
      ['corpus', args.corpus],
      ['queries', args.queries],
    ] as const)
      if (value !== null) throw new InputError(`--${flag}: expected --qrels with it, found none`);
  if (args.run === null && args.modelNameOrPath === null)
    throw new InputError('--model_name_or_path: expected a folder or a hub id (or --run), found nothing');
  if (args.run !== null && args.modelNameOrPath !== null)
    throw new InputError('--run: expected no --model_name_or_path beside it (--compare takes a second one)');
  if (args.datasetNames !== null && args.datasetDir === null)
    throw new InputError('--dataset_names: expected --dataset_dir with it, found none');
  const without = (flag: string, why: string) => {
    if (flags.has(flag)) notices.push(`--${flag} has no effect ${why}`);
  };
  if (args.datasetDir === null) without('splits', 'without --dataset_dir');
  if (args.evalData === null) without('exclude_query_text', 'without --eval_data');
  if (!args.modes.includes('hybrid')) {
    without('weights', 'without --modes hybrid');
    if (args.tuneWeights !== null)
      throw new InputError('--tune_weights: expected hybrid among --modes, found none');
  }
  if (args.tuneWeights === null) without('tune_metric', 'without --tune_weights');
  else without('weights', 'with --tune_weights, which finds them');
  if (args.rerankerNameOrPath === null) {
    // FlagEmbedding's scripts name them with their defaults.
    const values = new Map(Object.values(args).map((value, i) => [Object.keys(evaluateFlags)[i]!, value]));
    for (const name of [...Object.keys(rerankerFlags), 'rerank_top_k'] as (keyof typeof evaluateFlags)[])
      if (values.get(name) !== evaluateFlags[name].fallback) without(name, 'without --reranker_name_or_path');
  } else if (args.qrels !== null && (args.corpus === null || args.queries === null))
    throw new InputError('--reranker_name_or_path: expected --corpus and --queries with it, found none');
  requireRerankerClass(args.rerankerModelClass);
  if (args.run !== null && args.compare === null && args.rerankerNameOrPath === null) {
    const table: FlagTable = embedderFlags;
    const ofModels = Object.entries(table).filter(
      ([, { group, inert }]) => group === 'Model' && inert === undefined,
    );
    const names = [...ofModels.map(([name]) => name), 'modes', 'search_top_k', 'colbert_candidates'];
    for (const name of names) without(name, 'on a run file, without a model');
  }
  if (args.compare === null && args.modes.length < 2 && args.rerankerNameOrPath === null) {
    without('permutations', 'without a second system');
    without('seed', 'without a second system');
  }
  return { args, notices: [...notices, ...checkStartArguments(args, ranks ?? args.nprocPerNode)] };
}

/** All metrics that are computed: FlagEmbedding's at every cut-off, and those that are named. */
export function computedMetrics(args: EvaluateArguments): Metric[] {
  const all = [...metricsAt([...new Set(args.kValues)]), ...args.evalMetrics];
  return all.filter(
    (metric, i) => all.findIndex(({ kind, k }) => kind === metric.kind && k === metric.k) === i,
  );
}
