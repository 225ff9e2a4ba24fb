/**
 * What the products for GPUs share: their parameters, the order in which workgroups take the tiles of C, how K is split
 * among workgroups, and what becomes of a finished sum (bias, accumulation, GELU, halves).
 */
import { elementary } from '../elementary.js';
import { load4, store4, vec4Type } from '../launch/formats.js';
import { foldedGrid } from '../launch/grid.js';
import { unaryFormulas } from '../pointwise.js';
import { type MatmulForm, type MatmulSize, PARAMS, startsOf } from './form.js';

/** `depth`: how much of K one workgroup sums; all of it, unless the sums of several workgroups are added afterwards. */
export const GPU_PARAMS = { ...PARAMS, depth: 'u32' } as const;

/** What of C one workgroup computes. */
export interface TileExtent {
  readonly rows: number;
  readonly columns: number;
}

/** Columns of C, about, whose tiles are taken for all rows before the next columns: their part of B stays in the L2 cache. */
const BAND_COLUMNS = 1024;

/**
 * WGSL at the start of `main` (with `group` and `groups`, the workgroup's number and their count): `row0` and `col0` of the
 * tile, `first` and `end` of its part of K. Leaves where there is no such tile. The third dimension is that of the parts of
 * K, or of the products of a batched form.
 */
export function tileOrigin({ rows, columns }: TileExtent, form: Pick<MatmulForm, 'batched'>): string {
  const band = Math.max(1, BAND_COLUMNS / columns);
  return `${startsOf(form).set}let rowTiles = (p.M + ${rows - 1}u) / ${rows}u;
  let colTiles = (p.N + ${columns - 1}u) / ${columns}u;
  let tile = group.y * groups.x + group.x;
  if (tile >= rowTiles * colTiles) { return; }
  let band = tile / (rowTiles * ${band}u);
  let inBand = tile % (rowTiles * ${band}u);
  let bandTiles = min(${band}u, colTiles - band * ${band}u);
  let row0 = inBand / bandTiles * ${rows}u;
  let col0 = (band * ${band}u + inBand % bandTiles) * ${columns}u;
  let first = ${form.batched ? '0u' : 'group.z * p.depth'};
  let end = min(p.K, first + p.depth);`;
}

/** Workgroups for all tiles, folded where one dimension cannot hold them, times the parts of K or the products. */
export function tileGrid(
  size: Pick<MatmulSize, 'M' | 'N'>,
  extent: TileExtent,
  parts: number,
  limit: number,
): readonly [number, number, number] {
  const [x, y] = foldedGrid(tileCount(size, extent), limit);
  return [x, y, parts];
}

export const tileCount = ({ M, N }: Pick<MatmulSize, 'M' | 'N'>, { rows, columns }: TileExtent): number =>
  Math.ceil(M / rows) * Math.ceil(N / columns);

/** Buffers that a sum goes to, in binding order: with `partial` to scratch memory, [parts, M, N] f32, and no further. */
export function sumBuffers(form: Pick<MatmulForm, 'c' | 'gelu'>, partial: boolean): Record<string, string> {
  if (partial) return { outC: 'array<vec4f>' };
  return {
    bias: 'array<vec4f>',
    outC: vec4Type(form.c),
    ...(form.gelu ? { outU: vec4Type(form.c) } : {}),
  };
}

/**
 * WGSL: `store(row, v, sum, part)` for four columns from 4v on, of what lies within C; and `finish(at, v, sum)`, the same for unit
 * `at` of C. GELU is taken of the pre-activation as it is stored: forward is then what the gradient differentiates.
 */
export function sumStore(form: Pick<MatmulForm, 'c' | 'gelu' | 'batched'>, partial: boolean): string {
  if (partial)
    return `fn store(row: u32, v: u32, sum: vec4f, part: u32) {
  if (row < p.M && v < p.N / 4u) { outC[(part * p.M + row) * (p.N / 4u) + v] = sum; }
}`;
  const gelu =
    form.c === 'f16'
      ? `let u = packHalves(sum); outU[at] = u; let x = unpackHalves(u); sum = ${unaryFormulas.gelu.forward};`
      : `let x = sum; outU[at] = x; sum = ${unaryFormulas.gelu.forward};`;
  const starts = startsOf(form);
  return `${starts.declared}${form.gelu ? elementary('vec4f') : ''}
fn finish(at: u32, v: u32, value: vec4f) {
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  if (p.accumulate != 0u) { sum += ${load4(form.c, 'outC', 'at')}; }
  ${form.gelu ? gelu : ''}
  ${store4(form.c, 'outC', 'at', 'sum')}
}
fn store(row: u32, v: u32, sum: vec4f, part: u32) {
  if (row < p.M && v < p.N / 4u) { finish((${starts.C} + row * p.ldc) / 4u + v, v, sum); }
}`;
}
