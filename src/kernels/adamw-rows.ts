/**
 * AdamW of embedding tables, of which a step has the gradients of some rows and the moments of those that ever had one:
 * the update of these (adamw.ts), and the decay of the others.
 */
import { f32, signature, u32 } from '../tensor/operands.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AdamWSettings, PARAMS, parameters, SKIP, updateOf } from './adamw.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { byRows, type Piece, whole, windowed } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

const ADAMW_ROWS = signature('adamWRows', {
  weights: f32('V', 'C'),
  gradients: f32('U', 'C'),
  entries: u32('S', 4),
  factor: f32(2),
});
const MOMENT_BLOCK = signature('adamWRows', {
  weights: f32('V', 'C'),
  moment1: f32('N', 'C'),
  moment2: f32('N', 'C'),
});
const DECAY_ROWS = signature('decayRows', { weights: f32('V', 'C'), except: u32('W'), factor: f32(2) });

/** Moments of some rows of a table, one row of them in each slot. */
export interface MomentBlock {
  /** [N,C], N slots. */
  readonly moment1: Tensor;
  /** [N,C], N slots. */
  readonly moment2: Tensor;
  /** Rows of the table that have a slot here, ascending. */
  readonly rows: Uint32Array;
  /** The slot of each of them. */
  readonly slots: Uint32Array;
}

/** A [V,C] table whose gradient exists for some rows only, and whose moments do too. */
export interface AdamWRowsOperands {
  readonly weights: Tensor;
  /** [U,C] */
  readonly gradients: Tensor;
  /** Row of the table that each row of `gradients` belongs to, ascending. All of them have a slot. */
  readonly rows: Uint32Array;
  readonly blocks: readonly MomentBlock[];
  /** [S,4] u32, filled here, of at least as many rows as have slots: row, slot, row of `gradients` or 0xffffffff. */
  readonly entries: Tensor;
  /** [2] of `clipFactor` */
  readonly factor: Tensor;
}

const NONE = 0xffffffff;

/**
 * The same update of the rows that have a slot. Those without a gradient move by their moments and decay, exactly as
 * with a gradient of zeros. A row without a slot is one whose moments are zeros: it could only decay (`decayRows`).
 */
export function adamWRows(operands: AdamWRowsOperands, settings: AdamWSettings): void {
  const { weights, gradients, rows, blocks, entries, factor } = operands;
  ADAMW_ROWS.check({ weights, gradients, entries, factor });
  const moving = blocks.reduce((sum, block) => sum + block.rows.length, 0);
  if (moving === 0) return;
  const values = new Uint32Array(4 * moving);
  let at = 0;
  for (const block of blocks) {
    let next = 0;
    for (let n = 0; n < block.rows.length; n++, at += 4) {
      const row = block.rows[n]!;
      while (next < rows.length && rows[next]! < row) next++;
      values[at] = row;
      values[at + 1] = block.slots[n]!;
      values[at + 2] = rows[next] === row ? next : NONE;
    }
  }
  weights.gpu.upload({ ...entries.binding(), size: values.byteLength }, values);
  let first = 0;
  for (const block of blocks) {
    updateBlock(operands, block, first, settings);
    first += block.rows.length;
  }
}

/** `firstEntry`: of the block's rows in `entries`. */
function updateBlock(
  { weights, gradients, rows, entries, factor }: AdamWRowsOperands,
  { moment1, moment2, rows: moving }: MomentBlock,
  firstEntry: number,
  settings: AdamWSettings,
): void {
  MOMENT_BLOCK.check({ weights, moment1, moment2 });
  if (moving.length === 0) return;
  const { cols } = weights;
  const form = { vec: cols % 4 === 0 };
  const width = form.vec ? cols / 4 : cols;
  shaderOf('adamWRows', form, ({ vec }) => {
    const type = vec ? 'vec4f' : 'f32';
    return {
      label: 'adamWRows',
      params: { ...PARAMS, first: 'u32', base: 'u32', baseEntry: 'u32' } as const,
      buffers: {
        ioP: `array<${type}>`,
        G: `array<${type}>`,
        entries: 'array<vec4u>',
        ioM: `array<${type}>`,
        ioV: `array<${type}>`,
        factor: 'array<f32>',
      },
      body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${SKIP}
  let entry = entries[i / p.width + p.baseEntry];
  let column = i % p.width;
  let weight = (entry.x - p.first) * p.width + column;
  let moment = entry.y * p.width + column;
  var g = ${type}();
  // Where the window of gradients begins is taken off modulo 2³².
  if (entry.z != 0xffffffffu) { g = G[entry.z * p.width + column - p.base] * factor[0]; }
${updateOf('weight', 'moment')}
}`,
    };
  }).launch(
    weights.gpu,
    {
      ioP: byRows(weights),
      // The gradients of consecutive rows lie side by side.
      G: windowed(gradients, weights.rows, (piece) => {
        const [first, end] = within(rows, piece);
        return [first * cols, (end - first) * cols];
      }),
      entries: windowed(entries, weights.rows, (piece) => {
        const [first, end] = within(moving, piece);
        return [4 * (firstEntry + first), 4 * (end - first)];
      }),
      ioM: whole(moment1),
      ioV: whole(moment2),
      factor: whole(factor),
    },
    (piece, base) => ({
      ...parameters(settings),
      count: countWithin(moving, piece) * width,
      width,
      first: piece.start,
      base: form.vec ? base['G']! / 4 : base['G']!,
      baseEntry: firstEntry + within(moving, piece)[0] - base['entries']! / 4,
    }),
    (piece) => flatGroups(countWithin(moving, piece) * width),
    // Of the moving rows the weights and moments are read and written, and gradients read where there are.
    (piece) => ({
      bytes: (24 * countWithin(moving, piece) + 4 * countWithin(rows, piece)) * cols,
    }),
  );
}

/**
 * Decay of the rows of a [V,C] table that `adamWRows` has no moments of, to the bit what their update with zero
 * gradient and zero moments would be. `except`: [⌈V/32⌉] u32, bit r % 32 of word r / 32 set for row r with moments.
 */
export function decayRows(
  { weights, except, factor }: { weights: Tensor; except: Tensor; factor: Tensor },
  settings: AdamWSettings,
): void {
  DECAY_ROWS.check({ weights, except, factor });
  const { cols } = weights;
  const form = { vec: cols % 4 === 0 };
  const width = form.vec ? cols / 4 : cols;
  shaderOf('decayRows', form, ({ vec }) => ({
    label: 'decayRows',
    params: { ...PARAMS, first: 'u32' } as const,
    buffers: { ioP: `array<${vec ? 'vec4f' : 'f32'}>`, except: 'array<u32>', factor: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${SKIP}
  let row = p.first + i / p.width;
  if (((except[row / 32u] >> (row % 32u)) & 1u) != 0u) { return; }
  ioP[i] = ioP[i] * p.decay;
}`,
  })).launch(
    weights.gpu,
    { ioP: byRows(weights), except: whole(except), factor: whole(factor) },
    (piece) => ({ ...parameters(settings), count: piece.count * width, width, first: piece.start }),
    (piece) => flatGroups(piece.count * width),
  );
}

/** The part of ascending `rows` that a piece of the table has: [first, end). */
function within(rows: Uint32Array, { start, count }: Piece): [first: number, end: number] {
  const before = (row: number): number => {
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle]! < row) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return [before(start), before(start + count)];
}

function countWithin(rows: Uint32Array, piece: Piece): number {
  const [first, end] = within(rows, piece);
  return end - first;
}
