/** The kernel that moves a box of elements: the family `strided`. Numbers are moved by their bits. */

import type { Binding, Gpu, RowTexture } from '../../gpu/gpu.js';
import { sizeOf } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { FloatDType } from '../launch/formats.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { type Operand, whole, windowOf } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from '../variants.js';
import { type Box, rangeOf, type Side } from './box.js';
import { byFours, type Unit, type Units, unitsOf } from './units.js';

interface StridedForm {
  readonly unit: Unit;
  readonly rank: number;
  /** Words of the last dimension come in whole fours. */
  readonly fours: boolean;
}

/** Units of a dispatch: those of its last dimension, and how many times those. */
interface StridedSize {
  readonly rows: number;
  readonly cols: number;
}

interface StridedOperands {
  readonly X: Operand;
  readonly outY: Operand;
  readonly units: Units;
  /** Where the box begins in what is bound, in elements of the buffers. */
  readonly startX: number;
  readonly startY: number;
}

/** Units, or groups of four; then by the dimension their number and their steps on both sides; then the steps within. */
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

const HALF_OF_X = 'fn halfOfX(at: u32) -> u32 { return (X[at / 2u] >> (16u * (at % 2u))) & 0xffffu; }';

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

const four = [0, 1, 2, 3] as const;

/** Four rows are read, four columns are written. */
const block = (x: string, column: (c: number) => string): Move => ({
  x,
  move: `let place = placeOf(i);
  ${four.map((r) => `let r${r} = X[place.x + ${r}u * p.stepX];`).join(' ')}
  ${four.map((c) => `outY[place.y + ${c}u * p.stepY] = ${x}(${column(c)});`).join('\n  ')}`,
});

const words = (x: string): Move => ({ x, move: 'let place = placeOf(i); outY[place.y] = X[place.x];' });

const MOVES: Readonly<Record<Unit, Move>> = {
  words4: words('vec4u'),
  words1: words('u32'),
  words16: block('vec4u', (c) => four.map((r) => `r${r}[${c}]`).join(', ')),
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

/** Four words, or four times four, of a thread. */
const FOUR_WORDS = `let place = placeOf(i);
  ${four.map((k) => `let v${k} = X[place.x + ${k}u * p.stepX];`).join(' ')}
  ${four.map((k) => `outY[place.y + ${k}u * p.stepY] = v${k};`).join(' ')}`;

const stridedShader = ({ unit, rank }: StridedForm, fours: boolean) =>
  shaderOf('strided', { unit, rank, fours }, (form) => {
    const { x, y = x, functions = '', each = 1, move } = MOVES[form.unit];
    return {
      label: 'strided',
      params: PARAMS,
      buffers: { X: `array<${x}>`, outY: `array<${y}>` },
      body: `${functions}
${placeOf(form.rank)}
${FLAT_MAIN}
  if (${each === 1 ? 'i' : `${each}u * i`} >= p.count) { return; }
  ${form.fours ? FOUR_WORDS : move}
}`,
    };
  });

type StridedVariant = Variant<StridedForm, StridedSize, StridedOperands>;

const variant = (
  { name, why, supports, prior }: Pick<StridedVariant, 'name' | 'why' | 'supports' | 'prior'>,
  fours: boolean,
): StridedVariant => ({
  name,
  why,
  supports,
  prior,
  shaders: (_, form) => ({ move: stridedShader(form, fours) }),
  run(gpu, form, _, { X, outY, units: all, startX, startY }) {
    const { unit, dims, from, to, stepX, stepY } = fours ? byFours(all) : all;
    const count = sizeOf(dims);
    stridedShader(form, fours).launch(
      gpu,
      { X, outY },
      () => ({
        count,
        d1: dims[1] ?? 1,
        d2: dims[2] ?? 1,
        d3: dims[3] ?? 1,
        startX,
        x0: from[0]!,
        x1: from[1] ?? 0,
        x2: from[2] ?? 0,
        x3: from[3] ?? 0,
        startY,
        y0: to[0]!,
        y1: to[1] ?? 0,
        y2: to[2] ?? 0,
        y3: to[3] ?? 0,
        stepX,
        stepY,
      }),
      () => flatGroups(Math.ceil(count / (MOVES[unit].each ?? 1))),
    );
  },
});

/** Bytes of a unit. */
const UNIT_BYTES: Readonly<Record<Unit, number>> = {
  words4: 16,
  words1: 4,
  words16: 64,
  words8: 32,
  pairs: 2,
  halves: 2,
};

const formOf = ({ unit, dims }: Units): StridedForm => ({
  unit,
  rank: dims.length,
  fours: (unit === 'words4' || unit === 'words1') && dims.at(-1)! % 4 === 0,
});

const stridedSize = ({ dims }: Units): StridedSize => ({
  rows: sizeOf(dims.slice(0, -1)),
  cols: dims.at(-1)!,
});

/** What the record of the family moves with a unit: a matrix [rows, cols] whose result has no gaps. */
interface Sample {
  readonly name: string;
  readonly dtype: FloatDType;
  /** Where its elements are read. */
  readonly side: (rows: number, cols: number) => Side;
  /** Rows and columns of what so many units are. */
  readonly extents: (rows: number, cols: number) => [rows: number, cols: number];
}

/** The last dimension of blocks is that of the rows that are read. */
const blocks = (rows: number, cols: number): [number, number] => [4 * cols, 4 * rows];
const transposed = (rows: number): Side => ({ start: 0, strides: [1, rows] });

const SAMPLES: Readonly<Record<Exclude<Unit, 'halves'>, Sample>> = {
  words16: { name: 'transposed f32', dtype: 'f32', side: transposed, extents: blocks },
  words8: { name: 'transposed f16', dtype: 'f16', side: transposed, extents: blocks },
  pairs: {
    name: 'transposed f16, odd',
    dtype: 'f16',
    side: transposed,
    extents: (rows, cols) => [rows, cols],
  },
  words4: {
    name: 'left half f32',
    dtype: 'f32',
    side: (_, cols) => ({ start: 0, strides: [2 * cols, 1] }),
    extents: (rows, cols) => [rows, 4 * cols],
  },
  words1: {
    name: 'every other column f32',
    dtype: 'f32',
    side: (_, cols) => ({ start: 1, strides: [2 * cols, 2] }),
    extents: (rows, cols) => [rows, cols],
  },
};

/** Halves that share words with others have one variant, and no sample. */
const sampleOf = (unit: Unit): Sample => SAMPLES[unit === 'halves' ? 'pairs' : unit];

const boxOf = ({ side }: Sample, rows: number, cols: number): Box => ({
  dims: [rows, cols],
  from: side(rows, cols),
  to: { start: 0, strides: [cols, 1] },
});

const caseOf = (
  sample: Sample,
  [rows, cols]: readonly [number, number],
  use: 'check' | 'bench',
): Case<StridedForm, StridedSize> => {
  const units = unitsOf(boxOf(sample, rows, cols), sample.dtype, rows * cols);
  return { name: `${rows}×${cols} ${sample.name}`, form: formOf(units), size: stridedSize(units), use };
};

export const stridedFamily: Family<StridedForm, StridedSize, StridedOperands> = {
  name: 'strided',
  summary: 'numbers moved in regular steps: what transposes, slices, stacks, pads, repeats and flips',
  variants: [
    variant({ name: 'one', why: 'a unit a thread', supports: () => true, prior: () => 0 }, false),
    variant(
      {
        name: 'four',
        why: 'four units a thread, whose places are found once: on CPUs that costs more than to move them',
        supports: (_, { fours }) => fours,
        prior: ({ software }) => (software ? 1 : -1),
      },
      true,
    ),
  ],
  formName: ({ unit }) => unit,
  sizeClass: () => 'any',
  cases: [
    caseOf(SAMPLES.words16, [24, 36], 'check'),
    caseOf(SAMPLES.words8, [24, 36], 'check'),
    caseOf(SAMPLES.pairs, [7, 5], 'check'),
    caseOf(SAMPLES.words4, [7, 48], 'check'),
    caseOf(SAMPLES.words1, [7, 12], 'check'),
    caseOf(SAMPLES.words1, [7, 13], 'check'),
    ...([1024, 4096] as const).flatMap((rows) =>
      [SAMPLES.words16, SAMPLES.words8, SAMPLES.words4, SAMPLES.words1].map((sample) =>
        caseOf(sample, [rows, 1024], 'bench'),
      ),
    ),
  ],
  sizes: {
    spelled: 'RxC',
    read: ([rows, cols, ...more], { unit }) => {
      if (!rows || !cols || more.length > 0) return undefined;
      const found = caseOf(sampleOf(unit), [rows, cols], 'bench');
      return found.form.unit === unit ? found : undefined;
    },
  },
  cost: ({ unit }, { rows, cols }) => ({ flops: 0, bytes: 2 * UNIT_BYTES[unit] * rows * cols }),
  tolerance: () => 0,
  trial(gpu, form, size) {
    const sample = sampleOf(form.unit);
    // Rows of one element are one row: of one dimension nothing lies apart.
    const [rows, cols] = sample.extents(form.rank === 1 ? 1 : size.rows, size.cols);
    const box = boxOf(sample, rows, cols);
    const all = unitsOf(box, sample.dtype, rows * cols);
    const only = (values: readonly number[]) => (form.rank === 1 ? values.slice(1) : values);
    const units = { ...all, dims: only(all.dims), from: only(all.from), to: only(all.to) };
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rangeOf(box.dims, box.from)[1] + box.from.start], sample.dtype);
    const out = draws.empty([rows, cols], sample.dtype);
    const [down, along] = box.from.strides as [number, number];
    const row = (r: number) =>
      Float64Array.from({ length: cols }, (_, c) => x.values[box.from.start + r * down + c * along]!);
    const parts = () => probedRows(rows).map((r) => ({ start: r * cols, values: row(r) }));
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, stridedFamily, form, size, name).run(gpu, form, size, {
        ...placed(box, units, x.tensor, out),
        units,
      }),
    );
  },
};

/** Bits of any format are words to these kernels. */
function bitsOf(tensor: Tensor, range: readonly [start: number, count: number]) {
  const { operand, base } = windowOf(tensor, ...range);
  const { whole: seen } = operand as { readonly whole: Tensor | Binding | RowTexture };
  const binding = 'binding' in seen ? seen.binding() : { ...(seen as Binding), dtype: undefined };
  return { operand: whole(binding), base };
}

/** What a box needs to see of two tensors, and where it begins there. */
function placed({ dims, from, to }: Box, { width }: Units, source: Tensor, target: Tensor) {
  const X = bitsOf(source, rangeOf(dims, from));
  const Y = bitsOf(target, rangeOf(dims, to));
  return {
    X: X.operand,
    outY: Y.operand,
    startX: (from.start - X.base) / width,
    startY: (to.start - Y.base) / width,
  };
}

/** Moves a simplified box that is no run, of which a binding shows what it needs, from one tensor to another of its dtype. */
export function moveBox(gpu: Gpu, box: Box, source: Tensor, target: Tensor): void {
  const units = unitsOf(box, source.dtype, target.size);
  const operands = { ...placed(box, units, source, target), units };
  runVariant(gpu, stridedFamily, formOf(units), stridedSize(units), operands);
}
