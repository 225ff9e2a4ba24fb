/** Float64 references of attention without dropout, whole and at single rows. */

type Numbers = ArrayLike<number>;

interface Rows {
  /** [T, 3·hidden]. */
  readonly qkv: Numbers;
  readonly heads: number;
  readonly hidden: number;
}

/** Tokens [begin, end) of one sequence. */
interface Sequence {
  readonly begin: number;
  readonly end: number;
}

const QUERY = 0;
const KEY = 1;
const VALUE = 2;

/** Σ_e of part `a` of token i times part `b` of token j, of head h. */
function product(
  { qkv, heads, hidden }: Rows,
  h: number,
  i: number,
  a: number,
  j: number,
  b: number,
): number {
  const d = hidden / heads;
  const left = i * 3 * hidden + a * hidden + h * d;
  const right = j * 3 * hidden + b * hidden + h * d;
  let sum = 0;
  for (let e = 0; e < d; e++) sum += qkv[left + e]! * qkv[right + e]!;
  return sum;
}

/** Scores of query i with the keys of its sequence, of head h. */
function scoresOf(rows: Rows, { begin, end }: Sequence, h: number, i: number): number[] {
  const scale = Math.sqrt(rows.hidden / rows.heads);
  const scores: number[] = [];
  for (let j = begin; j < end; j++) scores.push(product(rows, h, i, QUERY, j, KEY) / scale);
  return scores;
}

/** log2 Σ exp of the scores of query i and head h. */
export function logSumExpAt(rows: Rows, sequence: Sequence, h: number, i: number): number {
  const scores = scoresOf(rows, sequence, h, i);
  const top = Math.max(...scores);
  return top * Math.LOG2E + Math.log2(scores.reduce((sum, score) => sum + Math.exp(score - top), 0));
}

/** softmax over the keys of the sequence, of query i and head h. */
function probabilities(rows: Rows, sequence: Sequence, h: number, i: number): number[] {
  const scores = scoresOf(rows, sequence, h, i);
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

/** The result of token i: [hidden]. */
export function attentionRow(rows: Rows, sequence: Sequence, i: number): Float64Array {
  const { qkv, heads, hidden } = rows;
  const d = hidden / heads;
  const out = new Float64Array(hidden);
  for (let h = 0; h < heads; h++)
    probabilities(rows, sequence, h, i).forEach((weight, n) => {
      const value = (sequence.begin + n) * 3 * hidden + VALUE * hidden + h * d;
      for (let e = 0; e < d; e++) out[h * d + e]! += weight * qkv[value + e]!;
    });
  return out;
}

/** out [T, hidden] of qkv [T, 3·hidden] with the sequences' bounds `cuSeqlens`. */
export function attentionReference(
  qkv: Numbers,
  cuSeqlens: Numbers,
  heads: number,
  hidden: number,
): Float64Array {
  const out = new Float64Array(cuSeqlens[cuSeqlens.length - 1]! * hidden);
  for (let s = 0; s + 1 < cuSeqlens.length; s++) {
    const [begin, end] = [cuSeqlens[s]!, cuSeqlens[s + 1]!];
    for (let i = begin; i < end; i++)
      out.set(attentionRow({ qkv, heads, hidden }, { begin, end }, i), i * hidden);
  }
  return out;
}

/**
 * The gradient of head h of one sequence: dq, dk and dv, [end − begin, d] each. With P the probabilities and
 * dP = dOut·Vᵀ: dV = Pᵀ·dOut, dS = P ∘ (dP − rowsum(P ∘ dP)), dQ = dS·K/√d, dK = dSᵀ·Q/√d.
 */
export function attentionGradientReference(
  rows: Rows,
  dOut: Numbers,
  { begin, end }: Sequence,
  h: number,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { qkv, heads, hidden } = rows;
  const d = hidden / heads;
  const n = end - begin;
  const [dq, dk, dv] = [new Float64Array(n * d), new Float64Array(n * d), new Float64Array(n * d)];
  const at = (part: number, j: number, e: number) =>
    qkv[(begin + j) * 3 * hidden + part * hidden + h * d + e]!;
  for (let i = 0; i < n; i++) {
    const p = probabilities(rows, { begin, end }, h, begin + i);
    const outer = (e: number) => dOut[(begin + i) * hidden + h * d + e]!;
    const dp = p.map((_, j) => {
      let sum = 0;
      for (let e = 0; e < d; e++) sum += outer(e) * at(VALUE, j, e);
      return sum;
    });
    const mean = p.reduce((sum, weight, j) => sum + weight * dp[j]!, 0);
    p.forEach((weight, j) => {
      const ds = (weight * (dp[j]! - mean)) / Math.sqrt(d);
      for (let e = 0; e < d; e++) {
        dq[i * d + e]! += ds * at(KEY, j, e);
        dk[j * d + e]! += ds * at(QUERY, i, e);
        dv[j * d + e]! += weight * outer(e);
      }
    });
  }
  return { dq, dk, dv };
}
