/**
 * Kernels that move or reduce whole rows by index: gather and its gradient, pooling, normalisation, and the
 * segment maximum of the sparse head. Index lists come from the host, which knows all ids, so gradients are
 * gathers over sorted segments: no atomics, the same sum in the same order every time.
 */
import { f32, notNegative, optional, signature, u32 } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { elementary, RANKS } from './elementary.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { byRows, flat, partsOf } from './launch/operands.js';
import { laneSum, rowMain, rowReductionOf, threadSum } from './launch/rows.js';
import { shaderOf } from './launch/shader.js';
import { rowVariant } from './row-reduction.js';

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
  const result = out ?? Tensor.empty(table.gpu, [index.size, table.cols]);
  gatherInto(table, index, result, out !== undefined);
  return result;
}

interface WideForm {
  /** Rows are whole groups of four. */
  readonly vec: boolean;
}

const gatherShader = (form: WideForm) =>
  shaderOf('gatherRows', form, ({ vec }) => {
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

/** result[i] = table[index[i]], plus what was there with `accumulate`. */
function gatherInto(table: Tensor, index: Tensor, result: Tensor, accumulate: boolean): void {
  const { cols } = table;
  const form = { vec: cols % 4 === 0 };
  const shader = gatherShader(form);
  for (const part of partsOf('gatherRows', table.gpu, byRows(table)))
    shader.launch(
      table.gpu,
      { table: part.operand, index: flat(index), ioY: byRows(result) },
      ({ count }) => ({
        rows: count,
        cols: form.vec ? cols / 4 : cols,
        first: part.start,
        end: part.start + part.count,
        accumulate: accumulate ? 1 : 0,
      }),
      ({ count }) => count,
      // Of the table only these rows are read.
      ({ count }) => ({ bytes: count * (4 + (accumulate ? 3 : 2) * 4 * cols) }),
    );
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

const segmentSumShader = (form: WideForm) =>
  shaderOf('segmentSumRows', form, ({ vec }) => {
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
        firstK: 'u32',
        endK: 'u32',
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
  let begin = max(starts[segment], p.firstK);
  let end = min(starts[segment + 1u], p.endK);
  let base = (target_ - p.first) * p.cols;
  for (var c = lane; c < p.cols; c += 32u) {
    var sum = ${type}();
    for (var k = begin; k < end; k++) {
      let row = order[k - p.firstK];
      if (row >= p.firstX && row < p.endX) { sum += X[(row - p.firstX) * p.cols + c]; }
    }
    if (p.accumulate != 0u) { sum += ioY[base + c]; }
    ioY[base + c] = sum;
  }
}`,
    };
  });

/**
 * out[rows[u]] (+)= Σ_{k in segment u} x[order[k]]. Rows of `out` that no segment names keep their values. Where they
 * are larger than a binding, parts of `out` meet parts of x and of the order one after the other.
 */
export function segmentSumRows(x: Tensor, segments: RowSegments, out: Tensor, accumulate: boolean): void {
  const { cols } = x;
  const { order, starts, rows } = segments;
  SEGMENT_SUM.check({ x, order, starts, rows, out });
  const form = { vec: cols % 4 === 0 };
  const shader = segmentSumShader(form);
  const { gpu } = x;
  for (const to of partsOf('segmentSumRows', gpu, byRows(out)))
    for (const listed of partsOf('segmentSumRows', gpu, flat(order)))
      for (const from of partsOf('segmentSumRows', gpu, byRows(x)))
        shader.launch(
          gpu,
          {
            X: from.operand,
            order: listed.operand,
            starts: flat(starts, { beyond: 1 }),
            rows: flat(rows),
            ioY: to.operand,
          },
          ({ count }) => ({
            segments: count,
            cols: form.vec ? cols / 4 : cols,
            accumulate: accumulate || !listed.first || !from.first ? 1 : 0,
            first: to.start,
            end: to.start + to.count,
            firstX: from.start,
            endX: from.start + from.count,
            firstK: listed.start,
            endK: listed.start + listed.count,
          }),
          ({ count }) => count,
          ({ count }) => ({ bytes: 4 * cols * (listed.count + (accumulate ? 2 : 1) * count) }),
        );
}

/** Mean of each sequence's rows. x: [T,C]; cuSeqlens: [S+1] u32, whose last is T (the caller checks). Returns [S,C]. */
export function segmentMean(x: Tensor, cuSeqlens: Tensor): Tensor {
  const { gpu, cols } = x;
  const out = Tensor.empty(gpu, [cuSeqlens.size - 1, cols]);
  for (const part of partsOf('segmentMean', gpu, byRows(x)))
    shaderOf('segmentMean', {}, () => ({
      label: 'segmentMean',
      params: { sequences: 'u32', cols: 'u32', first: 'u32', end: 'u32', accumulate: 'u32' } as const,
      buffers: { X: 'array<f32>', starts: 'array<u32>', ioY: 'array<f32>' },
      body: `${SEQUENCE_MAIN}
  for (var column = lane; column < p.cols; column += 64u) {
    ${threadSum('sum', 'f32', ['seen', 'after', '1u'], (t) => `X[(${t} - p.first) * p.cols + column]`)}
    sum *= scale;
    if (p.accumulate != 0u) { sum += ioY[s * p.cols + column]; }
    ioY[s * p.cols + column] = sum;
  }
}`,
    })).launch(
      gpu,
      { X: part.operand, starts: flat(cuSeqlens, { beyond: 1 }), ioY: byRows(out) },
      ({ count }) => ({
        sequences: count,
        cols,
        first: part.start,
        end: part.start + part.count,
        accumulate: part.first ? 0 : 1,
      }),
      ({ count }) => count,
    );
  return out;
}

/** dx[t] = dy[sequence of t] / length. */
export function segmentMeanGradient(dy: Tensor, cuSeqlens: Tensor, tokens: number): Tensor {
  const { gpu, cols } = dy;
  const dx = Tensor.empty(gpu, [tokens, cols]);
  for (const part of partsOf('segmentMeanGradient', gpu, byRows(dx)))
    shaderOf('segmentMeanGradient', {}, () => ({
      label: 'segmentMeanGradient',
      params: { sequences: 'u32', cols: 'u32', first: 'u32', end: 'u32' } as const,
      buffers: { DY: 'array<f32>', starts: 'array<u32>', outX: 'array<f32>' },
      body: `${SEQUENCE_MAIN}
  for (var column = lane; column < p.cols; column += 64u) {
    let v = DY[s * p.cols + column] * scale;
    for (var t = seen; t < after; t++) { outX[(t - p.first) * p.cols + column] = v; }
  }
}`,
    })).launch(
      gpu,
      { DY: byRows(dy), starts: flat(cuSeqlens, { beyond: 1 }), outX: part.operand },
      ({ count }) => ({ sequences: count, cols, first: part.start, end: part.start + part.count }),
      ({ count }) => count,
    );
  return dx;
}

/** WGSL: one workgroup a sequence `s`; its tokens among those in sight are [seen, after), `scale` is 1 / all of them. */
const SEQUENCE_MAIN = `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = group.y * groups.x + group.x;
  if (s >= p.sequences) { return; }
  let begin = starts[s];
  let end = starts[s + 1u];
  let seen = max(begin, p.first);
  let after = min(end, p.end);
  let scale = 1.0 / f32(max(1u, end - begin));`;

const NORMALIZE_ROWS = signature('normalizeRows', { x: f32('...', 'C') }, { numbers: { eps: notNegative } });

/** y = x / max(‖x‖₂, eps) per row, and the norms [rows]. */
export function normalizeRows(x: Tensor, eps = 1e-12): { y: Tensor; norms: Tensor } {
  NORMALIZE_ROWS.check({ x }, { eps });
  const y = Tensor.empty(x.gpu, x.shape);
  const norms = Tensor.empty(x.gpu, [x.rows]);
  shaderOf('normalizeRows', { reduction: rowVariant(x.gpu, x.cols) }, ({ reduction }) => {
    const { prelude, subgroups, lanes } = rowReductionOf(reduction);
    return {
      label: 'normalizeRows',
      params: { rows: 'u32', cols: 'u32', eps: 'f32' } as const,
      buffers: { X: 'array<f32>', outY: 'array<f32>', outN: 'array<f32>' },
      subgroups,
      body: `${elementary('f32')}${prelude}${rowMain({ lanes }, 'p.rows')}
  ${laneSum('part', (c) => `X[row * p.cols + ${c}] * X[row * p.cols + ${c}]`, 'p.cols')}
  let norm = sqrt(rowSum(part, lane));
  let scale = 1.0 / maxOf(norm, p.eps);
  for (var c = lane; c < p.cols; c += LANES) { outY[row * p.cols + c] = X[row * p.cols + c] * scale; }
  if (lane == 0u) { outN[row] = norm; }
}`,
    };
  }).launch(
    x.gpu,
    { X: byRows(x), outY: byRows(y), outN: flat(norms) },
    ({ count }) => ({ rows: count, cols: x.cols, eps }),
    ({ count }) => count,
  );
  return { y, norms };
}

/** dx = (dy − y·(y·dy)) / ‖x‖; below eps the norm is a constant and dx = dy / eps. */
export function normalizeRowsGradient(y: Tensor, norms: Tensor, dy: Tensor, eps = 1e-12): Tensor {
  const dx = Tensor.empty(dy.gpu, y.shape);
  shaderOf('normalizeRowsGradient', { reduction: rowVariant(dy.gpu, y.cols) }, ({ reduction }) => {
    const { prelude, subgroups, lanes } = rowReductionOf(reduction);
    return {
      label: 'normalizeRowsGradient',
      params: { rows: 'u32', cols: 'u32', eps: 'f32' } as const,
      buffers: { Y: 'array<f32>', N: 'array<f32>', DY: 'array<f32>', outX: 'array<f32>' },
      subgroups,
      body: `${elementary('f32')}${prelude}${rowMain({ lanes }, 'p.rows')}
  ${laneSum('part', (c) => `Y[row * p.cols + ${c}] * DY[row * p.cols + ${c}]`, 'p.cols')}
  let along = select(0.0, rowSum(part, lane), N[row] > p.eps);
  let scale = 1.0 / maxOf(N[row], p.eps);
  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = (DY[row * p.cols + c] - Y[row * p.cols + c] * along) * scale; }
}`,
    };
  }).launch(
    dy.gpu,
    { Y: byRows(y), N: flat(norms), DY: byRows(dy), outX: byRows(dx) },
    ({ count }) => ({ rows: count, cols: y.cols, eps }),
    ({ count }) => count,
  );
  return dx;
}

const SEGMENT_MAX = signature('segmentMax', {
  x: f32('...'),
  order: u32('positions'),
  starts: u32('groups+1'),
});

/** Position of a group that has none, or names one that x does not have; and of one of which nothing was seen so far. */
const NOWHERE = '0xffffffffu';
const UNSEEN = '0xfffffffeu';

/**
 * Largest value of each group of positions, and the first position that has it. x: [n]; order: positions sorted
 * by group, and within one; starts: [groups+1]. A NaN is the largest. A group that is empty, leaves `order` or names a
 * position that x does not have is NaN and gets no gradient: only the device sees these numbers.
 */
export function segmentMax(x: Tensor, order: Tensor, starts: Tensor): { values: Tensor; positions: Tensor } {
  SEGMENT_MAX.check({ x, order, starts });
  const { gpu } = x;
  const groups = starts.size - 1;
  const values = Tensor.empty(gpu, [groups]);
  const positions = Tensor.empty(gpu, [groups], 'u32');
  for (const listed of partsOf('segmentMax', gpu, flat(order)))
    for (const part of partsOf('segmentMax', gpu, flat(x)))
      shaderOf('segmentMax', {}, () => ({
        label: 'segmentMax',
        params: {
          groups: 'u32',
          positions: 'u32',
          size: 'u32',
          nan: 'u32',
          firstX: 'u32',
          endX: 'u32',
          firstK: 'u32',
          endK: 'u32',
          fresh: 'u32',
        } as const,
        buffers: {
          X: 'array<f32>',
          order: 'array<u32>',
          starts: 'array<u32>',
          ioV: 'array<f32>',
          ioP: 'array<u32>',
        },
        body: `${RANKS}${FLAT_MAIN}
  if (i >= p.groups) { return; }
  let begin = starts[i];
  let end = starts[i + 1u];
  var at = select(ioP[i], ${UNSEEN}, p.fresh != 0u);
  if (begin >= end || end > p.positions) { at = ${NOWHERE}; }
  // No number's rank is 0.
  var best = 0u;
  if (at < ${UNSEEN}) { best = rank(ioV[i]); }
  for (var k = max(begin, p.firstK); k < min(end, p.endK); k++) {
    if (at == ${NOWHERE}) { break; }
    let position = order[k - p.firstK];
    if (position >= p.size) { at = ${NOWHERE}; break; }
    if (position < p.firstX || position >= p.endX) { continue; }
    let v = rank(X[position - p.firstX]);
    if (v > best) { best = v; at = position; }
  }
  ioV[i] = select(unrank(best), bitcast<f32>(p.nan), at >= ${UNSEEN});
  ioP[i] = at;
}`,
      })).launch(
        gpu,
        {
          X: part.operand,
          order: listed.operand,
          starts: flat(starts, { beyond: 1 }),
          ioV: flat(values),
          ioP: flat(positions),
        },
        ({ count }) => ({
          groups: count,
          positions: order.size,
          size: x.size,
          // A constant that is no number would be an error in WGSL.
          nan: 0x7fc00000,
          firstX: part.start,
          endX: part.start + part.count,
          firstK: listed.start,
          endK: listed.start + listed.count,
          fresh: listed.first && part.first ? 1 : 0,
        }),
        ({ count }) => flatGroups(count),
      );
  return { values, positions };
}

/** dx of `segmentMax`: zero but dy at each group's position. x has `size` elements. */
export function segmentMaxGradient(positions: Tensor, dy: Tensor, size: number): Tensor {
  const { gpu } = dy;
  const dx = Tensor.zeros(gpu, [size]);
  for (const part of partsOf('segmentMaxGradient', gpu, flat(dx)))
    shaderOf('segmentMaxGradient', {}, () => ({
      label: 'segmentMaxGradient',
      params: { groups: 'u32', first: 'u32', end: 'u32' } as const,
      buffers: { P: 'array<u32>', DY: 'array<f32>', outX: 'array<f32>' },
      body: `${FLAT_MAIN}
  if (i >= p.groups) { return; }
  // No position is as large as ${NOWHERE}.
  if (P[i] >= p.first && P[i] < p.end) { outX[P[i] - p.first] = DY[i]; }
}`,
    })).launch(
      gpu,
      { P: flat(positions), DY: flat(dy), outX: part.operand },
      ({ count }) => ({ groups: count, first: part.start, end: part.start + part.count }),
      ({ count }) => flatGroups(count),
    );
  return dx;
}
