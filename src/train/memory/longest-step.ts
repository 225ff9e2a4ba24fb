/**
 * The batches by which a run's memory is planned. They are made up: as many texts of as many tokens as any batch of the
 * data may have (data/longest.ts), with words that are all different, because a table's gradient takes memory for
 * each distinct word. What texts take that share words instead (the lists of matching words) is counted beside.
 */
import type { LongestBatch } from '../../data/longest.js';
import type { EncoderConfig } from '../../models/config.js';
import type { M3Model } from '../../models/m3.js';
import { TokenBatch } from '../../models/token-batch.js';
import type { RunBatch } from '../run/step.js';

export interface PlannedBatchOptions {
  readonly unified: boolean;
  readonly colbertFloor: boolean;
  /** `--sub_batch_size`. */
  readonly chunk: number | null;
  /** Ids of a text without words, such as `<s> </s>`. */
  readonly empty: readonly number[];
  /** Ids that match no other text's. */
  readonly specialIds: readonly number[];
}

/** Datasets whose longest batches are planned one by one; more are planned as one that is as long as any of them. */
const MOST_PLANNED = 4;

/** Batches of which one takes at least as much as any batch of the data; made anew at each call. */
export function plannedBatches(
  model: M3Model,
  longest: readonly LongestBatch[],
  options: PlannedBatchOptions,
): RunBatch[] {
  return largestOf(longest).map((batch) => madeUp(model, batch, options));
}

/** Those of which no other takes more in every respect, or one that takes as much as any. */
function largestOf(longest: readonly LongestBatch[]): LongestBatch[] {
  return [true, false].flatMap((own) => {
    const kept: LongestBatch[] = [];
    const bySize = longest
      .filter(({ noInBatchNeg }) => noInBatchNeg === own)
      .sort((a, b) => tokensOf(b) - tokensOf(a));
    for (const batch of bySize) if (!kept.some((larger) => covers(larger, batch))) kept.push(batch);
    return kept.length <= MOST_PLANNED ? kept : [kept.reduce(union)];
  });
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
/** Of all its texts. */
export const tokensOf = ({ queries, passages }: LongestBatch) => sum(queries) + sum(passages);

function covers(a: LongestBatch, b: LongestBatch): boolean {
  const each = (x: readonly number[], y: readonly number[]) =>
    x.length >= y.length && y.every((tokens, i) => tokens <= x[i]!);
  return (
    a.groupSize >= b.groupSize &&
    (a.hasTeacher || !b.hasTeacher) &&
    each(a.queries, b.queries) &&
    each(a.passages, b.passages)
  );
}

function union(a: LongestBatch, b: LongestBatch): LongestBatch {
  const larger = (x: readonly number[], y: readonly number[], count: number) =>
    Array.from({ length: count }, (_, i) => Math.max(x[i] ?? 2, y[i] ?? 2));
  const groupSize = Math.max(a.groupSize, b.groupSize);
  const count = Math.max(a.queries.length, b.queries.length);
  return {
    ...a,
    hasTeacher: a.hasTeacher || b.hasTeacher,
    queries: larger(a.queries, b.queries, count),
    passages: larger(a.passages, b.passages, count * groupSize),
    groupSize,
  };
}

/**
 * Lengths in the order of the batch: queries, then passages. With chunks of n texts the longest n queries, the longest
 * n passages, and where a chunk holds both the longest of each, stand in one chunk, so that no chunk of a real batch
 * has more tokens; to that end some of the shortest lengths are replaced by the longest.
 */
function arranged({ queries, passages }: LongestBatch, chunk: number | null): number[] {
  const count = queries.length;
  if (chunk === null || chunk >= count + passages.length) return [...queries, ...passages];
  const mixed = count % chunk;
  // Queries of the chunk that holds passages too come last.
  const head = queries.slice(0, count - mixed);
  const tail = queries.slice(0, mixed);
  const shared = mixed === 0 ? 0 : Math.min(passages.length, chunk - mixed);
  const first = passages.slice(0, shared);
  const rest = passages.slice(0, passages.length - shared);
  return [...head, ...tail, ...first, ...rest];
}

function madeUp(model: M3Model, batch: LongestBatch, options: PlannedBatchOptions): RunBatch {
  const { empty } = options;
  const words = differentWords(model.config, [...empty, ...options.specialIds]);
  const texts = arranged(batch, options.chunk).map((tokens) => {
    const cut = Math.min(tokens, model.config.maxTokens);
    const ids = Array.from({ length: Math.max(cut, 1) }, () => 0);
    // The special ids of an empty text stand around the words.
    const before = Math.min(ids.length, Math.ceil(empty.length / 2));
    const after = Math.min(ids.length - before, empty.length - before);
    for (let i = 0; i < ids.length; i++)
      ids[i] =
        i < before
          ? empty[i]!
          : i >= ids.length - after
            ? empty[empty.length - ids.length + i]!
            : words.next().value;
    return ids;
  });
  const passages = batch.passages.length;
  return {
    tokens: new TokenBatch(model.gpu, texts, model.config),
    queries: batch.queries.length,
    group: batch.groupSize,
    specialIds: options.specialIds,
    floor: options.colbertFloor ? new Array<boolean>(passages).fill(true) : undefined,
    teacherScores: batch.hasTeacher ? new Float32Array(passages) : null,
    noInBatchNeg: batch.noInBatchNeg,
  };
}

/** Ids of the vocabulary one after the other, without those that stand in every text. */
function* differentWords({ vocabSize }: EncoderConfig, without: readonly number[]): Generator<number, never> {
  const skipped = new Set(without);
  const some = Array.from({ length: Math.min(vocabSize, skipped.size + 1) }, (_, id) => id).some(
    (id) => !skipped.has(id),
  );
  for (let id = 0; ; id = (id + 1) % vocabSize) if (!some || !skipped.has(id)) yield id;
}

/** A match is two words in the list of its pair of texts, and two in each of the lists of its two words. */
const MATCH_BYTES = 8 + 2 * 8;
/** Of the pool's rounding (gpu/memory.ts). */
const ROUNDING = 1.125;

/** Bytes of the lists of matching words, at most: as if texts shared all their words with all they are scored against. */
export function matchBytes(
  longest: readonly LongestBatch[],
  { empty }: Pick<PlannedBatchOptions, 'empty'>,
): number {
  const wordsOf = (tokens: number) => Math.max(0, tokens - empty.length);
  const matches = largestOf(longest).map((batch) => {
    let count = 0;
    if (batch.noInBatchNeg) {
      const most = wordsOf(batch.queries[0]!);
      for (const tokens of batch.passages) count += Math.min(most, wordsOf(tokens));
    } else {
      const [queries, passages] = [countsOf(batch.queries), countsOf(batch.passages)];
      for (const [a, times] of queries)
        for (const [b, each] of passages) count += times * each * Math.min(wordsOf(a), wordsOf(b));
    }
    return count;
  });
  return Math.ceil(ROUNDING * MATCH_BYTES * Math.max(0, ...matches));
}

function countsOf(values: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}
