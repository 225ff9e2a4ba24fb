/**
 * A list of row numbers known on the host, with what the device needs: the list itself for gathers, and the
 * positions sorted by row for the gradient, which is then a sum over segments in a fixed order.
 */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { Tensor } from './tensor.js';

export interface Segments {
  readonly order: Tensor;
  readonly starts: Tensor;
  readonly rows: Tensor;
}

export class RowIndex {
  private idsTensor: Tensor | undefined;
  private sorted: { order: Uint32Array; starts: Uint32Array; unique: Uint32Array } | undefined;
  private device: { order: Tensor; starts: Tensor } | undefined;
  private rowsTensor: Tensor | undefined;
  private compactTensor: Tensor | undefined;

  constructor(
    private readonly gpu: Gpu,
    readonly values: Uint32Array,
  ) {}

  /** [n] u32 on the device. */
  get ids(): Tensor {
    this.idsTensor ??= this.upload(this.values);
    return this.idsTensor;
  }

  /** Distinct rows, ascending. */
  get unique(): Uint32Array {
    return this.sort().unique;
  }

  /** @throws ShapeError when a row is not below `rows`. */
  check(rows: number): void {
    const { unique } = this.sort();
    const last = unique[unique.length - 1];
    if (last !== undefined && last >= rows)
      throw new ShapeError('gather', `row ${last} of a table of ${rows} rows`);
  }

  /** Segments that add to the rows they name. */
  segments(): Segments {
    this.rowsTensor ??= this.upload(this.sort().unique);
    return { ...this.deviceOrder(), rows: this.rowsTensor };
  }

  /** Segments that add to rows 0..unique−1 of a compact gradient. */
  compactSegments(): Segments {
    this.compactTensor ??= this.upload(this.sort().unique.map((_, i) => i));
    return { ...this.deviceOrder(), rows: this.compactTensor };
  }

  dispose(): void {
    for (const tensor of [
      this.idsTensor,
      this.device?.order,
      this.device?.starts,
      this.rowsTensor,
      this.compactTensor,
    ])
      tensor?.dispose();
    this.idsTensor = this.device = this.rowsTensor = this.compactTensor = undefined;
  }

  private deviceOrder(): { order: Tensor; starts: Tensor } {
    const { order, starts } = this.sort();
    this.device ??= { order: this.upload(order), starts: this.upload(starts) };
    return this.device;
  }

  private sort() {
    if (!this.sorted) {
      const { values } = this;
      const order = Uint32Array.from(values, (_, i) => i);
      order.sort((a, b) => values[a]! - values[b]! || a - b);
      const unique: number[] = [];
      const starts: number[] = [];
      order.forEach((position, i) => {
        if (i === 0 || values[position] !== values[order[i - 1]!]) {
          unique.push(values[position]!);
          starts.push(i);
        }
      });
      starts.push(order.length);
      this.sorted = { order, starts: Uint32Array.from(starts), unique: Uint32Array.from(unique) };
    }
    return this.sorted;
  }

  private upload(data: Uint32Array): Tensor {
    return Tensor.from(this.gpu, data, [data.length], 'u32', 'workspace').keep();
  }
}
