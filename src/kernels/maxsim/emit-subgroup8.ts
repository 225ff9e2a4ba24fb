/**
 * Maxima for subgroups of 8 lanes: a tile of 32 query tokens by 24 passage tokens, four rows a lane; each lane loads three
 * passage tokens and the lanes hand their components round.
 */
import { type Shader, type ShaderDefinition, shaderOf } from '../launch/shader.js';
import {
  FOLD,
  launchTiles,
  type MaxSimVariant,
  range,
  TILE_AND_SLOT,
  TILE_BUFFERS,
  TILE_PARAMS,
} from './form.js';

const ROW_GROUPS = 4;
const COLUMNS = 24;
const AXES = ['x', 'y', 'z', 'w'] as const;

function definition(): ShaderDefinition<typeof TILE_PARAMS> {
  const lines: string[] = [];
  for (const r of range(ROW_GROUPS)) lines.push(`let a${r} = Q[own${r} + k];`);
  lines.push('let at = k - p.baseV;');
  for (const v of range(COLUMNS / 8))
    lines.push(`let b${v} = V[min(t + ${8 * v}u + lane, last) * p.cols4 + at];`);
  for (const c of range(COLUMNS))
    for (const x of AXES) {
      lines.push(`{ let b = subgroupShuffle(b${Math.floor(c / 8)}.${x}, lane0 + ${c % 8}u);`);
      for (const r of range(ROW_GROUPS)) lines.push(`c${r}_${c} = fma(a${r}.${x}, b, c${r}_${c});`);
      lines.push('}');
    }
  return {
    label: 'maxSim',
    params: TILE_PARAMS,
    buffers: TILE_BUFFERS,
    subgroups: true,
    body: `${FOLD}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  ${TILE_AND_SLOT}
  let passage = tile.z + slot;
  let begin = passages[passage].x;
  let end = passages[passage].y;
  let last = max(end, 1u) - 1u;
  let lane0 = lane & 0xfffffff8u;
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
}

const shader = (): Shader<typeof TILE_PARAMS> => shaderOf('maxSim.subgroup8', {}, definition);

export const subgroup8: MaxSimVariant = {
  name: 'subgroup8',
  why: 'lavapipe: 8 lanes hand passage tokens round by themselves, without workgroup memory',
  supports: ({ subgroupMinSize }, { unit }) => subgroupMinSize >= 8 && unit === 4,
  // It would waste most of the wave of a GPU.
  prior: ({ software }) => (software ? 2 : 0),
  shaders: () => ({ winners: shader() }),
  run: (_, __, ___, operands) => launchTiles(shader(), operands),
};
