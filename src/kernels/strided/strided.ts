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
 * What a thread moves. `words4`, `words1`: so many words at once, where those lie together on both sides. `words16`, `words8`:
 * four by four elements of 4 or of 2 bytes, of which rows lie together where they are read and columns where they are
 * written, as in a transposition. Of halves that do not fill words: `pairs`, a word of the result from two places; `halves`,
 * half a word, of which the other half may be another thread's.
 */
type Unit = 'words4' | 'words1' | 'words16' | 'words8' | 'pairs' | 'halves';

interface CopyForm {
  readonly unit: Unit;
  readonly rank: number;
}

/** Units; then by the dimension their number and their steps on both sides; then the steps within blocks. */
const PARAMS = {
  count: 'u32',
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
  stepX: 'u32',
  stepY: 'u32',
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

interface Move {
  /** WGSL types of the elements of X, and of outY where it is another. */
  readonly x: string;
  readonly y?: string;
  readonly functions?: string;
  /** WGSL: unit i is moved. */
  readonly move: string;
  /** Units of a thread. */
  readonly each?: number;
}

const rows = [0, 1, 2, 3] as const;

/** Four rows are read, four columns are written. */
const block = (x: string, column: (c: number) => string): Move => ({
  x,
  move: `let place = placeOf(i);
  ${rows.map((r) => `let r${r} = X[place.x + ${r}u * p.stepX];`).join(' ')}
  ${rows.map((c) => `outY[place.y + ${c}u * p.stepY] = ${x}(${column(c)});`).join('\n  ')}`,
});

const WORDS = 'let place = placeOf(i); outY[place.y] = X[place.x];';

const MOVES: Readonly<Record<Unit, Move>> = {
  words4: { x: 'vec4u', move: WORDS },
  words1: { x: 'u32', move: WORDS },
  words16: block('vec4u', (c) => rows.map((r) => `r${r}[${c}]`).join(', ')),
  words8: block('vec2u', (c) =>
    [0, 2]
      .map((r) =>
        c % 2 === 0
          ? `(r${r}[${c >> 1}] & 0xffffu) | (r${r + 1}[${c >> 1}] << 16u)`
          : `(r${r}[${c >> 1}] >> 16u) | (r${r + 1}[${c >> 1}] & 0xffff0000u)`,
      )
      .join(', '),
  ),
  pairs: {
    x: 'u32',
    functions: HALF_OF_X,
    each: 2,
    move: `let place = placeOf(2u * i);
  outY[place.y / 2u] = halfOfX(place.x) | (halfOfX(placeOf(min(2u * i + 1u, p.count - 1u)).x) << 16u);`,
  },
  halves: {
    x: 'u32',
    y: 'atomic<u32>',
    functions: HALF_OF_X,
    move: `let place = placeOf(i);
  let shift = 16u * (place.y % 2u);
  // Of its word no thread changes the other half, so that the order is of no matter.
  atomicAnd(&outY[place.y / 2u], ~(0xffffu << shift));
  atomicOr(&outY[place.y / 2u], halfOfX(place.x) << shift);`,
  },
};

const copyShader = (form: CopyForm) =>
  shaderOf('strided', form, ({ unit, rank }) => {
    const { x, y = x, functions = '', each = 1, move } = MOVES[unit];
    return {
      label: 'strided',
      params: PARAMS,
      buffers: { X: `array<${x}>`, outY: `array<${y}>` },
      body: `${functions}
${placeOf(rank)}
${FLAT_MAIN}
  if (${each === 1 ? 'i' : `${each}u * i`} >= p.count) { return; }
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

/** A box in units: extents and steps count units of both buffers. */
interface Units {
  readonly unit: Unit;
  /** Elements of what the buffers are arrays of. */
  readonly width: number;
  readonly dims: readonly number[];
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly stepX: number;
  readonly stepY: number;
}

/** In blocks, where one dimension is read one behind the other and another written so, and all begins at whole fours. */
function blocksOf({ dims, from, to }: Box, unit: Unit): Units | undefined {
  const last = dims.length - 1;
  const along = from.strides.findIndex((stride, d) => stride === 1 && d !== last);
  if (along < 0 || to.strides[last] !== 1 || from.start % 4 !== 0 || to.start % 4 !== 0) return undefined;
  const fours = (values: readonly number[], without: number) =>
    values.every((value, d) => d === without || value % 4 === 0);
  if (dims[along]! % 4 !== 0 || dims[last]! % 4 !== 0) return undefined;
  if (!fours(from.strides, along) || !fours(to.strides, last)) return undefined;
  const inBlocks = (d: number) => d === along || d === last;
  return {
    unit,
    width: 4,
    dims: dims.map((extent, d) => (inBlocks(d) ? extent / 4 : extent)),
    from: from.strides.map((stride, d) => (d === along ? 1 : d === last ? stride : stride / 4)),
    to: to.strides.map((stride, d) => (d === last ? 1 : d === along ? stride : stride / 4)),
    stepX: from.strides[last]! / 4,
    stepY: to.strides[along]! / 4,
  };
}

function unitsOf(box: Box, from: Tensor, to: Tensor): Units {
  const perWord = 4 / bytesPerElement[from.dtype];
  const { dims } = box;
  const last = dims.length - 1;
  for (const [unit, width] of [
    ['words4', 4 * perWord],
    ['words1', perWord],
  ] as const) {
    const inUnits = ({ strides }: Side) => strides.map((stride, d) => (d === last ? stride : stride / width));
    if (fillsUnits(box, width) && !(width === 1 && blocksOf(box, 'words16')))
      return {
        unit,
        width,
        dims: dims.map((extent, d) => (d === last ? extent / width : extent)),
        from: inUnits(box.from),
        to: inUnits(box.to),
        stepX: 0,
        stepY: 0,
      };
  }
  const unit = fillsPairs(box, to) ? 'pairs' : 'halves';
  return (
    blocksOf(box, perWord === 1 ? 'words16' : 'words8') ?? {
      unit,
      width: 1,
      dims,
      from: box.from.strides,
      to: box.to.strides,
      stepX: 0,
      stepY: 0,
    }
  );
}

/** Bits of any format are words to these kernels. */
function bitsOf(tensor: Tensor, range: readonly [start: number, count: number]) {
  const { operand, base } = windowOf(tensor, ...range);
  const { whole: seen } = operand as { readonly whole: Tensor | Binding | RowTexture };
  const binding = 'binding' in seen ? seen.binding() : { ...(seen as Binding), dtype: undefined };
  return { operand: whole(binding) as Operand, base };
}

function move(gpu: Gpu, box: Box, source: Tensor, target: Tensor): void {
  const { unit, width, dims, from, to, stepX, stepY } = unitsOf(box, source, target);
  const X = bitsOf(source, rangeOf(box.dims, box.from));
  const Y = bitsOf(target, rangeOf(box.dims, box.to));
  const count = sizeOf(dims);
  copyShader({ unit, rank: dims.length }).launch(
    gpu,
    { X: X.operand, outY: Y.operand },
    () => ({
      count,
      d1: dims[1] ?? 1,
      d2: dims[2] ?? 1,
      d3: dims[3] ?? 1,
      startX: (box.from.start - X.base) / width,
      x0: from[0]!,
      x1: from[1] ?? 0,
      x2: from[2] ?? 0,
      x3: from[3] ?? 0,
      startY: (box.to.start - Y.base) / width,
      y0: to[0]!,
      y1: to[1] ?? 0,
      y2: to[2] ?? 0,
      y3: to[3] ?? 0,
      stepX,
      stepY,
    }),
    () => flatGroups(Math.ceil(count / (MOVES[unit].each ?? 1))),
    () => ({ bytes: 2 * sizeOf(box.dims) * bytesPerElement[source.dtype], flops: 0 }),
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
