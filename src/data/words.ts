/** How many different tokens the texts of datasets have: of so many words embeddings can change, whatever rows meet. */
import type { Dataset } from './datasets.js';
import { ROW_COST } from './longest.js';
import type { TrainRow } from './rows.js';

/** Token ids of a text with its prompt, special tokens included and cut at the limit. */
export interface TokenIds {
  query(text: string): ArrayLike<number>;
  passage(text: string): ArrayLike<number>;
}

/** How much may be done to count words. */
export interface WordLimits {
  /** Characters of text that may be read, about. */
  readonly effort: number;
  /** Words beyond which their number does not matter. */
  readonly most: number;
}

export interface WordOptions extends WordLimits {
  readonly datasets: readonly Dataset[];
  readonly query: (row: TrainRow, text: string) => string;
  readonly passage: (row: TrainRow, text: string) => string;
  readonly ids: TokenIds;
}

/** Undefined where the limits do not let all texts be read. */
export function distinctWords({
  datasets,
  query,
  passage,
  ids,
  effort,
  most,
}: WordOptions): number | undefined {
  // A row has its query and its longest passage at least, and a character three bytes at most.
  let least = 0;
  for (const dataset of datasets)
    for (let row = 0; row < dataset.rowCount; row++) {
      const { queryBytes, passageBytes } = dataset.facts(row);
      least += ROW_COST + (queryBytes + passageBytes) / 3;
      if (least > effort) return undefined;
    }
  const words = new Set<number>();
  let left = effort;
  const add = (text: string, idsOf: (text: string) => ArrayLike<number>) => {
    left -= text.length;
    const found = idsOf(text);
    for (let i = 0; i < found.length; i++) words.add(found[i]!);
  };
  for (const dataset of datasets)
    for (let index = 0; index < dataset.rowCount; index++) {
      const row = dataset.row(index);
      left -= ROW_COST;
      add(query(row, row.query), ids.query);
      for (const text of [...row.pos, ...row.neg]) add(passage(row, text), ids.passage);
      if (left < 0 || words.size > most) return undefined;
    }
  return words.size;
}
