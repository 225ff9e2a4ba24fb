/**
 * Exact search by lexical weights: per token the documents that have it, so that a query only meets documents that share a
 * token with it. The score is the sum over the query's tokens, in their order, of the products of both weights.
 */
import { ShapeError } from '../../errors.js';

/** Documents of one query, best first, equal scores by the lower index; none without a token of the query. */
export interface SparseHits {
  /** Places in the index. */
  readonly indices: Uint32Array;
  /** Above 0, as the weights are. */
  readonly scores: Float32Array;
}

/** Takes documents one after the other; the first has index 0. Eight bytes a token. */
export class InvertedIndexBuilder {
  private tokens = new Uint32Array(1024);
  private weights = new Float32Array(1024);
  private length = 0;
  /** Where the tokens of each document end. */
  private readonly ends: number[] = [];
  private vocabulary = 0;

  /** weights: token id → weight. @throws ShapeError for an id that is none, or a weight that is not finite or below 0. */
  add(weights: ReadonlyMap<number, number>): void {
    requireWeights('InvertedIndexBuilder.add', weights);
    for (const [token, weight] of weights) {
      // A product with it changes no score.
      if (weight === 0) continue;
      if (this.length === this.tokens.length) this.grow();
      this.tokens[this.length] = token;
      this.weights[this.length++] = weight;
      this.vocabulary = Math.max(this.vocabulary, token + 1);
    }
    this.ends.push(this.length);
  }

  private grow(): void {
    const [tokens, weights] = [this.tokens, this.weights];
    this.tokens = new Uint32Array(2 * tokens.length);
    this.weights = new Float32Array(2 * tokens.length);
    this.tokens.set(tokens);
    this.weights.set(weights);
  }

  /** The index of what was added, in memory of its own. */
  build(): InvertedIndex {
    // A counting sort by token keeps the documents of each in order.
    const starts = new Float64Array(this.vocabulary + 1);
    for (let i = 0; i < this.length; i++) starts[this.tokens[i]! + 1]!++;
    for (let token = 0; token < this.vocabulary; token++) starts[token + 1]! += starts[token]!;
    const next = starts.slice();
    const documents = new Uint32Array(this.length);
    const weights = new Float32Array(this.length);
    let i = 0;
    this.ends.forEach((end, document) => {
      for (; i < end; i++) {
        const place = next[this.tokens[i]!]!++;
        documents[place] = document;
        weights[place] = this.weights[i]!;
      }
    });
    return new InvertedIndex(this.ends.length, starts, documents, weights);
  }
}

/** Lexical weights by token id, for exact sparse search. Made by an InvertedIndexBuilder. */
export class InvertedIndex {
  /** Of the query at hand: the sum of each document, and which documents have one. */
  private readonly sums: Float64Array;
  private readonly touched: Uint32Array;

  /** For InvertedIndexBuilder: of lists that are sorted by token. */
  constructor(
    /** Documents. */
    readonly count: number,
    /** [vocabulary + 1]: where the postings of a token begin; those of the next one follow. */
    private readonly starts: Float64Array,
    private readonly documents: Uint32Array,
    private readonly weights: Float32Array,
  ) {
    this.sums = new Float64Array(count);
    this.touched = new Uint32Array(count);
  }

  /** The scores of these documents, 0 without a token of the query. @throws ShapeError for weights as `search`. */
  scoresOf(query: ReadonlyMap<number, number>, documents: Uint32Array): Float32Array {
    requireWeights('InvertedIndex.scoresOf', query);
    const found = this.addUp(query);
    const scores = Float32Array.from(documents, (document) => this.sums[document]!);
    for (let i = 0; i < found; i++) this.sums[this.touched[i]!] = 0;
    return scores;
  }

  /** At most k documents, of the first `searched` where that is given. @throws ShapeError for weights as `InvertedIndexBuilder.add`, or a k that is no count. */
  search(query: ReadonlyMap<number, number>, k: number, searched = this.count): SparseHits {
    requireWeights('InvertedIndex.search', query);
    if (!(Number.isSafeInteger(k) && k >= 1)) throw new ShapeError('InvertedIndex.search', `k is ${k}`);
    const { sums, touched } = this;
    const found = this.addUp(query);
    const best = new Best(Math.min(k, found));
    for (let i = 0; i < found; i++) {
      const document = touched[i]!;
      if (document < searched) best.offer(document, Math.fround(sums[document]!));
      sums[document] = 0;
    }
    return best.sorted();
  }

  /** Fills `sums` of the documents that share a token with the query, which are the first of `touched`; how many. */
  private addUp(query: ReadonlyMap<number, number>): number {
    const { sums, touched } = this;
    let found = 0;
    for (const [token, weight] of query) {
      if (weight === 0 || token + 1 >= this.starts.length) continue;
      const end = this.starts[token + 1]!;
      for (let i = this.starts[token]!; i < end; i++) {
        const document = this.documents[i]!;
        // Products of two f32 are exact here and above 0, so 0 is a document that was not met.
        if (sums[document] === 0) touched[found++] = document;
        sums[document]! += weight * this.weights[i]!;
      }
    }
    return found;
  }
}

/** A heap of the best documents so far, the worst of them at the root. */
class Best {
  private readonly indices: Uint32Array;
  private readonly scores: Float32Array;
  private size = 0;

  constructor(readonly capacity: number) {
    this.indices = new Uint32Array(capacity);
    this.scores = new Float32Array(capacity);
  }

  offer(index: number, score: number): void {
    if (this.size < this.capacity) {
      let at = this.size++;
      this.put(at, index, score);
      while (at > 0) {
        const above = (at - 1) >> 1;
        if (!this.worse(at, above)) break;
        this.swap(at, above);
        at = above;
      }
    } else if (this.size > 0 && better(score, index, this.scores[0]!, this.indices[0]!)) {
      this.put(0, index, score);
      let at = 0;
      for (;;) {
        let worst = at;
        for (const below of [2 * at + 1, 2 * at + 2])
          if (below < this.size && this.worse(below, worst)) worst = below;
        if (worst === at) break;
        this.swap(at, worst);
        at = worst;
      }
    }
  }

  sorted(): SparseHits {
    const order = Uint32Array.from({ length: this.size }, (_, i) => i);
    order.sort((a, b) => (this.worse(a, b) ? 1 : -1));
    return {
      indices: order.map((at) => this.indices[at]!),
      scores: Float32Array.from(order, (at) => this.scores[at]!),
    };
  }

  private worse(a: number, b: number): boolean {
    return better(this.scores[b]!, this.indices[b]!, this.scores[a]!, this.indices[a]!);
  }

  private put(at: number, index: number, score: number): void {
    this.indices[at] = index;
    this.scores[at] = score;
  }

  private swap(a: number, b: number): void {
    const [index, score] = [this.indices[a]!, this.scores[a]!];
    this.put(a, this.indices[b]!, this.scores[b]!);
    this.put(b, index, score);
  }
}

const better = (score: number, index: number, otherScore: number, otherIndex: number): boolean =>
  score > otherScore || (score === otherScore && index < otherIndex);

function requireWeights(op: string, weights: ReadonlyMap<number, number>): void {
  for (const [token, weight] of weights) {
    if (!(Number.isInteger(token) && token >= 0 && token < 2 ** 32 - 1))
      throw new ShapeError(op, `${token} is no token id`);
    if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY))
      throw new ShapeError(op, `weight of token ${token} is ${weight}: expected a finite one of at least 0`);
  }
}
