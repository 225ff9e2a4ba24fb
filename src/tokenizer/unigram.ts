/**
 * SentencePiece's unigram model (Kudo 2018, "Subword Regularization"): the segmentation with the greatest sum of
 * log-probabilities, found by one Viterbi pass. Linear in the text, a few flat arrays for the vocabulary.
 *
 * Scores, ties and unknown characters as in the Rust `tokenizers`: sums in float64, of equal paths the longer last
 * piece, an unknown character costs 10 more than the rarest piece, neighbouring unknown characters are one token.
 * Normalisation and splitting into words are the tokenizer's.
 */

const UNKNOWN_PENALTY = 10;

export class Unigram {
  private readonly trie = new Trie();
  private readonly scores: Float64Array;
  private readonly unknownScore: number;
  /** Ids of the 256 byte pieces, when the model spells unknown characters in bytes. */
  private readonly bytePieces: Int32Array | null;

  // The best path that ends before unit i: its score, where its last piece begins, that piece's id.
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
    const ids = new Map<string, number>();
    vocabulary.forEach(([piece, score], id) => {
      this.scores[id] = score;
      least = id === 0 ? score : Math.min(least, score);
      this.trie.set(piece, id);
      if (byteFallback && piece.length === 6 && piece.startsWith('<0x')) ids.set(piece, id);
    });
    this.unknownScore = least - UNKNOWN_PENALTY;
    this.bytePieces = null;
    if (byteFallback && ids.size === 256) {
      const name = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
      this.bytePieces = Int32Array.from({ length: 256 }, (_, byte) => ids.get(name(byte)) ?? unknownId);
    }
  }

  /** Appends the ids of one word (well-formed UTF-16; a whole text where the tokenizer does not split). */
  encode(word: string, ids: number[]): void {
    const { trie, scores, unknownId, unknownScore } = this;
    const length = word.length;
    this.reserve(length + 1);
    const { bestScore, bestStart, bestId } = this;
    bestStart.fill(-1, 0, length + 1);
    bestScore[0] = 0;
    for (let start = 0; start < length; ) {
      const lead = word.charCodeAt(start);
      const next = start + (lead >= 0xd800 && lead < 0xdc00 ? 2 : 1);
      const before = bestScore[start]!;
      let single = false;
      let node = 0;
      for (let end = start; end < length; ) {
        node = trie.child(node, word.charCodeAt(end));
        if (node < 0) break;
        end++;
        const id = trie.idAt(node);
        if (id < 0) continue;
        const score = scores[id]! + before;
        if (bestStart[end]! < 0 || score > bestScore[end]!) {
          bestScore[end] = score;
          bestStart[end] = start;
          bestId[end] = id;
        }
        if (end === next) single = true;
      }
      if (!single) {
        const score = unknownScore + before;
        if (bestStart[next]! < 0 || score > bestScore[next]!) {
          bestScore[next] = score;
          bestStart[next] = start;
          bestId[next] = unknownId;
        }
      }
      start = next;
    }
    this.backtrace(word, ids);
  }

  private backtrace(word: string, ids: number[]): void {
    const { bestStart, bestId, unknownId } = this;
    const first = ids.length;
    for (let end = word.length; end > 0; ) {
      let start = bestStart[end]!;
      if (bestId[end] !== unknownId) {
        ids.push(bestId[end]!);
      } else {
        while (start > 0 && bestId[start] === unknownId) start = bestStart[start]!;
        if (this.bytePieces === null) ids.push(unknownId);
        else
          for (const byte of Buffer.from(word.slice(start, end)).reverse()) ids.push(this.bytePieces[byte]!);
      }
      end = start;
    }
    for (let low = first, high = ids.length - 1; low < high; low++, high--) {
      const held = ids[low]!;
      ids[low] = ids[high]!;
      ids[high] = held;
    }
  }

  private reserve(length: number): void {
    if (this.bestScore.length >= length) return;
    const size = 2 ** Math.ceil(Math.log2(length));
    this.bestScore = new Float64Array(size);
    this.bestStart = new Int32Array(size);
    this.bestId = new Int32Array(size);
  }
}

/** Strings to ids over UTF-16 units; the edges are one hash table (linear probing) from (node, unit) to node. */
class Trie {
  private nodes = 1;
  private edges = 0;
  private ids = new Int32Array(1 << 12).fill(-1);
  private edgeFrom = new Int32Array(1 << 13).fill(-1);
  private edgeUnit = new Uint16Array(1 << 13);
  private edgeTo = new Int32Array(1 << 13);

  set(key: string, id: number): void {
    if (key === '') return;
    let node = 0;
    for (let i = 0; i < key.length; i++) {
      const unit = key.charCodeAt(i);
      const next = this.child(node, unit);
      node = next >= 0 ? next : this.grow(node, unit);
    }
    this.ids[node] = id;
  }

  /** −1 when there is none. */
  child(node: number, unit: number): number {
    const { edgeFrom, edgeUnit } = this;
    const slot = this.slot(edgeFrom, edgeUnit, node, unit);
    return edgeFrom[slot]! < 0 ? -1 : this.edgeTo[slot]!;
  }

  /** −1 when no key ends at the node. */
  idAt(node: number): number {
    return this.ids[node]!;
  }

  private slot(edgeFrom: Int32Array, edgeUnit: Uint16Array, node: number, unit: number): number {
    const mask = edgeFrom.length - 1;
    let hash = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b);
    hash ^= hash >>> 15;
    let slot = hash & mask;
    while (edgeFrom[slot]! >= 0 && (edgeFrom[slot] !== node || edgeUnit[slot] !== unit))
      slot = (slot + 1) & mask;
    return slot;
  }

  private grow(node: number, unit: number): number {
    if (this.edges * 2 >= this.edgeFrom.length) this.enlargeTable();
    const slot = this.slot(this.edgeFrom, this.edgeUnit, node, unit);
    const fresh = this.nodes++;
    this.edges++;
    this.edgeFrom[slot] = node;
    this.edgeUnit[slot] = unit;
    this.edgeTo[slot] = fresh;
    if (fresh >= this.ids.length) {
      const ids = new Int32Array(this.ids.length * 2).fill(-1);
      ids.set(this.ids);
      this.ids = ids;
    }
    return fresh;
  }

  private enlargeTable(): void {
    const { edgeFrom, edgeUnit, edgeTo } = this;
    this.edgeFrom = new Int32Array(edgeFrom.length * 2).fill(-1);
    this.edgeUnit = new Uint16Array(edgeFrom.length * 2);
    this.edgeTo = new Int32Array(edgeFrom.length * 2);
    for (let old = 0; old < edgeFrom.length; old++) {
      if (edgeFrom[old]! < 0) continue;
      const slot = this.slot(this.edgeFrom, this.edgeUnit, edgeFrom[old]!, edgeUnit[old]!);
      this.edgeFrom[slot] = edgeFrom[old]!;
      this.edgeUnit[slot] = edgeUnit[old]!;
      this.edgeTo[slot] = edgeTo[old]!;
    }
  }
}
