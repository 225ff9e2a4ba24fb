/** How well queries find the one passage that is relevant to each, in all four modes: what a demonstration shows. */
import { ShapeError } from '../../errors.js';
import type { M3Model } from '../../models/m3.js';
import { TokenizerThreads } from '../../tokenizer/threads.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { type RetrievalMode, retrievalModes } from './arguments.js';
import { evaluateRun, means, parseMetric } from './metrics.js';
import { type HybridWeights, hybridRanking, type Ranking, retrieve } from './retrieve.js';

/** Metrics of a retrieval task with one relevant text a query. */
export interface RetrievalMetrics {
  /** Share of queries whose passage comes first. */
  readonly recallAt1: number;
  /** 1/log2(rank+1) within the first ten, averaged: one relevant passage a query. */
  readonly ndcgAt10: number;
}

/** Queries, texts, and which text answers which query. */
export interface RetrievalTask {
  /** One text each. */
  readonly queries: readonly string[];
  /** The texts that all queries are compared to. */
  readonly candidates: readonly string[];
  /** Per query, the index of its one relevant candidate. */
  readonly targets: readonly number[];
}

/** Those of the ensemble in training, D + 0.3·S + C. */
const ENSEMBLE: HybridWeights = [1, 0.3, 1];

/**
 * Every query against all candidates, in each mode; equal scores are in trec_eval's order of the candidates' numbers, and
 * sparse finds no candidate without a token of the query. Prompts of queries and candidates are those of the model's
 * folder, the length too unless told otherwise. @throws ShapeError for a task that is none.
 */
export async function evaluateRetrieval(
  model: M3Model,
  tokenizer: Tokenizer,
  { queries, candidates, targets }: RetrievalTask,
  {
    maxLength,
  }: {
    /** Most tokens of a text; by default as the model's folder says. */
    maxLength?: number;
  } = {},
): Promise<Record<RetrievalMode, RetrievalMetrics>> {
  if (queries.length === 0)
    throw new ShapeError('evaluateRetrieval', 'no queries: there is nothing to average');
  const stray = targets.findIndex((at) => !Number.isInteger(at) || at < 0 || at >= candidates.length);
  if (targets.length !== queries.length || stray >= 0)
    throw new ShapeError(
      'evaluateRetrieval',
      stray < 0
        ? `${targets.length} targets for ${queries.length} queries`
        : `target ${targets[stray]} of query ${stray} is none of ${candidates.length} candidates`,
    );
  const ids = candidates.map((_, i) => String(i));
  const found = await retrieve(
    {
      ...{ gpu: model.gpu, model, query: undefined, passage: undefined },
      threads: new TokenizerThreads(tokenizer, { threads: 0 }),
    },
    {
      corpus: { ids, texts: () => candidates },
      ...{ queries, excluded: queries.map(() => undefined), modes: new Set(retrievalModes) },
      ...{ topK: candidates.length, candidates: candidates.length },
    },
    { settings: { queryMaxLength: maxLength, passageMaxLength: maxLength }, note: () => undefined },
  );
  const closer = (weights: HybridWeights) =>
    found.candidates!.map((candidates) => hybridRanking(candidates, weights));
  const rankings: Record<RetrievalMode, readonly Ranking[]> = {
    ...{ dense: found.dense!, sparse: found.sparse! },
    ...{ colbert: closer([0, 0, 1]), hybrid: closer(ENSEMBLE) },
  };
  const qrels = new Map(targets.map((target, q) => [`${q}`, new Map([[ids[target]!, 1]])]));
  const metrics = ['recall_at_1', 'ndcg_at_10'].map((name) => parseMetric(name)!);
  const metricsOf = (mode: RetrievalMode): RetrievalMetrics => {
    const run = new Map(
      rankings[mode].map(({ indices, scores }, q) => [
        `${q}`,
        Array.from(indices, (index, i) => ({ doc: ids[index]!, score: scores[i]! })),
      ]),
    );
    const [recallAt1, ndcgAt10] = means(evaluateRun(qrels, run, metrics));
    return { recallAt1: recallAt1!, ndcgAt10: ndcgAt10! };
  };
  return {
    ...{ dense: metricsOf('dense'), sparse: metricsOf('sparse') },
    ...{ colbert: metricsOf('colbert'), hybrid: metricsOf('hybrid') },
  };
}
