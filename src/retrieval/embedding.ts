/** What a model makes of one text (docs/spec/flagembedding-m3.md §6). */

export interface M3Embedding {
  /** Token ids, special ones included. */
  readonly ids: Uint32Array;
  /** [width], of length 1 where the model normalises. */
  readonly dense: Float32Array;
  /** Largest weight of each token id, special ids and weights of 0 left out. */
  readonly lexical: ReadonlyMap<number, number>;
  /** [(tokens − 1) · colbertDim]: all tokens but the first. */
  readonly colbert: Float32Array;
}
