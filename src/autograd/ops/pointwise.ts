/** Elementwise ops; forward and gradient are the one-line formulas of `src/kernels/pointwise.ts`. */
import { dropMask, dropout as dropoutKernel } from '../../kernels/dropout.js';
import { type FloatDType, floatDType } from '../../kernels/launch/formats.js';
import {
  type BinaryName,
  binary,
  binaryGradient,
  cast as castKernel,
  gradientReads,
  type UnaryName,
  unary,
  unaryFormulas,
  unaryGradient,
} from '../../kernels/pointwise.js';
import type { RandomStream } from '../../kernels/random.js';
import {
  anyNumber,
  probability as aProbability,
  floats,
  integer,
  requireBeside,
  signature,
  wholeNumber,
} from '../../tensor/operands.js';
import type { Tensor } from '../../tensor/tensor.js';
import { sumToShape } from '../ranges.js';
import { record } from '../tape.js';

function unaryOp(name: UnaryName, x: Tensor, s?: number): Tensor {
  const y = unary(name, x, s);
  const saves = unaryFormulas[name].saves;
  const saved = saves === 'x' ? x : saves === 'y' ? y : undefined;
  return record(name, y, saved ? [saved] : [], [[x, (dy) => unaryGradient(name, saved, dy, s)]]);
}

function binaryOp(name: BinaryName, a: Tensor, b: Tensor): Tensor {
  const y = binary(name, a, b);
  const linear = name === 'add' || name === 'sub';
  const uses = (which: 0 | 1) => {
    const reads = linear ? [] : gradientReads(name, which);
    return [...(reads.includes('a') ? [a] : []), ...(reads.includes('b') ? [b] : [])];
  };
  return record(
    name,
    y,
    [],
    [
      [a, (dy) => sumToShape(linear ? dy : binaryGradient(name, 0, a, b, dy), a.shape), uses(0)],
      [
        b,
        (dy) =>
          sumToShape(
            name === 'add' ? dy : name === 'sub' ? unary('neg', dy) : binaryGradient(name, 1, a, b, dy),
            b.shape,
          ),
        uses(1),
      ],
    ],
  );
}

export const add = (a: Tensor, b: Tensor): Tensor => binaryOp('add', a, b);
export const sub = (a: Tensor, b: Tensor): Tensor => binaryOp('sub', a, b);
export const mul = (a: Tensor, b: Tensor): Tensor => binaryOp('mul', a, b);
export const div = (a: Tensor, b: Tensor): Tensor => binaryOp('div', a, b);
export const maximum = (a: Tensor, b: Tensor): Tensor => binaryOp('maximum', a, b);

export const neg = (x: Tensor): Tensor => unaryOp('neg', x);
/** x · s for a host number s. */
export const scale = (x: Tensor, s: number): Tensor => unaryOp('scale', x, s);
/** x + s for a host number s. */
export const shift = (x: Tensor, s: number): Tensor => unaryOp('shift', x, s);
export const exp = (x: Tensor): Tensor => unaryOp('exp', x);
export const log = (x: Tensor): Tensor => unaryOp('log', x);
export const sqrt = (x: Tensor): Tensor => unaryOp('sqrt', x);
export const square = (x: Tensor): Tensor => unaryOp('square', x);
export const reciprocal = (x: Tensor): Tensor => unaryOp('reciprocal', x);
export const tanh = (x: Tensor): Tensor => unaryOp('tanh', x);
export const sigmoid = (x: Tensor): Tensor => unaryOp('sigmoid', x);
export const relu = (x: Tensor): Tensor => unaryOp('relu', x);
export const abs = (x: Tensor): Tensor => unaryOp('abs', x);
/** x·Φ(x) with the exact error function. */
export const gelu = (x: Tensor): Tensor => unaryOp('gelu', x);
/** The tanh approximation of GELU. */
export const geluTanh = (x: Tensor): Tensor => unaryOp('geluTanh', x);

/** x in another number format; its gradient comes back in x's own. */
export function cast(x: Tensor, dtype: FloatDType): Tensor {
  const y = castKernel(x, dtype);
  const own = floatDType('cast', x);
  return record('cast', y, [], [[x, (dy) => castKernel(dy, own)]]);
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

/** Inverted dropout; the mask is a function of `random` and the position, so backward draws it again. */
export function dropout(x: Tensor, probability: number, random: RandomStream): Tensor {
  requireBeside('dropout', 'random', 'a seed and a stream', random);
  const { seed, stream, firstRow = 0 } = random;
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
  return record('scaleGradient', x.detach(), [], [[x, (dy) => unary('scale', dy, factor)]]);
}
