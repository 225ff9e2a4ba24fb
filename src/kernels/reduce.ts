/**
 * Sums and maxima along one axis, seen as [outer, reduced, inner]. Rows (inner = 1) reduce across lanes; columns
 * are walked by one thread each, in chunks of rows whose partial sums a second pass adds in fixed order. Fixed
 * order makes results reproducible to the bit, and short chains keep f32 rounding small.
 */
import { f32, signature } from '../tensor/operands.js';
import { bytesPerElement, Tensor } from '../tensor/tensor.js';
import { RANKS } from './elementary.js';
import {
  COLUMN_WORKGROUP,
  columnUnit,
  floatDType,
  laneSum,
  rowGrid,
  rowMain,
  rowReduction,
  shaderOf,
  threadSum,
} from './launch.js';

const CHUNK = 128;

/** x seen as [outer, length, inner] → [outer, inner] f32 (returned with `shape`), times `scale`; f16 where inner > 1. */
export function sumAxis(
  x: Tensor,
  { outer, length, inner }: { outer: number; length: number; inner: number },
  shape: readonly number[],
  scale = 1,
): Tensor {
  const out = Tensor.empty(x.gpu, shape);
  sumInto(x, out, { outer, length, inner }, scale);
  return out;
}

function sumInto(
  x: Tensor,
  out: Tensor,
  { outer, length, inner }: { outer: number; length: number; inner: number },
  scale: number,
): void {
  const gpu = x.gpu;
  if (outer * inner === 0) return;
  if (inner === 1) {
    if (length <= 4096) rowSums(x, out, outer, length, length, 1, scale, false);
    else {
      // A long row would be one workgroup's chain: cut it into pieces, as often as it takes, and add those.
      const pieces = Math.ceil(length / 1024);
      const partial = Tensor.empty(gpu, [outer, pieces]);
      rowSums(x, partial, outer * pieces, length, 1024, pieces, 1, false);
      sumInto(partial, out, { outer, length: pieces, inner }, scale);
      partial.dispose();
    }
    return;
  }
  const chunks = Math.max(1, Math.ceil(length / CHUNK));
  if (chunks === 1) {
    columnSums(x, out, outer, length, inner, 1, scale);
    return;
  }
  const partial = Tensor.empty(gpu, [outer, chunks, inner]);
  columnSums(x, partial, outer, length, inner, chunks, 1);
  sumInto(partial, out, { outer, length: chunks, inner }, scale);
  partial.dispose();
}

/** Sum of squares of all elements, as partial sums [pieces]. */
export function squareSums(x: Tensor): Tensor {
  const pieces = Math.max(1, Math.ceil(x.size / 4096));
  const partial = Tensor.empty(x.gpu, [pieces]);
  rowSums(x, partial, pieces, x.size, 4096, pieces, 1, true);
  return partial;
}

function rowSums(
  x: Tensor,
  out: Tensor,
  rows: number,
  length: number,
  piece: number,
  pieces: number,
  scale: number,
  square: boolean,
): void {
  const reduction = rowReduction(x.gpu);
  const shader = shaderOf(`rowSums.${square}.${reduction.key}`, () => ({
    label: square ? 'squareSums' : 'rowSums',
    params: { rows: 'u32', length: 'u32', piece: 'u32', pieces: 'u32', scale: 'f32' } as const,
    buffers: { X: 'array<f32>', outY: 'array<f32>' },
    subgroups: reduction.subgroups,
    body: `${reduction.prelude}${rowMain(reduction, 'p.rows')}
  let start = (row % p.pieces) * p.piece;
  let base = (row / p.pieces) * p.length;
  let end = min(p.length, start + p.piece);
  ${laneSum('sum', (c) => (square ? `X[base + ${c}] * X[base + ${c}]` : `X[base + ${c}]`), 'end', { start: 'start' })}
  let total = rowSum(sum, lane);
  if (lane == 0u) { outY[row] = total * p.scale; }
}`,
  }));
  shader.run(x.gpu, [x, out], { rows, length, piece, pieces, scale }, rowGrid(rows));
}

function columnSums(
  x: Tensor,
  out: Tensor,
  outer: number,
  length: number,
  inner: number,
  chunks: number,
  scale: number,
): void {
  const dtype = floatDType('sum', x);
  const unit = columnUnit('sum', inner, dtype);
  const shader = shaderOf(`columnSums.${dtype}.${unit.key}`, () => ({
    label: 'columnSums',
    params: {
      outer: 'u32',
      length: 'u32',
      units: 'u32',
      chunk: 'u32',
      first: 'u32',
      chunks: 'u32',
      scale: 'f32',
    } as const,
    buffers: { X: unit.type(dtype), outY: unit.type('f32') },
    body: `
@compute @workgroup_size(${COLUMN_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * ${COLUMN_WORKGROUP}u + lane;
  if (column >= p.units) { return; }
  for (var o = group.z; o < p.outer; o += groups.z) {
    let base = o * p.length * p.units + column;
    let start = group.y * p.chunk;
    let end = min(p.length, start + p.chunk);
    ${threadSum('sum', unit.value, ['start', 'end', '1u'], (r) => unit.load(dtype, 'X', `base + ${r} * p.units`))}
    outY[(o * p.chunks + p.first + group.y) * p.units + column] = sum * p.scale;
  }
}`,
  }));
  // Of no rows too a sum is written: zeros.
  const chunk = chunks === 1 ? Math.max(1, length) : CHUNK;
  const groups = Math.ceil(unit.count / COLUMN_WORKGROUP);
  // Rows that one binding cannot see: each piece is whole chunks (64 rows at least, and CHUNK is two of those).
  const step =
    Math.floor(x.gpu.capabilities.maxBindingSize / (inner * bytesPerElement[dtype]) / CHUNK) * CHUNK;
  const pieces = outer === 1 && chunks > 1 && step > 0 ? Math.ceil(length / step) : 1;
  for (let n = 0; n < pieces; n++) {
    const rows = pieces === 1 ? length : Math.min(step, length - n * step);
    shader.run(
      x.gpu,
      [pieces === 1 ? x : x.bindingRange(n * step * inner, rows * inner), out],
      { outer, length: rows, units: unit.count, chunk, first: (n * step) / CHUNK, chunks, scale },
      [groups, Math.max(1, Math.ceil(rows / chunk)), Math.min(outer, 65535)],
    );
  }
}

/** Column sums of a [rows, cols] tensor: the gradient of a bias. */
export function columnSum(x: Tensor): Tensor {
  return sumAxis(x, { outer: 1, length: x.rows, inner: x.cols }, [x.cols]);
}

const MAX = signature('max', { x: f32('...', 'C') }, { atLeast: { C: 1 } });

/**
 * Maximum and its first position along the last dimension: values [rows], indices [rows] u32. A NaN wins.
 * @throws ShapeError, of an empty dimension too: nothing has no maximum.
 */
export function maxRows(x: Tensor): { values: Tensor; indices: Tensor } {
  MAX.check({ x });
  const rows = x.rows;
  const values = Tensor.empty(x.gpu, x.shape.slice(0, -1));
  const indices = Tensor.empty(x.gpu, x.shape.slice(0, -1), 'u32');
  const reduction = rowReduction(x.gpu);
  const shader = shaderOf(`maxRows.${reduction.key}`, () => ({
    label: 'maxRows',
    params: { rows: 'u32', cols: 'u32' } as const,
    buffers: { X: 'array<f32>', outV: 'array<f32>', outI: 'array<u32>' },
    subgroups: reduction.subgroups,
    body: `${RANKS}${reduction.prelude}${rowMain(reduction, 'p.rows')}
  var best = 0u;
  var at = 0u;
  for (var c = lane; c < p.cols; c += LANES) { let v = rank(X[row * p.cols + c]); if (v > best) { best = v; at = c; } }
  let top = rowMax(best, lane);
  // The first position: the smallest among the lanes that hold the maximum.
  let first = ~rowMax(select(0u, ~at, best == top), lane);
  if (lane == 0u) { outV[row] = unrank(top); outI[row] = first; }
}`,
  }));
  shader.run(x.gpu, [x, values, indices], { rows, cols: x.cols }, rowGrid(rows));
  return { values, indices };
}

/** dx of `maxRows`: dy at the saved position, zero elsewhere. */
export function maxRowsGradient(indices: Tensor, dy: Tensor, shape: readonly number[]): Tensor {
  const dx = Tensor.empty(dy.gpu, shape);
  const shader = shaderOf('maxRowsGradient', () => ({
    label: 'maxRowsGradient',
    params: { rows: 'u32', cols: 'u32' } as const,
    buffers: { I: 'array<u32>', DY: 'array<f32>', outX: 'array<f32>' },
    body: `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  for (var c = lane; c < p.cols; c += 64u) { outX[row * p.cols + c] = select(0.0, DY[row], I[row] == c); }
}`,
  }));
  shader.run(dy.gpu, [indices, dy, dx], { rows: dx.rows, cols: dx.cols }, rowGrid(dx.rows));
  return dx;
}
