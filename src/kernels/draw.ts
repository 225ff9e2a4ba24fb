/**
 * Random tensors. Element e takes word e % 4 of the Threefry block (random.ts) at counter ⌊e / 4⌋ of its seed, stream and
 * kind of draw, and what it makes of it is exact or rounded once, by operations that every adapter rounds alike: the same
 * numbers everywhere, whatever the size and wherever the launcher cuts.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { RandomStream } from '../tensor/random-streams.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { flat, type Operand, type Piece, whole } from './launch/operands.js';
import { type ParamType, shaderOf } from './launch/shader.js';
import { bitsOf } from './make.js';
import { NORMAL_OF, normalNodes } from './normal-table.js';
import { THREEFRY } from './random.js';

/** What is drawn; the numbers are checked by who calls. */
export type Draw =
  /** In [low, high), of f32 or f16. */
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number }
  | { readonly kind: 'normal'; readonly mean: number; readonly deviation: number }
  /** Whole numbers in [low, high), of i32 or u32. */
  | { readonly kind: 'integers'; readonly low: number; readonly high: number }
  /** 1 with a probability, else 0; of any format. */
  | { readonly kind: 'bernoulli'; readonly probability: number };

type Kind = Draw['kind'];

/** Part of the key, so that draws of different kinds have nothing to do with each other; 0 and 1 are dropout and `fillNormal`. */
const KEYS: Readonly<Record<Kind, number>> = { uniform: 2, normal: 3, integers: 4, bernoulli: 5 };

/** The parameters of each kind. */
const PARAMS = {
  // `zero` is 0, which no compiler knows: see `apart`.
  uniform: { low: 'f32', width: 'f32', most: 'f32', zero: 'u32' },
  normal: { mean: 'f32', deviation: 'f32', zero: 'u32' },
  integers: { low: 'u32', range: 'u32' },
  bernoulli: { least: 'u32', one: 'u32' },
} as const satisfies Readonly<Record<Kind, Readonly<Record<string, ParamType>>>>;

/** Random bits of a uniform number: as many as the format has below 1, so that none is rounded up to it. */
const UNIFORM_BITS = { f32: 24, f16: 11 } as const;

/** A product and a sum that adapters might fuse, and round once where others round twice, but for the bits in between. */
const apart = (product: string, sum: string): string =>
  `bitcast<vec4f>(bitcast<vec4u>(${product}) ^ vec4u(p.zero)) + ${sum}`;

/** WGSL: declares `value`, four floats, or `words`, four words. */
const BODY: Readonly<Record<Kind, (dtype: DType) => string>> = {
  uniform: (dtype) => {
    const bits = UNIFORM_BITS[dtype as 'f32' | 'f16'];
    return `let unit = vec4f(threefry(key, counter) >> vec4u(${32 - bits}u)) * ${2 ** -bits};
  let value = min(${apart('unit * p.width', 'p.low')}, vec4f(p.most));`;
  },
  normal: () => `let bits = threefry(key, counter);
  let normal = vec4f(normalOf(bits.x), normalOf(bits.y), normalOf(bits.z), normalOf(bits.w));
  let value = ${apart('normal * p.deviation', 'p.mean')};`,
  // The upper word of (64 random bits) · range: of no range does a number come more often by more than range / 2^64.
  integers: () => `let even = threefry(key, vec4u(2u * counter.x, counter.yzw));
  let odd = threefry(key, vec4u(2u * counter.x + 1u, counter.yzw));
  let high = vec4u(even.xz, odd.xz);
  let carried = highProduct(vec4u(even.yw, odd.yw), p.range);
  let low = high * p.range + carried;
  let drawn = highProduct(high, p.range) + select(vec4u(), vec4u(1u), low < carried);
  // A range of 0 is one of 2^32.
  let words = select(drawn, high, p.range == 0u) + p.low;`,
  bernoulli: (dtype) => `let hit = threefry(key, counter) >= vec4u(p.least);
  ${dtype === 'f16' ? 'let value = select(vec4f(), vec4f(1.0), hit);' : 'let words = select(vec4u(), vec4u(p.one), hit);'}`,
};

const HIGH_PRODUCT = `
fn highProduct(a: vec4u, b: u32) -> vec4u {
  let a0 = a & vec4u(0xffffu);
  let a1 = a >> vec4u(16u);
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let low = a0 * b1;
  let high = a1 * b0;
  let middle = ((a0 * b0) >> vec4u(16u)) + (low & vec4u(0xffffu)) + (high & vec4u(0xffffu));
  return a1 * b1 + (low >> vec4u(16u)) + (high >> vec4u(16u)) + (middle >> vec4u(16u));
}`;

const shaderFor = (form: { readonly kind: Kind; readonly dtype: DType }) =>
  shaderOf('draw', form, ({ kind, dtype }) => {
    const words = kind === 'integers' || (kind === 'bernoulli' && dtype !== 'f16');
    const stored = words ? 'words' : dtype === 'f16' ? 'packHalves(value)' : 'bitcast<vec4u>(value)';
    return {
      label: `draw${kind[0]!.toUpperCase()}${kind.slice(1)}`,
      params: {
        count: 'u32',
        first: 'u32',
        seed: 'u32',
        seedHigh: 'u32',
        stream: 'u32',
        ...(PARAMS[kind] as Record<string, ParamType>),
      },
      buffers: {
        outY: dtype === 'f16' ? 'array<Half4>' : 'array<vec4u>',
        ...(kind === 'normal' ? { inNodes: 'array<i32>' } : {}),
      },
      dtypes: { outY: dtype },
      body: `${THREEFRY}${kind === 'normal' ? NORMAL_OF : ''}${kind === 'integers' ? HIGH_PRODUCT : ''}
${FLAT_MAIN}
  if (i >= p.count) { return; }
  let key = vec4u(p.seed, p.stream, ${KEYS[kind]}u, p.seedHigh);
  let counter = vec4u(p.first + i, 0u, 0u, 0u);
  ${BODY[kind](dtype)}
  outY[i] = ${stored};
}`,
    };
  });

const scratch = new Float32Array(1);
const scratchBits = new Int32Array(scratch.buffer);

/** The largest f32, or half, below x. */
export function nextBelow(x: number, dtype: 'f32' | 'f16'): number {
  scratch[0] = x;
  const step = dtype === 'f16' ? 2 ** 13 : 1;
  if (dtype === 'f16' && Math.abs(x) <= 2 ** -14) return x - 2 ** -24;
  if (x === 0) scratchBits[0] = -0x7fffffff;
  else scratchBits[0] = scratchBits[0]! + (x > 0 ? -step : step);
  return scratch[0]!;
}

/** What `draw` gives its kernel besides the place. */
function numbersOf(draw: Draw, dtype: DType): Record<string, number> {
  switch (draw.kind) {
    case 'uniform': {
      const [low, high] = [Math.fround(draw.low), Math.fround(draw.high)];
      const most = high > low ? nextBelow(high, dtype as 'f32' | 'f16') : high;
      return { low, width: high - low, most, zero: 0 };
    }
    case 'normal':
      return { mean: draw.mean, deviation: draw.deviation, zero: 0 };
    case 'integers':
      return { low: draw.low >>> 0, range: (draw.high - draw.low) >>> 0 };
    case 'bernoulli': {
      // Of 2^32 equally likely words those from `least` on.
      const least = Math.round((1 - draw.probability) * 2 ** 32);
      return {
        least: Math.min(least, 2 ** 32 - 1),
        one: bitsOf('bernoulli', dtype, dtype === 'bool' ? true : 1),
      };
    }
  }
}

/**
 * Fills a tensor, and the room after its last value up to a group of four, with what is drawn, from element `start` of the
 * stream on, a multiple of 4.
 */
export function drawInto(out: Tensor, draw: Draw, { seed, stream }: RandomStream, start = 0): void {
  const { gpu, dtype, size } = out;
  const { kind } = draw;
  if (size === 0) return;
  // Less likely than one of 2^32 words is never.
  if (kind === 'bernoulli' && Math.round(draw.probability * 2 ** 32) === 0) {
    out.fillZero();
    return;
  }
  const numbers = numbersOf(draw, dtype);
  const nodes = kind === 'normal' ? nodesOn(gpu) : undefined;
  const operands: Record<string, Operand> = { outY: flat(out) };
  if (nodes) operands['inNodes'] = whole(nodes);
  const units = ({ count }: Piece) => Math.ceil(count / 4);
  shaderFor({ kind, dtype }).launch(
    gpu,
    operands,
    (piece) => ({
      count: units(piece),
      first: (start + piece.start) / 4,
      seed,
      seedHigh: Math.floor(seed / 2 ** 32),
      stream,
      ...numbers,
    }),
    (piece) => flatGroups(units(piece)),
  );
  nodes?.dispose();
}

/** 4 kB, uploaded for each draw: nothing is kept on the device that someone would have to free. */
function nodesOn(gpu: Gpu): Tensor {
  const nodes = normalNodes();
  return Tensor.from(gpu, nodes, [nodes.length], 'i32', 'workspace');
}
