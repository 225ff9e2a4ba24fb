/**
 * dγ = Σ_rows dy∘x̂ and dβ = Σ_rows dy together, since both read dy: partial sums of 64 rows by one thread a unit of
 * columns, then the sums of those, always in the same order.
 */
import { Tensor } from '../../tensor/tensor.js';
import { COLUMN_WORKGROUP } from '../launch/grid.js';
import { byRows, whole } from '../launch/operands.js';
import { threadSum } from '../launch/rows.js';
import { shaderOf } from '../launch/shader.js';
import type { Variant } from '../variants.js';
import { type LayerNormAffineOperands, type LayerNormGradientForm, type RowsSize, unitOf } from './form.js';

/** Rows whose terms one thread adds up. */
const CHUNK = 64;

const chunksOf = (rows: number) => Math.ceil(rows / CHUNK);

interface Walk {
  /** Of a workgroup. */
  readonly threads: number;
  /** Units of columns that a thread walks down together, `threads` apart. */
  readonly units: number;
}

/** Partial sums [chunks, 2, cols]: of dγ, of dβ. */
function partsShader(form: LayerNormGradientForm, walk: Walk) {
  return shaderOf('layerNormAffine', { ...form, ...walk }, ({ columns, outer, own, threads, units }) => {
    const unit = unitOf({ columns });
    const each = (code: (i: number) => string) =>
      Array.from({ length: units }, (_, i) => code(i)).join('\n    ');
    return {
      label: 'layerNormAffine',
      params: { rows: 'u32', units: 'u32' } as const,
      buffers: {
        DY: unit.type(outer),
        S: unit.type(own),
        stats: 'array<vec2f>',
        outP: unit.type('f32'),
      },
      // A thread without a column of its own takes the last one, with the same results.
      body: `
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  if (p.units == 0u) { return; }
    ${each((i) => `let c${i} = min((group.x * ${units}u + ${i}u) * ${threads}u + lane, p.units - 1u); var gamma${i} = ${unit.value}(); var beta${i} = ${unit.value}();`)}
  let end = min(p.rows, (group.y + 1u) * ${CHUNK}u);
  for (var row = group.y * ${CHUNK}u; row < end; row++) {
    let base = row * p.units;
    let own = stats[row];
    ${each((i) => `{ let dy = ${unit.load(outer, 'DY', `base + c${i}`)}; beta${i} += dy; gamma${i} += dy * ((${unit.load(own, 'S', `base + c${i}`)} - own.x) * own.y); }`)}
  }
  let out = 2u * group.y * p.units;
    ${each((i) => `outP[out + c${i}] = gamma${i}; outP[out + p.units + c${i}] = beta${i};`)}
}`,
    };
  });
}

function sumShader(columns: 1 | 4) {
  return shaderOf('layerNormAffineSum', { columns }, (form) => {
    const unit = unitOf(form);
    return {
      label: 'layerNormAffineSum',
      params: { chunks: 'u32', units: 'u32' } as const,
      buffers: { P: unit.type('f32'), outG: unit.type('f32'), outB: unit.type('f32') },
      body: `
@compute @workgroup_size(${COLUMN_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * ${COLUMN_WORKGROUP}u + lane;
  if (column >= 2u * p.units) { return; }
  ${threadSum('sum', unit.value, ['0u', 'p.chunks', '1u'], (chunk) => `P[2u * ${chunk} * p.units + column]`)}
  if (column < p.units) { outG[column] = sum; } else { outB[column - p.units] = sum; }
}`,
    };
  });
}

function variant(
  name: string,
  why: string,
  prior: (software: boolean) => number,
  walk: (form: LayerNormGradientForm) => Walk,
): Variant<LayerNormGradientForm, RowsSize, LayerNormAffineOperands> {
  return {
    name,
    why,
    supports: () => true,
    prior: ({ software }) => prior(software),
    workspace: (_facts, _form, { rows, cols }) => 8 * chunksOf(rows) * cols,
    shaders: (_, form) => ({ parts: partsShader(form, walk(form)), sum: sumShader(form.columns) }),
    run(gpu, form, { rows, cols }, { dy, sum, stats, dGamma, dBeta }) {
      const chunks = chunksOf(rows);
      const units = cols / form.columns;
      const own = walk(form);
      const partial = Tensor.empty(gpu, [chunks, 2 * cols]);
      const groups = Math.ceil(units / (own.threads * own.units));
      partsShader(form, own).launch(
        gpu,
        {
          DY: byRows(dy, { rows, each: CHUNK }),
          S: byRows(sum, { rows, each: CHUNK }),
          stats: byRows(stats, { rows, each: CHUNK }),
          outP: byRows(partial),
        },
        ({ start, count }) => ({ rows: Math.min(rows - start * CHUNK, count * CHUNK), units }),
        ({ count }) => [groups, count],
      );
      sumShader(form.columns).launch(
        gpu,
        { P: whole(partial), outG: whole(dGamma), outB: whole(dBeta) },
        () => ({ chunks, units }),
        () => Math.ceil((2 * units) / COLUMN_WORKGROUP),
      );
      partial.dispose();
    },
  };
}

export const affineColumns = variant(
  'columns',
  'a thread a unit of columns, 32 threads side by side',
  () => 0,
  () => ({ threads: COLUMN_WORKGROUP, units: 1 }),
);

/**
 * A CPU runs the 8 lanes of a subgroup together and one subgroup after the other, so it walks down columns as wide as one
 * subgroup reads: with 256 bytes of a row at a time, instead of 128, it moves 8.4 GB/s of 4096×1024 f32 instead of 3.7
 * (lavapipe, AVX-512), and reads the statistics half as often. Twice that is no faster and compiles for a second.
 */
export const affineWide = variant(
  'wide',
  'on CPUs: 256 bytes of each row by 8 threads, which stream better and share the loads of statistics',
  (software) => (software ? 1 : -1),
  ({ outer, own }) => ({ threads: 8, units: outer === 'f16' && own === 'f16' ? 4 : 2 }),
);
