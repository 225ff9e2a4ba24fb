/** How well queries find their passages: score matrices on the GPU, then rank metrics. */
import { ShapeError } from '../errors.js';
import type { M3Model } from '../models/m3.js';
import { colbertScores, denseScores, denseVectors, ensembleScores, lexicalScores } from '../models/scores.js';
import { TokenBatch } from '../models/token-batch.js';
import { noGrad, scope } from '../tensor/scope.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { textIds } from './texts.js';

export const retrievalModes = ['dense', 'sparse', 'colbert', 'hybrid'] as const;
export type RetrievalMode = (typeof retrievalModes)[number];

export interface RetrievalMetrics {
  /** Share of queries whose passage comes first. */
  readonly recallAt1: number;
  /** 1/log2(rank+1) within the first ten, averaged: one relevant passage a query. */
  readonly ndcgAt10: number;
}

export interface RetrievalTask {
  readonly queries: readonly string[];
  readonly candidates: readonly string[];
  /** Per query, the index of its one relevant candidate. */
  readonly targets: readonly number[];
}

/**
 * Every query against all candidates, in each mode; hybrid is the training ensemble D + 0.3·S + C. Prompts of queries and
 * candidates are those of the model's folder, the length too unless told otherwise.
 */
export async function evaluateRetrieval(
  model: M3Model,
  tokenizer: Tokenizer,
  task: RetrievalTask,
  { maxLength, queriesPerBatch = 200 }: { maxLength?: number; queriesPerBatch?: number } = {},
): Promise<Record<RetrievalMode, RetrievalMetrics>> {
  if (!Number.isInteger(queriesPerBatch) || queriesPerBatch < 1)
    throw new ShapeError('evaluateRetrieval', `batches of ${queriesPerBatch} queries`);
  const { queries, candidates: passages, targets } = task;
  if (queries.length === 0)
    throw new ShapeError('evaluateRetrieval', 'no queries: there is nothing to average');
  const stray = targets.findIndex((at) => !Number.isInteger(at) || at < 0 || at >= passages.length);
  if (targets.length !== queries.length || stray >= 0)
    throw new ShapeError(
      'evaluateRetrieval',
      stray < 0
        ? `${targets.length} targets for ${queries.length} queries`
        : `target ${targets[stray]} of query ${stray} is none of ${passages.length} candidates`,
    );
  const queryIds = textIds(model, tokenizer, 'query', { maxLength });
  const ranks: Record<RetrievalMode, number[]> = { dense: [], sparse: [], colbert: [], hybrid: [] };
  const candidates = task.candidates.map(textIds(model, tokenizer, 'document', { maxLength }));
  for (let start = 0; start < task.queries.length; start += queriesPerBatch) {
    const queries = task.queries.slice(start, start + queriesPerBatch).map(queryIds);
    const tokens = new TokenBatch(model.gpu, [...queries, ...candidates], model.config);
    const batch = {
      tokens,
      queries: queries.length,
      group: candidates.length / queries.length,
      specialIds: [tokenizer.clsId, tokenizer.sepId, tokenizer.padId, tokenizer.unkId],
    };
    try {
      await scope(() =>
        noGrad(async () => {
          const hidden = model.hidden(tokens);
          const dense = denseScores(denseVectors(model.dense(hidden, tokens), batch), 1);
          const sparse = lexicalScores(model.sparse(hidden), batch, 1, false);
          const colbert = colbertScores(model.colbert(hidden), batch, 1, false);
          const matrices = { dense, sparse, colbert, hybrid: ensembleScores(dense, sparse, colbert) };
          for (const mode of retrievalModes) {
            const scores = (await matrices[mode].toArray()) as Float32Array;
            for (let q = 0; q < queries.length; q++)
              ranks[mode].push(
                rankOf(
                  scores.subarray(q * candidates.length, (q + 1) * candidates.length),
                  task.targets[start + q]!,
                ),
              );
          }
        }),
      );
    } finally {
      tokens.dispose();
    }
  }
  const metrics = (list: number[]): RetrievalMetrics => ({
    recallAt1: mean(list.map((rank) => (rank === 1 ? 1 : 0))),
    ndcgAt10: mean(list.map((rank) => (rank <= 10 ? 1 / Math.log2(rank + 1) : 0))),
  });
  return {
    dense: metrics(ranks.dense),
    sparse: metrics(ranks.sparse),
    colbert: metrics(ranks.colbert),
    hybrid: metrics(ranks.hybrid),
  };
}

/** 1-based; ties count against the target, so a mode that scores everything alike finds nothing. */
function rankOf(scores: ArrayLike<number>, target: number): number {
  let rank = 1;
  for (let i = 0; i < scores.length; i++) if (i !== target && !(scores[i]! < scores[target]!)) rank++;
  return rank;
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
