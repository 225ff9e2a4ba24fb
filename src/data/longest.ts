/**
 * How long the batches of a dataset can be, in tokens: counts that no batch of any epoch exceeds. The i-th longest query
 * of a batch has at most `queries[i]` tokens, its i-th longest passage at most `passages[i]`, whatever rows meet. What
 * takes memory by these counts is therefore an upper bound of what any batch takes.
 */
import { InputError } from '../errors.js';
import { isRanked, shortest } from './candidates.js';
import type { Dataset } from './datasets.js';
import { placeName, type RowPlace, type TrainRow } from './rows.js';

/** Counts tokens of a text with its prompt, special tokens included and cut at the limit. */
export interface TokenMeasure {
  /** @throws InputError for a text that the model cannot take. */
  query(text: string): number;
  passage(text: string): number;
  readonly queryLimit: number;
  readonly passageLimit: number;
}

export interface LongestBatch {
  readonly dataset: string;
  /** Batches of it in an epoch. */
  readonly batches: number;
  readonly noInBatchNeg: boolean;
  readonly hasTeacher: boolean;
  /** [B] tokens, longest first. */
  readonly queries: readonly number[];
  /** [B·G] tokens, longest first. */
  readonly passages: readonly number[];
  readonly groupSize: number;
  /** Rows that were not read, whose texts were taken to be as long as their bytes or the limits allow. */
  readonly unread: number;
}

/** `sampled`: the groups that training draws; `candidates`: all candidates of rows (candidates.ts). */
export type LongestKind = 'sampled' | 'candidates';

export interface LongestOptions {
  readonly dataset: Dataset;
  readonly batches: number;
  readonly kind: LongestKind;
  readonly hasTeacher: boolean;
  /** Of the row as the first of a batch. */
  readonly groupSizeOf: (row: number) => number;
  readonly query: (row: TrainRow, text: string) => string;
  readonly passage: (row: TrainRow, text: string) => string;
  readonly shuffleRatio: number;
  /** Texts may have prompts or instructions before them. */
  readonly prompted: boolean;
  readonly measure: TokenMeasure;
  /** Characters of text that may be read, about; what is left then is bounded by its bytes. */
  readonly effort: number;
}

/** A text that is cut in three and joined anew may have so many tokens more. */
const SHUFFLED = 64;
/** Texts shorter than this are not shuffled (sampling.ts). */
const SHUFFLED_FROM = 100;
/** Tokens of a text that was not read, by its bytes: U+FDFA, 3 bytes, becomes 18 letters in NFKC. */
const TOKENS_PER_BYTE = 6;
/** And beside those of the text: special ones, a mark before the first word. */
const AROUND = 16;
/** What reading a row costs beside its texts, in characters. */
export const ROW_COST = 150;

export function longestBatch(options: LongestOptions): LongestBatch {
  const { dataset, measure } = options;
  const { rowCount } = dataset;
  const size = Math.min(dataset.batchSize, rowCount);
  let groupSize = 1;
  const weights = new Float64Array(rowCount);
  for (let row = 0; row < rowCount; row++) {
    const group = options.groupSizeOf(row);
    if (group > groupSize) groupSize = group;
    const { queryBytes, passageBytes } = dataset.facts(row);
    weights[row] = queryBytes + group * passageBytes;
  }
  // Longest first: where texts are cut at the limit, the first rows already tell all.
  const order = Uint32Array.from({ length: rowCount }, (_, row) => row).sort(
    (a, b) => weights[b]! - weights[a]! || a - b,
  );
  const queries = new Largest(size);
  // The j-th longest passage of a row competes with the j-th longest of other rows.
  const passages = Array.from({ length: groupSize }, () => new Largest(size));
  const wantsQueries = () => queries.smallest < measure.queryLimit;
  const wantsPassages = () => passages.some((largest) => largest.smallest < measure.passageLimit);

  let effort = options.effort;
  let read = 0;
  for (; read < rowCount && effort > 0; read++) {
    const [forQueries, forPassages] = [wantsQueries(), wantsPassages()];
    if (!forQueries && !forPassages) break;
    const index = order[read]!;
    const row = dataset.row(index);
    const { place } = dataset.facts(index);
    effort -= ROW_COST;
    if (forQueries) {
      const text = options.query(row, row.query);
      effort -= text.length;
      queries.add(placed(place, () => measure.query(text)));
    }
    if (!forPassages) continue;
    const tokensOf = (passage: string, shuffled: boolean) => {
      const text = options.passage(row, passage);
      effort -= text.length;
      const tokens = placed(place, () => measure.passage(text));
      return shuffled ? Math.min(measure.passageLimit, tokens + SHUFFLED) : tokens;
    };
    if (options.kind === 'candidates') {
      if (!isRanked(dataset.facts(index))) continue;
      const texts = [...row.pos, ...row.neg];
      const tokens = texts.map((text) => tokensOf(text, false));
      // A group is filled up with one text, and has no more of any other than the row has.
      const filling = texts.map((text) => options.passage(row, text));
      const short = tokens[filling.indexOf(shortest(filling))]!;
      const group = [...tokens, ...Array.from({ length: groupSize }, () => short)].sort((a, b) => b - a);
      for (const [j, largest] of passages.entries()) largest.add(group[j]!);
      continue;
    }
    const mayShuffle = (text: string) => options.shuffleRatio > 0 && text.length > SHUFFLED_FROM;
    let longest = 0;
    for (const text of row.pos) longest = Math.max(longest, tokensOf(text, mayShuffle(text)));
    const group = [
      longest,
      ...longestNegatives(
        row.neg.map((text) => tokensOf(text, false)),
        groupSize - 1,
      ),
    ];
    group.sort((a, b) => b - a).forEach((tokens, j) => void passages[j]!.add(tokens));
  }
  const saturated = !wantsQueries() && !wantsPassages();
  const unread = saturated ? 0 : rowCount - read;
  if (unread > 0) {
    const bound = (bytes: number, limit: number) =>
      options.prompted ? limit : Math.min(limit, TOKENS_PER_BYTE * bytes + AROUND + SHUFFLED);
    for (; read < rowCount; read++) {
      const { queryBytes, passageBytes } = dataset.facts(order[read]!);
      queries.add(bound(queryBytes, measure.queryLimit));
      const tokens = bound(passageBytes, measure.passageLimit);
      for (const largest of passages) largest.add(tokens);
    }
  }
  return {
    dataset: dataset.name,
    batches: options.batches,
    noInBatchNeg: dataset.noInBatchNeg,
    hasTeacher: options.hasTeacher,
    queries: queries.sorted(),
    passages: passages.flatMap((largest) => largest.sorted()).sort((a, b) => b - a),
    groupSize,
    unread,
  };
}

/** The longest that a draw of `count` may hold, each as often as it may come (sampling.ts). */
function longestNegatives(tokens: number[], count: number): number[] {
  tokens.sort((a, b) => b - a);
  const copies = Math.ceil(count / Math.max(1, tokens.length));
  const result: number[] = [];
  for (let i = 0; result.length < count && i < tokens.length; i++)
    for (let copy = 0; copy < copies && result.length < count; copy++) result.push(tokens[i]!);
  return result;
}

function placed(place: RowPlace, count: () => number): number {
  try {
    return count();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(`${error.message} (row ${placeName(place)})`);
  }
}

/** The `count` largest of the numbers that were added: a heap with the smallest of them at its root. */
class Largest {
  private readonly heap: number[] = [];

  constructor(private readonly count: number) {}

  /** 0 while fewer were added. */
  get smallest(): number {
    return this.heap.length < this.count ? 0 : this.heap[0]!;
  }

  add(value: number): void {
    const { heap } = this;
    if (heap.length < this.count) {
      heap.push(value);
      let at = heap.length - 1;
      while (at > 0) {
        const parent = (at - 1) >> 1;
        if (heap[parent]! <= value) break;
        heap[at] = heap[parent]!;
        at = parent;
      }
      heap[at] = value;
      return;
    }
    if (value <= heap[0]!) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
  }

  sorted(): number[] {
    return [...this.heap].sort((a, b) => b - a);
  }
}
