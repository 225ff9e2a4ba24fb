/** What texts are encoded to, a window of them at a time. */

/** In the order in which they are named. */
export const representations = ['dense', 'sparse', 'colbert'] as const;
/** What a text is encoded as: `dense`, `sparse` or `colbert`. */
export type Representation = (typeof representations)[number];

/** Consecutive texts of the input. What nobody asked for is undefined. */
export interface EncodedTexts {
  /** Place of the first text in the input. */
  readonly first: number;
  /** How many texts. */
  readonly count: number;
  /** Of each text, special ones included. */
  readonly ids: readonly Uint32Array[];
  /** [count · denseWidth]. */
  readonly dense: Float32Array | undefined;
  /** Values of a dense vector. */
  readonly denseWidth: number;
  /** Largest weight of each token id, special ids and weights of 0 left out. */
  readonly sparse: readonly ReadonlyMap<number, number>[] | undefined;
  /** Of each text [(tokens − 1) · colbertWidth]: all tokens but the first. They may share memory. */
  readonly colbert: readonly Float32Array[] | undefined;
  /** Values of a ColBERT vector. */
  readonly colbertWidth: number;
  /** What follows is encoded alike when the input is taken up again behind this part (`start`). */
  readonly resumable: boolean;
}
