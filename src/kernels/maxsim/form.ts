/**
 * What the kernels that find maxima are made from, what they read and write, and the WGSL that they share.
 */
import type { Tensor } from '../../tensor/tensor.js';
import { RANKS } from '../elementary.js';
import { whole, windowed } from '../launch/operands.js';
import type { Shader } from '../launch/shader.js';
import type { Variant } from '../variants.js';
import { type MaxSimBlock, type MaxSimLayout, windowOfTokens } from './layout.js';

export interface MaxSimForm {
  /** Values of a row that kernels take at a time: 4 where the width is whole fours. */
  readonly unit: 1 | 4;
}

export interface MaxSimSize {
  /** Query tokens. */
  readonly rows: number;
  readonly passages: number;
  /** Tokens of all passages. */
  readonly tokens: number;
  /** Columns of the vectors. */
  readonly width: number;
}

/** Of one block: its maxima and their positions are found. */
export interface WinnersOperands {
  /** [T, width]. */
  readonly vectors: Tensor;
  readonly layout: MaxSimLayout;
  readonly block: MaxSimBlock;
  /** Written: [block.rows, columns] f32. */
  readonly best: Tensor;
  /** Written: [block.rows, columns] u32, the winning passage token or NONE. */
  readonly positions: Tensor;
}

export type MaxSimVariant = Variant<MaxSimForm, MaxSimSize, WinnersOperands>;

/** Position when the floor at 0 won: no gradient. */
export const NONE = '0xffffffffu';

export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** WGSL: maxima are found by rank: the first token wins a tie, a NaN is the largest, and any number is above 0. */
export const FOLD = `${RANKS}
fn finish(row: u32, slot: u32, passage: u32, best: u32, at: u32) {
  var value = unrank(best);
  var position = at;
  if (passages[passage].z != 0u && best <= rank(0.0)) { value = 0.0; position = ${NONE}; }
  if (passages[passage].x >= passages[passage].y) { value = 0.0; position = ${NONE}; }
  let i = (row - p.firstRow) * p.columns + slot;
  outBest[i] = value;
  outAt[i] = position;
}`;

/** WGSL: tile and passage slot of a workgroup, tiles side by side first. Where windows begin is taken off modulo 2³². */
export const TILE_AND_SLOT = `let index = group.y * groups.x + group.x;
  if (index >= p.tiles * p.slots) { return; }
  let tile = tiles[p.firstTile + index % p.tiles];
  let slot = p.firstSlot + index / p.tiles;`;

/** Of the kernels that work on a tile of query tokens and one passage a workgroup. */
export const TILE_PARAMS = {
  cols4: 'u32',
  columns: 'u32',
  firstRow: 'u32',
  firstTile: 'u32',
  tiles: 'u32',
  firstSlot: 'u32',
  slots: 'u32',
  baseQ: 'u32',
  baseV: 'u32',
} as const;

export const TILE_BUFFERS = {
  Q: 'array<vec4f>',
  V: 'array<vec4f>',
  tokens: 'array<vec2u>',
  passages: 'array<vec4u>',
  tiles: 'array<vec4u>',
  outBest: 'array<f32>',
  outAt: 'array<u32>',
};

/** A workgroup for every tile and passage, part by part. */
export function launchTiles(
  shader: Shader<typeof TILE_PARAMS>,
  { vectors, layout, block, best, positions }: WinnersOperands,
): void {
  for (const part of block.parts)
    shader.launch(
      vectors.gpu,
      {
        Q: windowOfTokens(vectors, block.tiles, block.tokens),
        V: windowOfTokens(vectors, block.tiles, part.tokens),
        tokens: whole(layout.tokens),
        passages: whole(layout.passages),
        tiles: windowed(layout.tiles, block.tiles, ({ start, count }) => [
          (block.firstTile + start) * 4,
          count * 4,
        ]),
        outBest: whole(best),
        outAt: whole(positions),
      },
      ({ start, count }, base) => ({
        cols4: vectors.cols / 4,
        columns: layout.columns,
        firstRow: block.firstRow,
        firstTile: block.firstTile + start - base['tiles']! / 4,
        tiles: count,
        firstSlot: part.firstSlot,
        slots: part.slots,
        baseQ: base['Q']! / 4,
        baseV: base['V']! / 4,
      }),
      ({ count }) => count * part.slots,
    );
}
