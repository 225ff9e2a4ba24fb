/** How far apart two results of the parity command are, and how far they may be. */

export const BOUNDS = {
  /** Relative; absolute `lossZero` where the golden is 0. */
  loss: 5e-5,
  lossZero: 1e-6,
  /** Gradient norms and gradient tensors, relative L2. */
  gradient: 3e-4,
  /** ‖key bias gradient‖ relative to the same layer's key weight gradient: the true gradient is 0. */
  keyBias: 1e-4,
  /** Hidden states and scores, relative to the largest golden value. */
  state: 1e-4,
  /** Ten steps: loss and gradient norm. */
  tenSteps: 2e-4,
  /** Ten steps: ‖Δ − Δ*‖ / ‖Δ*‖ of parameters, and of the word embeddings. */
  update: 2e-3,
  updateWords: 1e-2,
  /** Two ranks: loss, gradient norm, gradients. */
  ranks: 3e-4,
  /** Dense, lexical, ColBERT output and scores of encoding. */
  encode: 1e-4,
} as const;

/**
 * With `--fp16`: the engine's mixed precision against the same float32 figures. The goldens' model is a hard case for
 * halves: 64 columns to average over, weights of 0.2, logits of ±50. PyTorch's autocast misses its own float32 losses
 * by 3.0e-3 in the root mean square of these cases and by 9.3e-3 at most (`test/golden/half`).
 */
export const HALF_BOUNDS = {
  ...BOUNDS,
  /** Root mean square over all loss cases, relative. */
  lossMean: 2e-3,
  /** Any one of them. */
  loss: 4e-3,
  /** Gradient norms. */
  gradient: 1e-2,
  /** 1 − cosine of every gradient tensor. */
  cosine: 5e-4,
  /** The same for the ColBERT head, whose maxima jump to another token when two are as good as equal. */
  cosineColbert: 5e-3,
  /** The same of every tensor and of the head, in the one case that may have such a jump (jumps.ts). */
  jump: 1e-2,
  jumpColbert: 5e-2,
  keyBias: 2e-3,
  state: 1e-2,
  tenSteps: 1e-2,
  /** 1 − cosine of the update of each parameter: Adam divides a gradient by its own size, noise too. */
  update: 1e-2,
  ranks: 1e-2,
  encode: 1e-2,
} as const;

export const length = (values: ArrayLike<number>): number => {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]! * values[i]!;
  return Math.sqrt(total);
};

/** ‖got − want‖₂ / ‖want‖₂; the absolute size where the golden is 0. NaN anywhere fails. */
export function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  const difference = length(Array.from(got, (v, i) => v - want[i]!));
  const size = length(want);
  return size === 0 ? difference : difference / size;
}

/** NaN when the lengths or a number are wrong; 1 for two zeros. */
export function cosineOf(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.NaN;
  let dot = 0;
  for (let i = 0; i < want.length; i++) dot += got[i]! * want[i]!;
  const sizes = length(got) * length(want);
  return sizes === 0 && length(got) === length(want) ? 1 : dot / sizes;
}

/** Largest difference relative to the largest golden value (at least 1). */
export function largestError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let top = 1;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    top = Math.max(top, Math.abs(want[i]!));
    const error = Math.abs(got[i]! - want[i]!);
    if (Number.isNaN(error)) return error;
    if (error > worst) worst = error;
  }
  return worst / top;
}
