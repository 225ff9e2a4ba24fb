/**
 * Elements from anywhere to anywhere in regular steps: what transposes, slices, stacks, pads, repeats and flips. Numbers
 * are moved by their bits, of any format; which places they have is in box.ts. Nothing is computed here.
 */
import type { Binding, Gpu, RowTexture } from '../../gpu/gpu.js';
import { sizeOf, stridesOf } from '../../tensor/shape.js';
import { bytesPerElement, Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { type Operand, whole, windowOf } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import { type Box, cut, isRun, rangeOf, type Side, simplified } from './box.js';

/**
 * What a thread moves. `words4`, `words1`: so many words at once, where those lie together on both sides. Of halves that do
 * not fill words: `pairs`, a word of the result from two places; `halves`, half a word, of which the other half may be
 * another thread's.
 */
type Unit = 'words4' | 'words1' | 'pairs' | 'halves';

interface CopyForm {
  readonly unit: Unit;
  readonly rank: number;
}

/** By the dimension, each with its extent and its steps on both sides. */
const PARAMS = {
  /** Of threads, and the number of the last unit. */
  count: 'u32',
  last: 'u32',
  d1: 'u32',
  d2: 'u32',
  d3: 'u32',
  startX: 'u32',
  x0: 'u32',
  x1: 'u32',
  x2: 'u32',
  x3: 'u32',
  startY: 'u32',
  y0: 'u32',
  y1: 'u32',
  y2: 'u32',
  y3: 'u32',
} as const;

/** WGSL: `placeOf(i)`, where unit i of a box of `rank` dimensions is read and written; starts and steps are modulo 2³². */
function placeOf(rank: number): string {
  const lines = ['var rest = i;', 'var place = vec2u(p.startX, p.startY);'];
  for (let d = rank - 1; d > 0; d--)
    lines.push(
      `let next${d} = rest / p.d${d};`,
      `place += (rest - next${d} * p.d${d}) * vec2u(p.x${d}, p.y${d});`,
      `rest = next${d};`,
    );
  return `fn placeOf(i: u32) -> vec2u {
  ${lines.join('\n  ')}
  return place + rest * vec2u(p.x0, p.y0);
}`;
}

const HALF_OF_X = `fn halfOfX(at: u32) -> u32 { return (X[at / 2u] >> (16u * (at % 2u))) & 0xffffu; }`;

const MOVES: Readonly<
  Record<Unit, { readonly functions?: string; readonly y?: string; readonly move: string }>
> = {
  words4: { move: 'let place = placeOf(i); outY[place.y] = X[place.x];' },
  words1: { move: 'let place = placeOf(i); outY[place.y] = X[place.x];' },
  pairs: {
    functions: HALF_OF_X,
    move: `let place = placeOf(2u * i);
  outY[place.y / 2u] = halfOfX(place.x) | (halfOfX(placeOf(min(2u * i + 1u, p.last)).x) << 16u);`,
  },
  halves: {
    functions: HALF_OF_X,
    y: 'array<atomic<u32>>',
    move: `let place = placeOf(i);
  let shift = 16u * (place.y % 2u);
  // Of its word no thread changes the other half, so that the order is of no matter.
  atomicAnd(&outY[place.y / 2u], ~(0xffffu << shift));
  atomicOr(&outY[place.y / 2u], halfOfX(place.x) << shift);`,
  },
};

const copyShader = (form: CopyForm) =>
  shaderOf('strided', form, ({ unit, rank }) => {
    const { functions = '', y, move } = MOVES[unit];
    const type = unit === 'words4' ? 'array<vec4u>' : 'array<u32>';
    return {
      label: 'strided',
      params: PARAMS,
      buffers: { X: type, outY: y ?? type },
      body: `${functions}
${placeOf(rank)}
${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${move}
}`,
    };
  });

/** Whether `width` elements of a box always lie together, and begin at multiples of that on both sides. */
function fillsUnits({ dims, from, to }: Box, width: number): boolean {
  const last = dims.length - 1;
  const fits = ({ start, strides }: Side): boolean =>
    start % width === 0 && strides.every((stride, d) => (d === last ? stride === 1 : stride % width === 0));
  return width === 1 || (last >= 0 && dims[last]! % width === 0 && fits(from) && fits(to));
}

/** Whether two neighbours of a box share a word of the result, which no others do. */
function fillsPairs({ dims, to: { start, strides } }: Box, out: Tensor): boolean {
  const last = dims.length - 1;
  if (last < 0 || start % 2 !== 0 || strides[last] !== 1) return false;
  if (dims[last]! % 2 === 0 && strides.every((stride, d) => d === last || stride % 2 === 0)) return true;
  // All of it in its order: what follows the last is room.
  return start === 0 && sizeOf(dims) === out.size;
}

const WORDS = { words4: 4, words1: 1 } as const;

function unitOf(box: Box, from: Tensor, to: Tensor): { unit: Unit; width: number } {
  const perWord = 4 / bytesPerElement[from.dtype];
  for (const unit of ['words4', 'words1'] as const)
    if (fillsUnits(box, WORDS[unit] * perWord)) return { unit, width: WORDS[unit] * perWord };
  return { unit: fillsPairs(box, to) ? 'pairs' : 'halves', width: 1 };
}

/** Bits of any format are words to these kernels. */
function bitsOf(tensor: Tensor, range: readonly [start: number, count: number]) {
  const { operand, base } = windowOf(tensor, ...range);
  const { whole: seen } = operand as { readonly whole: Tensor | Binding | RowTexture };
  const binding = 'binding' in seen ? seen.binding() : { ...(seen as Binding), dtype: undefined };
  return { operand: whole(binding) as Operand, base };
}

function move(gpu: Gpu, box: Box, from: Tensor, to: Tensor): void {
  const { unit, width } = unitOf(box, from, to);
  const { dims } = box;
  const X = bitsOf(from, rangeOf(dims, box.from));
  const Y = bitsOf(to, rangeOf(dims, box.to));
  const last = dims.length - 1;
  // In units of `width` elements; the last dimension's steps are from one unit to the next.
  const at = (values: readonly number[], d: number) => (d === last ? values[d]! : (values[d] ?? 0) / width);
  const count = sizeOf(dims) / width;
  const threads = unit === 'pairs' ? Math.ceil(count / 2) : count;
  copyShader({ unit, rank: Math.max(1, dims.length) }).launch(
    gpu,
    { X: X.operand, outY: Y.operand },
    () => ({
      count: threads,
      last: count - 1,
      d1: dims[1] === undefined ? 1 : dims[1] / (last === 1 ? width : 1),
      d2: dims[2] === undefined ? 1 : dims[2] / (last === 2 ? width : 1),
      d3: dims[3] === undefined ? 1 : dims[3] / (last === 3 ? width : 1),
      startX: (box.from.start - X.base) / width,
      x0: at(box.from.strides, 0),
      x1: at(box.from.strides, 1),
      x2: at(box.from.strides, 2),
      x3: at(box.from.strides, 3),
      startY: (box.to.start - Y.base) / width,
      y0: at(box.to.strides, 0),
      y1: at(box.to.strides, 1),
      y2: at(box.to.strides, 2),
      y3: at(box.to.strides, 3),
    }),
    () => flatGroups(threads),
    () => ({ bytes: 2 * sizeOf(dims) * bytesPerElement[from.dtype], flops: 0 }),
  );
}

/**
 * to[to.start + Σ i·to.strides] = from[from.start + Σ i·from.strides] for all i in `dims`. The places that are written are
 * distinct, and the two tensors, of one dtype, lie in different buffers; steps may be negative, those of reads 0. What is a
 * run of elements on both sides is a copy of the device.
 */
export function copyStrided(
  dims: readonly number[],
  from: Tensor,
  read: Side,
  to: Tensor,
  write: Side,
): void {
  if (dims.includes(0)) return;
  const box = simplified({ dims, from: read, to: write });
  if (isRun(box)) {
    to.copyUnrecorded(from, box.to.start, box.from.start, sizeOf(box.dims));
    return;
  }
  const { gpu } = from;
  const { maxWorkgroupsPerDimension: most } = gpu.capabilities;
  for (const each of cut(box, from, to, most * most * flatItems)) move(gpu, each, from, to);
}

/** Items of a workgroup of `FLAT_MAIN`. */
const flatItems = 256;

/**
 * The tensor of `shape` whose element i is x[start + Σ i·strides]: another handle to x's own memory where these are
 * elements one behind the other that can be bound there, else a copy.
 */
export function readStrided(x: Tensor, shape: readonly number[], { start, strides }: Side): Tensor {
  const to = { start: 0, strides: stridesOf(shape) };
  if (sizeOf(shape) > 0) {
    const box = simplified({ dims: shape, from: { start, strides }, to });
    if (isRun(box)) {
      const view = x.aliasAt(box.from.start, shape);
      if (view) return view;
    }
  }
  const out = Tensor.empty(x.gpu, shape, x.dtype);
  copyStrided(shape, x, { start, strides }, out, to);
  return out;
}

/** out[start + Σ i·strides] = element i of x. The places are distinct; the others keep what they have. */
export function writeStrided(x: Tensor, out: Tensor, write: Side): void {
  copyStrided(x.shape, x, { start: 0, strides: stridesOf(x.shape) }, out, write);
}
