/**
 * Largest or smallest values along an axis and their first positions, and the gradient of them: the family `maxRows` for rows.
 * All formats are compared as u32 keys in their order, so lanes hand round what is exact, and a NaN wins.
 */
import { Tensor } from '../tensor/tensor.js';
import {
  type AxisKernels,
  alongAxis,
  type ReducedAxis,
  type RowChunks,
  type RowPieces,
} from './axis-passes.js';
import { RANKS } from './elementary.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { type Operand, type Piece, type Range, windowed, windowRoom } from './launch/operands.js';
import type { RowVariant } from './launch/rows.js';
import { shaderOf } from './launch/shader.js';
import { rounded } from './reduce.js';
import { HALF_AT, valuesOf } from './reductions.js';
import { type RowsSize, rowCases, rowShader, rowVariants, widthClass } from './row-variants.js';
import { Draws, probedRows, trialOf } from './trials.js';
import { type Family, runVariant, variantOf } from './variants.js';

export type Extreme = 'max' | 'min';

/** Formats that are compared. */
export type ComparedDType = 'f32' | 'f16' | 'i32' | 'u32';

interface ExtremeForm {
  readonly of: Extreme;
  /** Of what is compared. */
  readonly dtype: ComparedDType;
  /** Whether that are extremes of parts, which have positions already. */
  readonly again: boolean;
}

/** Values along axes, and where they were first where they are extremes of parts. */
interface Found {
  readonly values: Tensor;
  /** u32 */
  readonly positions: Tensor | undefined;
}

interface ExtremeOperands {
  readonly from: Found;
  readonly to: Found;
  readonly pieces: RowPieces;
}

/** WGSL: `keyOf` of values, as u32 in the order of which the largest is wanted, and `valueOf` keys. */
function keys({ of, dtype }: ExtremeForm): string {
  const { type } = valuesOf(dtype, 1);
  const float = type === 'f32';
  const [ranked, unranked] = float
    ? ['rank(v)', 'unrank(own)']
    : type === 'i32'
      ? ['bitcast<u32>(v) ^ 0x80000000u', 'bitcast<i32>(own ^ 0x80000000u)']
      : ['v', 'own'];
  // The smallest has the largest complement; a NaN stays above all.
  const turned = of === 'max' ? 'key' : float ? 'select(~key, key, key == 0xffffffffu)' : '~key';
  return `${float ? RANKS : ''}${dtype === 'f16' ? HALF_AT : ''}
fn keyOf(v: ${type}) -> u32 { let key = ${ranked}; return ${turned}; }
fn valueOf(key: u32) -> ${type} { let own = ${turned}; return ${unranked}; }
`;
}

/** What the kernels bind: X and where its values were, and the results. */
function buffersOf({ dtype, again }: ExtremeForm): {
  readonly buffers: Record<string, string>;
  readonly dtypes: Record<string, ComparedDType>;
} {
  const { type, buffer } = valuesOf(dtype, 1);
  const to = dtype === 'f16' ? 'f32' : dtype;
  return {
    buffers: {
      X: buffer,
      ...(again ? { P: 'array<u32>' } : {}),
      outV: `array<${type}>`,
      outI: 'array<u32>',
    },
    dtypes: { X: dtype, outV: to },
  };
}

const tensorsOf = (
  { values, positions }: Found,
  [own, at]: readonly [string, string],
  units: number,
  of: (piece: Piece) => Range,
): Record<string, Operand> => ({
  [own]: windowed(values, units, of),
  ...(positions ? { [at]: windowed(positions, units, of) } : {}),
});

const rowsShader = (form: ExtremeForm, reduction: RowVariant) =>
  rowShader('extremesOfRows', form, reduction, (own) => ({
    label: `${own.of}OfRows`,
    params: {
      first: 'u32',
      rows: 'u32',
      length: 'u32',
      piece: 'u32',
      pieces: 'u32',
      baseX: 'u32',
      baseY: 'u32',
    } as const,
    ...buffersOf(own),
    functions: keys(own),
    body: `
  let own = p.first + row;
  let start = (own % p.pieces) * p.piece;
  let base = (own / p.pieces) * p.length - p.baseX;
  let end = min(p.length, start + p.piece);
  var best = 0u;
  var at = start;
  for (var c = start + lane; c < end; c += LANES) { let key = keyOf(${valuesOf(own.dtype, 1).load('X', 'base + c')}); if (key > best) { best = key; at = c; } }
  let top = rowMax(best, lane);
  // The first position: the smallest among the lanes that hold the largest key.
  let first = ~rowMax(select(0u, ~at, best == top), lane);
  if (lane == 0u) { outV[own - p.baseY] = valueOf(top); outI[own - p.baseY] = ${own.again ? 'P[base + first]' : 'first'}; }`,
  }));

const formName = ({ of, dtype, again }: ExtremeForm): string => `${of} ${dtype}${again ? ' again' : ''}`;

export const maxFamily: Family<ExtremeForm, RowsSize, ExtremeOperands> = {
  name: 'maxRows',
  summary: 'largest or smallest value of each row and where it is',
  variants: rowVariants(rowsShader, (shader, gpu, _form, _size: RowsSize, operands: ExtremeOperands) => {
    const { rows, length, piece, pieces } = operands.pieces;
    const begin = (row: number) => Math.floor(row / pieces) * length + (row % pieces) * piece;
    const end = (row: number) => begin(row) + Math.max(0, Math.min(piece, length - (row % pieces) * piece));
    shader.launch(
      gpu,
      {
        ...tensorsOf(operands.from, ['X', 'P'], rows, ({ start, count }) =>
          count === 0 ? [0, 0] : [begin(start), end(start + count - 1) - begin(start)],
        ),
        ...tensorsOf(operands.to, ['outV', 'outI'], rows, ({ start, count }) => [start, count]),
      },
      ({ start, count }, base) => ({
        first: start,
        rows: count,
        length,
        piece,
        pieces,
        baseX: base['X']!,
        baseY: base['outV']!,
      }),
      ({ count }) => count,
    );
  }),
  formName,
  sizeClass: widthClass,
  ...rowCases<ExtremeForm>(
    [
      { of: 'max', dtype: 'f32', again: false },
      { of: 'min', dtype: 'f16', again: false },
    ],
    formName,
    {
      check: [
        [5, 7],
        [33, 260],
      ],
      bench: [[1728, 384]],
    },
  ),
  cost: (_, { rows, cols }) => ({ flops: rows * cols, bytes: 4 * rows * (cols + 2) }),
  tolerance: () => 0,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], form.dtype === 'f16' ? 'f16' : 'f32');
    const values = draws.empty([rows]);
    const positions = draws.kept(Tensor.empty(gpu, [rows], 'u32'));
    const probes = (of: (row: Float32Array, top: number) => number) => () =>
      probedRows(rows, 16).map((r) => {
        const row = x.values.subarray(r * cols, (r + 1) * cols);
        return { start: r, values: [of(row, Math[form.of](...row))] };
      });
    const expected = [
      { output: values, parts: probes((_, top) => top) },
      { output: positions, parts: probes((row, top) => row.indexOf(top)) },
    ];
    const operands = {
      from: { values: x.tensor, positions: undefined },
      to: { values, positions },
      pieces: { rows, length: cols, piece: cols, pieces: 1 },
    };
    return trialOf(draws, expected, (name) =>
      variantOf(gpu, maxFamily, form, size, name).run(gpu, form, size, operands),
    );
  },
};

/** One thread walks down a column of a chunk of rows. */
function columns(
  form: ExtremeForm,
  from: Found,
  to: Found,
  { outer, length, inner }: ReducedAxis,
  { chunk, chunks }: RowChunks,
): void {
  const units = outer * chunks;
  const begin = (own: number) => Math.floor(own / chunks) * length + (own % chunks) * chunk;
  const end = (own: number) => begin(own) + Math.max(0, Math.min(chunk, length - (own % chunks) * chunk));
  shaderOf('extremesOfColumns', form, (own) => ({
    label: `${own.of}OfColumns`,
    params: {
      first: 'u32',
      count: 'u32',
      length: 'u32',
      inner: 'u32',
      chunk: 'u32',
      chunks: 'u32',
      baseX: 'u32',
      baseY: 'u32',
    } as const,
    ...buffersOf(own),
    body: `${keys(own)}${FLAT_MAIN}
  if (i >= p.count) { return; }
  let own = p.first + i / p.inner;
  let start = (own % p.chunks) * p.chunk;
  let base = (own / p.chunks) * p.length * p.inner + i % p.inner - p.baseX;
  var best = 0u;
  var at = start;
  for (var row = start; row < min(p.length, start + p.chunk); row++) {
    let key = keyOf(${valuesOf(own.dtype, 1).load('X', 'base + row * p.inner')});
    if (key > best) { best = key; at = row; }
  }
  let to = p.first * p.inner + i - p.baseY;
  outV[to] = valueOf(best);
  outI[to] = ${own.again ? 'P[base + at * p.inner]' : 'at'};
}`,
  })).launch(
    from.values.gpu,
    {
      ...tensorsOf(from, ['X', 'P'], units, ({ start, count }) => [
        begin(start) * inner,
        (end(start + count - 1) - begin(start)) * inner,
      ]),
      ...tensorsOf(to, ['outV', 'outI'], units, ({ start, count }) => [start * inner, count * inner]),
    },
    ({ start, count }, base) => ({
      first: start,
      count: count * inner,
      length,
      inner,
      chunk,
      chunks,
      baseX: base['X']!,
      baseY: base['outV']!,
    }),
    ({ count }) => flatGroups(count * inner),
  );
}

/** Where one binding cannot see two rows: row after row joins the result. */
function wideRows(form: ExtremeForm, from: Found, to: Found, { outer, length, inner }: ReducedAxis): void {
  const shader = shaderOf('extremesOfWideRows', form, (own) => {
    const { dtypes, buffers } = buffersOf(own);
    const { X, P, outV: ioV, outI: ioI } = buffers;
    return {
      label: `${own.of}OfWideRows`,
      params: { count: 'u32', baseX: 'u32', baseY: 'u32', row: 'u32' } as const,
      buffers: { X: X!, ...(P ? { P } : {}), ioV: ioV!, ioI: ioI! },
      dtypes: { X: dtypes['X']!, ioV: dtypes['outV']! },
      body: `${keys(own)}${FLAT_MAIN}
  if (i >= p.count) { return; }
  let key = keyOf(${valuesOf(own.dtype, 1).load('X', 'i + p.baseX')});
  if (p.row == 0u || key > keyOf(ioV[i + p.baseY])) {
    ioV[i + p.baseY] = valueOf(key);
    ioI[i + p.baseY] = ${own.again ? 'P[i + p.baseX]' : 'p.row'};
  }
}`,
    };
  });
  for (let o = 0; o < outer; o++)
    for (let row = 0; row < length; row++) {
      const ofX = (o * length + row) * inner;
      const ofY = o * inner;
      shader.launch(
        from.values.gpu,
        {
          ...tensorsOf(from, ['X', 'P'], inner, ({ start, count }) => [ofX + start, count]),
          ...tensorsOf(to, ['ioV', 'ioI'], inner, ({ start, count }) => [ofY + start, count]),
        },
        ({ start, count }, base) => ({
          count,
          baseX: ofX + start - base['X']!,
          baseY: ofY + start - base['ioV']!,
          row,
        }),
        ({ count }) => flatGroups(count),
      );
    }
}

/**
 * Of x seen as [outer, length, inner] the largest or smallest values along the middle, in x's format, and their first
 * positions there, u32; both of `shape`. length is at least 1.
 */
export function extremes(
  of: Extreme,
  x: Tensor,
  axis: ReducedAxis,
  shape: readonly number[],
): { values: Tensor; positions: Tensor } {
  const { gpu } = x;
  const dtype = x.dtype as ComparedDType;
  const to = dtype === 'f16' ? 'f32' : dtype;
  const formOf = ({ values, positions }: Found): ExtremeForm => ({
    of,
    dtype: values.dtype as ComparedDType,
    again: positions !== undefined,
  });
  const partial = (extents: readonly number[]) => ({
    values: Tensor.empty(gpu, extents, to),
    positions: Tensor.empty(gpu, extents, 'u32'),
  });
  const kernels: AxisKernels<Found> = {
    rows: (from, to, pieces) =>
      runVariant(
        gpu,
        maxFamily,
        formOf(from),
        { rows: pieces.rows, cols: pieces.piece },
        { from, to, pieces },
      ),
    columns: (from, to, own, chunks) => columns(formOf(from), from, to, own, chunks),
    wide: (from, to, own) => wideRows(formOf(from), from, to, own),
    values: ({ values }) => values,
    partial,
    dispose({ values, positions }) {
      values.dispose();
      positions?.dispose();
    },
  };
  const result = partial(shape);
  alongAxis<Found>(kernels, { values: x, positions: undefined }, result, axis);
  return { values: dtype === 'f16' ? rounded(result.values) : result.values, positions: result.positions };
}

/** dx of `extremes`: dy at the positions, zero elsewhere; of dy's format. */
export function extremesGradient(
  positions: Tensor,
  dy: Tensor,
  axis: ReducedAxis,
  shape: readonly number[],
): Tensor {
  const { length, inner } = axis;
  const dx = Tensor.empty(dy.gpu, shape);
  const shader = shaderOf('extremesGradient', { dtype: dy.dtype as 'f32' | 'f16' }, ({ dtype }) => ({
    label: 'extremesGradient',
    params: {
      first: 'u32',
      count: 'u32',
      length: 'u32',
      inner: 'u32',
      baseX: 'u32',
      baseY: 'u32',
      baseI: 'u32',
    } as const,
    buffers: { I: 'array<u32>', DY: valuesOf(dtype, 1).buffer, outX: 'array<f32>' },
    body: `${dtype === 'f16' ? HALF_AT : ''}${FLAT_MAIN}
  if (i >= p.count) { return; }
  let own = p.first + i;
  let row = own / p.inner;
  let at = (row / p.length) * p.inner + own % p.inner;
  let hit = I[at - p.baseI] == row % p.length;
  outX[own - p.baseX] = select(0.0, ${valuesOf(dtype, 1).load('DY', 'at - p.baseY')}, hit);
}`,
  }));
  const launch = (from: number, units: number, width: number, seen: (piece: Piece) => Range) =>
    shader.launch(
      dy.gpu,
      {
        I: windowed(positions, units, seen),
        DY: windowed(dy, units, seen),
        outX: windowed(dx, units, ({ start, count }) => [from + start * width, count * width]),
      },
      ({ start, count }, base) => ({
        first: from + start * width,
        count: count * width,
        length,
        inner,
        baseX: base['outX']!,
        baseY: base['DY']!,
        baseI: base['I']!,
      }),
      ({ count }) => flatGroups(count * width),
    );
  // A unit is a row of dx, [length·outer, inner], unless one is too wide to be seen: then a value of one row after the other.
  const rows = inner === 0 ? 0 : dx.size / inner;
  if (inner <= windowRoom(dx, inner))
    launch(0, rows, inner, ({ start, count }) => {
      if (count === 0) return [0, 0];
      const first = Math.floor(start / length);
      return [first * inner, (Math.floor((start + count - 1) / length) + 1 - first) * inner];
    });
  else
    for (let row = 0; row < rows; row++)
      launch(row * inner, inner, 1, ({ start, count }) => [Math.floor(row / length) * inner + start, count]);
  return dy.dtype === 'f16' ? rounded(dx) : dx;
}
