/**
 * `rows8`, `rows4` and `rows4-texture`: several rows a workgroup of 8 lanes, with one pass for both statistics.
 *
 * On CPUs a load of four columns by 8 lanes takes hundreds of instructions, so what counts is how often something is
 * loaded: x twice instead of three times, γ and β once for four or eight rows.
 *
 * One pass: with d = x − z, mean = z + Σd/n and var = Σd²/n − (Σd/n)², which cancels where z is far from the mean beside
 * the deviation. z is the mean of the row's first 32 (or 8) columns; where that is not near enough, which takes a row
 * whose first columns are unlike the others, or one far from zero with next to no deviation, the passes of `row` are
 * made. y comes from (x − z) − Σd/n, whose first difference is nearly exact.
 *
 * `rows4-texture` reads through storage textures, whose loads are several times cheaper where the driver's compiler
 * makes no gathers (docs/spec/kernels-avx2.md §1); the copies into them are part of it.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import type { Gpu, RowTexture } from '../../gpu/gpu.js';
import type { RowFormat } from '../../gpu/memory.js';
import { bytesPerElement, type Tensor } from '../../tensor/tensor.js';
import type { FloatDType } from '../launch/formats.js';
import { byRows, whole } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import type { Variant } from '../variants.js';
import {
  hasSubgroup8,
  type LayerNormForm,
  type LayerNormGradientForm,
  type LayerNormGradientOperands,
  type LayerNormOperands,
  type RowsSize,
  unitOf,
} from './form.js';

const AXES = ['x', 'y', 'z', 'w'] as const;
/**
 * Forward, a workgroup has so many times four rows: what a row has one of is a component of one of so many vectors. Where
 * loads of γ and β cost what those of x do, 8 rows take 0.9 of the time of 4; through textures they do not.
 */
const quadsOf = (textures: boolean): number => (textures ? 1 : 2);
/** Rows of a workgroup of the gradient: twice as many take 1.4 times as long, whose sums leave the registers. */
const ROWS = 4;

/** WGSL of something for each of `rows` rows, with the vector and the component that belong to it. */
const eachRow = (rows: number, code: (i: number, quad: number, axis: string) => string) =>
  Array.from({ length: rows }, (_, i) => code(i, Math.floor(i / 4), AXES[i % 4]!)).join('\n    ');

/** WGSL: the totals of `name0` to `name3` over all lanes. */
const totals = (name: string, total: (value: string) => string) =>
  `subgroupAdd(vec4f(${AXES.map((_, i) => total(`${name}${i}`)).join(', ')}))`;

/** The largest (Σd/n)² beside the variance with which the variance keeps all but a few units of its last place. */
const NEAR = '4.0';

/** Storage textures can be read since all of WGSL's languages have them; lanes are in one subgroup by the form. */
const formats: Record<FloatDType, RowFormat> = { f32: 'rgba32float', f16: 'rgba16float' };
const textureType = (dtype: FloatDType) => `texture_storage_2d<${formats[dtype]}, read>`;

/** The lanes of a workgroup agree on what they branch on, which the compiler cannot see: sums over all of them. */
const mainOf = (rows: number) => `
@diagnostic(off, subgroup_uniformity)
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * ${rows}u;
  if (first >= p.rows || p.units == 0u) { return; }`;

/** WGSL: rows from `first` on. Beyond the last row that one is worked on again, with the same results. */
const rowsFrom = (first: string, rows: number) =>
  eachRow(rows, (i) => `let r${i} = min(${first} + ${i}u, p.rows - 1u); let b${i} = r${i} * p.units;`);

function forwardShader(form: LayerNormForm, textures: boolean) {
  return shaderOf('layerNorm.rows', { ...form, textures }, ({ columns, from, residual, to, textures }) => {
    const quads = quadsOf(textures);
    const rows = 4 * quads;
    const unit = unitOf({ columns });
    const four = (code: (i: number, quad: number, axis: string) => string) => eachRow(4, code);
    const other = residual === 'none' ? undefined : residual;
    const load = (name: string, dtype: FloatDType, row: string, base: string, c: string) =>
      textures ? `textureLoad(${name}, vec2u(${c}, ${row}))` : unit.load(dtype, name, `${base} + ${c}`);
    const terms = (row: string, base: string, c: string) =>
      other
        ? `(${load('X', from, row, base, c)} + ${load('R', other, row, base, c)})`
        : load('X', from, row, base, c);
    // An f32 sum is read back, unless its terms are cheaper; a rounded one is not what y comes from.
    const value = (row: string, base: string) =>
      other === 'f32' && !textures ? unit.load('f32', 'outS', `${base} + c`) : terms(row, base, 'c');
    const type = (dtype: FloatDType) => (textures ? textureType(dtype) : unit.type(dtype));
    return {
      label: 'layerNorm',
      params: { rows: 'u32', cols: 'u32', units: 'u32', quads: 'u32', eps: 'f32' } as const,
      buffers: {
        X: type(from),
        gamma: unit.type('f32'),
        beta: unit.type('f32'),
        outY: unit.type(to),
        outStats: 'array<vec2f>',
        ...(other ? { R: type(other), outS: unit.type(other) } : {}),
      },
      subgroups: true,
      body: `
// By bits: infinite, negative or not a number.
fn odd(v: vec4f) -> vec4<bool> { return bitcast<vec4u>(v) >= vec4u(0x7f800000u); }
${mainOf(rows)}
  let seen = lane < p.units;
  let at = min(lane, p.units - 1u);
  let n = f32(p.cols);
  var means: array<vec4f, ${quads}>;
  var shifts: array<vec4f, ${quads}>;
  var scales: array<vec4f, ${quads}>;
  for (var quad = 0u; quad < p.quads; quad++) {
    let start = first + 4u * quad;
    ${rowsFrom('start', 4)}
    ${four((i) => `var s${i} = ${terms(`r${i}`, `b${i}`, 'at')};${other ? ` ${unit.store(other, 'outS', `b${i} + at`, `s${i}`)}` : ''} s${i} = select(${unit.value}(), s${i}, seen);`)}
    var z = ${totals('s', unit.total)} / f32(min(p.units, 8u) * ${columns}u);
    ${four((i, _, axis) => `s${i} = select(${unit.value}(), s${i} - z.${axis}, seen); var q${i} = s${i} * s${i};`)}
    for (var c = lane + 8u; c < p.units; c += 8u) {
    ${four((i, _, axis) => `{ let v = ${terms(`r${i}`, `b${i}`, 'c')};${other ? ` ${unit.store(other, 'outS', `b${i} + c`, 'v')}` : ''} let d = v - z.${axis}; s${i} += d; q${i} += d * d; }`)}
    }
    var e = ${totals('s', unit.total)} / n;
    var variance = ${totals('q', unit.total)} / n - e * e;
    if (any((e * e > ${NEAR} * variance) | odd(variance))) {
      for (var i = 0u; i < 4u; i++) {
        let r = min(start + i, p.rows - 1u);
        let b = r * p.units;
        var part = 0.0;
        for (var c = lane; c < p.units; c += 8u) { let v = ${value('r', 'b')}; part += ${unit.total('v')}; }
        var mean = subgroupAdd(part) / n;
        part = 0.0;
        var rest = 0.0;
        for (var c = lane; c < p.units; c += 8u) { let d = ${value('r', 'b')} - mean; part += ${unit.total('d * d')}; rest += ${unit.total('d')}; }
        var spread = subgroupAdd(part) / n;
        let shift = subgroupAdd(rest) / n;
        if (shift * shift > 1e-12 * spread) {
          mean += shift;
          spread = max(0.0, spread - shift * shift);
        }
        z[i] = mean;
        variance[i] = spread;
      }
      e = vec4f();
    }
    variance += vec4f(p.eps);
    means[quad] = z;
    shifts[quad] = e;
    scales[quad] = select(inverseSqrt(variance), bitcast<vec4f>(vec4u(0x7fc00000u) | bitcast<vec4u>(variance)), odd(variance));
  }
  ${rowsFrom('first', rows)}
  ${Array.from({ length: quads }, (_, q) => `let z${q} = means[${q}]; let e${q} = shifts[${q}]; let rstd${q} = scales[${q}];`).join('\n  ')}
  for (var c = lane; c < p.units; c += 8u) {
    let g = gamma[c];
    let h = beta[c];
    ${eachRow(rows, (i, q, axis) => unit.store(to, 'outY', `b${i} + c`, `((${value(`r${i}`, `b${i}`)} - z${q}.${axis}) - e${q}.${axis}) * rstd${q}.${axis} * g + h`))}
  }
  if (lane == 0u) {
    ${eachRow(rows, (i, q, axis) => `outStats[r${i}] = vec2f(z${q}.${axis} + e${q}.${axis}, rstd${q}.${axis});`)}
  }
}`,
    };
  });
}

function gradientShader(form: LayerNormGradientForm, textures: boolean) {
  return shaderOf('layerNormGradient.rows4', { ...form, textures }, ({ columns, outer, own }) => {
    const unit = unitOf({ columns });
    const each = (code: (i: number, quad: number, axis: string) => string) => eachRow(ROWS, code);
    const load = (name: string, dtype: FloatDType, i: number) =>
      textures ? `textureLoad(${name}, vec2u(c, r${i}))` : unit.load(dtype, name, `b${i} + c`);
    const type = (dtype: FloatDType) => (textures ? textureType(dtype) : unit.type(dtype));
    return {
      label: 'layerNormGradient',
      params: { rows: 'u32', cols: 'u32', units: 'u32' } as const,
      buffers: {
        DY: type(outer),
        S: type(own),
        stats: 'array<vec2f>',
        gamma: unit.type('f32'),
        outS: unit.type(own),
      },
      subgroups: true,
      body: `${mainOf(ROWS)}
    ${rowsFrom('first', ROWS)}
  ${each((i) => `let mean${i} = stats[r${i}].x; let rstd${i} = stats[r${i}].y; var a${i} = ${unit.value}(); var x${i} = ${unit.value}();`)}
  for (var c = lane; c < p.units; c += 8u) {
    let weight = gamma[c];
    ${each((i) => `{ let g = ${load('DY', outer, i)} * weight; a${i} += g; x${i} += g * (${load('S', own, i)} - mean${i}); }`)}
  }
  let meanG = ${totals('a', unit.total)} / f32(p.cols);
  let meanGx = ${totals('x', unit.total)} * vec4f(rstd0, rstd1, rstd2, rstd3) / f32(p.cols);
  for (var c = lane; c < p.units; c += 8u) {
    let weight = gamma[c];
    ${each((i, _, axis) => `{ let g = ${load('DY', outer, i)} * weight; ${unit.store(own, 'outS', `b${i} + c`, `rstd${i} * (g - meanG.${axis} - (${load('S', own, i)} - mean${i}) * rstd${i} * meanGx.${axis})`)} }`)}
  }
}`,
    };
  });
}

/** Whether rows of these formats can be copied into textures, all at once. */
function fitsTextures(facts: Capabilities, { rows, cols }: RowsSize, dtypes: readonly FloatDType[]): boolean {
  return (
    rows <= facts.maxTextureSize &&
    cols / 4 <= facts.maxTextureSize &&
    rows * cols * 4 <= facts.maxBindingSize &&
    dtypes.every((dtype) => (cols * bytesPerElement[dtype]) % 256 === 0)
  );
}

/** Of a tensor that stays in a processor's caches between its copy and its loads. */
const CACHED_BYTES = 4 << 20;

/**
 * What the driver's compiler makes of loads from buffers decides. With AVX-512 they cost less: on Intel's processors the
 * copies do not pay, and on AMD's (Zen, Mesa 25.0.7) only for f32 in the caches. There 1728×384 takes 0.78 of the time,
 * 4096×1024 1.1 times as long, halves as long.
 */
const texturesPay = (
  { software, cpu }: Capabilities,
  dtypes: readonly FloatDType[],
  { rows, cols }: RowsSize,
): boolean =>
  software &&
  cpu !== undefined &&
  (!cpu.avx512 || (!/Intel/i.test(cpu.model) && !dtypes.includes('f16') && 4 * rows * cols <= CACHED_BYTES));

function withTextures(
  gpu: Gpu,
  { rows, cols }: RowsSize,
  tensors: readonly Tensor[],
  run: (textures: readonly RowTexture[]) => void,
): void {
  const textures: RowTexture[] = [];
  try {
    for (const tensor of tensors) {
      const dtype = tensor.dtype as FloatDType;
      const rowBytes = cols * bytesPerElement[dtype];
      textures.push(gpu.rowTexture(tensor.binding(), rowBytes, rows * rowBytes, formats[dtype])!);
    }
    run(textures);
  } finally {
    for (const texture of textures) gpu.releaseTexture(texture);
  }
}

const textureBytes = ({ rows, cols }: RowsSize, dtypes: readonly FloatDType[]) =>
  dtypes.reduce((bytes, dtype) => bytes + rows * cols * bytesPerElement[dtype], 0);

const inputs = ({ from, residual }: LayerNormForm): FloatDType[] =>
  residual === 'none' ? [from] : [from, residual];

type Forward = Variant<LayerNormForm, RowsSize, LayerNormOperands>;
type Gradient = Variant<LayerNormGradientForm, RowsSize, LayerNormGradientOperands>;

export const rows8: Forward = {
  name: 'rows8',
  why: 'eight rows for 8 lanes, one pass for both statistics: fewer loads, which is what CPUs pay for',
  supports: hasSubgroup8,
  prior: ({ software }) => (software ? 2 : -1),
  shaders: (_, form) => ({ forward: forwardShader(form, false) }),
  run(gpu, form, { rows, cols }, { x, residual, gamma, beta, eps, y, sum, stats }) {
    forwardShader(form, false).launch(
      gpu,
      {
        X: byRows(x, { rows }),
        gamma: whole(gamma),
        beta: whole(beta),
        outY: byRows(y, { rows }),
        outStats: byRows(stats, { rows }),
        ...(residual && sum ? { R: byRows(residual, { rows }), outS: byRows(sum, { rows }) } : {}),
      },
      ({ count }) => ({ rows: count, cols, units: cols / form.columns, quads: quadsOf(false), eps }),
      ({ count }) => Math.ceil(count / (4 * quadsOf(false))),
    );
  },
};

export const rows4Texture: Forward = {
  name: 'rows4-texture',
  why: 'four rows for 8 lanes, through storage textures, whose loads are cheaper where compilers make no gathers (AVX2)',
  supports: (facts, form, size) =>
    hasSubgroup8(facts) && form.columns === 4 && fitsTextures(facts, size, inputs(form)),
  prior: (facts, form, size) => (texturesPay(facts, inputs(form), size) ? 3 : -1),
  workspace: (_, form, size) => textureBytes(size, inputs(form)),
  shaders: (_, form) => ({ forward: forwardShader(form, true) }),
  run(gpu, form, size, { x, residual, gamma, beta, eps, y, sum, stats }) {
    const { rows, cols } = size;
    withTextures(gpu, size, residual ? [x, residual] : [x], ([X, R]) =>
      forwardShader(form, true).launch(
        gpu,
        {
          X: whole(X!),
          gamma: whole(gamma),
          beta: whole(beta),
          outY: byRows(y, { rows }),
          outStats: byRows(stats, { rows }),
          ...(R && sum ? { R: whole(R), outS: byRows(sum, { rows }) } : {}),
        },
        () => ({ rows, cols, units: cols / 4, quads: quadsOf(true), eps }),
        () => Math.ceil(rows / (4 * quadsOf(true))),
      ),
    );
  },
};

export const gradientRows4: Gradient = {
  name: 'rows4',
  why: 'four rows for 8 lanes: γ is loaded once for four rows',
  supports: hasSubgroup8,
  prior: ({ software }) => (software ? 2 : -1),
  shaders: (_, form) => ({ gradient: gradientShader(form, false) }),
  run(gpu, form, { rows, cols }, { dy, sum, stats, gamma, ds }) {
    gradientShader(form, false).launch(
      gpu,
      {
        DY: byRows(dy, { rows }),
        S: byRows(sum, { rows }),
        stats: byRows(stats, { rows }),
        gamma: whole(gamma),
        outS: byRows(ds, { rows }),
      },
      ({ count }) => ({ rows: count, cols, units: cols / form.columns }),
      ({ count }) => Math.ceil(count / ROWS),
    );
  },
};

export const gradientRows4Texture: Gradient = {
  name: 'rows4-texture',
  why: 'the same through storage textures, whose loads are cheaper where compilers make no gathers (AVX2)',
  supports: (facts, form, size) =>
    hasSubgroup8(facts) && form.columns === 4 && fitsTextures(facts, size, [form.outer, form.own]),
  prior: (facts, { outer, own }, size) => (texturesPay(facts, [outer, own], size) ? 3 : -1),
  workspace: (_, { outer, own }, size) => textureBytes(size, [outer, own]),
  shaders: (_, form) => ({ gradient: gradientShader(form, true) }),
  run(gpu, form, size, { dy, sum, stats, gamma, ds }) {
    const { rows, cols } = size;
    withTextures(gpu, size, [dy, sum], ([DY, S]) =>
      gradientShader(form, true).launch(
        gpu,
        {
          DY: whole(DY!),
          S: whole(S!),
          stats: byRows(stats, { rows }),
          gamma: whole(gamma),
          outS: byRows(ds, { rows }),
        },
        () => ({ rows, cols, units: cols / 4 }),
        () => Math.ceil(rows / ROWS),
      ),
    );
  },
};
