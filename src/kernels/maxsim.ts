/**
 * ColBERT late interaction (Khattab & Zaharia 2020): score(q,p) = 1/n_q Σ_i max_j q_i·p_j, over packed token
 * vectors. Tiled: only the maximum and its position per (query token, passage) are kept, never the similarity
 * tensor. The first token of each text (CLS) takes no part.
 *
 * Even those grow with query tokens × passages, so large batches are worked on in blocks of whole queries. One
 * block keeps its positions for the gradient; of several, the gradient finds them again block by block. Where one
 * binding cannot see all vectors, a block meets the passages part by part.
 *
 * Forward is a matmul tile whose columns are one passage's tokens, folded into a running maximum.
 * dQ gathers the winning passage tokens. dP walks each passage's (query token, winner) list in order, one thread
 * per column, so sums have a fixed order and need no atomics.
 */
import { f32, optional, requireBeside, signature, u32, wholeNumber } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { RANKS } from './elementary.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { type Operand, type Range, whole, windowed } from './launch/operands.js';
import { threadSum } from './launch/rows.js';
import { shaderOf } from './launch/shader.js';
import { usesSubgroup8 } from './variants.js';

/** Where queries and passages lie in the packed token vectors, and which pairs are scored. */
export interface MaxSimLayout {
  /** Rows of the vectors that the layout was made for. */
  readonly vectors: number;
  /** [queries, 4] u32: first token after CLS, end, first scored passage, row of `best` of the first token. */
  readonly queries: Tensor;
  /** [passages, 4] u32: first token after CLS, end, 1 if the maximum is floored at 0, unused. */
  readonly passages: Tensor;
  /** [rows, 2] u32 per query token: its token position, its query. */
  readonly tokens: Tensor;
  /** Scored passages per query: all, or the own group. */
  readonly columns: number;
  /**
   * [tiles, 4] u32: first row, end row, query's first passage, unused; 32 rows at most, of one passage range and
   * one block.
   */
  readonly tiles: Tensor;
  /** Cover all queries in order. */
  readonly blocks: readonly MaxSimBlock[];
}

/** Consecutive queries whose maxima and positions, [rows, columns] each, are in memory together. */
export interface MaxSimBlock {
  readonly firstQuery: number;
  readonly queries: number;
  readonly firstRow: number;
  readonly rows: number;
  readonly firstTile: number;
  readonly tiles: number;
  /** Tokens [begin, end) of the queries. */
  readonly tokens: TokenRange;
  /** The passages that these queries are scored against, in order, cut so that one binding sees a part's tokens. */
  readonly parts: readonly MaxSimPart[];
}

export interface TokenRange {
  readonly begin: number;
  readonly end: number;
}

/** Consecutive passages, and for each query the columns that they are. */
export interface MaxSimPart {
  readonly firstPassage: number;
  readonly passages: number;
  readonly firstSlot: number;
  readonly slots: number;
  readonly tokens: TokenRange;
}

/** The elements of [T,C] vectors that tokens are, seen whatever the `units` that a launch walks. */
function tokensOf(vectors: Tensor, units: number, { begin, end }: TokenRange): Operand {
  const range: Range = [begin * vectors.cols, (end - begin) * vectors.cols];
  return windowed(vectors, units, () => range);
}

export interface MaxSimResult {
  /** [queries, columns] */
  readonly scores: Tensor;
  /** [rows, columns] u32: winning passage token, or NONE. Undefined when the layout has several blocks. */
  readonly positions: Tensor | undefined;
}

/** Maxima and positions of one block: [block.rows, columns] f32 and u32. */
interface Winners {
  readonly best: Tensor;
  readonly positions: Tensor;
}

/** Position when the floor at 0 won: no gradient. */
const NONE = '0xffffffffu';
export const MAXSIM_TILE_ROWS = 32;
const ROW_GROUPS = 4;
const COLUMNS = 24;
const AXES = ['x', 'y', 'z', 'w'] as const;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

// Maxima are found by rank: the first token wins a tie, a NaN is the largest, and any number is above 0.
const FOLD = `${RANKS}
fn finish(row: u32, slot: u32, passage: u32, best: u32, at: u32) {
  var value = unrank(best);
  var position = at;
  if (passages[passage].z != 0u && best <= rank(0.0)) { value = 0.0; position = ${NONE}; }
  if (passages[passage].x >= passages[passage].y) { value = 0.0; position = ${NONE}; }
  let i = (row - p.firstRow) * p.columns + slot;
  outBest[i] = value;
  outAt[i] = position;
}`;

/** WGSL: tile and passage slot of a workgroup, tiles side by side first. Where windows begin is taken off modulo 2³². */
const TILE_AND_SLOT = `let index = group.y * groups.x + group.x;
  if (index >= p.tiles * p.slots) { return; }
  let tile = tiles[p.firstTile + index % p.tiles];
  let slot = p.firstSlot + index / p.tiles;`;

const MAX_SIM = signature(
  'maxSim',
  {
    vectors: f32('T', 'C'),
    queries: u32('queries', 4),
    passages: u32('passages', 4),
    tokens: u32('rows', 2),
    tiles: u32('tiles', 4),
  },
  { numbers: { columns: wholeNumber() }, atLeast: { C: 1 } },
);

/** vectors: [T,C]. @throws ShapeError. */
export function maxSim(vectors: Tensor, layout: MaxSimLayout): MaxSimResult {
  requireBeside('maxSim', 'layout', 'one of maxSimLayout', layout, 'blocks', 'tiles');
  const { queries, passages, tokens, tiles, columns } = layout;
  MAX_SIM.check(
    { vectors, queries, passages, tokens, tiles },
    { columns },
    { extents: { T: [layout.vectors, 'the layout'] } },
  );
  const scores = Tensor.empty(vectors.gpu, [layout.queries.rows, layout.columns]);
  let kept: Tensor | undefined;
  for (const block of layout.blocks) {
    const { best, positions } = winners(vectors, layout, block);
    meanOverTokens(best, layout, block, scores);
    best.dispose();
    if (layout.blocks.length === 1) kept = positions;
    else positions.dispose();
  }
  return { scores, positions: kept };
}

function winners(vectors: Tensor, layout: MaxSimLayout, block: MaxSimBlock): Winners {
  const { cols } = vectors;
  const gpu = vectors.gpu;
  if (cols % 4 !== 0) return winnersScalar(vectors, layout, block);
  const best = Tensor.empty(gpu, [block.rows, layout.columns]);
  const positions = Tensor.empty(gpu, [block.rows, layout.columns], 'u32');
  const buffers = {
    Q: 'array<vec4f>',
    V: 'array<vec4f>',
    tokens: 'array<vec2u>',
    passages: 'array<vec4u>',
    tiles: 'array<vec4u>',
    outBest: 'array<f32>',
    outAt: 'array<u32>',
  };
  const params = {
    cols4: 'u32',
    columns: 'u32',
    firstRow: 'u32',
    firstTile: 'u32',
    tiles: 'u32',
    firstSlot: 'u32',
    slots: 'u32',
    baseQ: 'u32',
    baseV: 'u32',
  } as const;
  const shader = usesSubgroup8(gpu, 'maxSim')
    ? shaderOf('maxSim.subgroup8', {}, () => {
        const lines: string[] = [];
        for (const r of range(ROW_GROUPS)) lines.push(`let a${r} = Q[own${r} + k];`);
        lines.push('let at = k - p.baseV;');
        for (const v of range(COLUMNS / 8))
          lines.push(`let b${v} = V[min(t + ${8 * v}u + lane, last) * p.cols4 + at];`);
        for (const c of range(COLUMNS))
          for (const x of AXES) {
            lines.push(`{ let b = subgroupBroadcast(b${Math.floor(c / 8)}.${x}, ${c % 8}u);`);
            for (const r of range(ROW_GROUPS)) lines.push(`c${r}_${c} = fma(a${r}.${x}, b, c${r}_${c});`);
            lines.push('}');
          }
        return {
          label: 'maxSim',
          params,
          buffers,
          subgroups: true,
          body: `${FOLD}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  ${TILE_AND_SLOT}
  let passage = tile.z + slot;
  let begin = passages[passage].x;
  let end = passages[passage].y;
  let last = max(end, 1u) - 1u;
  ${range(ROW_GROUPS)
    .map(
      (r) =>
        `let row${r} = tile.x + ${8 * r}u + lane; let own${r} = tokens[min(row${r}, tile.y - 1u)].x * p.cols4 - p.baseQ; var best${r} = 0u; var at${r} = 0u;`,
    )
    .join('\n  ')}
  for (var t = begin; t < end; t += ${COLUMNS}u) {
    ${range(ROW_GROUPS)
      .map((r) =>
        range(COLUMNS)
          .map((c) => `var c${r}_${c} = 0.0;`)
          .join(' '),
      )
      .join('\n    ')}
    for (var k = 0u; k < p.cols4; k++) {
      ${lines.join('\n      ')}
    }
    ${range(COLUMNS)
      .map(
        (c) =>
          `if (t + ${c}u < end) { ${range(ROW_GROUPS)
            .map(
              (r) => `{ let v = rank(c${r}_${c}); if (v > best${r}) { best${r} = v; at${r} = t + ${c}u; } }`,
            )
            .join(' ')} }`,
      )
      .join('\n    ')}
  }
  ${range(ROW_GROUPS)
    .map((r) => `if (row${r} < tile.y) { finish(row${r}, slot, passage, best${r}, at${r}); }`)
    .join('\n  ')}
}`,
        };
      })
    : shaderOf('maxSim.workgroup', {}, () => ({
        label: 'maxSim.workgroup',
        params,
        buffers,
        body: `${FOLD}
// 32 query tokens × 16 passage tokens a block, 16 components at a time; thread (r, h) folds 4 columns of row r.
var<workgroup> qs: array<array<vec4f, 5>, 32>;
var<workgroup> ps: array<array<vec4f, 5>, 16>;
var<workgroup> tops: array<array<u32, 4>, 32>;
var<workgroup> ats: array<array<u32, 4>, 32>;
@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  ${TILE_AND_SLOT}
  let passage = tile.z + slot;
  let begin = passages[passage].x;
  let end = passages[passage].y;
  let r = local / 4u;
  let h = local % 4u;
  var best = 0u;
  var at = 0u;
  for (var t = begin; t < end; t += 16u) {
    var c = vec4f();
    for (var k = 0u; k < p.cols4; k += 4u) {
      let have = k + h < p.cols4;
      qs[r][h] = select(vec4f(), Q[tokens[min(tile.x + r, tile.y - 1u)].x * p.cols4 + min(k + h, p.cols4 - 1u) - p.baseQ], have);
      if (local < 64u) { ps[local / 4u][h] = select(vec4f(), V[min(t + local / 4u, end - 1u) * p.cols4 + min(k + h, p.cols4 - 1u) - p.baseV], have); }
      workgroupBarrier();
      for (var e = 0u; e < 4u; e++) {
        let q = qs[r][e];
        c += vec4f(dot(q, ps[4u * h][e]), dot(q, ps[4u * h + 1u][e]), dot(q, ps[4u * h + 2u][e]), dot(q, ps[4u * h + 3u][e]));
      }
      workgroupBarrier();
    }
    for (var j = 0u; j < 4u; j++) {
      let token = t + 4u * h + j;
      let v = rank(c[j]);
      if (token < end && v > best) { best = v; at = token; }
    }
  }
  tops[r][h] = best;
  ats[r][h] = at;
  workgroupBarrier();
  if (h == 0u && tile.x + r < tile.y) {
    // Equal maxima: the first token wins, as in the walk in order.
    for (var j = 1u; j < 4u; j++) {
      if (tops[r][j] > best || (tops[r][j] == best && ats[r][j] < at)) { best = tops[r][j]; at = ats[r][j]; }
    }
    finish(tile.x + r, slot, passage, best, at);
  }
}`,
      }));
  for (const part of block.parts)
    shader.launch(
      gpu,
      {
        Q: tokensOf(vectors, block.tiles, block.tokens),
        V: tokensOf(vectors, block.tiles, part.tokens),
        tokens: whole(layout.tokens),
        passages: whole(layout.passages),
        tiles: windowed(layout.tiles, block.tiles, ({ start, count }) => [
          (block.firstTile + start) * 4,
          count * 4,
        ]),
        outBest: whole(best),
        outAt: whole(positions),
      },
      ({ start, count }, base) => ({
        cols4: cols / 4,
        columns: layout.columns,
        firstRow: block.firstRow,
        firstTile: block.firstTile + start - base['tiles']! / 4,
        tiles: count,
        firstSlot: part.firstSlot,
        slots: part.slots,
        baseQ: base['Q']! / 4,
        baseV: base['V']! / 4,
      }),
      ({ count }) => count * part.slots,
    );
  return { best, positions };
}

/** Any width, one thread a (query token, passage): for head widths that are not whole vec4s. */
function winnersScalar(vectors: Tensor, layout: MaxSimLayout, block: MaxSimBlock): Winners {
  const gpu = vectors.gpu;
  const best = Tensor.empty(gpu, [block.rows, layout.columns]);
  const positions = Tensor.empty(gpu, [block.rows, layout.columns], 'u32');
  const shader = shaderOf('maxSim.scalar', {}, () => ({
    label: 'maxSim.scalar',
    params: {
      cols: 'u32',
      columns: 'u32',
      firstRow: 'u32',
      skipped: 'u32',
      count: 'u32',
      firstSlot: 'u32',
      slots: 'u32',
      baseQ: 'u32',
      baseV: 'u32',
    } as const,
    buffers: {
      Q: 'array<f32>',
      V: 'array<f32>',
      tokens: 'array<vec2u>',
      queries: 'array<vec4u>',
      passages: 'array<vec4u>',
      outBest: 'array<f32>',
      outAt: 'array<u32>',
    },
    body: `${FOLD}
${FLAT_MAIN}
  if (i >= p.count) { return; }
  let row = p.firstRow + p.skipped + i / p.slots;
  let slot = p.firstSlot + i % p.slots;
  let token = tokens[row];
  let passage = queries[token.y].z + slot;
  let own = token.x * p.cols - p.baseQ;
  var best = 0u;
  var at = 0u;
  for (var t = passages[passage].x; t < passages[passage].y; t++) {
    let other = t * p.cols - p.baseV;
    var sum = 0.0;
    for (var k = 0u; k < p.cols; k++) { sum += Q[own + k] * V[other + k]; }
    let v = rank(sum);
    if (v > best) { best = v; at = t; }
  }
  finish(row, slot, passage, best, at);
}`,
  }));
  for (const part of block.parts)
    shader.launch(
      gpu,
      {
        Q: tokensOf(vectors, block.rows, block.tokens),
        V: tokensOf(vectors, block.rows, part.tokens),
        tokens: whole(layout.tokens),
        queries: whole(layout.queries),
        passages: whole(layout.passages),
        outBest: whole(best),
        outAt: whole(positions),
      },
      ({ start, count }, base) => ({
        cols: vectors.cols,
        columns: layout.columns,
        firstRow: block.firstRow,
        skipped: start,
        count: count * part.slots,
        firstSlot: part.firstSlot,
        slots: part.slots,
        baseQ: base['Q']!,
        baseV: base['V']!,
      }),
      ({ count }) => flatGroups(count * part.slots),
    );
  return { best, positions };
}

/** Writes the block's rows of `scores`. */
function meanOverTokens(best: Tensor, layout: MaxSimLayout, block: MaxSimBlock, scores: Tensor): void {
  const { columns } = layout;
  shaderOf('maxSimMean', {}, () => ({
    label: 'maxSimMean',
    params: { columns: 'u32', firstQuery: 'u32', firstRow: 'u32', count: 'u32', base: 'u32' } as const,
    buffers: { B: 'array<f32>', queries: 'array<vec4u>', outS: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let query = queries[p.firstQuery + i / p.columns];
  let row = query.w - p.firstRow;
  let tokens = query.y - query.x;
  ${threadSum('sum', 'f32', ['0u', 'tokens', '1u'], (k) => `B[(row + ${k}) * p.columns + i % p.columns]`)}
  outS[p.firstQuery * p.columns + i - p.base] = sum / f32(max(1u, tokens));
}`,
  })).launch(
    best.gpu,
    {
      B: whole(best),
      queries: whole(layout.queries),
      outS: windowed(scores, block.queries, ({ start, count }) => [
        (block.firstQuery + start) * columns,
        count * columns,
      ]),
    },
    ({ start, count }, base) => ({
      columns,
      firstQuery: block.firstQuery + start,
      firstRow: block.firstRow,
      count: count * columns,
      base: base['outS']!,
    }),
    ({ count }) => flatGroups(count * columns),
  );
}

const MAX_SIM_GRADIENT = signature(
  'maxSim',
  { vectors: f32('T', 'C'), dScores: f32('Q', 'columns'), into: optional(f32('T', 'C')) },
  { numbers: { Q: wholeNumber(), columns: wholeNumber() } },
);

/**
 * d vectors [T,C] of dScores [queries, columns], added to `into` where given; a new tensor is zero in rows that
 * take no part. `positions` is what `maxSim` returned for the same vectors and layout.
 */
export function maxSimGradient(
  vectors: Tensor,
  positions: Tensor | undefined,
  layout: MaxSimLayout,
  dScores: Tensor,
  into?: Tensor,
): Tensor {
  MAX_SIM_GRADIENT.check({ vectors, dScores, into }, { Q: layout.queries.rows, columns: layout.columns });
  const dVectors = into ?? Tensor.zeros(vectors.gpu, vectors.shape);
  // In query order, so that sums over a passage have the same order whatever the blocks.
  for (const block of layout.blocks) {
    const found = positions ? undefined : winners(vectors, layout, block);
    found?.best.dispose();
    addBlockGradient(vectors, positions ?? found!.positions, layout, block, dScores, dVectors, !into);
    found?.positions.dispose();
  }
  return dVectors;
}

function addBlockGradient(
  vectors: Tensor,
  positions: Tensor,
  layout: MaxSimLayout,
  block: MaxSimBlock,
  dScores: Tensor,
  dVectors: Tensor,
  fresh: boolean,
): void {
  const gpu = vectors.gpu;
  const { cols } = vectors;
  const vec = cols % 4 === 0;
  const unit = vec ? 4 : 1;
  const width = cols / unit;
  const alone = layout.columns !== layout.passages.rows;
  for (const [n, part] of block.parts.entries()) {
    // A query row's first visit writes into a fresh gradient, since reading it first costs a tenth.
    shaderOf('maxSimDQ', { vec, first: fresh && n === 0 }, (form) => {
      const type = form.vec ? 'vec4f' : 'f32';
      return {
        label: 'maxSimDQ',
        params: {
          width: 'u32',
          columns: 'u32',
          firstRow: 'u32',
          skipped: 'u32',
          rows: 'u32',
          firstSlot: 'u32',
          slots: 'u32',
          baseV: 'u32',
          baseOut: 'u32',
        } as const,
        buffers: {
          V: `array<${type}>`,
          A: 'array<u32>',
          DS: 'array<f32>',
          tokens: 'array<vec2u>',
          queries: 'array<vec4u>',
          ioV: `array<${type}>`,
        },
        body: `
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  if (group.y * groups.x + group.x >= p.rows) { return; }
  let row = p.skipped + group.y * groups.x + group.x;
  let token = tokens[p.firstRow + row];
  let own = row * p.columns + p.firstSlot;
  let scores = token.y * p.columns + p.firstSlot;
  let share = 1.0 / f32(queries[token.y].y - queries[token.y].x);
  for (var c = lane; c < p.width; c += 32u) {
    // Where windows start is taken off outside of loops, modulo 2³²: inside it costs a fourteenth.
    let column = c - p.baseV;
    var sum = ${type}();
    for (var s = 0u; s < p.slots; s++) {
      let at = A[own + s];
      if (at != ${NONE}) { sum += V[at * p.width + column] * (DS[scores + s] * share); }
    }
    ioV[token.x * p.width + c - p.baseOut] ${form.first ? '=' : '+='} sum;
  }
}`,
      };
    }).launch(
      gpu,
      {
        V: tokensOf(vectors, block.rows, part.tokens),
        A: whole(positions),
        DS: whole(dScores),
        tokens: whole(layout.tokens),
        queries: whole(layout.queries),
        ioV: tokensOf(dVectors, block.rows, block.tokens),
      },
      ({ start, count }, base) => ({
        width,
        columns: layout.columns,
        firstRow: block.firstRow,
        skipped: start,
        rows: count,
        firstSlot: part.firstSlot,
        slots: part.slots,
        baseV: base['V']! / unit,
        baseOut: base['ioV']! / unit,
      }),
      ({ count }) => count,
    );
    // One workgroup a (passage, 8 columns): few columns a workgroup keep many workgroups in flight, since each
    // walks all query tokens in order.
    const groups = Math.ceil(width / 8);
    shaderOf('maxSimDP', { vec }, (form) => {
      const type = form.vec ? 'vec4f' : 'f32';
      return {
        label: 'maxSimDP',
        params: {
          width: 'u32',
          groups: 'u32',
          columns: 'u32',
          firstQuery: 'u32',
          queries: 'u32',
          firstRow: 'u32',
          firstPassage: 'u32',
          passages: 'u32',
          own: 'u32',
          baseV: 'u32',
          baseOut: 'u32',
        } as const,
        buffers: {
          V: `array<${type}>`,
          A: 'array<u32>',
          DS: 'array<f32>',
          queries: 'array<vec4u>',
          ioV: `array<${type}>`,
        },
        body: `
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.y * groups.x + group.x;
  let passage = p.firstPassage + index / p.groups;
  let c = (index % p.groups) * 8u + lane;
  if (c >= p.width || index >= p.passages * p.groups) { return; }
  let queryColumn = c - p.baseV;
  let passageColumn = c - p.baseOut;
  // With own groups only, query ⌊passage / columns⌋ alone scores this passage.
  let first = select(p.firstQuery, passage / p.columns, p.own != 0u);
  let after = select(p.firstQuery + p.queries, first + 1u, p.own != 0u);
  for (var q = first; q < after; q++) {
    let query = queries[q];
    let slot = passage - query.z;
    let row = query.w - p.firstRow;
    let weight = DS[q * p.columns + slot] / f32(max(1u, query.y - query.x));
    for (var t = query.x; t < query.y; t++) {
      let at = A[(row + t - query.x) * p.columns + slot];
      if (at != ${NONE}) { ioV[at * p.width + passageColumn] += V[t * p.width + queryColumn] * weight; }
    }
  }
}`,
      };
    }).launch(
      gpu,
      {
        V: tokensOf(vectors, part.passages, block.tokens),
        A: whole(positions),
        DS: whole(dScores),
        queries: whole(layout.queries),
        ioV: tokensOf(dVectors, part.passages, part.tokens),
      },
      ({ start, count }, base) => ({
        width,
        groups,
        columns: layout.columns,
        firstQuery: block.firstQuery,
        queries: block.queries,
        firstRow: block.firstRow,
        firstPassage: part.firstPassage + start,
        passages: count,
        own: alone ? 1 : 0,
        baseV: base['V']! / unit,
        baseOut: base['ioV']! / unit,
      }),
      ({ count }) => count * groups,
    );
  }
}

/** Float64 reference of one pair: q, p row-major [n,C] without CLS rows. */
export function maxSimReference(
  q: ArrayLike<number>,
  p: ArrayLike<number>,
  cols: number,
  floor: boolean,
): number {
  let sum = 0;
  const nq = q.length / cols;
  for (let i = 0; i < nq; i++) {
    let best = floor ? 0 : -Infinity;
    for (let j = 0; j < p.length / cols; j++) {
      let dot = 0;
      for (let c = 0; c < cols; c++) dot += q[i * cols + c]! * p[j * cols + c]!;
      if (dot > best) best = dot;
    }
    sum += best;
  }
  return sum / Math.max(1, nq);
}
