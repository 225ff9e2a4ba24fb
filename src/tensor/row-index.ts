/**
 * A list of row numbers known on the host, with what the device needs: the list itself for gathers, and the
 * positions sorted by row for the gradient, which is then a sum over segments in a fixed order. The gradient may
 * leave a row out, as the gradient of an embedding does with its padding row.
 */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { show } from '../show.js';
import { Tensor } from './tensor.js';

/** Positions grouped by what they belong to, on the device. */
export interface Segments {
  /** [n] u32: the positions, those of a segment side by side. */
  readonly order: Tensor;
  /** [segments + 1] u32: where each begins in `order`. */
  readonly starts: Tensor;
  /** [segments] u32: the row that each adds to. */
  readonly rows: Tensor;
}

const DIGIT_BITS = 11;
const DIGITS = 2 ** DIGIT_BITS;

/** Ascending positions by their row, those of one row still ascending: a radix sort, since tables have few digits. */
function sortByRow(positions: Uint32Array, rows: Uint32Array): void {
  const count = positions.length;
  let largest = 0;
  for (let i = 0; i < count; i++) largest = Math.max(largest, rows[positions[i]!]!);
  let from = positions;
  let to: Uint32Array = new Uint32Array(count);
  for (let shift = 0; shift < 32 && largest >>> shift > 0; shift += DIGIT_BITS) {
    const digit = (position: number) => (rows[position]! >>> shift) % DIGITS;
    const next = new Uint32Array(DIGITS + 1);
    for (let i = 0; i < count; i++) next[digit(from[i]!) + 1]!++;
    for (let i = 1; i < DIGITS; i++) next[i]! += next[i - 1]!;
    for (let i = 0; i < count; i++) to[next[digit(from[i]!)]!++] = from[i]!;
    [from, to] = [to, from];
  }
  if (from !== positions) positions.set(from);
}

/** Positions of the index sorted by row; those of a row that is left out are in no segment. */
class SortedRows {
  readonly unique: Uint32Array;
  private readonly order: Uint32Array;
  private readonly starts: Uint32Array;
  private orderTensor: Tensor | undefined;
  private startsTensor: Tensor | undefined;
  private rowsTensor: Tensor | undefined;
  private compactTensor: Tensor | undefined;

  constructor(
    private readonly upload: (data: Uint32Array) => Tensor,
    values: Uint32Array,
    without: number | undefined,
  ) {
    const count = values.length;
    // Positions of no segment come last: the device has every position once.
    const all = new Uint32Array(count);
    let [kept, ascending] = [0, true];
    for (let i = 0; i < count; i++) {
      if (values[i] === without) continue;
      ascending &&= kept === 0 || values[all[kept - 1]!]! <= values[i]!;
      all[kept++] = i;
    }
    for (let i = 0, last = kept; last < count; i++) if (values[i] === without) all[last++] = i;
    const order = all.subarray(0, kept);
    if (!ascending) sortByRow(order, values);
    const unique = new Uint32Array(kept);
    const starts = new Uint32Array(kept + 1);
    let segments = 0;
    for (let i = 0; i < kept; i++) {
      const row = values[order[i]!]!;
      if (i > 0 && row === unique[segments - 1]) continue;
      unique[segments] = row;
      starts[segments++] = i;
    }
    starts[segments] = kept;
    this.order = all;
    this.starts = starts.slice(0, segments + 1);
    this.unique = unique.slice(0, segments);
  }

  segments(): Segments {
    if (this.rowsTensor?.freed !== false) this.rowsTensor = this.upload(this.unique);
    return { ...this.deviceOrder(), rows: this.rowsTensor };
  }

  compactSegments(): Segments {
    if (this.compactTensor?.freed !== false) this.compactTensor = this.upload(this.unique.map((_, i) => i));
    return { ...this.deviceOrder(), rows: this.compactTensor };
  }

  dispose(): void {
    for (const tensor of [this.orderTensor, this.startsTensor, this.rowsTensor, this.compactTensor])
      tensor?.dispose();
    this.orderTensor = this.startsTensor = this.rowsTensor = this.compactTensor = undefined;
  }

  /** Each is noted as soon as it is there: the next may find no memory. */
  private deviceOrder(): { order: Tensor; starts: Tensor } {
    if (this.orderTensor?.freed !== false) this.orderTensor = this.upload(this.order);
    if (this.startsTensor?.freed !== false) this.startsTensor = this.upload(this.starts);
    return { order: this.orderTensor, starts: this.startsTensor };
  }
}

/** Row numbers, known on the host and on the device, with what their gradients need. */
export class RowIndex {
  /** As they were given: what happens to the caller's list later is no concern of a recorded gather. */
  readonly values: Uint32Array;
  private disposed = false;
  private idsTensor: Tensor | undefined;
  /** By the row that is left out. */
  private readonly sorted = new Map<number | undefined, SortedRows>();

  /** @throws ShapeError for anything but a Uint32Array. */
  constructor(
    /** Where its lists lie. */
    readonly gpu: Gpu,
    values: Uint32Array,
  ) {
    if (!(values instanceof Uint32Array))
      throw new ShapeError('RowIndex', `row numbers must be a Uint32Array, found ${show(values)}`);
    this.values = values.slice();
  }

  /** [n] u32 on the device. */
  get ids(): Tensor {
    if (this.idsTensor?.freed !== false) this.idsTensor = this.upload(this.values);
    return this.idsTensor;
  }

  /** Distinct rows, ascending; `without` is left out. */
  unique(without?: number): Uint32Array {
    return this.sort(without).unique;
  }

  /** @throws ShapeError naming `op` when a row is none of those of `table`, [V,...]. */
  check(op: string, table: Tensor): void {
    const rows = table.shape[0] ?? 0;
    const unique = this.unique();
    const last = unique[unique.length - 1];
    if (last !== undefined && last >= rows)
      throw new ShapeError(op, `row ${last} of a table of ${rows} rows`, { table });
  }

  /** Segments that add to the rows they name; no segment adds to `without`. */
  segments(without?: number): Segments {
    return this.sort(without).segments();
  }

  /** Segments that add to rows 0..n−1 of a compact gradient, n the length of `unique(without)`. */
  compactSegments(without?: number): Segments {
    return this.sort(without).compactSegments();
  }

  /** Frees what is on the device. A gather that was recorded may still go backward: it takes what it needs anew. */
  dispose(): void {
    this.disposed = true;
    this.idsTensor?.dispose();
    this.idsTensor = undefined;
    for (const sorted of this.sorted.values()) sorted.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private sort(without?: number): SortedRows {
    // A row that does not occur needs no order of its own.
    const key = without !== undefined && this.values.includes(without) ? without : undefined;
    let sorted = this.sorted.get(key);
    if (!sorted) {
      sorted = new SortedRows((data) => this.upload(data), this.values, key);
      this.sorted.set(key, sorted);
    }
    return sorted;
  }

  /** Lives until `dispose`; after that nobody would free it but the scope that it is used in. */
  private upload(data: Uint32Array): Tensor {
    const tensor = Tensor.from(this.gpu, data, [data.length], 'u32', 'workspace');
    return this.disposed ? tensor : tensor.keep();
  }
}
