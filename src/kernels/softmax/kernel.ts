/** What softmax and the losses on score matrices share: the logarithm of a row's sum of powers, in WGSL and in float64. */
import { elementary, RANKS } from '../elementary.js';
import { laneSum, type RowVariant } from '../launch/rows.js';
import type { ParamType } from '../launch/shader.js';
import { rowShader } from '../row-variants.js';

/**
 * Differences from the largest score come first everywhere: the logarithm of a sum added to a large score would be
 * rounded to that score's units.
 *
 * WGSL: largest value `top` of row `row` of X and `total`, the sum of exp(x − top), over the columns where `keep`
 * holds. As PyTorch: a row of −∞, or with +∞ or a NaN in it, has no softmax and makes `total` a NaN.
 */
export const logSumExp = (keep: string): string => `
  var best = 0u;
  for (var c = lane; c < p.cols; c += LANES) { if (${keep}) { best = max(best, rank(X[row * p.cols + c])); } }
  let top = unrank(rowMax(best, lane));
  ${laneSum('part', (c) => (keep === 'true' ? `expOf(X[row * p.cols + ${c}] - top)` : `select(0.0, expOf(X[row * p.cols + ${c}] - top), ${keep})`), 'p.cols')}
  let total = rowSum(part, lane);`;

export const LOG_SUM_EXP = logSumExp('true');

/** A kernel over rows of scores, all of whose buffers are f32 but those in `types`. */
export const scoresShader = <F extends object, P extends Record<string, ParamType>>(
  label: string,
  form: F,
  reduction: RowVariant,
  build: (form: F) => {
    readonly params: P;
    readonly buffers: readonly string[];
    readonly types?: Readonly<Record<string, string>>;
    readonly body: string;
  },
) =>
  rowShader(label, form, reduction, (own) => {
    const { params, buffers, types, body } = build(own);
    return {
      label,
      params,
      buffers: { ...Object.fromEntries(buffers.map((name) => [name, 'array<f32>'])), ...types },
      functions: `${elementary('f32')}${RANKS}`,
      body,
    };
  });

/** Row `r` of values of `cols` columns. */
export const rowOf = (values: Float32Array, cols: number, r: number): Float32Array =>
  values.subarray(r * cols, (r + 1) * cols);

/** x − logsumexp(x) over the columns that `keeps`, in float64; −∞ for the others. */
export function logSoftmaxOf(x: ArrayLike<number>, keeps: (c: number) => boolean = () => true): Float64Array {
  let top = Number.NEGATIVE_INFINITY;
  for (let c = 0; c < x.length; c++) if (keeps(c)) top = Math.max(top, x[c]!);
  let total = 0;
  for (let c = 0; c < x.length; c++) if (keeps(c)) total += Math.exp(x[c]! - top);
  return Float64Array.from(x, (v, c) => (keeps(c) ? v - top - Math.log(total) : Number.NEGATIVE_INFINITY));
}
