/**
 * The moments of an embedding table, of those rows only that ever had a gradient: the moments of all others are zeros,
 * with which a row can only decay. Of 250,002 words a run on few texts touches some thousands.
 */

import type { Parameter } from '../autograd/parameters.js';
import { sizeClass } from '../gpu/memory.js';
import type { MomentBlock } from '../kernels/adamw-rows.js';
import { Tensor } from '../tensor/tensor.js';
import type { Span } from './optimizer-state.js';

/** Bytes of one moment in the least block and in the largest. */
const LEAST = 4 << 20;
const MOST = 64 << 20;

interface Block extends MomentBlock {
  rows: Uint32Array;
  slots: Uint32Array;
  /** Slots of the blocks before it. */
  readonly first: number;
}

/**
 * A row gets the next free slot when its first gradient comes, and keeps it. Slots lie in blocks that are made when the
 * ones before are full, so that nothing is ever copied and nothing is held twice. A block has a quarter of the slots
 * that there are already, but 4 MiB of each moment at least and 64 MiB, one binding or the rest of the table at most:
 * how much is held depends on how many rows have moments, not on which or on when they came, and is less than a
 * quarter and a block more than they need. Which slot a row has changes no number.
 */
export class TableMoments {
  private readonly blockList: Block[] = [];
  private readonly slotOf: Int32Array;
  /** Slots in all blocks. */
  private slots = 0;
  private used = 0;

  constructor(private readonly table: Parameter) {
    this.slotOf = new Int32Array(table.tensor.rows).fill(-1);
  }

  get blocks(): readonly MomentBlock[] {
    return this.blockList;
  }

  /** Rows that there is room for. */
  get capacity(): number {
    return this.slots;
  }

  /** Rows that have moments. */
  get count(): number {
    return this.used;
  }

  /** Those of ascending `rows` that have none yet. */
  without(rows: Uint32Array): Uint32Array {
    return rows.filter((row) => this.slotOf[row]! < 0);
  }

  /** Makes room for `count` rows in all, or for the whole table. @throws MachineError where there is no memory. */
  reserve(count: number): void {
    const { gpu, rows, cols } = this.table.tensor;
    const rowsOf = (bytes: number) => Math.max(1, Math.floor(bytes / (4 * cols)));
    const most = rowsOf(Math.min(MOST, gpu.capabilities.maxBindingSize - 16));
    while (this.slots < Math.min(count, rows)) {
      // As many as there is room for in what the pool hands out.
      const wanted = rowsOf(sizeClass(Math.max(LEAST, this.slots * cols)));
      const shape = [Math.min(wanted, most, rows - this.slots), cols];
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

  /** Gives slots to rows that have none, in this order; there must be room. Their moments are zeros. */
  add(rows: Uint32Array): void {
    let next = 0;
    for (const block of this.blockList) {
      const free = block.first + block.moment1.rows - this.used;
      if (free <= 0 || next === rows.length) continue;
      const own = rows.subarray(next, next + free);
      for (const row of own) this.slotOf[row] = this.used++;
      next += own.length;
      const all = new Uint32Array(block.rows.length + own.length);
      all.set(block.rows);
      all.set(own, block.rows.length);
      block.rows = all.sort();
      block.slots = all.map((row) => this.slotOf[row]! - block.first);
    }
  }

  /** The rows that have moments, in the order of their slots. */
  rowsBySlot(): Uint32Array {
    const result = new Uint32Array(this.used);
    for (const { first, rows, slots } of this.blockList)
      for (let n = 0; n < rows.length; n++) result[first + slots[n]!] = rows[n]!;
    return result;
  }

  /** One moment of these rows, in the order of their slots. */
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
    this.blockList.length = this.slots = this.used = 0;
    this.slotOf.fill(-1);
    this.reserve(rows.length);
    this.add(rows);
  }

  /** [⌈V/32⌉] words, bit r % 32 of word r / 32 set where row r has moments. */
  mask(): Uint32Array {
    const words = new Uint32Array(Math.ceil(this.slotOf.length / 32));
    for (const { rows } of this.blockList) for (const row of rows) words[row >>> 5]! |= 1 << (row & 31);
    return words;
  }

  dispose(): void {
    for (const { moment1, moment2 } of this.blockList) {
      moment1.dispose();
      moment2.dispose();
    }
  }
}
