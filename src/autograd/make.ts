/**
 * Tensors from host data and from nothing: functions that take the device first, and those that make one like another.
 * What is drawn at random is in draw.ts, kernels are in `src/kernels`.
 *
 * All of them take `{ dtype, requiresGrad, label }`. Numbers are f32 unless a dtype is given, whole ones too.
 */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { diagonal, filled } from '../kernels/make.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { dtypeOf, toTensorArray } from '../tensor/host-data.js';
import { flatten, type NestedData, placeIn } from '../tensor/nested.js';
import { anyDType, signature } from '../tensor/operands.js';
import { checkShape, formatShape, type Shape, sameShape } from '../tensor/shape.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { checkMaking, MAKING, type MakeOptions, made } from './make-options.js';

/** Shape and number format of `tensor`. */
export interface TensorOptions extends MakeOptions {
  /** Of values that are given in one list; by default the shape is that of the lists. */
  readonly shape?: Shape | undefined;
}

const TENSOR_OPTIONS = new OptionNames<TensorOptions>({ ...MAKING, shape: 'any' });

/**
 * A tensor of host data: a number, a boolean, lists of them nested as deep as the shape has dimensions, a typed array, or
 * lists of typed arrays. Its dtype is that of the data: numbers and Float64Array (rounded: no device has f64) f32,
 * booleans bool, Float32Array f32, Int32Array i32, Uint32Array u32, Uint16Array f16 (raw halves), Uint8Array bool.
 * Numbers are converted to any `dtype` that has them; a typed array says what its bits are, and goes into no other.
 * @throws ShapeError naming the place where lists are ragged, and when the values are not those of `shape`; TypeError
 * naming place and both formats when a value does not fit.
 */
export function tensor(gpu: Gpu, data: NestedData, options: TensorOptions = {}): Tensor {
  const op = 'tensor';
  checkMaking(op, gpu, options, 'f32', TENSOR_OPTIONS);
  const flat = flatten(op, data);
  const dtype = checkMaking(op, gpu, options, dtypeOf(flat.data), TENSOR_OPTIONS);
  const { shape = flat.shape } = options;
  checkShape(op, shape);
  if (flat.shape.length > 1 && !sameShape(shape, flat.shape))
    throw new ShapeError(op, `lists of shape ${formatShape(flat.shape)} for shape ${formatShape(shape)}`);
  const array = toTensorArray(op, dtype, flat.data, placeIn(flat.shape));
  return made(Tensor.from(gpu, array, shape, dtype), options);
}

/** Of shape and dtype (f32), with values that nobody has set: whatever the memory held. For what is written next. */
export function empty(gpu: Gpu, shape: Shape, options: MakeOptions = {}): Tensor {
  const dtype = checkMaking('empty', gpu, options, 'f32');
  checkShape('empty', shape);
  return made(Tensor.empty(gpu, shape, dtype), options);
}

/** Zeros, or false of bools; f32 by default. */
export function zeros(gpu: Gpu, shape: Shape, options: MakeOptions = {}): Tensor {
  const dtype = checkMaking('zeros', gpu, options, 'f32');
  checkShape('zeros', shape);
  return made(Tensor.zeros(gpu, shape, dtype), options);
}

/** Ones, or true of bools; f32 by default. */
export function ones(gpu: Gpu, shape: Shape, options: MakeOptions = {}): Tensor {
  const dtype = checkMaking('ones', gpu, options, 'f32');
  checkShape('ones', shape);
  return made(filled(gpu, shape, dtype === 'bool' ? true : 1, dtype, 'ones'), options);
}

/**
 * One value everywhere: a number (f32 by default) or a boolean (bool).
 * @throws TypeError when the dtype has no such value: 0.5 of i32, 1 of bool.
 */
export function full(gpu: Gpu, shape: Shape, value: number | boolean, options: MakeOptions = {}): Tensor {
  const dtype = checkMaking('full', gpu, options, typeof value === 'boolean' ? 'bool' : 'f32');
  checkShape('full', shape);
  return made(filled(gpu, shape, value, dtype, 'full'), options);
}

/** The identity matrix [rows, columns] (square by default): ones where row and column are the same. */
export function eye(gpu: Gpu, rows: number, columns: number = rows, options: MakeOptions = {}): Tensor {
  const dtype = checkMaking('eye', gpu, options, 'f32');
  checkShape('eye', [rows, columns]);
  return made(diagonal(gpu, rows, columns, dtype), options);
}

/** Numbers of a sequence that are computed and written at once. */
const PIECE = 2 ** 18;

/**
 * [size]: element i is value(i), computed on the host in float64 and rounded once, so that every adapter has the same
 * bits; in pieces, so that the host holds few of them. Sequences rise or fall: where the ends fit the dtype, all do.
 */
function sequence(
  op: string,
  gpu: Gpu,
  size: number,
  value: (i: number) => number,
  dtype: DType,
  options: MakeOptions,
): Tensor {
  if (size > 0)
    toTensorArray(op, dtype, [0, Math.min(1, size - 1), size - 1].map(value), () => ' of the sequence');
  const out = Tensor.empty(gpu, [size], dtype);
  for (let start = 0; start < size; start += PIECE) {
    const numbers = Float64Array.from({ length: Math.min(PIECE, size - start) }, (_, i) => value(start + i));
    out.write(numbers, start);
  }
  return made(out, options);
}

const finite = (op: string, numbers: Readonly<Record<string, number>>): void => {
  for (const [name, value] of Object.entries(numbers))
    if (!Number.isFinite(value))
      throw new ShapeError(op, `${name} must be a finite number, found ${show(value)}`);
};

/**
 * start, start + step, … below `end` (above it where step is negative): [⌈(end − start) / step⌉], f32 by default.
 * `arange(gpu, end)`, `arange(gpu, start, end)` and `arange(gpu, start, end, step)`, options last.
 * @throws ShapeError when the step is 0 or leads away from the end; TypeError when the dtype does not have the numbers.
 */
export function arange(gpu: Gpu, end: number, options?: MakeOptions): Tensor;
export function arange(gpu: Gpu, start: number, end: number, options?: MakeOptions): Tensor;
export function arange(gpu: Gpu, start: number, end: number, step: number, options?: MakeOptions): Tensor;
export function arange(gpu: Gpu, ...rest: (number | MakeOptions | undefined)[]): Tensor {
  const op = 'arange';
  while (rest.length > 0 && rest.at(-1) === undefined) rest.pop();
  const options = typeof rest.at(-1) === 'object' ? (rest.pop() as MakeOptions) : {};
  const dtype = checkMaking(op, gpu, options, 'f32');
  const numbers = rest as number[];
  const [start, end, step = 1] =
    numbers.length === 1 ? [0, numbers[0]!] : (numbers as [number, number, number?]);
  finite(op, { start, end, step });
  if (numbers.length > 3) throw new ShapeError(op, 'takes at most start, end and step');
  if (dtype === 'bool') throw new ShapeError(op, 'counts numbers, not bools');
  const size = Math.ceil((end - start) / step);
  if (step === 0 || size < 0)
    throw new ShapeError(op, `steps of ${step} do not lead from ${start} to ${end}`);
  return sequence(op, gpu, size, (i) => start + i * step, dtype, options);
}

/**
 * `count` numbers from `start` to `end`, both among them, equally far from each other: [count] f32 or f16.
 * @throws ShapeError for integers, and for a count that is no whole number.
 */
export function linspace(
  gpu: Gpu,
  start: number,
  end: number,
  count: number,
  options: MakeOptions = {},
): Tensor {
  const op = 'linspace';
  const dtype = checkMaking(op, gpu, options, 'f32');
  finite(op, { start, end });
  checkShape(op, [count]);
  if (dtype !== 'f32' && dtype !== 'f16') throw new ShapeError(op, `must be f32 or f16, not ${dtype}`);
  const step = (end - start) / (count - 1);
  // From both ends, as in PyTorch, so that both are met exactly.
  const value = (i: number) => (2 * i < count ? start + i * step : end - (count - 1 - i) * step);
  return sequence(op, gpu, count, count === 1 ? () => start : value, dtype, options);
}

const likeSignature = (op: string) => signature(op, { x: anyDType('...') });
const EMPTY_LIKE = likeSignature('emptyLike');
const ZEROS_LIKE = likeSignature('zerosLike');
const ONES_LIKE = likeSignature('onesLike');
const FULL_LIKE = likeSignature('fullLike');

/** As `empty`, of x's shape, device, and by default dtype. */
export function emptyLike(x: Tensor, options: MakeOptions = {}): Tensor {
  EMPTY_LIKE.check({ x });
  return made(Tensor.empty(x.gpu, x.shape, checkMaking('emptyLike', x.gpu, options, x.dtype)), options);
}

/** Zeros of x's shape, device, and by default dtype. */
export function zerosLike(x: Tensor, options: MakeOptions = {}): Tensor {
  ZEROS_LIKE.check({ x });
  return made(Tensor.zeros(x.gpu, x.shape, checkMaking('zerosLike', x.gpu, options, x.dtype)), options);
}

/** Ones (true of bools) of x's shape, device, and by default dtype. */
export function onesLike(x: Tensor, options: MakeOptions = {}): Tensor {
  ONES_LIKE.check({ x });
  const dtype = checkMaking('onesLike', x.gpu, options, x.dtype);
  return made(filled(x.gpu, x.shape, dtype === 'bool' ? true : 1, dtype, 'onesLike'), options);
}

/** One value everywhere, of x's shape, device, and by default dtype. @throws TypeError when that has no such value. */
export function fullLike(x: Tensor, value: number | boolean, options: MakeOptions = {}): Tensor {
  FULL_LIKE.check({ x });
  const dtype = checkMaking('fullLike', x.gpu, options, x.dtype);
  return made(filled(x.gpu, x.shape, value, dtype, 'fullLike'), options);
}
