/**
 * The moments of an embedding table, of those rows only that ever had a gradient: the moments of all others are zeros,
 * with which a row can only decay. Of 250,002 words a run on few texts touches some thousands.
 */

import { sizeClass } from '../gpu/memory.js';
import type { MomentBlock } from '../kernels/adamw-rows.js';
import { Tensor } from '../tensor/tensor.js';
import type { Span } from './state.js';

/** Bytes of one moment in the least block and in the largest. */
const LEAST = 4 << 20;
const MOST = 64 << 20;

interface Block extends MomentBlock {
  rows: Uint32Array;
  slots: Uint32Array;
  /** Slots of the blocks before it. */
  readonly first: number;
}

/** Which of the ranks that divide the moments among them. */
export interface Share {
  readonly rank: number;
  readonly size: number;
}

/**
 * Rows are numbered in the order in which their first gradients came, and keep their number. Of W ranks rank r has the
 * moments of rows r, r + W, r + 2W… by that number, so that all have equally many however the rows are chosen; one rank
 * has all of them. Its rows lie in slots, in this order. Slots lie in blocks that are made when the ones before are
 * full, so that nothing is ever copied and nothing is held twice. A block has a quarter of the slots that there are
 * already, but 4 MiB of each moment at least and 64 MiB, one binding or the rest of the table at most: how much is held
 * depends on how many rows have moments, not on which or on when they came, and is less than a quarter and a block more
 * than they need. Which slot a row has changes no number.
 */
export class TableMoments {
  private readonly blockList: Block[] = [];
  /** By row: its number; −1 where it has none. */
  private readonly numberOf: Int32Array;
  /** By number. */
  private readonly numbered: Uint32Array;
  private numbers = 0;
  /** Slots in all blocks. */
  private slots = 0;
  private used = 0;

  constructor(
    private readonly table: { readonly tensor: Tensor },
    private readonly share: Share = { rank: 0, size: 1 },
  ) {
    const { rows } = table.tensor;
    this.numberOf = new Int32Array(rows).fill(-1);
    this.numbered = new Uint32Array(rows);
  }

  /** The own rows and their moments. */
  get blocks(): readonly MomentBlock[] {
    return this.blockList;
  }

  /** Own rows that there is room for. */
  get capacity(): number {
    return this.slots;
  }

  /** Rows that have moments, on any rank. */
  get count(): number {
    return this.numbers;
  }

  /** Those of ascending `rows` that have none yet. */
  without(rows: Uint32Array): Uint32Array {
    return rows.filter((row) => this.numberOf[row]! < 0);
  }

  /** Makes room for the own ones of `count` rows in all, or of the whole table. @throws MachineError where there is no memory. */
  reserve(count: number): void {
    const { gpu, rows, cols } = this.table.tensor;
    const rowsOf = (bytes: number) => Math.max(1, Math.floor(bytes / (4 * cols)));
    const most = rowsOf(Math.min(MOST, gpu.capabilities.maxBindingSize - 16));
    while (this.slots < this.ownOf(Math.min(count, rows))) {
      // As many as there is room for in what the pool hands out.
      const wanted = rowsOf(sizeClass(Math.max(LEAST, this.slots * cols)));
      const shape = [Math.min(wanted, most, this.ownOf(rows) - this.slots), cols];
      const moment1 = Tensor.zeros(gpu, shape, 'f32', 'optimizer').keep();
      let moment2: Tensor;
      try {
        moment2 = Tensor.zeros(gpu, shape, 'f32', 'optimizer').keep();
      } catch (error) {
        moment1.dispose();
        throw error;
      }
      const none = new Uint32Array();
      this.blockList.push({ moment1, moment2, rows: none, slots: none, first: this.slots });
      this.slots += shape[0]!;
    }
  }

  /** Numbers rows that have no moments yet, in this order; there must be room. Their moments are zeros. */
  add(rows: Uint32Array): void {
    const { rank, size } = this.share;
    const own: number[] = [];
    for (const row of rows) {
      if (this.numbers % size === rank) own.push(row);
      this.numbered[this.numbers] = row;
      this.numberOf[row] = this.numbers++;
    }
    let next = 0;
    for (const block of this.blockList) {
      const free = block.first + block.moment1.rows - this.used;
      if (free <= 0 || next === own.length) continue;
      const more = own.slice(next, next + free);
      this.used += more.length;
      next += more.length;
      block.rows = Uint32Array.from([...block.rows, ...more]).sort();
      block.slots = block.rows.map((row) => (this.numberOf[row]! - rank) / size - block.first);
    }
  }

  /** The rows that have moments on any rank, by their numbers. */
  rows(): Uint32Array {
    return this.numbered.slice(0, this.numbers);
  }

  /** One moment of the own rows, by their numbers. */
  spans(moment: 'moment1' | 'moment2'): Span[] {
    return this.blockList.map((block) => ({
      tensor: block[moment],
      start: 0,
      count: block.rows.length * block[moment].cols,
    }));
  }

  /** As if these rows, distinct ones, had come in this order and no other. @throws MachineError without memory. */
  restart(rows: Uint32Array): void {
    this.dispose();
    this.blockList.length = this.numbers = this.slots = this.used = 0;
    this.numberOf.fill(-1);
    this.reserve(rows.length);
    this.add(rows);
  }

  /** [⌈V/32⌉] words, bit r % 32 of word r / 32 set where row r has moments on any rank. */
  mask(): Uint32Array {
    const words = new Uint32Array(Math.ceil(this.numberOf.length / 32));
    for (const row of this.numbered.subarray(0, this.numbers)) words[row >>> 5]! |= 1 << (row & 31);
    return words;
  }

  /** Frees the moments of all rows. */
  dispose(): void {
    for (const { moment1, moment2 } of this.blockList) {
      moment1.dispose();
      moment2.dispose();
    }
  }

  /** How many of `count` rows are the rank's own. */
  private ownOf(count: number): number {
    const { rank, size } = this.share;
    return Math.ceil(Math.max(0, count - rank) / size);
  }
}
