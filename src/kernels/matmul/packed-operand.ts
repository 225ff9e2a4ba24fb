/**
 * Operands of the packed product: panels of 8 rows, each [units of K][8], a unit being a vec4 of f32 or 8 halves, so that
 * the 8 lanes of a subgroup read neighbouring units of 8 rows. "Rows" are rows of A or columns of B.
 *
 * They lie in a storage buffer, or in a texture (x = 8·unit + lane, y = panel), whose loads cost lavapipe a tenth of a
 * buffer's. An operand that is stored along K needs no packing kernel for a texture: its rows are copied as they are
 * (x = unit, y = row) into one that is 4 texels wider, since rows whose stride is a power of two share few cache lines.
 */
import type { Binding, Gpu, RowTexture } from '../../gpu/gpu.js';
import { sizeClass } from '../../gpu/memory.js';
import { bytesPerElement, type Tensor } from '../../tensor/tensor.js';
import { type FloatDType, vec4Type } from '../launch/formats.js';
import { type Shader, shaderOf } from '../launch/shader.js';

/** A part of an operand: `rows` × `K` values from element `start` on. */
export interface Source {
  readonly part: Tensor | Binding;
  readonly dtype: FloatDType;
  /** Stored along K; else along the rows. */
  readonly byRows: boolean;
  /** Elements from one stored row to the next. */
  readonly stride: number;
  readonly start: number;
  readonly rows: number;
  readonly K: number;
  /** Matrices of `rows` × `K`, one after the other, each of whole stored rows; without it there is one. */
  readonly batches?: number | undefined;
  /** Rows of the other operand, each of which these are multiplied by. */
  readonly uses: number;
}

export type Reads = 'texture' | 'buffer';

/** How an operand will lie: extents in texels, or units of 16 bytes. */
export interface PackLayout {
  readonly reads: Reads;
  /** Copied row by row, without packing. */
  readonly plain: boolean;
  /** Of what is packed: f16 as 8 halves a unit. */
  readonly dtype: FloatDType;
  readonly width: number;
  readonly height: number;
}

export interface Packed {
  readonly layout: PackLayout;
  readonly operand: RowTexture | Binding;
}

const UNIT_BYTES = 16;
const LANES = 8;
/** Values of K in a unit. */
export const unitOf = (dtype: FloatDType): number => UNIT_BYTES / bytesPerElement[dtype];
/** Units along K that a panel holds: an even number, whose rows are whole 256 bytes; the last may be zeros. */
export const paddedUnits = (K: number, dtype: FloatDType): number => 2 * Math.ceil(K / unitOf(dtype) / 2);
/** Texels by which a texture of plain rows is wider than they are. */
const PLAIN_MARGIN = 4;
/** Longer rows are packed: 8 of them are spread over so many pages that packing pays (1.06 to 1.1 at 16 KB a row). */
const PLAIN_UNITS = 512;
/**
 * The core reads panels some hundredths faster than plain rows, whose lanes are in different cache lines. That pays for
 * packing rows of this length and more where each is used so often: 1.04 at 1728×1024 by 4096, and not at 384 by 1536.
 */
const PANEL_UNITS = 256;
const PANEL_USES = 2048;

export function layoutFor(
  source: Pick<Source, 'dtype' | 'byRows' | 'stride' | 'rows' | 'K' | 'uses' | 'batches'>,
  dtype: FloatDType,
  reads: Reads,
  maxTextureSize: number,
): PackLayout {
  const { byRows, stride, rows, K, batches = 1 } = source;
  const width = K / unitOf(dtype);
  if (
    reads === 'texture' &&
    byRows &&
    source.dtype === dtype &&
    (stride * bytesPerElement[dtype]) % 256 === 0 &&
    width % 2 === 0 &&
    width <= PLAIN_UNITS &&
    !(width >= PANEL_UNITS && source.uses >= PANEL_USES) &&
    Math.max(width + PLAIN_MARGIN, rows * batches) <= maxTextureSize
  )
    return { reads, plain: true, dtype, width: width + PLAIN_MARGIN, height: rows * batches };
  const units = LANES * paddedUnits(K, dtype);
  // Widths in classes: a weight gradient adds up over tokens, of which no two batches have the same number.
  const wide =
    reads === 'texture' ? Math.min(maxTextureSize, sizeClass(units * UNIT_BYTES) / UNIT_BYTES) : units;
  return { reads, plain: false, dtype, width: wide, height: Math.ceil(rows / LANES) * batches };
}

/**
 * Bytes from the pool: of the packed operand, and of what is needed only while it is packed. Panels go to a texture
 * through a buffer, all at once: in slices of 8 MB packing took 1.1 to 1.25 times as long.
 */
export function packBytes(
  { reads, plain, width, height, dtype }: PackLayout,
  K: number,
): { readonly kept: number; readonly passing: number } {
  const rowBytes = LANES * paddedUnits(K, dtype) * UNIT_BYTES;
  if (reads === 'buffer') return { kept: sizeClass(rowBytes * height), passing: 0 };
  return {
    kept: (width * UNIT_BYTES * sizeClass(height * 256)) / 256,
    passing: plain ? 0 : sizeClass(rowBytes * height),
  };
}

/** Packs an operand into memory of the pool; give it back with `releasePacked`. */
export function pack(gpu: Gpu, source: Source, layout: PackLayout): Packed {
  const { dtype, height, width } = layout;
  const rowBytes = LANES * paddedUnits(source.K, dtype) * UNIT_BYTES;
  const scratch = (bytes: number): Binding => ({
    entry: gpu.pool.allocate(bytes, 'workspace'),
    offset: 0,
    size: bytes,
  });
  const operand: Packed['operand'] =
    layout.reads === 'buffer'
      ? scratch(rowBytes * height)
      : gpu.texture(width, height, dtype === 'f16' ? 'rgba32uint' : 'rgba32float');
  const packed = { layout, operand };
  try {
    if ('entry' in operand) packPanels(gpu, source, dtype, height, operand);
    else if (layout.plain) copyRows(gpu, source, dtype, operand);
    else {
      const panels = scratch(rowBytes * height);
      try {
        packPanels(gpu, source, dtype, height, panels);
        gpu.copyToTexture(panels, rowBytes, rowBytes / UNIT_BYTES, height, operand);
      } finally {
        gpu.pool.release(panels.entry);
      }
    }
  } catch (error) {
    // Whoever has no room for all of it may try less.
    releasePacked(gpu, packed);
    throw error;
  }
  return packed;
}

function copyRows(
  gpu: Gpu,
  { part, stride, start, rows, K, batches = 1 }: Source,
  dtype: FloatDType,
  texture: RowTexture,
): void {
  const binding = 'binding' in part ? part.binding() : part;
  const skipped = start * bytesPerElement[dtype];
  gpu.copyToTexture(
    { ...binding, offset: binding.offset + skipped, size: binding.size - skipped },
    stride * bytesPerElement[dtype],
    K / unitOf(dtype),
    rows * batches,
    texture,
  );
}

export function releasePacked(gpu: Gpu, { operand }: Packed): void {
  gpu.pool.release('entry' in operand ? operand.entry : operand);
}

// ---- kernels -------------------------------------------------------------------------------------------------

export interface PackForm {
  readonly byRows: boolean;
  readonly from: FloatDType;
  readonly to: FloatDType;
  /** Stored rows begin at whole groups of four values. */
  readonly fours: boolean;
  /** Of many matrices; a workgroup's third number is that of its matrix. */
  readonly batched?: true | undefined;
}

const PARAMS = {
  rows: 'u32',
  K: 'u32',
  /** Elements. */
  stride: 'u32',
  start: 'u32',
  /** Of a panel along K. */
  units: 'u32',
  panels: 'u32',
} as const;

const WORKGROUP = 64;

const packFormOf = (
  source: Pick<Source, 'byRows' | 'dtype' | 'stride' | 'start' | 'batches'>,
  to: FloatDType,
): PackForm => ({
  byRows: source.byRows,
  from: source.dtype,
  to,
  fours: source.stride % 4 === 0 && source.start % 4 === 0,
  ...(source.batches !== undefined && { batched: true }),
});

function packPanels(gpu: Gpu, source: Source, dtype: FloatDType, height: number, target: Binding): void {
  const { byRows, rows, K, stride, start, part, batches = 1 } = source;
  const panels = height / batches;
  const units = paddedUnits(K, dtype);
  packShader(packFormOf(source, dtype)).run(
    gpu,
    [part, target],
    { rows, K, stride, start, units, panels },
    byRows
      ? [Math.ceil((units * LANES) / WORKGROUP), panels, batches]
      : [Math.ceil((panels * 2) / WORKGROUP), units, batches],
  );
}

const AXES = ['x', 'y', 'z', 'w'] as const;

/**
 * WGSL: `fours(row0, column)`, four neighbours of a stored row as they are packed, a vec4f or two words of halves; zeros
 * from column `end` on.
 */
function foursOf({ from, to, fours }: PackForm, end: string): string {
  const halves = to === 'f16';
  if (fours) {
    const load = from === 'f16' && !halves ? 'unpackHalves(X[at / 4u])' : 'X[at / 4u]';
    return `fn fours(at: u32, column: u32) -> ${halves ? 'vec2u' : 'vec4f'} { return ${load}; }`;
  }
  const one =
    from === 'f32'
      ? 'X[i]'
      : halves
        ? '(X[i / 2u] >> (16u * (i % 2u))) & 0xffffu'
        : 'unpack2x16float(X[i / 2u])[i % 2u]';
  const type = halves ? 'u32' : 'f32';
  const all = [0, 1, 2, 3].map((e) => `value(at + ${e}u, column + ${e}u)`);
  return `fn value(i: u32, column: u32) -> ${type} {
  if (column >= ${end}) { return ${type}(); }
  return ${one};
}
fn fours(at: u32, column: u32) -> ${halves ? 'vec2u' : 'vec4f'} {
  return ${halves ? `vec2u(${all[0]} | (${all[1]} << 16u), ${all[2]} | (${all[3]} << 16u))` : `vec4f(${all.join(', ')})`};
}`;
}

export function packShader(form: PackForm): Shader<typeof PARAMS> {
  return shaderOf('matmul.pack', form, (form) => {
    const { byRows, from, to, batched } = form;
    const start = batched ? 'start' : 'p.start';
    const declared = batched ? 'var<private> start: u32;\n' : '';
    const set = batched ? `\n  start = p.start + id.z * (${byRows ? 'p.rows' : 'p.K'} * p.stride);` : '';
    const before = batched ? `id.z * p.panels * p.units * ${LANES}u + ` : '';
    const halves = to === 'f16';
    const unit = halves ? 'vec4u' : 'vec4f';
    const parts = halves ? 2 : 1;
    // Values along K of a unit.
    const along = 4 * parts;
    const lines = Array.from({ length: along }, (_, q) => `x${q}`);
    // Four neighbouring rows at k..k+along−1, transposed: row r takes component r of each.
    const transposed = AXES.map((axis, r) =>
      halves
        ? `vec4u(${[0, 2, 4, 6]
            .map((q) => {
              const word = r < 2 ? 'x' : 'y';
              return r % 2 === 0
                ? `(x${q}.${word} & 0xffffu) | (x${q + 1}.${word} << 16u)`
                : `(x${q}.${word} >> 16u) | (x${q + 1}.${word} & 0xffff0000u)`;
            })
            .join(', ')})`
        : `vec4f(${lines.map((line) => `${line}.${axis}`).join(', ')})`,
    );
    const four = halves ? 'vec2u' : 'vec4f';
    return {
      label: `pack${byRows ? 'Rows' : 'Columns'}${batched ? '.batched' : ''}`,
      params: PARAMS,
      buffers: {
        X: form.fours ? vec4Type(from) : from === 'f16' ? 'array<Half2>' : 'array<f32>',
        outPanels: `array<${unit}>`,
      },
      body: byRows
        ? `${declared}${foursOf(form, 'p.K')}
// A thread a unit: the lanes of a panel are neighbours.
fn part(row: u32, k: u32) -> ${four} {
  if (k >= p.K) { return ${four}(); }
  return fours(${start} + row * p.stride + k, k);
}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {${set}
  if (id.x >= p.units * ${LANES}u) { return; }
  let row = min(id.y * ${LANES}u + id.x % ${LANES}u, p.rows - 1u);
  let k = (id.x / ${LANES}u) * ${along}u;
  outPanels[${before}id.y * p.units * ${LANES}u + id.x] = ${halves ? 'vec4u(part(row, k), part(row, k + 4u))' : 'part(row, k)'};
}`
        : `${declared}${foursOf(form, 'p.rows')}
// A thread four rows of a unit, transposed in registers.
fn line(k: u32, row: u32) -> ${four} {
  if (k >= p.K) { return ${four}(); }
  return fours(${start} + k * p.stride + row, row);
}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {${set}
  if (id.x >= 2u * p.panels) { return; }
  // Rows of whole fours end within the last: where they are not whole, what lies beyond is zero.
  let row = 4u * min(id.x, (p.rows - 1u) / 4u);
  let k = id.y * ${along}u;
  ${lines.map((line, q) => `let ${line} = line(k + ${q}u, row);`).join('\n  ')}
  let at = ${before}((id.x / 2u) * p.units + id.y) * ${LANES}u + 4u * (id.x % 2u);
  ${transposed.map((value, r) => `outPanels[at + ${r}u] = ${value};`).join('\n  ')}
}`,
    };
  });
}
