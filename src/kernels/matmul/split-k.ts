/**
 * Products whose C has few tiles, as gradients of small weights over many tokens have, and losses: K is split among
 * workgroups, whose sums go to scratch memory and are then added in the order of the parts, so that the bits do not depend on
 * who was first. Into how many parts, and the kernel that adds them.
 */
import { FLAT_MAIN } from '../launch/grid.js';
import { type Shader, shaderOf } from '../launch/shader.js';
import { type MatmulForm, type MatmulSize, PARAMS } from './form.js';
import { sumBuffers, sumStore, type TileExtent, tileCount } from './gpu-tiles.js';

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

/** One for all layouts and formats of the operands. */
export const sumShader = ({ c, gelu }: MatmulForm): Shader<typeof SUM_PARAMS> =>
  shaderOf('matmul.sumOfParts', { c, gelu }, (form) => ({
    label: 'matmul.sumOfParts',
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

/** Bytes of scratch memory for the sums of parts. */
export function splitWorkspace(size: MatmulSize, extent: PartExtent): number {
  const { parts } = partsOfK(size, extent);
  return parts === 1 ? 0 : parts * size.M * size.N * 4;
}
