/**
 * Maxima anywhere: 32 query tokens by 16 passage tokens through workgroup memory; where rows are no whole fours, one thread a
 * query token and passage.
 */
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { whole } from '../launch/operands.js';
import { type Shader, type ShaderDefinition, shaderOf } from '../launch/shader.js';
import {
  FOLD,
  launchTiles,
  type MaxSimVariant,
  TILE_AND_SLOT,
  TILE_BUFFERS,
  TILE_PARAMS,
  type WinnersOperands,
} from './form.js';
import { windowOfTokens } from './layout.js';

const tiled = (): ShaderDefinition<typeof TILE_PARAMS> => ({
  label: 'maxSim.workgroup',
  params: TILE_PARAMS,
  buffers: TILE_BUFFERS,
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
});

const tiledShader = (): Shader<typeof TILE_PARAMS> => shaderOf('maxSim.workgroup', {}, tiled);

const SCALAR_PARAMS = {
  cols: 'u32',
  columns: 'u32',
  firstRow: 'u32',
  skipped: 'u32',
  count: 'u32',
  firstSlot: 'u32',
  slots: 'u32',
  baseQ: 'u32',
  baseV: 'u32',
} as const;

const scalar = (): ShaderDefinition<typeof SCALAR_PARAMS> => ({
  label: 'maxSim.scalar',
  params: SCALAR_PARAMS,
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
});

const scalarShader = (): Shader<typeof SCALAR_PARAMS> => shaderOf('maxSim.scalar', {}, scalar);

function launchScalar({ vectors, layout, block, best, positions }: WinnersOperands): void {
  const shader = scalarShader();
  for (const part of block.parts)
    shader.launch(
      vectors.gpu,
      {
        Q: windowOfTokens(vectors, block.rows, block.tokens),
        V: windowOfTokens(vectors, block.rows, part.tokens),
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
}

export const workgroup: MaxSimVariant = {
  name: 'workgroup',
  why: 'works anywhere: tiles through workgroup memory; one thread a pair where rows are no whole fours',
  supports: () => true,
  prior: () => 1,
  shaders: (_, { unit }): ReturnType<MaxSimVariant['shaders']> => ({
    winners: unit === 4 ? tiledShader() : scalarShader(),
  }),
  run(_, { unit }, __, operands) {
    if (unit === 4) launchTiles(tiledShader(), operands);
    else launchScalar(operands);
  },
};
