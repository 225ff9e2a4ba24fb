/**
 * Products whose C has few tiles, as gradients of small weights over many tokens have, and losses: K is split among
 * workgroups, whose sums go to scratch memory and are then added in the order of the parts, so that the bits do not depend on
 * who was first.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups, foldedGrid, type Shader, shaderOf } from '../launch.js';
import {
  layoutOf,
  type MatmulForm,
  type MatmulOperands,
  type MatmulSize,
  PARAMS,
  partsOf,
  piecesOf,
} from './form.js';
import { type GPU_PARAMS, sumBuffers, sumStore, type TileExtent, tileCount, tileGrid } from './gpu-tiles.js';

/**
 * Workgroups that are taken for enough to keep a GPU busy. WebGPU does not tell how many processors there are; large GPUs
 * have 60 to 150, small ones under 40, and each wants two workgroups or more to hide latencies.
 */
export const ENOUGH_WORKGROUPS = 256;

/** Of K, that a part sums at least. */
const LEAST_DEPTH = 128;
/** What the depth of a part is a multiple of: of what every tile takes a turn. */
const DEPTH_UNIT = 64;

/** What one workgroup computes, and how much arithmetic a GPU does so in the time that a byte takes. */
export interface PartExtent extends TileExtent {
  /** FLOP for each byte of scratch memory, written and read again, much of it within the L2 cache. */
  readonly balance: number;
}

/**
 * Parts of K, and how much of it each of them but the last sums. One part: nothing to split.
 *
 * With a share u = tiles / ENOUGH_WORKGROUPS of a GPU at work, a product split into p parts takes about 2·K / (u·p) + 8·p·balance
 * for each element of C, arithmetic and scratch memory: least at p = √(K / (4·balance·u)).
 */
export function partsOfK(
  size: MatmulSize,
  extent: PartExtent,
  mostBytes = Infinity,
): { readonly parts: number; readonly depth: number } {
  const { M, N, K } = size;
  const tiles = tileCount(size, extent);
  const most = Math.floor(
    Math.min(
      ENOUGH_WORKGROUPS / tiles,
      K / LEAST_DEPTH,
      Math.sqrt((K * ENOUGH_WORKGROUPS) / (4 * extent.balance * tiles)),
      mostBytes / (M * N * 4),
    ),
  );
  if (most < 2) return { parts: 1, depth: K };
  const depth = Math.ceil(K / most / DEPTH_UNIT) * DEPTH_UNIT;
  return { parts: Math.ceil(K / depth), depth };
}

const SUM_PARAMS = { ...PARAMS, parts: 'u32' } as const;

export const sumShader = (form: MatmulForm): Shader<typeof SUM_PARAMS> =>
  shaderOf('matmul.sumOfParts', form, () => ({
    label: `matmul${layoutOf(form)}.sumOfParts`,
    params: SUM_PARAMS,
    buffers: { S: 'array<vec4f>', ...sumBuffers(form, false) },
    body: `${sumStore(form, false)}
${FLAT_MAIN}
  let units = p.N / 4u;
  if (i >= p.M * units) { return; }
  var sum = S[i];
  for (var part = 1u; part < p.parts; part++) { sum += S[part * p.M * units + i]; }
  store(i / units, i % units, sum, 0u);
}`,
  }));

/** How a variant computes tiles: into C, or the sums of parts of K into scratch memory. */
export type TileShaderOf = (partial: boolean) => Shader<typeof GPU_PARAMS>;

/** Computes a product tile by tile, piece by piece; with `split` by parts of K where that gives more workgroups. */
export function runTiles(
  gpu: Gpu,
  form: MatmulForm,
  size: MatmulSize,
  operands: MatmulOperands,
  extent: PartExtent,
  shader: TileShaderOf,
  split: boolean,
): void {
  const { maxWorkgroupsPerDimension, maxBindingSize } = gpu.capabilities;
  for (const piece of piecesOf(gpu, form, size)) {
    const { A, B, bias, C, U, params } = partsOf(form, size, operands, piece);
    const { parts, depth } = split ? partsOfK(piece, extent, maxBindingSize) : { parts: 1, depth: piece.K };
    const results = [bias, C, ...(U ? [U] : [])];
    const grid = tileGrid(piece, extent, parts, maxWorkgroupsPerDimension);
    if (parts === 1) {
      shader(false).run(gpu, [A, B, ...results], { ...params, depth }, grid);
      continue;
    }
    const sums = Tensor.empty(gpu, [parts, piece.M, piece.N], 'f32');
    shader(true).run(gpu, [A, B, sums], { ...params, depth }, grid);
    sumShader(form).run(
      gpu,
      [sums, ...results],
      { ...params, parts },
      foldedGrid(flatGroups((piece.M * piece.N) / 4), maxWorkgroupsPerDimension),
    );
    sums.dispose();
  }
}

/** Bytes of scratch memory for the sums of parts. */
export function splitWorkspace(size: MatmulSize, extent: PartExtent): number {
  const { parts } = partsOfK(size, extent);
  return parts === 1 ? 0 : parts * size.M * size.N * 4;
}
