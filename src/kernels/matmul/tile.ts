/** Variants for GPUs without matrix units: tiles of several sizes, and the split of K on the smallest of them. */
import type { Capabilities } from '../../gpu/capabilities.js';
import { type Shader, shaderOf } from '../launch.js';
import { type MatmulForm, type MatmulSize, type MatmulVariant, whole } from './form.js';
import { type GPU_PARAMS, tileCount } from './gpu-tiles.js';
import { ENOUGH_WORKGROUPS, partsOfK, runTiles, splitWorkspace, sumShader } from './split-k.js';
import { type TileShape, tileMemory, tileShader, tileThreads } from './tile-shader.js';

/** Rows of A, B, C and the bias are read and written four values at a time. */
const comesInFours = ({ transA, transB }: MatmulForm, { M, N, K }: MatmulSize): boolean =>
  K > 0 && whole(N) && whole(transA ? M : K) && (!transB || whole(K));

/** The shape with the deepest turns that the adapter has room for. */
function shapeFor(facts: Capabilities, shapes: readonly TileShape[]): TileShape | undefined {
  return shapes.find(
    (shape) =>
      tileMemory(shape) <= facts.maxWorkgroupMemory && tileThreads(shape) <= facts.maxWorkgroupInvocations,
  );
}

/** GPUs compute 20 to 40 f32 operations in the time of a byte from memory, and take less time for one from the L2 cache. */
const BALANCE = 30;

interface TileVariant {
  readonly name: string;
  readonly why: string;
  /** Of one extent, the best first. */
  readonly shapes: readonly TileShape[];
  readonly split?: boolean;
  /** On a GPU. */
  prior(size: MatmulSize, tiles: number): number;
}

export function tileVariant({ name, why, shapes, split = false, prior }: TileVariant): MatmulVariant {
  const shader = (form: MatmulForm, shape: TileShape, partial: boolean): Shader<typeof GPU_PARAMS> =>
    shaderOf(`matmul.tile${partial ? '.part' : ''}`, { ...form, ...shape }, (all) =>
      tileShader(all, all, partial),
    );
  const extent = { ...shapes[0]!, balance: BALANCE };
  return {
    name,
    why,
    gpuOnly: true,
    supports: (facts, form, size) =>
      shapeFor(facts, shapes) !== undefined &&
      comesInFours(form, size) &&
      (!split || partsOfK(size, extent).parts > 1),
    prior: (facts, _, size) => (facts.software ? -1 : prior(size, tileCount(size, extent))),
    fuses: new Set(['gelu']),
    ...(split && {
      workspace: (_: Capabilities, __: MatmulForm, size: MatmulSize) => splitWorkspace(size, extent),
    }),
    shaders(facts, form): Readonly<Record<string, Pick<Shader<typeof GPU_PARAMS>, 'source'>>> {
      const shape = shapeFor(facts, shapes);
      if (!shape) return {};
      const product = shader(form, shape, false);
      if (!split) return { product };
      return { product, parts: shader(form, shape, true), sum: sumShader(form) };
    },
    run(gpu, form, size, operands) {
      const shape = shapeFor(gpu.capabilities, shapes)!;
      runTiles(gpu, form, size, operands, extent, (partial) => shader(form, shape, partial), split);
    },
  };
}

const shapes = (rows: number, columns: number): TileShape[] =>
  [16, 8].map((depth) => ({ rows, columns, depth, each: 8 }));

export const tileVariants: readonly MatmulVariant[] = [
  tileVariant({
    name: 'tile64x64',
    why: 'GPUs: vec4 loads, 8×8 of C a thread, two slices of K in workgroup memory',
    shapes: shapes(64, 64),
    prior: () => 2,
  }),
  tileVariant({
    name: 'tile128x64',
    why: 'the same with fewer reads of the operands, where the larger tiles are enough to keep a GPU busy',
    shapes: shapes(128, 64),
    prior: (_, tiles) => (tiles >= ENOUGH_WORKGROUPS / 2 ? 3 : 1.5),
  }),
  tileVariant({
    name: 'tile128x128',
    why: 'the same for large products, which the caches would otherwise hold back',
    shapes: shapes(128, 128),
    prior: (_, tiles) => (tiles >= ENOUGH_WORKGROUPS ? 4 : 1.2),
  }),
  tileVariant({
    name: 'splitK',
    why: 'few tiles and a long K: workgroups share K, and a second kernel adds their sums in order',
    shapes: shapes(64, 64),
    split: true,
    prior: () => 5,
  }),
];
