/** Texts of a training batch to a packed batch for the losses (docs/spec/flagembedding-m3.md §2.5). */
import { ShapeError } from '../../errors.js';
import type { Gpu } from '../../gpu/gpu.js';
import type { EncoderConfig } from '../../models/config.js';
import type { ScoredBatch } from '../../models/scores.js';
import { TokenBatch } from '../../models/token-batch.js';
import { OptionNames } from '../../options.js';
import type { TokenizerThreads } from '../../tokenizer/threads.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';

/** How `collate` makes batches of tokens of rows. */
export interface CollateOptions {
  /** Longest query, in tokens. Default 32. */
  queryMaxLen?: number;
  /** Longest passage. Default 128. */
  passageMaxLen?: number;
  /** Upstream rounds padded lengths up to this; it decides which passages have padding. */
  padToMultipleOf?: number | null;
  /** Restore upstream's floor of ColBERT maxima at 0 for padded passages. Default false. */
  colbertFloor?: boolean;
  /** Upstream's padded passage length when it is fixed instead of the longest in the set. */
  paddedLength?: number;
}

const OPTIONS = new OptionNames<CollateOptions>({
  queryMaxLen: 'number',
  passageMaxLen: 'number',
  padToMultipleOf: 'number or null',
  colbertFloor: 'boolean',
  paddedLength: 'number',
});

type TokenLimits = Required<Pick<CollateOptions, 'queryMaxLen' | 'passageMaxLen'>>;

/** Token ids of a batch's texts: worked out on the host alone, in whichever thread. */
export interface TokenizedTexts {
  readonly queries: readonly Uint32Array[];
  /** Query-major. */
  readonly passages: readonly Uint32Array[];
}

/** @throws ShapeError unless each query has as many passages, at least one; InputError of a text. */
export function tokenizeTexts(
  tokenizer: Tokenizer,
  queries: readonly string[],
  passages: readonly string[],
  limits: TokenLimits,
): TokenizedTexts {
  requireGroups(queries, passages);
  return {
    queries: tokenizer.encodeBatch(queries, limits.queryMaxLen),
    passages: tokenizer.encodeBatch(passages, limits.passageMaxLen),
  };
}

/** The same in other threads, queries and passages at once. */
export async function tokenizeInThreads(
  threads: TokenizerThreads,
  queries: readonly string[],
  passages: readonly string[],
  limits: TokenLimits,
): Promise<TokenizedTexts> {
  requireGroups(queries, passages);
  const both = [
    threads.encode(queries, limits.queryMaxLen),
    threads.encode(passages, limits.passageMaxLen),
  ] as const;
  // Of both, so that an error of the one leaves none of the other behind that nobody waits for.
  await Promise.allSettled(both);
  return { queries: await both[0], passages: await both[1] };
}

function requireGroups(queries: readonly string[], passages: readonly string[]): void {
  if (queries.length === 0 || passages.length === 0 || passages.length % queries.length !== 0)
    throw new ShapeError(
      'collate',
      `${passages.length} passages are no equal groups for ${queries.length} queries`,
    );
}

/**
 * Queries first, then passages query-major; nothing is padded. What the device needs of it goes there when it is first
 * used. @throws InputError when a text has more tokens than the model has positions.
 */
export function packTexts(
  gpu: Gpu,
  config: EncoderConfig,
  { queries, passages }: TokenizedTexts,
  specialIds: readonly number[],
  options: CollateOptions,
): ScoredBatch {
  const multiple = options.padToMultipleOf || 1;
  const longest = passages.reduce((most, ids) => Math.max(most, ids.length), 0);
  const padded = options.paddedLength ?? Math.ceil(longest / multiple) * multiple;
  return {
    tokens: new TokenBatch(gpu, [...queries, ...passages], config),
    queries: queries.length,
    group: passages.length / queries.length,
    specialIds,
    floor: options.colbertFloor ? passages.map((ids) => ids.length < padded) : undefined,
  };
}

/**
 * `tokenizeTexts` and `packTexts` in one.
 * @throws ShapeError unless each query has as many passages, at least one, and for an option that there is not; InputError
 * of a text.
 */
export function collate(
  gpu: Gpu,
  tokenizer: Tokenizer,
  config: EncoderConfig,
  queries: readonly string[],
  passages: readonly string[],
  options: CollateOptions = {},
): ScoredBatch {
  const { queryMaxLen = 32, passageMaxLen = 128 } = OPTIONS.read('collate', options);
  const texts = tokenizeTexts(tokenizer, queries, passages, { queryMaxLen, passageMaxLen });
  return packTexts(gpu, config, texts, specialIdsOf(tokenizer), options);
}

/**
 * What `prepare` makes of each batch, in order, begun one batch before it is asked for: while the consumer is busy with
 * one, or waits for the GPU, the next one is made. An error of a batch comes when that batch is asked for.
 */
export async function* collateAhead<Batch, Prepared>(
  batches: Iterable<Batch>,
  prepare: (batch: Batch) => Prepared | Promise<Prepared>,
): AsyncGenerator<Prepared, void, undefined> {
  const source = batches[Symbol.iterator]();
  const begin = async (): Promise<{ prepared: Prepared } | undefined> => {
    // In a turn of its own: by then the consumer has given the GPU its work.
    await new Promise((resolve) => setImmediate(resolve));
    const { value, done } = source.next();
    return done ? undefined : { prepared: await prepare(value) };
  };
  let next = begin();
  try {
    for (;;) {
      const current = await next;
      if (!current) return;
      next = begin();
      // It is told when it is asked for, if it ever is.
      next.catch(() => undefined);
      yield current.prepared;
    }
  } finally {
    source.return?.();
  }
}

/** Ids that match no other text's. */
export function specialIdsOf({ clsId, sepId, padId, unkId }: Tokenizer): number[] {
  return [clsId, sepId, padId, unkId];
}
