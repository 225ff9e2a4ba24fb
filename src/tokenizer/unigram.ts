/**
 * SentencePiece's unigram model (Kudo 2018, "Subword Regularization"): the segmentation with the greatest sum of
 * log-probabilities, found by one Viterbi pass. Linear in the text, a few flat arrays for the vocabulary.
 *
 * Scores, ties and unknown characters as in the Rust `tokenizers`: sums in float64, of equal paths the longer last
 * piece, an unknown character costs 10 more than the rarest piece, neighbouring unknown characters are one token.
 * Normalisation and splitting into words are the tokenizer's.
 */

import type { Ids } from './ids.js';
import { Trie } from './trie.js';

const UNKNOWN_PENALTY = 10;

/** UTF-16 units after which a word is looked at for a stretch that is decided. */
const WINDOW = 1 << 16;

/** The same where only the first ids are wanted: at least so many, and so many for an id. */
const LEAST_WINDOW = 256;
const UNITS_PER_ID = 4;

export class Unigram {
  private readonly trie = new Trie();
  private readonly scores: Float64Array;
  private readonly unknownScore: number;
  /** UTF-16 units of the longest piece. */
  private readonly longest: number;
  /** Ids of the 256 byte pieces, when the model spells unknown characters in bytes. */
  private readonly bytePieces: Int32Array | null;

  // The best path that ends before unit i, counted from where the last stretch was decided: its score, where its last piece begins, that piece's id.
  private bestScore = new Float64Array(256);
  private bestStart = new Int32Array(256);
  private bestId = new Int32Array(256);

  constructor(
    vocabulary: readonly (readonly [piece: string, score: number])[],
    private readonly unknownId: number,
    byteFallback: boolean,
  ) {
    this.scores = new Float64Array(vocabulary.length);
    let least = 0;
    let longest = 2;
    const ids = new Map<string, number>();
    vocabulary.forEach(([piece, score], id) => {
      this.scores[id] = score;
      least = id === 0 ? score : Math.min(least, score);
      longest = Math.max(longest, piece.length);
      this.trie.set(piece, id);
      if (byteFallback && piece.length === 6 && piece.startsWith('<0x')) ids.set(piece, id);
    });
    this.longest = longest;
    this.unknownScore = least - UNKNOWN_PENALTY;
    this.bytePieces = null;
    if (byteFallback && ids.size === 256) {
      const name = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
      this.bytePieces = Int32Array.from({ length: 256 }, (_, byte) => ids.get(name(byte)) ?? unknownId);
    }
  }

  /**
   * Appends the ids of one word (well-formed UTF-16; a whole text where the tokenizer does not split), or, once there
   * are `limit` of them, only its first. Memory grows with the stretch in which several segmentations still compete,
   * not with the word: where they have met, what lies before is decided and leaves the arrays.
   */
  encode(word: string, ids: Ids, limit = Number.POSITIVE_INFINITY): void {
    const { trie, scores, unknownId, unknownScore, longest } = this;
    const length = word.length;
    let base = 0;
    // Where few ids are wanted, a text without spaces is not segmented far beyond them.
    const least = Math.min(WINDOW, Math.max(LEAST_WINDOW, UNITS_PER_ID * (limit - ids.length)));
    let window = Math.min(least, length);
    let filled = 0;
    const reach = (end: number) => {
      this.reserve(end + 1, filled);
      this.bestStart.fill(-1, filled, end + 1);
      filled = end + 1;
    };
    reach(Math.min(window + longest, length));
    this.bestScore[0] = 0;
    let unknownBefore = false;
    for (let start = 0; start < length; ) {
      if (start - base >= window && start < length) {
        const met = this.meeting(start - base, filled - 1);
        if (met > 0) {
          unknownBefore = this.commit(word, base, met, ids, unknownBefore);
          if (ids.length >= limit) return;
          for (const array of [this.bestScore, this.bestId, this.bestStart]) array.copyWithin(0, met, filled);
          for (let i = 0; i < filled - met; i++) this.bestStart[i]! -= this.bestStart[i]! < 0 ? 0 : met;
          filled -= met;
          base += met;
        }
        window = Math.max(least, 2 * (start - base));
        reach(Math.min(window + longest, length - base));
      }
      const { bestScore, bestStart, bestId } = this;
      const lead = word.charCodeAt(start);
      const next = start + (lead >= 0xd800 && lead < 0xdc00 ? 2 : 1);
      const before = bestScore[start - base]!;
      let single = false;
      let node = 0;
      for (let end = start; end < length; ) {
        node = trie.child(node, word.charCodeAt(end));
        if (node < 0) break;
        end++;
        const id = trie.idAt(node);
        if (id < 0) continue;
        const score = scores[id]! + before;
        const at = end - base;
        if (bestStart[at]! < 0 || score > bestScore[at]!) {
          bestScore[at] = score;
          bestStart[at] = start - base;
          bestId[at] = id;
        }
        if (end === next) single = true;
      }
      if (!single) {
        const score = unknownScore + before;
        const at = next - base;
        if (bestStart[at]! < 0 || score > bestScore[at]!) {
          bestScore[at] = score;
          bestStart[at] = start - base;
          bestId[at] = unknownId;
        }
      }
      start = next;
    }
    this.commit(word, base, length - base, ids, unknownBefore);
  }

  /** The last place through which the best paths to `start` and to every known place behind it all go. */
  private meeting(start: number, last: number): number {
    const { bestStart } = this;
    const ends = [start];
    for (let end = start + 1; end <= Math.min(start + this.longest, last); end++)
      if (bestStart[end]! >= 0) ends.push(end);
    // From the right, one step back at a time; places that fall together are one from then on.
    while (ends.length > 1) {
      const from = bestStart[ends.pop()!]!;
      let at = ends.length;
      while (at > 0 && ends[at - 1]! > from) at--;
      if (at === 0 || ends[at - 1] !== from) ends.splice(at, 0, from);
    }
    return ends[0]!;
  }

  /** Appends the ids of the best path from `base` over `length` units; true when it ends in an unknown character. */
  private commit(word: string, base: number, length: number, ids: Ids, unknownBefore: boolean): boolean {
    const { bestStart, bestId, unknownId } = this;
    const first = ids.length;
    for (let end = length; end > 0; ) {
      let start = bestStart[end]!;
      if (bestId[end] !== unknownId) {
        ids.push(bestId[end]!);
      } else {
        while (start > 0 && bestId[start] === unknownId) start = bestStart[start]!;
        if (this.bytePieces === null) {
          if (start > 0 || !unknownBefore) ids.push(unknownId);
        } else
          for (const byte of Buffer.from(word.slice(base + start, base + end)).reverse())
            ids.push(this.bytePieces[byte]!);
      }
      end = start;
    }
    ids.reverse(first);
    return length === 0 ? unknownBefore : bestId[length] === unknownId;
  }

  /** Room for `length` places, the first `filled` kept. */
  private reserve(length: number, filled: number): void {
    if (this.bestScore.length >= length) return;
    const size = 2 ** Math.ceil(Math.log2(length));
    const [score, start, id] = [new Float64Array(size), new Int32Array(size), new Int32Array(size)];
    score.set(this.bestScore.subarray(0, filled));
    start.set(this.bestStart.subarray(0, filled));
    id.set(this.bestId.subarray(0, filled));
    [this.bestScore, this.bestStart, this.bestId] = [score, start, id];
  }
}
