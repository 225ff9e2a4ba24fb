/** LayerNorm and its gradients in float64. */

/** Of rows of `cols` values. */
export function layerNormReference(
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  beta: ArrayLike<number>,
  cols: number,
  eps: number,
): Float64Array {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length / cols; row++) {
    const at = row * cols;
    const { mean, rstd } = statistics(x, at, cols, eps);
    for (let c = 0; c < cols; c++) y[at + c] = (x[at + c]! - mean) * rstd * gamma[c]! + beta[c]!;
  }
  return y;
}

/** Mean and 1/√(var + ε) of the `cols` values from `at` on. */
export function statistics(
  x: ArrayLike<number>,
  at: number,
  cols: number,
  eps: number,
): { mean: number; rstd: number } {
  let mean = 0;
  for (let c = 0; c < cols; c++) mean += x[at + c]! / cols;
  let variance = 0;
  for (let c = 0; c < cols; c++) variance += (x[at + c]! - mean) ** 2 / cols;
  return { mean, rstd: 1 / Math.sqrt(variance + eps) };
}

/** ds of the row from `at` on: rstd·(γ∘dy − mean(γ∘dy) − x̂·mean(γ∘dy∘x̂)). */
export function layerNormGradientReference(
  dy: ArrayLike<number>,
  sum: ArrayLike<number>,
  gamma: ArrayLike<number>,
  at: number,
  cols: number,
  { mean, rstd }: { readonly mean: number; readonly rstd: number },
): Float64Array {
  let meanG = 0;
  let meanGx = 0;
  for (let c = 0; c < cols; c++) {
    const g = dy[at + c]! * gamma[c]!;
    meanG += g / cols;
    meanGx += (g * (sum[at + c]! - mean) * rstd) / cols;
  }
  return Float64Array.from(
    { length: cols },
    (_, c) => rstd * (dy[at + c]! * gamma[c]! - meanG - (sum[at + c]! - mean) * rstd * meanGx),
  );
}
