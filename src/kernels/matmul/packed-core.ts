/**
 * The kernel of the packed product: a tile of C on the 8 lanes of a subgroup. A lane loads a unit of its row of each
 * panel (see packed-operand.ts), and values of the columns are handed round by shuffles: `(lane & ~7) + j` is right for
 * any subgroup of a multiple of 8 lanes, and is one permutation on lavapipe where a constant lane is a scalar round
 * trip (docs/spec/kernels-2.md §2, §3).
 *
 * Sums are chains of fused or plain multiply-adds (32 vector registers: AVX-512), or trees over the 8 products of an
 * iteration (16 registers: AVX2, where a chain's accumulators go through the stack with every product). All layouts and
 * sizes share one pipeline: where an operand lies is in the parameters.
 */
import { elementary } from '../elementary.js';
import { type FloatDType, load4, store4, vec4Type } from '../launch/formats.js';
import { type Shader, shaderOf } from '../launch/shader.js';
import { unaryFormulas } from '../pointwise.js';
import { paramsOf, startsOf } from './form.js';
import type { Reads } from './packed-operand.js';

export interface CoreForm {
  readonly reads: Reads;
  readonly sum: 'chain' | 'tree';
  /** Groups of 8 rows in a tile. */
  readonly rowGroups: number;
  /** Of both packed operands. */
  readonly packed: FloatDType;
  readonly c: FloatDType;
  readonly gelu: boolean;
  /** Rows of C are whole groups of four values, as they must be in f16. */
  readonly fours: boolean;
  readonly batched?: true | undefined;
}

export const TILE_COLUMNS = 24;
/** Column tiles that are walked together, so that their panels stay in a cache. */
const BAND = 4;

const CORE_PARAMS = {
  M: 'u32',
  N: 'u32',
  /** Along K: pairs of vec4s, or units of 8 halves. */
  steps: 'u32',
  /** Of a panel along K, where it lies in a buffer. */
  units: 'u32',
  ldc: 'u32',
  startC: 'u32',
  hasBias: 'u32',
  accumulate: 'u32',
  plainA: 'u32',
  plainB: 'u32',
  /** vec4s that a lane stores: a bound that the compiler does not know, lest it unrolls the epilogue. */
  stores: 'u32',
} as const;

const AXES = ['x', 'y', 'z', 'w'] as const;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

export function coreShader(form: CoreForm): Shader<typeof CORE_PARAMS> {
  return shaderOf('matmul.packed', form, ({ reads, sum, rowGroups, packed, c, gelu, fours, batched }) => {
    const startC = startsOf({ batched }).C;
    const halves = packed === 'f16';
    const texture = reads === 'texture';
    const panelsB = TILE_COLUMNS / 8;
    // Declares `{name}0` and `{name}1`: 8 values along K of one lane's row of a panel, from step k.
    const load = (operand: 'A' | 'B', panel: number, name: string): string => {
      const at = (unit: string) =>
        texture
          ? `textureLoad(${operand}, vec2u((${unit}) * k${operand} + x${operand}, y${operand}${panel}))`
          : `${operand}[x${operand}${panel} + (${unit}) * 8u]`;
      if (!halves) return `let ${name}0 = ${at('2u * k')}; let ${name}1 = ${at('2u * k + 1u')};`;
      return `let ${name} = ${at('k')}; let ${name}0 = fourOf(${name}.xy); let ${name}1 = fourOf(${name}.zw);`;
    };
    const loads = [
      ...range(rowGroups).map((r) => load('A', r, `a${r}u`)),
      ...range(panelsB).map((q) => load('B', q, `b${q}u`)),
    ];
    const column = (j: number, u: number, axis: string) =>
      `subgroupShuffle(b${Math.floor(j / 8)}u${u}.${axis}, s${j % 8})`;
    const products: string[] = [];
    if (sum === 'chain')
      for (const u of [0, 1])
        for (const j of range(TILE_COLUMNS))
          for (const axis of AXES)
            products.push(
              `{ let b = ${column(j, u, axis)}; ${range(rowGroups)
                .map((r) => `c${r}_${j} = fma(a${r}u${u}.${axis}, b, c${r}_${j});`)
                .join(' ')} }`,
            );
    else
      for (const j of range(TILE_COLUMNS)) {
        const names = [0, 1].flatMap((u) => AXES.map((axis) => ({ name: `b${u}${axis}`, u, axis })));
        products.push(
          `{ ${names.map(({ name, u, axis }) => `let ${name} = ${column(j, u, axis)};`).join(' ')}`,
          ...range(rowGroups).map((r) => {
            const [p0, p1, p2, p3, p4, p5, p6, p7] = names.map(
              ({ name, u, axis }) => `a${r}u${u}.${axis} * ${name}`,
            );
            return `  c${r}_${j} += ((${p0} + ${p1}) + (${p2} + ${p3})) + ((${p4} + ${p5}) + (${p6} + ${p7}));`;
          }),
          '}',
        );
      }
    // With batches the panels or rows of a matrix follow those of the one before.
    const batchOf = (operand: 'A' | 'B') => `group.z / p.each${operand} % p.of${operand}`;
    const extentOf = { A: 'p.M', B: 'p.N' };
    const panelOf = (operand: 'A' | 'B') =>
      batched ? `${batchOf(operand)} * ((${extentOf[operand]} + 7u) / 8u) + ` : '';
    const rowOf = (operand: 'A' | 'B') => (batched ? `${batchOf(operand)} * ${extentOf[operand]} + ` : '');
    // Of a texture: unit and lane to x, panel and lane to y; plain rows have a row a texel row.
    const place = (operand: 'A' | 'B', first: string, count: number) =>
      texture
        ? [
            `let plain${operand} = p.plain${operand} != 0u;`,
            `let k${operand} = select(8u, 1u, plain${operand}); let x${operand} = select(lane, 0u, plain${operand});`,
            ...range(count).map(
              (i) =>
                `let y${operand}${i} = select(${panelOf(operand)}${first} + ${i}u, ${rowOf(operand)}(${first} + ${i}u) * 8u + lane, plain${operand});`,
            ),
          ].join('\n  ')
        : range(count)
            .map((i) => `let x${operand}${i} = (${panelOf(operand)}${first} + ${i}u) * p.units * 8u + lane;`)
            .join('\n  ');
    const type = texture
      ? `texture_storage_2d<rgba32${halves ? 'uint' : 'float'}, read>`
      : `array<${halves ? 'Half8' : 'vec4f'}>`;
    const perRow = TILE_COLUMNS / 4;
    const result = fours ? vec4Type(c) : 'array<f32>';
    // GELU is taken of the pre-activation as it is stored: forward is then what the gradient differentiates.
    const activated = `let x = ${c === 'f16' ? 'unpackHalves(packHalves(sum))' : 'sum'}; sum = ${unaryFormulas.gelu.forward};`;
    const epilogue = fours
      ? `fn store(row: u32, v: u32, value: vec4f) {
  if (row >= p.M || v >= p.N / 4u) { return; }
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  let at = ${startC} / 4u + row * (p.ldc / 4u) + v;
  if (p.accumulate != 0u) { sum += ${load4(c, 'outC', 'at')}; }
  ${gelu ? `${store4(c, 'outU', 'at', 'sum')} ${activated}` : ''}
  ${store4(c, 'outC', 'at', 'sum')}
}`
      : `fn store(row: u32, v: u32, value: vec4f) {
  if (row >= p.M) { return; }
  for (var e = 0u; e < 4u && 4u * v + e < p.N; e++) {
    var sum = value[e];
    if (p.hasBias != 0u) { sum += bias[4u * v + e]; }
    let at = ${startC} + row * p.ldc + 4u * v + e;
    if (p.accumulate != 0u) { sum += outC[at]; }
    ${gelu ? `outU[at] = sum; ${activated}` : ''}
    outC[at] = sum;
  }
}`;
    return {
      label: batched ? 'matmul.batched' : 'matmul',
      params: paramsOf({ batched }, CORE_PARAMS),
      buffers: {
        A: type,
        B: type,
        bias: fours ? 'array<vec4f>' : 'array<f32>',
        outC: result,
        ...(gelu ? { outU: result } : {}),
      },
      subgroups: true,
      body: `${batched ? 'var<private> startC: u32;\n' : ''}${gelu ? elementary(fours ? 'vec4f' : 'f32') : ''}
${halves ? 'fn fourOf(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }' : ''}
${epilogue}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  ${batched ? 'startC = p.startC + group.z * (p.M * p.N);\n  ' : ''}let rowTiles = (p.M + ${8 * rowGroups - 1}u) / ${8 * rowGroups}u;
  let columnTiles = (p.N + ${TILE_COLUMNS - 1}u) / ${TILE_COLUMNS}u;
  let tile = group.y * groups.x + group.x;
  if (tile >= rowTiles * columnTiles) { return; }
  let band = tile / (rowTiles * ${BAND}u);
  let inBand = tile % (rowTiles * ${BAND}u);
  let wide = min(${BAND}u, columnTiles - band * ${BAND}u);
  let tileColumn = band * ${BAND}u + inBand % wide;
  let panelA = (inBand / wide) * ${rowGroups}u;
  let panelB = tileColumn * ${panelsB}u;
  ${range(8)
    .map((j) => `let s${j} = (lane & 0xfffffff8u) + ${j}u;`)
    .join(' ')}
  ${place('A', 'panelA', rowGroups)}
  ${place('B', 'panelB', panelsB)}
  ${range(rowGroups)
    .map((r) =>
      range(TILE_COLUMNS)
        .map((j) => `var c${r}_${j} = 0.0;`)
        .join(' '),
    )
    .join('\n  ')}
  for (var k = 0u; k < p.steps; k++) {
    ${[...loads, ...products].join('\n    ')}
  }
  // One copy of the epilogue's code: unrolled it would take longer to compile than all the rest.
  var sums: array<vec4f, ${rowGroups * perRow}>;
  ${range(rowGroups)
    .map((r) =>
      range(perRow)
        .map(
          (v) =>
            `sums[${r * perRow + v}] = vec4f(${range(4)
              .map((x) => `c${r}_${4 * v + x}`)
              .join(', ')});`,
        )
        .join(' '),
    )
    .join('\n  ')}
  for (var i = 0u; i < p.stores; i++) {
    store((panelA + i / ${perRow}u) * 8u + lane, tileColumn * ${perRow}u + i % ${perRow}u, sums[i]);
  }
}`,
    };
  });
}
