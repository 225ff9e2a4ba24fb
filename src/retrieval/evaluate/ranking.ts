/**
 * Judgements and rankings, and the one order in which metrics and run files see a ranking: trec_eval's. It keeps scores
 * as float32, puts the greatest first and among equal ones the document whose id is greatest in the bytes of UTF-8;
 * the column of ranks in a run file is not looked at.
 */
import { ShapeError } from '../../errors.js';
import { show } from '../../show.js';

/** Per query the judged documents with their relevance, a whole number: relevant from 1 on, its gain in nDCG. */
export type Qrels = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** A document that was found, and its score. */
export interface Hit {
  /** Its id. */
  readonly doc: string;
  /** Larger is better. */
  readonly score: number;
}

/** Per query the documents that were found, in any order, each once. */
export type Run = ReadonlyMap<string, readonly Hit[]>;

/** Below 0 where `a` comes first in the bytes of UTF-8, which differs from `<` where one is beyond U+FFFF. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = weightOf(a.charCodeAt(i)) - weightOf(b.charCodeAt(i));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Halves of a surrogate pair stand for characters that come after all others. */
const weightOf = (unit: number) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);

/** The hits in trec_eval's order; a copy. @throws ShapeError for a score that is none. */
export function trecOrder(hits: readonly Hit[]): Hit[] {
  const scores = Float32Array.from(hits, ({ score }) => score);
  const stray = scores.findIndex(Number.isNaN);
  if (stray >= 0)
    throw new ShapeError('trecOrder', `score of document ${show(hits[stray]!.doc)} is NaN: it has no rank`);
  const order = Uint32Array.from(hits, (_, i) => i);
  // Infinities are equal to themselves, but their difference is not 0.
  order.sort((a, b) =>
    scores[a] === scores[b] ? compareUtf8(hits[b]!.doc, hits[a]!.doc) : scores[a]! > scores[b]! ? -1 : 1,
  );
  return Array.from(order, (i) => hits[i]!);
}
