/** Texts of a training batch to a packed batch for the losses (docs/spec/flagembedding-m3.md §2.5). */
import { ShapeError } from '../../errors.js';
import type { Gpu } from '../../gpu/gpu.js';
import type { EncoderConfig } from '../../models/config.js';
import type { ScoredBatch } from '../../models/scores.js';
import { TokenBatch } from '../../models/token-batch.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';

export interface CollateOptions {
  queryMaxLen: number;
  passageMaxLen: number;
  /** Upstream rounds padded lengths up to this; it decides which passages have padding. */
  padToMultipleOf?: number | null;
  /** Restore upstream's floor of ColBERT maxima at 0 for padded passages. */
  colbertFloor: boolean;
  /** Upstream's padded passage length when it is fixed instead of the longest in the set. */
  paddedLength?: number;
}

/**
 * Queries first, then passages query-major; nothing is padded.
 * @throws ShapeError unless each query has as many passages, at least one; InputError of a text.
 */
export function collate(
  gpu: Gpu,
  tokenizer: Tokenizer,
  config: EncoderConfig,
  queries: readonly string[],
  passages: readonly string[],
  options: CollateOptions,
): ScoredBatch {
  if (queries.length === 0 || passages.length === 0 || passages.length % queries.length !== 0)
    throw new ShapeError(
      'collate',
      `${passages.length} passages are no equal groups for ${queries.length} queries`,
    );
  const queryIds = tokenizer.encodeBatch(queries, options.queryMaxLen);
  const passageIds = tokenizer.encodeBatch(passages, options.passageMaxLen);
  const multiple = options.padToMultipleOf || 1;
  const longest = passageIds.reduce((most, ids) => Math.max(most, ids.length), 0);
  const padded = options.paddedLength ?? Math.ceil(longest / multiple) * multiple;
  return {
    tokens: new TokenBatch(gpu, [...queryIds, ...passageIds], config),
    queries: queries.length,
    group: passages.length / queries.length,
    specialIds: specialIdsOf(tokenizer),
    floor: options.colbertFloor ? passageIds.map((ids) => ids.length < padded) : undefined,
  };
}

/** Ids that match no other text's. */
export function specialIdsOf({ clsId, sepId, padId, unkId }: Tokenizer): number[] {
  return [clsId, sepId, padId, unkId];
}
