/**
 * Elementwise operations, one row each: formulas in WGSL over vec4f (those of one operand hold for f32 too), the value and
 * the gradients in terms of operands, result (`y`) and what arrives (`dy`). The host column is the float64 reference. Which
 * functions a formula may name stands in elementary.ts and transcendental.ts; what a row's function is called, and its
 * docstring, in src/autograd/ops/pointwise.ts. Kernels, gradients, checks, tests and methods follow from the row.
 */
import type { DType } from '../tensor/tensor.js';

const FLOATS = ['f32', 'f16'] as const satisfies DType[];
const INTEGERS = ['i32', 'u32'] as const satisfies DType[];

interface Rules {
  /** Of integers, over vec4i and vec4u, and of bools where `dtypes` has them; without it the row is of floats. */
  readonly exact?: string;
  /** Formats of the operands, by default floats, and integers where `exact` is there. */
  readonly dtypes?: readonly DType[];
  /** Where the result is not of the operands' format. */
  readonly result?: 'bool';
  /** Numbers beside the operands, by their names in formulas. */
  readonly numbers?: readonly string[];
  /** Where tests draw floats from, when the row is not defined or not smooth everywhere. */
  readonly range?: readonly [number, number];
}

export interface UnaryFormula extends Rules {
  /** Of `x`; without it the row is not of floats. */
  readonly forward?: string;
  /** dL/dx; without it nothing flows. */
  readonly gradient?: string;
  readonly host: (x: number, ...numbers: number[]) => number;
  /** The reference of `exact`, where it is not `host` in whole numbers. */
  readonly exactHost?: (x: number) => number;
}

/** 0 or 1, as bools are kept. */
const bool = (value: boolean): number => (value ? 1 : 0);

/** The nearest whole number, of two the even one. */
const halfToEven = (x: number): number => {
  const low = Math.floor(x);
  const up = x - low > 0.5 || (x - low === 0.5 && low % 2 !== 0);
  const nearest = Number.isFinite(x) ? low + (up ? 1 : 0) : x;
  return nearest === 0 && x < 0 ? -0 : nearest;
};

export const unaryFormulas = {
  neg: { forward: '-x', exact: 'T() - x', gradient: '-dy', host: (x) => -x },
  exp: { forward: 'expOf(x)', gradient: 'dy * y', host: (x) => Math.exp(x) },
  exp2: { forward: 'exp2Of(x)', gradient: 'dy * (y * 0.6931471805599453)', host: (x) => 2 ** x },
  expm1: { forward: 'expm1Of(x)', gradient: 'dy * (y + 1.0)', host: (x) => Math.expm1(x) },
  log: { forward: 'logOf(x)', gradient: 'dy / x', range: [0.5, 2], host: (x) => Math.log(x) },
  log2: {
    forward: 'log2Of(x)',
    gradient: 'dy / (x * 0.6931471805599453)',
    range: [0.5, 2],
    host: (x) => Math.log2(x),
  },
  log10: {
    forward: 'log10Of(x)',
    gradient: 'dy / (x * 2.302585092994046)',
    range: [0.5, 2],
    host: (x) => Math.log10(x),
  },
  log1p: { forward: 'log1pOf(x)', gradient: 'dy / (1.0 + x)', range: [-0.7, 2], host: (x) => Math.log1p(x) },
  sqrt: { forward: 'sqrt(x)', gradient: 'dy / (2.0 * y)', range: [0.5, 2], host: (x) => Math.sqrt(x) },
  rsqrt: {
    forward: '1.0 / sqrt(x)',
    gradient: '(-0.5 * dy) * (y * y * y)',
    range: [0.5, 2],
    host: (x) => 1 / Math.sqrt(x),
  },
  square: { forward: 'x * x', exact: 'x * x', gradient: 'dy * (2.0 * x)', host: (x) => x * x },
  reciprocal: { forward: '1.0 / x', gradient: '-dy * (y * y)', range: [0.5, 2], host: (x) => 1 / x },
  sin: { forward: 'sinOf(x)', gradient: 'dy * cosOf(x)', host: (x) => Math.sin(x) },
  cos: { forward: 'cosOf(x)', gradient: '-dy * sinOf(x)', host: (x) => Math.cos(x) },
  tan: { forward: 'tanOf(x)', gradient: 'dy * (1.0 + y * y)', range: [-1.2, 1.2], host: (x) => Math.tan(x) },
  asin: {
    forward: 'asinOf(x)',
    gradient: 'dy / sqrt((1.0 - x) * (1.0 + x))',
    range: [-0.9, 0.9],
    host: (x) => Math.asin(x),
  },
  acos: {
    forward: 'acosOf(x)',
    gradient: '-dy / sqrt((1.0 - x) * (1.0 + x))',
    range: [-0.9, 0.9],
    host: (x) => Math.acos(x),
  },
  atan: { forward: 'atanOf(x)', gradient: 'dy / (1.0 + x * x)', host: (x) => Math.atan(x) },
  sinh: { forward: 'sinhOf(x)', gradient: 'dy * coshOf(x)', host: (x) => Math.sinh(x) },
  cosh: { forward: 'coshOf(x)', gradient: 'dy * sinhOf(x)', host: (x) => Math.cosh(x) },
  tanh: { forward: 'tanhOf(x)', gradient: 'dy * (1.0 - y * y)', host: (x) => Math.tanh(x) },
  asinh: { forward: 'asinhOf(x)', gradient: 'dy / hypotOf(x, T(1.0))', host: (x) => Math.asinh(x) },
  acosh: {
    forward: 'acoshOf(x)',
    gradient: 'dy / sqrt((abs(x) - 1.0) * (abs(x) + 1.0))',
    range: [1.2, 3],
    host: (x) => Math.acosh(x),
  },
  atanh: {
    forward: 'atanhOf(x)',
    gradient: 'dy / ((1.0 - x) * (1.0 + x))',
    range: [-0.8, 0.8],
    host: (x) => Math.atanh(x),
  },
  sigmoid: {
    forward: '1.0 / (1.0 + expOf(-x))',
    gradient: 'dy * (1.0 - y) * y',
    host: (x) => 1 / (1 + Math.exp(-x)),
  },
  softplus: {
    forward: 'softplusOf(x)',
    gradient: 'dy * sigmoidOf(x)',
    host: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  },
  logSigmoid: {
    forward: 'minOf(x, T()) - log1pOf(expOf(-abs(x)))',
    gradient: 'dy * sigmoidOf(-x)',
    // Beyond, f32 has a 0 with the sign that a difference of zeros has.
    host: (x) => (x > 150 * Math.LN2 ? 0 : Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)))),
  },
  erf: {
    forward: 'select(erf(x), x, isNan(x))',
    gradient: 'dy * (1.1283791670955126 * expOf(-(x * x)))',
    host: (x) => erf(x),
  },
  relu: {
    // A NaN stays a NaN, and its gradient flows: a broken head must show in the loss.
    forward: 'select(x, T(), isNegative(x))',
    gradient: 'select(dy, T(), isZero(y))',
    host: (x) => Math.max(x, 0),
  },
  leakyRelu: {
    forward: 'select(x, slope * x, isNegative(x))',
    gradient: 'select(slope * dy, dy, x > T())',
    numbers: ['slope'],
    host: (x, slope) => (x < 0 ? slope! * x : x),
  },
  elu: {
    // Clevert et al. 2016.
    forward: 'select(x, alpha * expm1Of(x), isNegative(x))',
    gradient: 'select(dy, dy * (alpha * expOf(x)), isNegative(x) | isZero(x))',
    numbers: ['alpha'],
    host: (x, alpha) => (x < 0 ? alpha! * Math.expm1(x) : x),
  },
  softsign: {
    forward: 'x / (1.0 + abs(x))',
    gradient: 'dy / ((1.0 + abs(x)) * (1.0 + abs(x)))',
    host: (x) => x / (1 + Math.abs(x)),
  },
  hardsigmoid: {
    forward: 'minOf(maxOf(x + 3.0, T()), T(6.0)) / 6.0',
    gradient: 'select(T(), dy / 6.0, (x > T(-3.0)) & (x < T(3.0)) & !isNan(x))',
    host: (x) => Math.min(Math.max(x + 3, 0), 6) / 6,
  },
  hardswish: {
    // Howard et al. 2019.
    forward: 'x * (minOf(maxOf(x + 3.0, T()), T(6.0)) / 6.0)',
    gradient: 'select(select(dy * (x / 3.0 + 0.5), T(), x <= T(-3.0)), dy, (x >= T(3.0)) | isNan(x))',
    host: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
  },
  selu: {
    // Klambauer et al. 2017.
    forward: 'select(1.0507009873554805 * x, 1.7580993408473768 * expm1Of(x), isNegative(x))',
    gradient:
      'select(1.0507009873554805 * dy, dy * (1.7580993408473768 * expOf(x)), isNegative(x) | isZero(x))',
    host: (x) => (x < 0 ? 1.7580993408473768 * Math.expm1(x) : 1.0507009873554805 * x),
  },
  relu6: {
    forward: 'select(select(select(x, T(), isNegative(x)), T(6.0), x > T(6.0)), x, isNan(x))',
    gradient: 'select(dy, T(), ((x <= T()) | (x >= T(6.0))) & !isNan(x))',
    host: (x) => (x < 0 ? 0 : Math.min(x, 6)),
  },
  silu: {
    forward: 'x / (1.0 + expOf(-x))',
    gradient: 'dy * (sigmoidOf(x) * (1.0 + x * (1.0 - sigmoidOf(x))))',
    host: (x) => x / (1 + Math.exp(-x)),
  },
  mish: {
    // Misra 2019.
    forward: 'x * tanhOf(softplusOf(x))',
    gradient: 'dy * mishSlope(x, tanhOf(softplusOf(x)))',
    host: (x) => x * Math.tanh(Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  },
  gelu: {
    // Hendrycks & Gimpel 2016, the exact form: x·Φ(x).
    forward: '0.5 * x * (1.0 + erf(x * 0.7071067811865476))',
    gradient: 'dy * (0.5 * (1.0 + erf(x * 0.7071067811865476)) + x * 0.3989422804014327 * exp(-0.5 * x * x))',
    host: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  },
  geluTanh: {
    // The tanh approximation of the same paper (`gelu_new`, `gelu_pytorch_tanh`).
    forward: '0.5 * x * (1.0 + tanhInner(x))',
    gradient: 'dy * geluTanhSlope(x)',
    host: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  },
  abs: { forward: 'abs(x)', exact: 'abs(x)', gradient: 'dy * sign(x)', host: (x) => Math.abs(x) },
  sign: { forward: 'signOf(x)', exact: 'signOf(x)', gradient: 'T()', host: (x) => Math.sign(x) || 0 },
  floor: { forward: 'stepOf(x, floor(x))', gradient: 'T()', host: (x) => Math.floor(x) },
  ceil: { forward: 'stepOf(x, ceil(x))', gradient: 'T()', host: (x) => Math.ceil(x) },
  round: { forward: 'stepOf(x, round(x))', gradient: 'T()', host: halfToEven },
  trunc: { forward: 'stepOf(x, trunc(x))', gradient: 'T()', host: (x) => Math.trunc(x) },
  frac: { forward: 'x - trunc(x)', gradient: 'dy', range: [0.1, 0.9], host: (x) => x - Math.trunc(x) },
  clamp: {
    // A bound that is not there is infinite. The gradient is PyTorch's: at the bounds, and of a NaN, nothing flows.
    forward: 'minOf(maxOf(x, T(low)), T(high))',
    gradient:
      'select(T(), dy, ((x > T(low)) | (T(low) < T(-3.4028234663852886e38))) & ((x < T(high)) | (T(high) > T(3.4028234663852886e38))) & !isNan(x))',
    numbers: ['low', 'high'],
    host: (x, low, high) => Math.min(Math.max(x, low!), high!),
  },
  hardtanh: {
    // Unlike clamp's a NaN's gradient flows.
    forward: 'select(select(select(x, T(low), x < T(low)), T(high), x > T(high)), x, isNan(x))',
    gradient: 'select(dy, T(), ((x <= T(low)) | (x >= T(high))) & !isNan(x))',
    numbers: ['low', 'high'],
    host: (x, low, high) => Math.min(Math.max(x, low!), high!),
  },
  nanToNum: {
    forward:
      'select(select(select(x, T(high), x > T(3.4028234663852886e38)), T(low), x < T(-3.4028234663852886e38)), T(nan), isNan(x))',
    gradient: 'select(T(), dy, isFinite(x))',
    numbers: ['nan', 'low', 'high'],
    host: (x, nan, low, high) => (Number.isNaN(x) ? nan! : Math.min(Math.max(x, low!), high!)),
  },
  isNan: { forward: 'isNan(x)', result: 'bool', host: (x) => bool(Number.isNaN(x)) },
  isFinite: { forward: 'isFinite(x)', result: 'bool', host: (x) => bool(Number.isFinite(x)) },
  isInf: {
    forward: 'isInf(x)',
    result: 'bool',
    host: (x) => bool(Math.abs(x) === Number.POSITIVE_INFINITY),
  },
  bitwiseNot: { exact: '~x', dtypes: INTEGERS, host: (x) => ~x },
  logicalNot: { exact: '!x', dtypes: ['bool'], result: 'bool', host: (x) => bool(!x) },
} satisfies Record<string, UnaryFormula>;

export type UnaryName = keyof typeof unaryFormulas;

export interface BinaryFormula extends Rules {
  /** Of `a` and `b`; without it the row is not of floats. */
  readonly forward?: string;
  /** dL/da and dL/db; without them nothing flows. */
  readonly gradients?: readonly [string, string];
  readonly host: (a: number, b: number) => number;
  /** The reference of `exact`, where it is not `host` in whole numbers. */
  readonly exactHost?: (a: number, b: number) => number;
}

/** A tie gives half to each side, and where either is a NaN both get all: as PyTorch. */
const winner = (lost: string): string =>
  `select(select(select(dy, T(), ${lost}), 0.5 * dy, a == b), dy, isNan(a) | isNan(b))`;

const floorRemainder = (a: number, b: number): number => {
  const r = a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
};

/** ⌊a/b⌋ of floats, of the exact quotient. */
const floorQuotient = (a: number, b: number): number => {
  if (b === 0) return a / b;
  if (Number.isFinite(a) && Math.abs(b) === Number.POSITIVE_INFINITY)
    return a !== 0 && a < 0 !== b < 0 ? -1 : a / b;
  // A zero has the sign of the quotient.
  return Math.round((a - floorRemainder(a, b)) / b) || 0 * (a / b);
};

/** aᵇ modulo 2³², in 32 bits; of negative b what is whole of it. */
const integerPower = (a: number, b: number): number => {
  if (b < 0) return a === 1 || (a === -1 && b % 2 === 0) ? 1 : a === -1 ? -1 : 0;
  let [y, base] = [1, a];
  for (let left = b; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) y = Math.imul(y, base);
    base = Math.imul(base, base);
  }
  return y;
};

export const binaryFormulas = {
  add: { forward: 'a + b', exact: 'a + b', gradients: ['dy', 'dy'], host: (a, b) => a + b },
  sub: { forward: 'a - b', exact: 'a - b', gradients: ['dy', '-dy'], host: (a, b) => a - b },
  mul: {
    forward: 'a * b',
    exact: 'a * b',
    gradients: ['dy * b', 'dy * a'],
    host: (a, b) => a * b,
    exactHost: (a, b) => Math.imul(a, b),
  },
  div: {
    forward: 'a / b',
    exact: 'a / b',
    gradients: ['dy / b', '-dy * ((a / b) / b)'],
    range: [0.5, 2],
    host: (a, b) => a / b,
    exactHost: (a, b) => (b === 0 ? a : Math.trunc(a / b)),
  },
  remainder: {
    forward: 'remainderOf(a, b)',
    exact: 'remainderOf(a, b)',
    gradients: ['dy', '-dy * floorQuotient(a, b)'],
    range: [0.6, 1.1],
    host: floorRemainder,
    exactHost: (a, b) => (b === 0 ? 0 : floorRemainder(a, b)),
  },
  floorDivide: {
    forward: 'floorDivideOf(a, b)',
    exact: 'floorDivideOf(a, b)',
    gradients: ['T()', 'T()'],
    range: [0.6, 1.1],
    host: floorQuotient,
    exactHost: (a, b) => (b === 0 ? a : Math.floor(a / b)),
  },
  fmod: {
    forward: 'fmodOf(a, b)',
    exact: 'a % b',
    gradients: ['dy', '-dy * truncQuotient(a, b)'],
    range: [0.6, 1.1],
    host: (a, b) => a % b,
    exactHost: (a, b) => (b === 0 ? 0 : a % b),
  },
  pow: {
    forward: 'powOf(a, b)',
    exact: 'powOf(a, b)',
    gradients: [
      'select(dy * (b * powOf(a, b - 1.0)), T(), isZero(b))',
      'dy * select(y * logOf(a), T(), isZero(a) & !(isNegative(b) | isNan(b)))',
    ],
    range: [0.5, 2],
    host: (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY) ? 1 : a ** b),
    exactHost: integerPower,
  },
  atan2: {
    forward: 'atan2Of(a, b)',
    gradients: ['dy * atan2Slope(b, a, b)', '-dy * atan2Slope(a, a, b)'],
    host: (a, b) => Math.atan2(a, b),
  },
  hypot: {
    forward: 'hypotOf(a, b)',
    gradients: ['dy * (a / y)', 'dy * (b / y)'],
    host: (a, b) => Math.hypot(a, b),
  },
  logAddExp: {
    forward: 'logAddExpOf(a, b)',
    gradients: ['dy / (1.0 + expOf(b - a))', 'dy / (1.0 + expOf(a - b))'],
    host: (a, b) => Math.max(a, b) + (a === b ? Math.LN2 : Math.log1p(Math.exp(-Math.abs(a - b)))),
  },
  maximum: {
    forward: 'maxOf(a, b)',
    exact: 'max(a, b)',
    gradients: [winner('a < b'), winner('b < a')],
    host: (a, b) => Math.max(a, b),
  },
  minimum: {
    forward: 'minOf(a, b)',
    exact: 'min(a, b)',
    gradients: [winner('b < a'), winner('a < b')],
    host: (a, b) => Math.min(a, b),
  },
  eq: {
    forward: '(a == b) & areNumbers(a, b)',
    exact: 'a == b',
    dtypes: [...FLOATS, ...INTEGERS, 'bool'],
    result: 'bool',
    host: (a, b) => bool(a === b),
  },
  ne: {
    forward: '(a != b) | !areNumbers(a, b)',
    exact: 'a != b',
    dtypes: [...FLOATS, ...INTEGERS, 'bool'],
    result: 'bool',
    host: (a, b) => bool(a !== b),
  },
  lt: { forward: '(a < b) & areNumbers(a, b)', exact: 'a < b', result: 'bool', host: (a, b) => bool(a < b) },
  le: {
    forward: '(a <= b) & areNumbers(a, b)',
    exact: 'a <= b',
    result: 'bool',
    host: (a, b) => bool(a <= b),
  },
  gt: { forward: '(a > b) & areNumbers(a, b)', exact: 'a > b', result: 'bool', host: (a, b) => bool(a > b) },
  ge: {
    forward: '(a >= b) & areNumbers(a, b)',
    exact: 'a >= b',
    result: 'bool',
    host: (a, b) => bool(a >= b),
  },
  logicalAnd: { exact: 'a & b', dtypes: ['bool'], result: 'bool', host: (a, b) => a & b },
  logicalOr: { exact: 'a | b', dtypes: ['bool'], result: 'bool', host: (a, b) => a | b },
  logicalXor: { exact: 'a != b', dtypes: ['bool'], result: 'bool', host: (a, b) => a ^ b },
  bitwiseAnd: { exact: 'a & b', dtypes: INTEGERS, host: (a, b) => a & b },
  bitwiseOr: { exact: 'a | b', dtypes: INTEGERS, host: (a, b) => a | b },
  bitwiseXor: { exact: 'a ^ b', dtypes: INTEGERS, host: (a, b) => a ^ b },
  leftShift: {
    exact: 'leftShiftOf(a, b)',
    dtypes: INTEGERS,
    host: (a, b) => (b < 0 || b > 31 ? 0 : a << b),
  },
  rightShift: {
    exact: 'rightShiftOf(a, b)',
    dtypes: INTEGERS,
    // Of a sign only signs are left.
    host: (a, b) => Math.floor(a / 2 ** (b < 0 || b > 31 ? 32 : b)),
  },
} satisfies Record<string, BinaryFormula>;

export type BinaryName = keyof typeof binaryFormulas;

/** What is chosen by a condition, a bool beside operands of any format. */
export interface ChoiceFormula extends Rules {
  readonly forward: string;
  readonly gradients: readonly [string, string];
  readonly host: (condition: number, a: number, b: number) => number;
}

export const choiceFormulas = {
  where: {
    forward: 'select(b, a, condition)',
    exact: 'select(b, a, condition)',
    dtypes: [...FLOATS, ...INTEGERS, 'bool'],
    gradients: ['select(T(), dy, condition)', 'select(dy, T(), condition)'],
    host: (condition, a, b) => (condition ? a : b),
  },
} satisfies Record<string, ChoiceFormula>;

export type FormulaName = UnaryName | BinaryName | keyof typeof choiceFormulas;
export type OperandName = 'x' | 'a' | 'b' | 'condition';

/** A row of any of the tables, in one form. */
export interface Formula extends Rules {
  readonly operands: readonly OperandName[];
  readonly forward?: string;
  /** By operand; of what is not there nothing flows. */
  readonly gradients: Readonly<Partial<Record<OperandName, string>>>;
  readonly numbers: readonly string[];
  readonly dtypes: readonly DType[];
}

const formulaOf = (
  operands: readonly OperandName[],
  row: Rules & { readonly forward?: string },
  gradients: Formula['gradients'],
): Formula => ({
  ...row,
  operands,
  gradients,
  numbers: row.numbers ?? [],
  dtypes: row.dtypes ?? [...FLOATS, ...(row.exact === undefined ? [] : INTEGERS)],
});

/** Something for each name of a table. */
export const byName = <N extends string, R, V>(
  table: Readonly<Record<N, R>>,
  make: (name: N, row: R) => V,
): Record<N, V> =>
  Object.fromEntries((Object.keys(table) as N[]).map((name) => [name, make(name, table[name])])) as Record<
    N,
    V
  >;

/** All rows. */
export const formulas: Readonly<Record<FormulaName, Formula>> = {
  ...byName<UnaryName, UnaryFormula, Formula>(unaryFormulas, (_, row) =>
    formulaOf(['x'], row, row.gradient === undefined ? {} : { x: row.gradient }),
  ),
  ...byName<BinaryName, BinaryFormula, Formula>(binaryFormulas, (_, row) =>
    formulaOf(['a', 'b'], row, row.gradients ? { a: row.gradients[0], b: row.gradients[1] } : {}),
  ),
  ...byName<keyof typeof choiceFormulas, ChoiceFormula, Formula>(choiceFormulas, (_, row) =>
    formulaOf(['condition', 'a', 'b'], row, { a: row.gradients[0], b: row.gradients[1] }),
  ),
};

/** Whether a formula has this operand. */
export const readsOperand = (formula: string, name: string): boolean =>
  new RegExp(`\\b${name}\\b`).test(formula);

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
