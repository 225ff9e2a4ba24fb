/**
 * Reductions down columns, of a tensor seen as [outer, length, inner]: one thread walks down some columns of a chunk of rows,
 * sums in short chains, and always in the same order. The family `sumColumns` decides how wide it walks.
 */
import { bytesPerElement, type DType, type Tensor } from '../tensor/tensor.js';
import { CHUNK, type ReducedAxis, type RowChunks } from './axis-passes.js';
import type { FloatDType } from './launch/formats.js';
import { COLUMN_WORKGROUP } from './launch/grid.js';
import { windowed } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import {
  HALF_AT,
  type ReductionName,
  reducedDType,
  reductions,
  takenOf,
  valuesOf,
  type Width,
  widthOf,
} from './reductions.js';
import { Draws, trialOf } from './trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from './variants.js';

/** Summands in a chain: the rounding of one long chain would grow with its length. */
const CHAIN = 16;

interface ColumnsForm {
  readonly of: ReductionName;
  readonly width: Width;
  /** Of x. */
  readonly dtype: DType;
}

interface ColumnsSize {
  readonly rows: number;
  readonly cols: number;
}

interface ColumnsOperands {
  readonly x: Tensor;
  /** [outer, chunks, inner] */
  readonly out: Tensor;
  readonly axis: ReducedAxis;
  readonly chunk: number;
  readonly chunks: number;
  readonly scale: number;
}

interface Walk {
  /** Of a workgroup. */
  readonly threads: number;
  /** Units of columns that a thread walks down together, `threads` apart. */
  readonly each: number;
}

const columnsShader = (form: ColumnsForm, walk: Walk) =>
  shaderOf('reduceColumns', { ...form, ...walk }, ({ of, width, dtype, threads, each }) => {
    const { combine, start } = reductions[of];
    const own = valuesOf(dtype, width);
    const to = reducedDType(of, dtype);
    const { type } = valuesOf(to, width);
    const all = (code: (k: number) => string) => Array.from({ length: each }, (_, k) => code(k)).join(' ');
    return {
      label: `${of}OfColumns`,
      params: {
        first: 'u32',
        end: 'u32',
        length: 'u32',
        units: 'u32',
        groups: 'u32',
        chunk: 'u32',
        chunks: 'u32',
        scale: 'f32',
        baseX: 'u32',
        baseY: 'u32',
      } as const,
      buffers: { X: own.buffer, outY: `array<${type}>` },
      dtypes: { X: dtype, outY: to },
      // A thread without a column of its own takes the last one, with the same results.
      body: `${dtype === 'f16' && width === 1 ? HALF_AT : ''}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.y * groups.x + group.x;
  let own = p.first + index / p.groups;
  if (own >= p.end) { return; }
  let column = (index % p.groups) * ${each * threads}u + lane;
  ${all((k) => `let c${k} = min(column + ${k * threads}u, p.units - 1u); var sum${k} = ${type}(${start || ''});`)}
  // Where windows begin is taken off modulo 2³².
  let base = (own / p.chunks) * p.length * p.units - p.baseX;
  let start = (own % p.chunks) * p.chunk;
  let end = min(p.length, start + p.chunk);
  for (var r = start; r < end; r += ${CHAIN}u) {
    ${all((k) => `var chain${k} = ${type}(${start || ''});`)}
    for (var row = r; row < min(end, r + ${CHAIN}u); row++) {
      let at = base + row * p.units;
      ${all((k) => `chain${k} ${combine}= ${takenOf(of, own.load('X', `at + c${k}`))};`)}
    }
    ${all((k) => `sum${k} ${combine}= chain${k};`)}
  }
  let out = own * p.units - p.baseY;
  ${all((k) => `outY[out + c${k}] = sum${k}${combine === '+' && to === 'f32' ? ' * p.scale' : ''};`)}
}`,
    };
  });

type ColumnsVariant = Variant<ColumnsForm, ColumnsSize, ColumnsOperands>;

const variant = (
  { name, why, prior }: Pick<ColumnsVariant, 'name' | 'why' | 'prior'>,
  walk: (form: ColumnsForm) => Walk,
): ColumnsVariant => ({
  name,
  why,
  prior,
  supports: () => true,
  shaders: (_, form) => ({ columns: columnsShader(form, walk(form)) }),
  run(gpu, form, _, { x, out, axis: { outer, length, inner }, chunk, chunks, scale }) {
    const { threads, each } = walk(form);
    const { width } = form;
    const units = inner / width;
    const groups = Math.ceil(units / (threads * each));
    const begin = (own: number) => Math.floor(own / chunks) * length + (own % chunks) * chunk;
    const end = (own: number) => begin(own) + Math.max(0, Math.min(chunk, length - (own % chunks) * chunk));
    columnsShader(form, { threads, each }).launch(
      gpu,
      {
        X: windowed(x, outer * chunks, ({ start, count }) => [
          begin(start) * inner,
          (end(start + count - 1) - begin(start)) * inner,
        ]),
        outY: windowed(out, outer * chunks, ({ start, count }) => [start * inner, count * inner]),
      },
      ({ start, count }, base) => ({
        first: start,
        end: start + count,
        length,
        units,
        groups,
        chunk,
        chunks,
        scale,
        baseX: base['X']! / width,
        baseY: base['outY']! / width,
      }),
      ({ count }) => groups * count,
    );
  },
});

const caseOf = (
  [rows, cols]: readonly [number, number],
  dtype: FloatDType,
  use: 'check' | 'bench',
): Case<ColumnsForm, ColumnsSize> => ({
  name: `${rows}×${cols} ${dtype}`,
  form: { of: 'sum', width: widthOf(cols), dtype },
  size: { rows, cols },
  use,
});

export const columnsFamily: Family<ColumnsForm, ColumnsSize, ColumnsOperands> = {
  name: 'sumColumns',
  summary: 'reductions down columns in chunks of rows, as gradients of biases begin',
  variants: [
    variant(
      {
        name: 'columns',
        why: 'a thread a unit of columns, 32 threads side by side',
        prior: () => 0,
      },
      () => ({ threads: COLUMN_WORKGROUP, each: 1 }),
    ),
    variant(
      {
        name: 'wide',
        // A CPU runs one subgroup after the other: what one subgroup reads of a row is what it streams.
        why: 'on CPUs, for halves: 256 bytes of each row by 8 threads, twice as fast; f32 streams as well without',
        prior: ({ software }, { dtype }) => (software && dtype === 'f16' ? 1 : -1),
      },
      ({ width, dtype }) => ({ threads: 8, each: width === 4 && dtype !== 'f16' ? 2 : 4 }),
    ),
  ],
  sizeClass: ({ cols }) => `${Math.ceil(Math.log2(Math.max(1, cols)))}`,
  cases: [
    ...(['f32', 'f16'] as const).flatMap((dtype) => [
      caseOf([300, 36], dtype, 'check'),
      caseOf([1, 260], dtype, 'check'),
      caseOf([1728, 1536], dtype, 'bench'),
      caseOf([1728, 4096], dtype, 'bench'),
    ]),
    caseOf([70, 7], 'f32', 'check'),
    caseOf([70, 7], 'f16', 'check'),
  ],
  cost: ({ dtype }, { rows, cols }) => ({
    flops: rows * cols,
    bytes: (bytesPerElement[dtype] * rows + 4 * Math.ceil(rows / CHUNK)) * cols,
  }),
  tolerance: () => 1e-5,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const chunks = Math.ceil(rows / CHUNK);
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], form.dtype as FloatDType);
    const out = draws.empty([chunks, cols]);
    const parts = () => {
      const values = new Float64Array(chunks * cols);
      for (let row = 0; row < rows; row++)
        for (let c = 0; c < cols; c++)
          values[Math.floor(row / CHUNK) * cols + c]! += x.values[row * cols + c]!;
      return [{ start: 0, values }];
    };
    const operands = {
      x: x.tensor,
      out,
      axis: { outer: 1, length: rows, inner: cols },
      chunk: CHUNK,
      chunks,
      scale: 1,
    };
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, columnsFamily, form, size, name).run(gpu, form, size, operands),
    );
  },
};

/** out: [outer, chunks, inner], each of `chunk` rows, of which the last chunk may have fewer or none. */
export function reduceColumns(
  of: ReductionName,
  x: Tensor,
  out: Tensor,
  axis: ReducedAxis,
  { chunk, chunks }: RowChunks,
  scale: number,
): void {
  const form: ColumnsForm = { of, width: widthOf(axis.inner), dtype: x.dtype };
  const size = { rows: axis.length, cols: axis.inner };
  runVariant(x.gpu, columnsFamily, form, size, { x, out, axis, chunk, chunks, scale });
}
