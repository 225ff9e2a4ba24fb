/**
 * Kernels that move or reduce whole rows by index: gather and its gradient, pooling, normalisation, and the
 * segment maximum of the sparse head. Index lists come from the host, which knows all ids, so gradients are
 * gathers over sorted segments: no atomics, the same sum in the same order every time.
 */
import { f32, notNegative, optional, signature, u32 } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { elementary, RANKS } from './elementary.js';
import {
  FLAT_MAIN,
  flatGrid,
  laneSum,
  rowGrid,
  rowMain,
  rowReduction,
  shaderOf,
  threadSum,
} from './launch.js';
import { rowRanges } from './ranges.js';

const GATHER_ROWS = signature('gatherRows', {
  table: f32('V', 'C'),
  index: u32('n'),
  out: optional(f32('n', 'C')),
});

/**
 * out[i] = table[index[i]] (+ out[i] with `out`). table: [V,C], of any size; index: [n] u32, each below V (the
 * caller checks). Returns [n,C].
 */
export function gatherRows(table: Tensor, index: Tensor, out?: Tensor): Tensor {
  GATHER_ROWS.check({ table, index, out });
  const { cols } = table;
  const result = out ?? Tensor.empty(table.gpu, [index.size, cols]);
  const vec = cols % 4 === 0;
  const shader = shaderOf(`gatherRows.${vec}`, () => {
    const type = vec ? 'vec4f' : 'f32';
    return {
      label: 'gatherRows',
      params: { rows: 'u32', cols: 'u32', first: 'u32', end: 'u32', accumulate: 'u32' } as const,
      buffers: { table: `array<${type}>`, index: 'array<u32>', ioY: `array<${type}>` },
      body: `
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let source = index[row];
  if (source < p.first || source >= p.end) { return; }
  for (var c = lane; c < p.cols; c += 32u) {
    var v = table[(source - p.first) * p.cols + c];
    if (p.accumulate != 0u) { v += ioY[row * p.cols + c]; }
    ioY[row * p.cols + c] = v;
  }
}`,
    };
  });
  for (const { start, count } of rowRanges(table))
    shader.run(
      table.gpu,
      [table.bindingRange(start * cols, count * cols), index, result],
      {
        rows: index.size,
        cols: vec ? cols / 4 : cols,
        first: start,
        end: start + count,
        accumulate: out ? 1 : 0,
      },
      rowGrid(index.size),
    );
  return result;
}

/** Which rows of a [n,C] tensor add up to which target row; see `RowIndex` in `src/tensor`. */
export interface RowSegments {
  /** [picked] u32: positions sorted by target; those that add to no row (padding) are left out. */
  readonly order: Tensor;
  /** [targets+1] u32: segment bounds in `order`. */
  readonly starts: Tensor;
  /** [targets] u32: row of the output each segment adds to. */
  readonly rows: Tensor;
}

const SEGMENT_SUM = signature('segmentSum', {
  x: f32('n', 'C'),
  order: u32('picked'),
  starts: u32('U+1'),
  rows: u32('U'),
  out: f32('V', 'C'),
});

/**
 * out[rows[u]] (+)= Σ_{k in segment u} x[order[k]]. Rows of `out` that no segment names keep their values. Both may
 * be larger than a binding: then ranges of `out` meet ranges of x one after the other.
 */
export function segmentSumRows(x: Tensor, segments: RowSegments, out: Tensor, accumulate: boolean): void {
  const { cols } = x;
  const { order, starts, rows } = segments;
  SEGMENT_SUM.check({ x, order, starts, rows, out });
  const vec = cols % 4 === 0;
  const shader = shaderOf(`segmentSumRows.${vec}`, () => {
    const type = vec ? 'vec4f' : 'f32';
    return {
      label: 'segmentSumRows',
      params: {
        segments: 'u32',
        cols: 'u32',
        accumulate: 'u32',
        first: 'u32',
        end: 'u32',
        firstX: 'u32',
        endX: 'u32',
      } as const,
      buffers: {
        X: `array<${type}>`,
        order: 'array<u32>',
        starts: 'array<u32>',
        rows: 'array<u32>',
        ioY: `array<${type}>`,
      },
      body: `
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = group.y * groups.x + group.x;
  if (segment >= p.segments) { return; }
  let target_ = rows[segment];
  if (target_ < p.first || target_ >= p.end) { return; }
  let begin = starts[segment];
  let end = starts[segment + 1u];
  let base = (target_ - p.first) * p.cols;
  for (var c = lane; c < p.cols; c += 32u) {
    var sum = ${type}();
    for (var k = begin; k < end; k++) {
      let row = order[k];
      if (row >= p.firstX && row < p.endX) { sum += X[(row - p.firstX) * p.cols + c]; }
    }
    if (p.accumulate != 0u) { sum += ioY[base + c]; }
    ioY[base + c] = sum;
  }
}`,
    };
  });
  for (const to of rowRanges(out))
    for (const [n, from] of rowRanges(x).entries())
      shader.run(
        x.gpu,
        [
          x.bindingRange(from.start * cols, from.count * cols),
          segments.order,
          segments.starts,
          segments.rows,
          out.bindingRange(to.start * cols, to.count * cols),
        ],
        {
          segments: segments.rows.size,
          cols: vec ? cols / 4 : cols,
          accumulate: accumulate || n > 0 ? 1 : 0,
          first: to.start,
          end: to.start + to.count,
          firstX: from.start,
          endX: from.start + from.count,
        },
        rowGrid(segments.rows.size),
      );
}

/** Mean of each sequence's rows. x: [T,C]; cuSeqlens: [S+1] u32, whose last is T (the caller checks). Returns [S,C]. */
export function segmentMean(x: Tensor, cuSeqlens: Tensor): Tensor {
  const sequences = cuSeqlens.size - 1;
  const out = Tensor.empty(x.gpu, [sequences, x.cols]);
  meanShader(false).run(x.gpu, [x, cuSeqlens, out], { sequences, cols: x.cols }, rowGrid(sequences));
  return out;
}

/** dx[t] = dy[sequence of t] / length. */
export function segmentMeanGradient(dy: Tensor, cuSeqlens: Tensor, tokens: number): Tensor {
  const dx = Tensor.empty(dy.gpu, [tokens, dy.cols]);
  meanShader(true).run(dy.gpu, [dy, cuSeqlens, dx], { sequences: dy.rows, cols: dy.cols }, rowGrid(dy.rows));
  return dx;
}

function meanShader(gradient: boolean) {
  return shaderOf(`segmentMean.${gradient}`, () => ({
    label: gradient ? 'segmentMeanGradient' : 'segmentMean',
    params: { sequences: 'u32', cols: 'u32' } as const,
    buffers: { X: 'array<f32>', starts: 'array<u32>', outY: 'array<f32>' },
    body: `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = group.y * groups.x + group.x;
  if (s >= p.sequences) { return; }
  let begin = starts[s];
  let end = starts[s + 1u];
  let scale = 1.0 / f32(max(1u, end - begin));
  for (var column = lane; column < p.cols; column += 64u) {
    ${
      gradient
        ? 'let v = X[s * p.cols + column] * scale; for (var t = begin; t < end; t++) { outY[t * p.cols + column] = v; }'
        : `${threadSum('sum', 'f32', ['begin', 'end', '1u'], (t) => `X[${t} * p.cols + column]`)} outY[s * p.cols + column] = sum * scale;`
    }
  }
}`,
  }));
}

const NORMALIZE_ROWS = signature('normalizeRows', { x: f32('...', 'C') }, { numbers: { eps: notNegative } });

/** y = x / max(‖x‖₂, eps) per row, and the norms [rows]. */
export function normalizeRows(x: Tensor, eps = 1e-12): { y: Tensor; norms: Tensor } {
  NORMALIZE_ROWS.check({ x }, { eps });
  const y = Tensor.empty(x.gpu, x.shape);
  const norms = Tensor.empty(x.gpu, [x.rows]);
  const reduction = rowReduction(x.gpu);
  shaderOf(`normalizeRows.${reduction.key}`, () => ({
    label: 'normalizeRows',
    params: { rows: 'u32', cols: 'u32', eps: 'f32' } as const,
    buffers: { X: 'array<f32>', outY: 'array<f32>', outN: 'array<f32>' },
    subgroups: reduction.subgroups,
    body: `${elementary('f32')}${reduction.prelude}${rowMain(reduction, 'p.rows')}
  ${laneSum('part', (c) => `X[row * p.cols + ${c}] * X[row * p.cols + ${c}]`, 'p.cols')}
  let norm = sqrt(rowSum(part, lane));
  let scale = 1.0 / maxOf(norm, p.eps);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = X[row * p.cols + c] * scale; }
  if (lane == 0u) { outN[row] = norm; }
}`,
  })).run(x.gpu, [x, y, norms], { rows: x.rows, cols: x.cols, eps }, rowGrid(x.rows));
  return { y, norms };
}

/** dx = (dy − y·(y·dy)) / ‖x‖; below eps the norm is a constant and dx = dy / eps. */
export function normalizeRowsGradient(y: Tensor, norms: Tensor, dy: Tensor, eps = 1e-12): Tensor {
  const dx = Tensor.empty(dy.gpu, y.shape);
  const reduction = rowReduction(dy.gpu);
  shaderOf(`normalizeRowsGradient.${reduction.key}`, () => ({
    label: 'normalizeRowsGradient',
    params: { rows: 'u32', cols: 'u32', eps: 'f32' } as const,
    buffers: { Y: 'array<f32>', N: 'array<f32>', DY: 'array<f32>', outX: 'array<f32>' },
    subgroups: reduction.subgroups,
    body: `${elementary('f32')}${reduction.prelude}${rowMain(reduction, 'p.rows')}
  ${laneSum('part', (c) => `Y[row * p.cols + ${c}] * DY[row * p.cols + ${c}]`, 'p.cols')}
  let along = select(0.0, rowSum(part, lane), N[row] > p.eps);
  let scale = 1.0 / maxOf(N[row], p.eps);
  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = (DY[row * p.cols + c] - Y[row * p.cols + c] * along) * scale; }
}`,
  })).run(dy.gpu, [y, norms, dy, dx], { rows: y.rows, cols: y.cols, eps }, rowGrid(y.rows));
  return dx;
}

const SEGMENT_MAX = signature('segmentMax', {
  x: f32('...'),
  order: u32('positions'),
  starts: u32('groups+1'),
});

/** Position of a group that has none, or names one that x does not have. */
const NOWHERE = '0xffffffffu';

/**
 * Largest value of each group of positions, and the first position that has it. x: [n]; order: positions sorted
 * by group; starts: [groups+1]. A NaN is the largest. A group that is empty, leaves `order` or names a position that
 * x does not have is NaN and gets no gradient: only the device sees these numbers.
 */
export function segmentMax(x: Tensor, order: Tensor, starts: Tensor): { values: Tensor; positions: Tensor } {
  SEGMENT_MAX.check({ x, order, starts });
  const groups = starts.size - 1;
  const values = Tensor.empty(x.gpu, [groups]);
  const positions = Tensor.empty(x.gpu, [groups], 'u32');
  shaderOf('segmentMax', () => ({
    label: 'segmentMax',
    params: { groups: 'u32', positions: 'u32', size: 'u32', nan: 'u32' } as const,
    buffers: {
      X: 'array<f32>',
      order: 'array<u32>',
      starts: 'array<u32>',
      outV: 'array<f32>',
      outP: 'array<u32>',
    },
    body: `${RANKS}${FLAT_MAIN}
  if (i >= p.groups) { return; }
  let begin = starts[i];
  let end = starts[i + 1u];
  outV[i] = bitcast<f32>(p.nan);
  outP[i] = ${NOWHERE};
  if (begin >= end || end > p.positions) { return; }
  var at = order[begin];
  if (at >= p.size) { return; }
  var best = rank(X[at]);
  for (var k = begin + 1u; k < end; k++) {
    let position = order[k];
    if (position >= p.size) { return; }
    let v = rank(X[position]);
    if (v > best) { best = v; at = position; }
  }
  outV[i] = unrank(best);
  outP[i] = at;
}`,
  })).run(
    x.gpu,
    [x, order, starts, values, positions],
    // A constant that is no number would be an error in WGSL.
    { groups, positions: order.size, size: x.size, nan: 0x7fc00000 },
    flatGrid(groups),
  );
  return { values, positions };
}

/** dx of `segmentMax`: zero but dy at each group's position. x has `size` elements. */
export function segmentMaxGradient(positions: Tensor, dy: Tensor, size: number): Tensor {
  const dx = Tensor.zeros(dy.gpu, [size]);
  shaderOf('segmentMaxGradient', () => ({
    label: 'segmentMaxGradient',
    params: { groups: 'u32' } as const,
    buffers: { P: 'array<u32>', DY: 'array<f32>', outX: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.groups) { return; }
  if (P[i] != ${NOWHERE}) { outX[P[i]] = DY[i]; }
}`,
  })).run(dy.gpu, [positions, dy, dx], { groups: positions.size }, flatGrid(positions.size));
  return dx;
}
