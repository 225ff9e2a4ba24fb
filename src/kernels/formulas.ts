/**
 * Elementwise operations as one-line formulas: WGSL over vec4f (it also holds for f32), the value and the gradient in
 * terms of what forward saves. The host column is the float64 reference. Which functions a formula may use stands in
 * elementary.ts.
 */

export interface UnaryFormula {
  /** Of `x` and the scalar `s`. */
  readonly forward: string;
  /** dL/dx of `dy`, `s` and what is saved: `x` or `y`. */
  readonly gradient: string;
  readonly saves: 'x' | 'y' | 'nothing';
  readonly host: (x: number, s: number) => number;
}

export const unaryFormulas = {
  neg: { forward: '-x', gradient: '-dy', saves: 'nothing', host: (x) => -x },
  scale: { forward: 'x * s', gradient: 'dy * s', saves: 'nothing', host: (x, s) => x * s },
  shift: { forward: 'x + s', gradient: 'dy', saves: 'nothing', host: (x, s) => x + s },
  exp: { forward: 'expOf(x)', gradient: 'dy * y', saves: 'y', host: (x) => Math.exp(x) },
  log: { forward: 'logOf(x)', gradient: 'dy / x', saves: 'x', host: (x) => Math.log(x) },
  sqrt: { forward: 'sqrt(x)', gradient: 'dy / (2.0 * y)', saves: 'y', host: (x) => Math.sqrt(x) },
  square: { forward: 'x * x', gradient: 'dy * (2.0 * x)', saves: 'x', host: (x) => x * x },
  reciprocal: { forward: '1.0 / x', gradient: '-dy * (y * y)', saves: 'y', host: (x) => 1 / x },
  tanh: { forward: 'tanhOf(x)', gradient: 'dy * (1.0 - y * y)', saves: 'y', host: (x) => Math.tanh(x) },
  sigmoid: {
    forward: '1.0 / (1.0 + expOf(-x))',
    gradient: 'dy * (1.0 - y) * y',
    saves: 'y',
    host: (x) => 1 / (1 + Math.exp(-x)),
  },
  relu: {
    // A NaN stays a NaN, and its gradient flows: a broken head must show in the loss.
    forward: 'select(x, T(), isNegative(x))',
    gradient: 'select(dy, T(), isZero(y))',
    saves: 'y',
    host: (x) => Math.max(x, 0),
  },
  abs: { forward: 'abs(x)', gradient: 'dy * sign(x)', saves: 'x', host: (x) => Math.abs(x) },
  gelu: {
    // Hendrycks & Gimpel 2016, the exact form: x·Φ(x).
    forward: '0.5 * x * (1.0 + erf(x * 0.7071067811865476))',
    gradient: 'dy * (0.5 * (1.0 + erf(x * 0.7071067811865476)) + x * 0.3989422804014327 * exp(-0.5 * x * x))',
    saves: 'x',
    host: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  },
  geluTanh: {
    // The tanh approximation of the same paper (`gelu_new`, `gelu_pytorch_tanh`).
    forward: '0.5 * x * (1.0 + tanhInner(x))',
    gradient: 'dy * geluTanhSlope(x)',
    saves: 'x',
    host: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  },
} satisfies Record<string, UnaryFormula>;

export type UnaryName = keyof typeof unaryFormulas;

export interface BinaryFormula {
  /** Of `a` and `b`. */
  readonly forward: string;
  /** dL/da and dL/db of `a`, `b`, `dy`. */
  readonly gradients: readonly [string, string];
  readonly host: (a: number, b: number) => number;
}

export const binaryFormulas = {
  add: { forward: 'a + b', gradients: ['dy', 'dy'], host: (a, b) => a + b },
  sub: { forward: 'a - b', gradients: ['dy', '-dy'], host: (a, b) => a - b },
  mul: { forward: 'a * b', gradients: ['dy * b', 'dy * a'], host: (a, b) => a * b },
  div: { forward: 'a / b', gradients: ['dy / b', '-dy * ((a / b) / b)'], host: (a, b) => a / b },
  maximum: {
    // As PyTorch: a tie gives half to each side, and where either is a NaN both get all.
    forward: 'maxOf(a, b)',
    gradients: [
      'select(select(select(dy, T(), a < b), 0.5 * dy, a == b), dy, isNan(a) | isNan(b))',
      'select(select(select(dy, T(), b < a), 0.5 * dy, a == b), dy, isNan(a) | isNan(b))',
    ],
    host: (a, b) => Math.max(a, b),
  },
} satisfies Record<string, BinaryFormula>;

export type BinaryName = keyof typeof binaryFormulas;

/** Whether a formula has this operand. */
export const readsOperand = (formula: string, name: string): boolean =>
  new RegExp(`\\b${name}\\b`).test(formula);

/** Something for each name of a table. */
export const byName = <N extends string, V>(names: Record<N, unknown>, make: (name: N) => V): Record<N, V> =>
  Object.fromEntries((Object.keys(names) as N[]).map((name) => [name, make(name)])) as Record<N, V>;

/** Float64 erf for references: Taylor series near zero, continued fraction beyond. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 200; n++) {
      term *= (-x * x) / n;
      const part = term / (2 * n + 1);
      sum += part;
      if (Math.abs(part) < 1e-18 * Math.abs(sum)) break;
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 80; n >= 1; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}
