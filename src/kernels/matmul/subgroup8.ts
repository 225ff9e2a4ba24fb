/**
 * For lavapipe: a register tile of 32×24 on the 8 lanes of a subgroup. Each lane loads another vec4 and the lanes hand
 * values round with constant-lane broadcasts (spec wgsl-on-lavapipe §A: 2.5–5× the other forms there).
 */
import { load4, type Shader, shaderOf, store4, vec4Type } from '../launch.js';
import {
  layoutOf,
  type MatmulForm,
  type MatmulVariant,
  PARAMS,
  partsOf,
  piecesOf,
  tileGrid,
  whole,
} from './form.js';

export const subgroup8: MatmulVariant = {
  name: 'subgroup8',
  why: 'lavapipe, which runs a subgroup as one vector: operands read as they are, values handed round by broadcasts',
  supports: ({ subgroupMinSize }, { transA, transB }, { M, N, K }) =>
    subgroupMinSize >= 8 && whole(N) && (transA ? whole(M) && !transB : whole(K)),
  prior: ({ software }) => (software ? 10 : -1),
  shaders: (_, form) => ({ product: shader({ ...form, gelu: false }) }),
  run(gpu, form, size, operands) {
    const most = gpu.capabilities.maxWorkgroupsPerDimension;
    const limits = { M: most * ROW_GROUPS * 8, N: most * TILE_COLUMNS };
    for (const piece of piecesOf(gpu, form, size, limits)) {
      const { A, B, bias, C, params } = partsOf(form, size, operands, piece);
      shader(form).run(gpu, [A, B, bias, C], params, tileGrid(piece, ROW_GROUPS * 8, TILE_COLUMNS));
    }
  },
};

const ROW_GROUPS = 4;
const TILE_COLUMNS = 24;
const AXES = ['x', 'y', 'z', 'w'] as const;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

function shader(form: MatmulForm): Shader<typeof PARAMS> {
  return shaderOf('matmul.subgroup8', form, (form) => {
    const { transA, transB } = form;
    const A = (index: string) => load4(form.a, 'A', index);
    const B = (index: string) => load4(form.b, 'B', index);
    const R = ROW_GROUPS;
    const C = TILE_COLUMNS;
    const lines: string[] = [];
    if (!transA && transB) {
      // Both operands are vec4s along k. Lane holds A rows row0+8r+lane and B rows (columns of C) col+8v+lane.
      for (const r of range(R))
        lines.push(`let a${r} = ${A(`A0 + min(row0 + ${8 * r}u + lane, p.M - 1u) * AV + k`)};`);
      for (const v of range(C / 8))
        lines.push(`let b${v} = ${B(`B0 + min(col + ${8 * v}u + lane, p.N - 1u) * BV + k`)};`);
      for (const c of range(C))
        for (const x of AXES) {
          lines.push(`{ let b = subgroupBroadcast(b${Math.floor(c / 8)}.${x}, ${c % 8}u);`);
          for (const r of range(R)) lines.push(`  c${r}_${c} = fma(a${r}.${x}, b, c${r}_${c});`);
          lines.push('}');
        }
    } else {
      // B is [K,N]: one load covers 2 reduction rows × 4 vec4 columns; lane = 4·p + v holds row 2x+p, column 4v.
      if (!transA)
        for (const r of range(R))
          lines.push(`let a${r} = ${A(`A0 + min(row0 + ${8 * r}u + lane, p.M - 1u) * AV + k`)};`);
      // dW: a lane owns 4 neighbouring rows of C (columns of A), so one vec4 a step brings all of R = 4.
      else
        for (const q of range(4))
          lines.push(
            `let a${q} = select(vec4f(), ${A(`A0 + min(4u * k + ${q}u, p.K - 1u) * AV + min(row0 / 4u + lane, MV - 1u)`)}, 4u * k + ${q}u < p.K);`,
          );
      // C columns = 24 = 6 vec4s: loads 0..2 bring vec4 columns 0..3 of row pair (0,1), 0..3 of (2,3), and 4..5 of all four.
      lines.push('let kk = 4u * k;');
      lines.push(
        `let b0 = ${B('B0 + min(kk + lane / 4u, p.K - 1u) * BV + min(col / 4u + lane % 4u, NV - 1u)')};`,
        `let b1 = ${B('B0 + min(kk + 2u + lane / 4u, p.K - 1u) * BV + min(col / 4u + lane % 4u, NV - 1u)')};`,
        `let b2 = ${B('B0 + min(kk + lane / 2u, p.K - 1u) * BV + min(col / 4u + 4u + lane % 2u, NV - 1u)')};`,
      );
      for (const q of range(4))
        for (const c of range(C)) {
          const v = Math.floor(c / 4);
          const [load, lane] = v < 4 ? [q < 2 ? 'b0' : 'b1', (q % 2) * 4 + v] : ['b2', q * 2 + (v - 4)];
          lines.push(`{ let b = subgroupBroadcast(${load}.${AXES[c % 4]}, ${lane}u);`);
          for (const r of range(R)) {
            const a = transA ? `a${q}.${AXES[r]}` : `a${r}.${AXES[q]}`;
            lines.push(`  c${r}_${c} = fma(${a}, b, c${r}_${c});`);
          }
          lines.push('}');
        }
    }
    const trips = transA ? '(p.K + 3u) / 4u' : 'KV';
    const stores: string[] = [];
    for (const r of range(R)) {
      const row = transA ? `row0 + 4u * lane + ${r}u` : `row0 + ${8 * r}u + lane`;
      const values = range(C / 4).map(
        (v) =>
          `store(${row}, col / 4u + ${v}u, vec4f(${range(4)
            .map((x) => `c${r}_${4 * v + x}`)
            .join(', ')}));`,
      );
      stores.push(...values);
    }
    return {
      label: `matmul${layoutOf(form)}`,
      params: PARAMS,
      buffers: {
        A: vec4Type(form.a),
        B: vec4Type(form.b),
        bias: 'array<vec4f>',
        outC: vec4Type(form.c),
      },
      subgroups: true,
      body: `
fn store(row: u32, v: u32, value: vec4f) {
  let NV = p.N / 4u;
  if (row >= p.M || v >= NV) { return; }
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  let at = p.startC / 4u + row * (p.ldc / 4u) + v;
  if (p.accumulate != 0u) { sum += ${load4(form.c, 'outC', 'at')}; }
  ${store4(form.c, 'outC', 'at', 'sum')}
}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row0 = group.y * ${8 * R}u;
  let col = group.x * ${C}u;
  let KV = p.K / 4u; let NV = p.N / 4u; let MV = p.M / 4u;
  let A0 = p.startA / 4u; let B0 = p.startB / 4u; let AV = p.lda / 4u; let BV = p.ldb / 4u;
  ${range(R)
    .map((r) =>
      range(C)
        .map((c) => `var c${r}_${c} = 0.0;`)
        .join(' '),
    )
    .join('\n  ')}
  for (var k = 0u; k < ${trips}; k++) {
    ${lines.join('\n    ')}
  }
  ${stores.join('\n  ')}
}`,
    };
  });
}
