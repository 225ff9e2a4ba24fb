/**
 * Random tensors: functions that take the device first. What they give is a function of seed, stream and position alone:
 * the same numbers on every adapter, and the first ones of a larger tensor are those of a smaller.
 */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { type Draw, drawInto } from '../kernels/draw.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { CounterRandom } from '../tensor/random.js';
import { type RandomStream, RandomStreams } from '../tensor/random-streams.js';
import { checkShape, type Shape } from '../tensor/shape.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { checkMaking, MAKING, type MakeOptions, made } from './make-options.js';

/**
 * Where random numbers come from: a whole number draws the same ones each time; `RandomStreams` others each time, and
 * again the same after its counter was set back, as resuming a run does; a `RandomStream` those of that stream.
 */
export type RandomSource = number | RandomStreams | RandomStream;

/** What all draws take. */
export interface DrawOptions extends MakeOptions {
  /** A whole number, which gives the same values each time, or a counter that gives others with each call. */
  readonly seed: RandomSource;
}

const DRAW_OPTIONS = new OptionNames<DrawOptions>({ ...MAKING, seed: 'any' });

/** Range of `uniform`. */
export interface UniformOptions extends DrawOptions {
  /** The least value. Default 0. */
  readonly low?: number;
  /** What values stay below. Default 1. */
  readonly high?: number;
}

const UNIFORM_OPTIONS = new OptionNames<UniformOptions>({
  ...MAKING,
  seed: 'any',
  low: 'number',
  high: 'number',
});

/** Mean and standard deviation of `normal`. */
export interface NormalOptions extends DrawOptions {
  /** Default 0. */
  readonly mean?: number;
  /** Default 1. */
  readonly std?: number;
}

const NORMAL_OPTIONS = new OptionNames<NormalOptions>({
  ...MAKING,
  seed: 'any',
  mean: 'number',
  std: 'number',
});

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);

/** @throws ShapeError when `seed` is none of the three. A counter moves only after everything else was checked. */
function streamOf(op: string, seed: RandomSource): RandomStream {
  if (isWhole(seed)) return { seed, stream: 0 };
  if (typeof seed === 'object' && seed !== null && isWhole(seed.seed)) {
    if (seed instanceof RandomStreams) return seed.next();
    if (isWhole(seed.stream)) return seed;
  }
  throw new ShapeError(
    op,
    `seed must be a whole number, a RandomStreams or one of its streams, found ${show(seed)}`,
  );
}

function checkNumber(op: string, name: string, value: unknown, fits = true): void {
  if (typeof value !== 'number' || !Number.isFinite(Math.fround(value)) || !fits)
    throw new ShapeError(op, `${name} must be a finite number, found ${show(value)}`);
}

/** @throws ShapeError when the options, the shape, the dtype or the seed do not fit. */
function drawn<O extends DrawOptions>(
  op: string,
  gpu: Gpu,
  shape: Shape,
  options: O,
  [byDefault, ...others]: readonly [DType, ...DType[]],
  names: OptionNames<O>,
  draw: (dtype: DType) => Draw,
): Tensor {
  const dtype = checkMaking(op, gpu, options, byDefault, names);
  const dtypes = [byDefault, ...others];
  if (!dtypes.includes(dtype)) throw new ShapeError(op, `must be ${dtypes.join(' or ')}, not ${dtype}`);
  checkShape(op, shape);
  const what = draw(dtype);
  const random = streamOf(op, options.seed);
  const start = (random.firstRow ?? 0) * (shape.at(-1) ?? 1);
  if (start % 4 !== 0)
    throw new ShapeError(
      op,
      'part of a batch needs rows of whole groups of 4 values, or a first row that is one',
    );
  const out = Tensor.empty(gpu, shape, dtype);
  drawInto(out, what, random, start);
  return made(out, options);
}

/**
 * Independent numbers, uniform in [low, high): f32 of 24 random bits, or f16 of 11, never `high` itself.
 * @throws ShapeError for integers, and unless low ≤ high.
 */
export function uniform(gpu: Gpu, shape: Shape, options: UniformOptions): Tensor {
  const op = 'uniform';
  return drawn(op, gpu, shape, options, ['f32', 'f16'], UNIFORM_OPTIONS, () => {
    const { low = 0, high = 1 } = options;
    checkNumber(op, 'low', low);
    checkNumber(op, 'high', high);
    checkNumber(op, 'the range', high - low, high >= low);
    return { kind: 'uniform', low, high };
  });
}

/**
 * Independent normal numbers of `mean` (0) and standard deviation `std` (1): f32 or f16. Φ⁻¹ of 32 random bits, within
 * 2·10⁻⁶ (kernels/normal-table.ts); none is more than 6.3 deviations from the mean.
 * @throws ShapeError for integers, and for a negative deviation.
 */
export function normal(gpu: Gpu, shape: Shape, options: NormalOptions): Tensor {
  const op = 'normal';
  return drawn(op, gpu, shape, options, ['f32', 'f16'], NORMAL_OPTIONS, () => {
    const { mean = 0, std = 1 } = options;
    checkNumber(op, 'mean', mean);
    checkNumber(op, 'std', std, std >= 0);
    return { kind: 'normal', mean, deviation: std };
  });
}

/**
 * Independent whole numbers, uniform in [low, high): i32, or u32.
 * @throws ShapeError unless low < high are whole numbers that the dtype has (high may be one more).
 */
export function randomInts(gpu: Gpu, shape: Shape, low: number, high: number, options: DrawOptions): Tensor {
  const op = 'randomInts';
  return drawn(op, gpu, shape, options, ['i32', 'u32'], DRAW_OPTIONS, (dtype) => {
    const least = dtype === 'u32' ? 0 : -(2 ** 31);
    if (!(isWhole(low) && isWhole(high) && least <= low && low < high && high <= least + 2 ** 32))
      throw new ShapeError(op, `no ${dtype} from ${show(low)} to below ${show(high)}`);
    return { kind: 'integers', low, high };
  });
}

/** Independent draws, true (1 of numbers) with a probability from 0 to 1: bool, or any other dtype. @throws ShapeError. */
export function bernoulli(gpu: Gpu, shape: Shape, probability: number, options: DrawOptions): Tensor {
  const op = 'bernoulli';
  return drawn(op, gpu, shape, options, ['bool', 'f32', 'f16', 'i32', 'u32'], DRAW_OPTIONS, () => {
    if (typeof probability !== 'number' || !(probability >= 0 && probability <= 1))
      throw new ShapeError(op, `probability must be a probability from 0 to 1, found ${show(probability)}`);
    return { kind: 'bernoulli', probability };
  });
}

/** Names the stream of a permutation among all draws of its seed on the host. */
const PERMUTATION = 0x7065_726d;

/**
 * The numbers 0 … size−1 in random order, every order equally likely: [size] i32, or u32. Drawn on the host, which
 * exchanges them one after the other (Fisher and Yates).
 */
export function permutation(gpu: Gpu, size: number, options: DrawOptions): Tensor {
  const op = 'permutation';
  const dtype = checkMaking(op, gpu, options, 'i32', DRAW_OPTIONS);
  if (dtype !== 'i32' && dtype !== 'u32') throw new ShapeError(op, `must be i32 or u32, not ${dtype}`);
  checkShape(op, [size]);
  const { seed, stream } = streamOf(op, options.seed);
  // What is more than the device can hold is refused before the host begins.
  const out = Tensor.empty(gpu, [size], dtype);
  const order = Uint32Array.from({ length: size }, (_, i) => i);
  new CounterRandom(seed, [PERMUTATION, stream]).shuffle(order);
  if (size > 0) out.write(dtype === 'u32' ? order : new Int32Array(order.buffer));
  return made(out, options);
}
