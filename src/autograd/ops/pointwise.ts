/**
 * Elementwise operations. What they compute, and their gradients, are the rows of `src/kernels/formulas.ts`; here a row
 * gets its function and its docstring. All take tensors of the formats that the row names and broadcast as NumPy does; a
 * number beside a tensor takes the tensor's format, and for integers must be whole. Nothing is promoted: operands are of one
 * format. f16 is computed in f32 and rounded once. Arithmetic of integers wraps.
 */

import { ShapeError } from '../../errors.js';
import { dropMask, dropout as dropoutKernel } from '../../kernels/dropout.js';
import {
  type BinaryName,
  binary,
  cast as castKernel,
  elementwise,
  elementwiseGradient,
  type FormulaName,
  formulas,
  gradientReads,
  type TensorOrNumber,
  type UnaryName,
} from '../../kernels/pointwise.js';
import type { RandomStream } from '../../kernels/random.js';
import { OptionNames } from '../../options.js';
import { show } from '../../show.js';
import {
  anyDType,
  anyNumber,
  probability as aProbability,
  bools,
  floats,
  integer,
  requireBeside,
  signature,
  wholeNumber,
} from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { sameShape } from '../../tensor/shape.js';
import { type DType, Tensor } from '../../tensor/tensor.js';
import { sumToShape } from '../ranges.js';
import { type Input, record } from '../tape.js';

const isFloat = (dtype: DType): boolean => dtype === 'f32' || dtype === 'f16';

/** What no gradient flows through is not recorded; a disposed operand is refused all the same. */
function withoutGradient(name: string, y: Tensor, operands: readonly TensorOrNumber[]): Tensor {
  const gone = operands.find((operand) => operand instanceof Tensor && operand.isDisposed);
  if (!gone) return y;
  y.dispose();
  throw new ShapeError(name, 'an operand was already disposed', { operand: gone as Tensor });
}

function operation(
  name: FormulaName,
  operands: readonly TensorOrNumber[],
  numbers: readonly number[] = [],
): Tensor {
  const given = { operands, numbers };
  const y = elementwise(name, given);
  const row = formulas[name];
  // Of integers and bools, and towards them, there is no gradient.
  if (!isFloat(y.dtype)) return withoutGradient(name, y, operands);
  const inputs: Input[] = [];
  for (const [which, operand] of operands.entries()) {
    const formula = row.gradients[row.operands[which]!];
    if (!(operand instanceof Tensor) || formula === undefined) continue;
    const own = (gradient: Tensor): Tensor => {
      if (sameShape(gradient.shape, operand.shape)) return gradient;
      const sum = sumToShape(gradient, operand.shape);
      return sum.dtype === operand.dtype ? sum : castKernel(sum, operand.dtype);
    };
    if (formula === 'dy') {
      inputs.push([operand, (dy) => own(dy)]);
      continue;
    }
    const reads = gradientReads(name, which, y.dtype);
    const uses = row.operands.flatMap((each, n) => (reads.includes(each) ? [operands[n]!] : []));
    const readsY = reads.includes('y');
    inputs.push([
      operand,
      (dy) => own(elementwiseGradient(name, which, given, dy, readsY ? y : undefined)),
      [...uses.filter((each) => each instanceof Tensor), ...(readsY ? [y] : [])],
    ]);
  }
  return record(name, y, [], inputs);
}

/** An operation of one tensor. */
export type UnaryOperation = (x: Tensor) => Tensor;

/** Of two operands at least one is a tensor. */
export interface BinaryOperation {
  (a: number, b: Tensor): Tensor;
  (a: Tensor, b: TensorOrNumber): Tensor;
}

/**
 * More operands than an operation takes would go unnoticed in JavaScript. A place and a list behind them are those that
 * `map` and `reduce` of lists give: `losses.reduce(add)`.
 */
function refuseMore(name: string, takes: number, more: readonly unknown[]): void {
  if (more.length === 2 && typeof more[0] === 'number' && Array.isArray(more[1])) return;
  throw new ShapeError(name, `takes ${takes} operand${takes > 1 ? 's' : ''}, found ${show(more[0])} besides`);
}

const unaryOp =
  (name: UnaryName): UnaryOperation =>
  (x: Tensor, ...more: unknown[]) => {
    if (more.length > 0) refuseMore(name, 1, more);
    return operation(name, [x]);
  };
const binaryOp =
  (name: BinaryName): BinaryOperation =>
  (a: TensorOrNumber, b: TensorOrNumber, ...more: unknown[]) => {
    if (more.length > 0) refuseMore(name, 2, more);
    return operation(name, [a, b]);
  };

// ---- Arithmetic ----

/** a + b; of integers too. */
export const add = binaryOp('add');
/** a − b; of integers too. */
export const sub = binaryOp('sub');
/** a · b; of integers too. */
export const mul = binaryOp('mul');
/** a / b. Of integers towards zero, where a division by 0 gives a. */
export const div = binaryOp('div');
/** a − b·⌊a/b⌋, exact and with the sign of b (`torch.remainder`, `%` of Python). Of integers too, where 0 leaves 0. */
export const remainder = binaryOp('remainder');
/** What is left of a/b cut towards zero, exact and with the sign of a (`torch.fmod`, `%` of JavaScript). Of integers too, where 0 leaves 0. */
export const fmod = binaryOp('fmod');
/** ⌊a/b⌋ of the exact quotient (`torch.floor_divide`, `//` of Python), whose gradient is 0. Of integers too, where a division by 0 gives a. */
export const floorDivide = binaryOp('floorDivide');
/**
 * aᵇ to a few units in the last place; of a negative a for whole b. A 1, and an exponent of 0, give 1 whatever the other is.
 * Of integers too, modulo 2³² and without gradient; of a negative exponent what is whole: 0, but of 1 and −1.
 */
export const pow = binaryOp('pow');
/** The larger of a and b; a NaN wins. A tie gives each half of the gradient. Of integers too. */
export const maximum = binaryOp('maximum');
/** The smaller of a and b; a NaN wins. A tie gives each half of the gradient. Of integers too. */
export const minimum = binaryOp('minimum');
/** √(a² + b²), whose squares do not overflow. */
export const hypot = binaryOp('hypot');
/** −x; of integers too. */
export const neg = unaryOp('neg');
/** |x|, whose gradient at 0 is 0; of integers too. */
export const abs = unaryOp('abs');
/** −1, 0 or 1, and 0 of a NaN; of integers too. Its gradient is 0. */
export const sign = unaryOp('sign');
/** x²; of integers too. */
export const square = unaryOp('square');
/** 1/x. */
export const reciprocal = unaryOp('reciprocal');
/** √x. */
export const sqrt = unaryOp('sqrt');
/** 1/√x. */
export const rsqrt = unaryOp('rsqrt');
/** The largest whole number that is not above x; its gradient is 0, as of all that round. */
export const floor = unaryOp('floor');
/** The smallest whole number that is not below x. */
export const ceil = unaryOp('ceil');
/** The nearest whole number, of two the even one. */
export const round = unaryOp('round');
/** x without what follows the point. */
export const trunc = unaryOp('trunc');
/** What follows the point, with the sign of x. */
export const frac = unaryOp('frac');

// ---- Exponentials and logarithms ----

/** eˣ. */
export const exp = unaryOp('exp');
/** 2ˣ, exact for whole x. */
export const exp2 = unaryOp('exp2');
/** eˣ − 1, good to the last places near 0 too. */
export const expm1 = unaryOp('expm1');
/** The natural logarithm. */
export const log = unaryOp('log');
/** The logarithm to base 2, exact for powers of 2. */
export const log2 = unaryOp('log2');
/** The logarithm to base 10. */
export const log10 = unaryOp('log10');
/** log(1 + x), good to the last places near 0 too. */
export const log1p = unaryOp('log1p');
/** log(eᵃ + eᵇ), of their difference. */
export const logAddExp = binaryOp('logAddExp');

// ---- Trigonometry and hyperbolic functions ----

/** The sine, to a few units in the last place however large x is (its reduction is exact); of infinities a NaN. */
export const sin = unaryOp('sin');
/** The cosine, as good as the sine. */
export const cos = unaryOp('cos');
/** The tangent, as good as the sine. */
export const tan = unaryOp('tan');
/** The angle from −π/2 to π/2 whose sine is x; beyond −1 and 1 a NaN. */
export const asin = unaryOp('asin');
/** The angle from 0 to π whose cosine is x; beyond −1 and 1 a NaN. */
export const acos = unaryOp('acos');
/** The angle from −π/2 to π/2 whose tangent is x. */
export const atan = unaryOp('atan');
/** The angle from −π to π of the point (b, a): of a/b, with the quadrant from both signs. */
export const atan2 = binaryOp('atan2');
/** The hyperbolic sine. */
export const sinh = unaryOp('sinh');
/** The hyperbolic cosine. */
export const cosh = unaryOp('cosh');
/** The hyperbolic tangent. */
export const tanh = unaryOp('tanh');
/** The number whose hyperbolic sine is x. */
export const asinh = unaryOp('asinh');
/** The number from 0 on whose hyperbolic cosine is x; below 1 a NaN. */
export const acosh = unaryOp('acosh');
/** The number whose hyperbolic tangent is x; beyond −1 and 1 a NaN. */
export const atanh = unaryOp('atanh');

// ---- Activations ----

/** 1/(1 + e⁻ˣ). */
export const sigmoid = unaryOp('sigmoid');
/** log(1 + eˣ). */
export const softplus = unaryOp('softplus');
/** log(1/(1 + e⁻ˣ)) = −softplus(−x). */
export const logSigmoid = unaryOp('logSigmoid');
/** The error function. */
export const erf = unaryOp('erf');
/** max(x, 0), whose gradient at 0 is 0. A NaN stays one, and its gradient flows. */
export const relu = unaryOp('relu');
/** x between 0 and 6, whose gradient at either is 0. A NaN stays one, and its gradient flows. */
export const relu6 = unaryOp('relu6');
/** 1.0507·elu(x, 1.6733), with the constants of Klambauer et al. 2017. */
export const selu = unaryOp('selu');
/** x/(1 + e⁻ˣ), also called swish. */
export const silu = unaryOp('silu');
/** x·tanh(softplus(x)) (Misra 2019). */
export const mish = unaryOp('mish');
/** x·relu6(x + 3)/6 (Howard et al. 2019). */
export const hardswish = unaryOp('hardswish');
/** relu6(x + 3)/6. */
export const hardsigmoid = unaryOp('hardsigmoid');
/** x/(1 + |x|). */
export const softsign = unaryOp('softsign');
/** x·Φ(x) with the exact error function. */
export const gelu = unaryOp('gelu');
/** The tanh approximation of GELU. */
export const geluTanh = unaryOp('geluTanh');

// ---- Comparisons: bools, of which no gradient flows; a NaN is equal to nothing, and neither less nor greater ----

/** a = b; of integers and bools too. */
export const eq = binaryOp('eq');
/** a ≠ b; of integers and bools too. */
export const ne = binaryOp('ne');
/** a < b; of integers too. */
export const lt = binaryOp('lt');
/** a ≤ b; of integers too. */
export const le = binaryOp('le');
/** a > b; of integers too. */
export const gt = binaryOp('gt');
/** a ≥ b; of integers too. */
export const ge = binaryOp('ge');
/** Where x is a NaN. */
export const isNan = unaryOp('isNan');
/** Where x is neither infinite nor a NaN. */
// biome-ignore lint/suspicious/noShadowRestrictedNames: the global one is of numbers, and nobody wants it here
export const isFinite = unaryOp('isFinite');
/** Where x is ∞ or −∞. */
export const isInf = unaryOp('isInf');
/** Of bools: a and b. */
export const logicalAnd = binaryOp('logicalAnd');
/** Of bools: a or b. */
export const logicalOr = binaryOp('logicalOr');
/** Of bools: one of a and b, not both. */
export const logicalXor = binaryOp('logicalXor');
/** Of a bool: the other. */
export const logicalNot = unaryOp('logicalNot');

// ---- Bits of i32 and u32 ----

/** The bits that a and b have both. */
export const bitwiseAnd = binaryOp('bitwiseAnd');
/** The bits that a or b has. */
export const bitwiseOr = binaryOp('bitwiseOr');
/** The bits that one of a and b has, not both. */
export const bitwiseXor = binaryOp('bitwiseXor');
/** The bits that x has not. */
export const bitwiseNot = unaryOp('bitwiseNot');
/** a·2ᵇ modulo 2³²; of a negative b, or of one beyond 31, 0. */
export const leftShift = binaryOp('leftShift');
/** ⌊a/2ᵇ⌋; of a negative b, or of one beyond 31, 0, of a negative a −1. */
export const rightShift = binaryOp('rightShift');

// ---- With numbers beside x ----

/** Below 0 x times `slope`, a number. @throws ShapeError. */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => operation('leakyRelu', [x], [slope]);
/** Below 0 alpha·(eˣ − 1) (Clevert et al. 2016). @throws ShapeError. */
export const elu = (x: Tensor, alpha = 1): Tensor => operation('elu', [x], [alpha]);

/** Bounds of `clamp`: either or both. */
export interface ClampBounds {
  /** What is less becomes it. */
  readonly min?: number | undefined;
  /** What is more becomes it. */
  readonly max?: number | undefined;
}

const BOUNDS = new OptionNames<ClampBounds>({ min: 'number', max: 'number' });

/**
 * x between `min` and `max`, either of which may be left out; where they cross it is `max`. A NaN stays one. The gradient
 * flows where x lies between them; at the bounds, as in PyTorch, it does not.
 * @throws ShapeError without a bound, or where one is no number.
 */
export function clamp(x: Tensor, options: ClampBounds = {}): Tensor {
  const { min, max } = BOUNDS.read('clamp', options);
  if (min === undefined && max === undefined) throw new ShapeError('clamp', 'needs min, max or both', { x });
  return operation('clamp', [x], [min ?? Number.NEGATIVE_INFINITY, max ?? Number.POSITIVE_INFINITY]);
}

/**
 * x between `min` and `max`, by default −1 and 1; at either nothing flows. A NaN stays one, and its gradient flows.
 * @throws ShapeError.
 */
export function hardtanh(x: Tensor, options: ClampBounds = {}): Tensor {
  const { min = -1, max = 1 } = BOUNDS.read('hardtanh', options);
  return operation('hardtanh', [x], [min, max]);
}

/** What stands in `nanToNum` for what is no number. */
export interface NanToNumOptions {
  /** For a NaN, by default 0. */
  readonly nan?: number;
  /** For ∞, by default the largest number of x's format. */
  readonly posInf?: number;
  /** For −∞, by default the lowest. */
  readonly negInf?: number;
}

const NAN_TO_NUM_OPTIONS = new OptionNames<NanToNumOptions>({
  nan: 'number',
  posInf: 'number',
  negInf: 'number',
});

/** x with numbers for NaN and infinities, which get no gradient. @throws ShapeError. */
export function nanToNum(x: Tensor, options: NanToNumOptions = {}): Tensor {
  const { nan = 0, posInf, negInf } = NAN_TO_NUM_OPTIONS.read('nanToNum', options);
  const most = x?.dtype === 'f16' ? 65504 : 3.4028234663852886e38;
  return operation('nanToNum', [x], [nan, negInf ?? -most, posInf ?? most]);
}

/**
 * a where `condition`, a bool, else b; all three broadcast. a and b are of one format, any; either or both may be numbers
 * (both: the result is f32).
 * @throws ShapeError.
 */
export const where = (condition: Tensor, a: TensorOrNumber, b: TensorOrNumber): Tensor =>
  operation('where', [condition, a, b]);

const LERP = signature('lerp', { a: floats('...a'), b: floats('...b') }, { sameDType: ['a', 'b'] });

/**
 * a + weight·(b − a), which broadcast, of a tensor or a number for the weight; of a number both ends are exact.
 * @throws ShapeError.
 */
export function lerp(a: Tensor, b: Tensor, weight: TensorOrNumber): Tensor {
  LERP.check({ a, b });
  return scope(() => {
    const way = sub(b, a);
    const fromB = typeof weight === 'number' && weight >= 0.5;
    return fromB ? sub(b, mul(way, 1 - weight)) : add(a, mul(way, weight));
  });
}

const MASKED_FILL = signature('maskedFill', { x: anyDType('...x'), mask: bools('...mask') });

/** x, and a number where a mask says so; both broadcast: `where`. @throws ShapeError. */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  MASKED_FILL.check({ x, mask });
  return where(mask, value, x);
}

const NUMBER = {
  scale: signature('scale', { x: floats('...') }, { numbers: { s: anyNumber } }),
  shift: signature('shift', { x: floats('...') }, { numbers: { s: anyNumber } }),
};

/** x · s for a host number s: `mul`. */
export function scale(x: Tensor, s: number): Tensor {
  NUMBER.scale.check({ x }, { s });
  return mul(x, s);
}
/** x + s for a host number s: `add`. */
export function shift(x: Tensor, s: number): Tensor {
  NUMBER.shift.check({ x }, { s });
  return add(x, s);
}

/**
 * x in another number format, copied unless it is in that already. To floats it is rounded to nearest; from floats to
 * integers cut towards zero, with what lies beyond the format at the format's end and a NaN at 0; between i32 and u32 the
 * bits stay. A bool is whether x is not 0 (a NaN is not), and 0 or 1 where it is cast. Between floats the gradient comes
 * back in x's own format; otherwise none does.
 * @throws ShapeError.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  const y = castKernel(x, dtype);
  if (!isFloat(x.dtype) || !isFloat(dtype)) return withoutGradient('cast', y, [x]);
  return record('cast', y, [], [[x, (dy) => castKernel(dy, x.dtype)]]);
}

/** Another handle to x: whoever disposes of an op's result does not dispose of its operand. */
function sameValues(op: string, x: Tensor): Tensor {
  return record(op, x.detach(), [], [[x, (dy) => dy]]);
}

const DROPOUT = signature(
  'dropout',
  { x: floats('...') },
  { numbers: { probability: aProbability, seed: integer, stream: integer, firstRow: wholeNumber() } },
);

const STREAM = new OptionNames<RandomStream>({ seed: 'number', stream: 'number', firstRow: 'number' });

/** Inverted dropout; the mask is a function of `random` and the position, so backward draws it again. */
export function dropout(x: Tensor, probability: number, random: RandomStream): Tensor {
  requireBeside('dropout', 'random', 'a seed and a stream', random);
  const { seed, stream, firstRow = 0 } = STREAM.read('dropout', random, 'random');
  DROPOUT.check({ x }, { probability, seed, stream, firstRow });
  if (dropMask(probability).threshold === 0) return sameValues('dropout', x);
  // As it is now: backward must draw the same.
  const drawn = { seed, stream, firstRow };
  return record(
    'dropout',
    dropoutKernel(x, probability, drawn),
    [],
    [[x, (dy) => dropoutKernel(dy, probability, drawn)]],
  );
}

const SCALE_GRADIENT = signature('scaleGradient', { x: floats('...') }, { numbers: { factor: anyNumber } });

/** x itself; its gradient is multiplied by `factor`. */
export function scaleGradient(x: Tensor, factor: number): Tensor {
  SCALE_GRADIENT.check({ x }, { factor });
  if (factor === 1) return sameValues('scaleGradient', x);
  return record('scaleGradient', x.detach(), [], [[x, (dy) => binary('mul', dy, factor)]]);
}
