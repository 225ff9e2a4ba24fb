/** Float64 references of attention without dropout: one head of one sequence, and whole results. */

type Numbers = ArrayLike<number>;

/** One head of one sequence. Components of queries i, of keys and values j. */
export interface HeadRows {
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  q(i: number, e: number): number;
  k(j: number, e: number): number;
  v(j: number, e: number): number;
  /** By default 1/√headDim. */
  readonly scale?: number | undefined;
  readonly causal?: boolean | 'lower-right' | undefined;
  readonly bias?: ((i: number, j: number) => number) | undefined;
}

/** Scores of query i with all keys; −∞ where it does not see the key. */
function scoresOf(rows: HeadRows, i: number): number[] {
  const { queries, keys, headDim, q, k, scale = 1 / Math.sqrt(headDim), causal, bias } = rows;
  const shift = causal === 'lower-right' ? keys - queries : 0;
  return Array.from({ length: keys }, (_, j) => {
    if (causal && j > i + shift) return -Infinity;
    let sum = 0;
    for (let e = 0; e < headDim; e++) sum += q(i, e) * k(j, e);
    return sum * scale + (bias?.(i, j) ?? 0);
  });
}

/** log2 Σ exp of the scores of query i. */
export function logSumExpOf(rows: HeadRows, i: number): number {
  const scores = scoresOf(rows, i);
  const top = Math.max(...scores);
  return top * Math.LOG2E + Math.log2(scores.reduce((sum, score) => sum + Math.exp(score - top), 0));
}

/** softmax over the keys, of query i; all 0 where it sees no key or its scores are all −∞. */
function probabilities(rows: HeadRows, i: number): number[] {
  const scores = scoresOf(rows, i);
  const top = Math.max(...scores);
  if (top === -Infinity) return scores.map(() => 0);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

/** The result of query i: [headDim]. */
export function outputOf(rows: HeadRows, i: number): Float64Array {
  const out = new Float64Array(rows.headDim);
  probabilities(rows, i).forEach((weight, j) => {
    for (let e = 0; e < rows.headDim; e++) out[e]! += weight * rows.v(j, e);
  });
  return out;
}

/**
 * Gradients by the components of q [queries, d], k and v [keys, d]. With P the probabilities and dP = dOut·Vᵀ: dV = Pᵀ·dOut,
 * dS = P ∘ (dP − rowsum(P ∘ dP)), dQ = dS·K·scale, dK = dSᵀ·Q·scale.
 */
export function gradientOf(
  rows: HeadRows,
  dOut: (i: number, e: number) => number,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { queries, keys, headDim: d, q, k, v, scale = 1 / Math.sqrt(d) } = rows;
  const [dq, dk, dv] = [queries, keys, keys].map((n) => new Float64Array(n * d)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (let i = 0; i < queries; i++) {
    const p = probabilities(rows, i);
    const dp = p.map((_, j) => {
      let sum = 0;
      for (let e = 0; e < d; e++) sum += dOut(i, e) * v(j, e);
      return sum;
    });
    const mean = p.reduce((sum, weight, j) => sum + weight * dp[j]!, 0);
    p.forEach((weight, j) => {
      const ds = weight * (dp[j]! - mean) * scale;
      for (let e = 0; e < d; e++) {
        dq[i * d + e]! += ds * k(j, e);
        dk[j * d + e]! += ds * q(i, e);
        dv[j * d + e]! += weight * dOut(i, e);
      }
    });
  }
  return { dq, dk, dv };
}

/** Of qkv [T, 3·hidden] head h of the sequence of tokens [begin, end). */
export function fusedHead(
  qkv: Numbers,
  {
    heads,
    hidden,
    begin,
    end,
    causal,
  }: {
    readonly heads: number;
    readonly hidden: number;
    readonly begin: number;
    readonly end: number;
    readonly causal?: HeadRows['causal'];
  },
  h: number,
): HeadRows {
  const headDim = hidden / heads;
  const part = (n: number) => (i: number, e: number) =>
    qkv[(begin + i) * 3 * hidden + n * hidden + h * headDim + e]!;
  const length = end - begin;
  return {
    queries: length,
    keys: length,
    headDim,
    q: part(0),
    k: part(1),
    v: part(2),
    causal,
  };
}

/** out [T, hidden] of qkv [T, 3·hidden] with the sequences' bounds `cuSeqlens`. */
export function attentionReference(
  qkv: Numbers,
  cuSeqlens: Numbers,
  heads: number,
  hidden: number,
  causal = false,
): Float64Array {
  const out = new Float64Array(cuSeqlens[cuSeqlens.length - 1]! * hidden);
  for (let s = 0; s + 1 < cuSeqlens.length; s++)
    for (let h = 0; h < heads; h++) {
      const [begin, end] = [cuSeqlens[s]!, cuSeqlens[s + 1]!];
      const rows = fusedHead(qkv, { heads, hidden, begin, end, causal }, h);
      for (let i = begin; i < end; i++) out.set(outputOf(rows, i - begin), i * hidden + (h * hidden) / heads);
    }
  return out;
}
