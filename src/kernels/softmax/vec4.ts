/**
 * `subgroup8-vec4` of softmax and of the cross-entropies: rows of scores four columns at a time by the 8 lanes of a subgroup.
 *
 * A row is read for its maximum and for the sum of its powers, and there is one power a score: where the result is of the
 * row's size it keeps the powers until it is divided. The maximum is one of floats, not of ranks: one that leaves out what
 * is no number does no harm, since the sum is none then.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { elementary } from '../elementary.js';
import { rowMain, threadSum } from '../launch/rows.js';
import { type ParamType, type Shader, shaderOf } from '../launch/shader.js';
import type { RowsSize } from '../row-variants.js';
import type { Variant } from '../variants.js';

/** e^x of what is at most 0, as `expOf` with fewer steps: 0 below e^−88. What is no number stays none. */
const POWER = `
fn powerOf(x: vec4f) -> vec4f {
  let at = max(x, vec4f(-88.1));
  let k = round(at * 1.4426950408889634);
  let r = (at - k * 0.693359375) + k * 0.00021219444170128554;
  let p = 1.0 + (r + r * r * ((((0.001395871862769127 * r + 0.008366772904992104) * r + 0.04166610166430473) * r + 0.16666539013385773) * r + 0.5));
  // The smallest k is −127, of which 2^k is 0.
  let y = p * bitcast<vec4f>((vec4i(k) + vec4i(127)) << vec4u(23u));
  return select(y, x, isNan(x));
}
fn totalOf(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }
`;

/** WGSL: `name`, Σ value(c) over the fours of a row; `keep`: where the values are kept. */
export const foursSum = (name: string, value: (c: string) => string, keep?: string): string =>
  `${threadSum(`${name}Part`, 'vec4f', ['lane', 'p.cols', '8u'], value, keep)}
  let ${name} = subgroupAdd(totalOf(${name}Part));`;

/** WGSL: `top`, the largest of row `row` of X, and `total`, the sum of exp(x − top), whose terms `keep` keeps. */
export const foursLogSumExp = (keep?: string): string => `
  let base = row * p.cols;
  var peaks = vec4f(-3.4028234e38);
  for (var c = lane; c < p.cols; c += 8u) { peaks = max(peaks, X[base + c]); }
  let top = subgroupMax(max(max(peaks.x, peaks.y), max(peaks.z, peaks.w)));
  ${foursSum('total', (c) => `powerOf(X[base + ${c}] - top)`, keep)}`;

/** WGSL: every four of a row of `out`, by its number `c`. */
export const eachFour = (out: string, value: string): string => `
  for (var c = lane; c < p.cols; c += 8u) { ${out}[base + c] = ${value}; }`;

/** A kernel in which p.cols counts fours of columns; `rows`: buffers of rows, `values`: those with a value a row. */
export const foursShader = <F extends object, P extends Record<string, ParamType>>(
  label: string,
  form: F,
  build: (form: F) => {
    readonly params: P;
    readonly rows: readonly string[];
    readonly values: Readonly<Record<string, string>>;
    readonly body: string;
  },
): Shader<P> =>
  shaderOf(`${label}.vec4`, form, (own) => {
    const { params, rows, values, body } = build(own);
    return {
      label,
      params,
      buffers: { ...Object.fromEntries(rows.map((name) => [name, 'array<vec4f>'])), ...values },
      subgroups: true,
      body: `${elementary('vec4f')}${POWER}${rowMain({ lanes: 8 }, 'p.rows')}${body}
}`,
    };
  });

/** `run` is that of the other variants; it is given fours for columns. */
export const foursVariant = <Form extends object, Operands, P extends Record<string, ParamType>>(
  shader: (form: Form) => Shader<P>,
  run: (shader: Shader<P>, gpu: Gpu, form: Form, size: RowsSize, operands: Operands) => void,
): Variant<Form, RowsSize, Operands> => ({
  name: 'subgroup8-vec4',
  why: 'the same, four columns at a time with one power a score: loads and powers are what CPUs pay for',
  supports: ({ subgroupMinSize }, _, { cols }) => subgroupMinSize >= 8 && cols % 4 === 0,
  prior: ({ software }) => (software ? 2 : -1),
  shaders: (_, form) => ({ rows: shader(form) }),
  run: (gpu, form, { rows, cols }, operands) =>
    run(shader(form), gpu, form, { rows, cols: cols / 4 }, operands),
});
