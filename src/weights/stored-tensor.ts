/** What a file of `torch.save` says of its tensors before any value is read: storages, and windows into them. */
import type { FileDType } from '../tensor/dtype.js';
import { sizeOf, stridesOf } from '../tensor/shape.js';

/** One run of elements in the file; several tensors may look into one. */
export class Storage {
  /** Of the first byte, in the file; known once the records are. */
  position = 0;
  constructor(
    /** Of the record that the file has. */
    readonly key: string,
    readonly dtype: FileDType,
    readonly count: number,
    /** A view of a record (only in files before PyTorch 1.6) begins within it and ends there: elements. */
    readonly start = 0,
    readonly recorded = count,
  ) {}
}

/** A window into a storage. `offset` and `strides` are in elements. */
export class StoredTensor {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}

  get count(): number {
    return this.shape.includes(0) ? 0 : sizeOf(this.shape);
  }

  /** Whether the elements lie in the storage as they are counted. */
  get contiguous(): boolean {
    const expected = stridesOf(this.shape);
    return (
      this.count === 0 || this.shape.every((extent, i) => extent === 1 || this.strides[i] === expected[i])
    );
  }

  /** From the first to the last element, in elements. */
  get span(): number {
    if (this.count === 0) return 0;
    return this.shape.reduce((span, extent, i) => span + (extent - 1) * this.strides[i]!, 1);
  }
}
