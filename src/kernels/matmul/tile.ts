/** Variants for GPUs without matrix units: tiles of several sizes, and the split of K on the smallest of them. */
import { shaderOf } from '../launch/shader.js';
import type { MatmulVariant } from './form.js';
import { type GpuVariant, gpuVariant } from './gpu-variant.js';
import { ENOUGH_WORKGROUPS } from './split-k.js';
import { type TileShape, tileMemory, tileShader, tileThreads } from './tile-shader.js';

/** GPUs compute 20 to 40 f32 operations in the time of a byte from memory, and take less time for one from the L2 cache. */
const BALANCE = 30;

interface TileVariant extends Omit<GpuVariant, 'tiling'> {
  /** Of one extent, the deepest turns first: what an adapter has room for is used. */
  readonly shapes: readonly TileShape[];
}

export const tileVariant = ({ shapes, ...variant }: TileVariant): MatmulVariant =>
  gpuVariant({
    ...variant,
    tiling({ maxWorkgroupMemory, maxWorkgroupInvocations }, form) {
      const shape = shapes.find(
        (each) => tileMemory(each) <= maxWorkgroupMemory && tileThreads(each) <= maxWorkgroupInvocations,
      );
      return (
        shape && {
          rows: shape.rows,
          columns: shape.columns,
          balance: BALANCE,
          unit: 4,
          shader: (partial) =>
            shaderOf(`matmul.tile${partial ? '.part' : ''}`, { ...form, ...shape }, (all) =>
              tileShader(all, all, partial),
            ),
        }
      );
    },
  });

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
    prior: (tiles) => (tiles >= ENOUGH_WORKGROUPS / 2 ? 3 : 1.5),
  }),
  tileVariant({
    name: 'tile128x128',
    why: 'the same for large products, which the caches would otherwise hold back',
    shapes: shapes(128, 128),
    prior: (tiles) => (tiles >= ENOUGH_WORKGROUPS ? 4 : 1.2),
  }),
  tileVariant({
    name: 'splitK',
    why: 'few tiles and a long K: workgroups share K, and a second kernel adds their sums in order',
    shapes: shapes(64, 64),
    split: true,
    prior: () => 5,
  }),
];
