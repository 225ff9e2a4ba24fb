/**
 * Rows with all of their own candidates, for ranking: every positive and every negative of a row, not the group that
 * training draws. A batch has as many queries of different rows, and as many passages a query, as one of training
 * (data/longest.ts bounds it); a row with more candidates comes in several batches.
 */
import type { Dataset } from './datasets.js';
import type { RowPlace, TrainRow } from './rows.js';

/** Some candidates of one row within a batch. */
export interface CandidatePart {
  /** Of the row among those that are ranked, from 0. */
  readonly row: number;
  /** Number of its first candidate here. */
  readonly first: number;
  /** How many candidates; the rest of the row's passages here repeat one of them. */
  readonly count: number;
  /** Candidates of the row in all; the first `positives` of them are relevant. */
  readonly candidates: number;
  readonly positives: number;
}

/** B queries with G candidates each. */
export interface CandidateBatch {
  /** [B], prompts applied. */
  readonly queries: string[];
  /** [B·G], query-major. */
  readonly passages: string[];
  readonly groupSize: number;
  /** [B] */
  readonly parts: readonly CandidatePart[];
  /** [B], where the rows come from. */
  readonly rows: RowPlace[];
}

export interface CandidateOptions {
  readonly dataset: Dataset;
  /** Candidates of a query in one batch, at most. */
  readonly groupSize: number;
  readonly query: (row: TrainRow, text: string) => string;
  readonly passage: (row: TrainRow, text: string) => string;
  /** Number of the dataset's first row among those that are ranked. */
  readonly firstRow: number;
}

/** The text by which groups are filled up: the shortest of a row's in UTF-16 units, the first of those. */
export function shortest(texts: readonly string[]): string {
  return texts.reduce((least, text) => (text.length < least.length ? text : least));
}

/** Whether a row has candidates to tell apart. */
export const isRanked = ({ negatives }: { readonly negatives: number }): boolean => negatives > 0;

/** The batches of one dataset, rows with many negatives first, so that batches are of equal groups mostly. */
export function* candidateBatches(options: CandidateOptions): Generator<CandidateBatch, void, undefined> {
  const { dataset, groupSize, firstRow } = options;
  const ranked = Array.from({ length: dataset.rowCount }, (_, row) => row)
    .filter((row) => isRanked(dataset.facts(row)))
    .sort((a, b) => dataset.facts(b).negatives - dataset.facts(a).negatives || a - b);
  for (let start = 0; start < ranked.length; start += dataset.batchSize) {
    const rows = ranked.slice(start, start + dataset.batchSize).map((index, i) => {
      const row = dataset.row(index);
      const texts = [...row.pos, ...row.neg].map((text) => options.passage(row, text));
      return {
        query: options.query(row, row.query),
        texts,
        filling: shortest(texts),
        positives: row.pos.length,
        place: dataset.facts(index).place,
        row: firstRow + start + i,
      };
    });
    for (let first = 0; ; first += groupSize) {
      const present = rows.filter(({ texts }) => texts.length > first);
      if (present.length === 0) break;
      const most = Math.min(groupSize, Math.max(...present.map(({ texts }) => texts.length - first)));
      const batch: CandidateBatch & { parts: CandidatePart[] } = {
        ...{ queries: [], passages: [], groupSize: most, parts: [], rows: [] },
      };
      for (const { query, texts, filling, positives, place, row } of present) {
        const own = texts.slice(first, first + most);
        batch.queries.push(query);
        for (let i = 0; i < most; i++) batch.passages.push(own[i] ?? filling);
        batch.parts.push({ row, first, count: own.length, candidates: texts.length, positives });
        batch.rows.push(place);
      }
      yield batch;
    }
  }
}
