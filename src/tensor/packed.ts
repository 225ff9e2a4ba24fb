/**
 * Sequences of different lengths side by side without padding: `cuSeqlens` bounds them, and no kernel ever
 * touches a padding token. Owns the small device tensors that kernels need; dispose when the batch is done.
 */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { show } from '../show.js';
import { Tensor } from './tensor.js';

/** Sequences of different lengths, one after another without padding: where each begins. */
export class PackedSequences {
  /** [S+1]: sequence s holds tokens bounds[s]..bounds[s+1]−1. */
  readonly bounds: Uint32Array;
  /** Tokens of each sequence. */
  readonly lengths: Uint32Array;
  private disposed = false;
  private readonly cached = new Map<string, Tensor>();

  /** `lengths`: tokens of each sequence. @throws ShapeError unless all are whole numbers of at least 1. */
  constructor(
    /** Where its tables lie. */
    readonly gpu: Gpu,
    lengths: ArrayLike<number>,
  ) {
    this.bounds = new Uint32Array(lengths.length + 1);
    let total = 0;
    for (let s = 0; s < lengths.length; s++) {
      if (!Number.isInteger(lengths[s]) || lengths[s]! < 1)
        throw new ShapeError(
          'PackedSequences',
          `sequence ${s} of ${lengths.length} must have a whole number of tokens, at least 1, not ${show(lengths[s])}`,
        );
      total += lengths[s]!;
      this.bounds[s + 1] = total;
    }
    this.lengths = Uint32Array.from(lengths);
    if (total >= 2 ** 32)
      throw new ShapeError('PackedSequences', `${total} tokens are more than 32 bits count`);
  }

  /** How many sequences, S. */
  get count(): number {
    return this.bounds.length - 1;
  }

  /** Of all sequences, T. */
  get tokens(): number {
    return this.bounds[this.count]!;
  }

  /** [S+1] u32. */
  cuSeqlens(): Tensor {
    return this.cache('cuSeqlens', () => [this.bounds, [this.bounds.length]]);
  }

  /** [tiles, 4] u32 (begin, end, first, sequence): each tile is up to `rows` consecutive rows of one sequence. */
  tiles(rows: number): Tensor {
    return this.cache(`tiles.${rows}`, () => {
      const list: number[] = [];
      for (let s = 0; s < this.count; s++)
        for (let first = this.bounds[s]!; first < this.bounds[s + 1]!; first += rows)
          list.push(this.bounds[s]!, this.bounds[s + 1]!, first, s);
      return [Uint32Array.from(list), [list.length / 4, 4]];
    });
  }

  /** A device copy of host numbers that lives as long as this batch; `name` identifies it. */
  cache(name: string, make: () => [Uint32Array, number[]]): Tensor {
    const cached = this.cached.get(name);
    if (cached) return cached;
    const [data, shape] = make();
    const tensor = Tensor.from(this.gpu, data, shape, 'u32', 'workspace');
    // Of a batch that is done nobody would free it but the scope that it is used in.
    if (!this.disposed) this.cached.set(name, tensor.keep());
    return tensor;
  }

  /** Frees what is on the device. What was recorded may still go backward: it takes what it needs anew. */
  dispose(): void {
    this.disposed = true;
    for (const tensor of this.cached.values()) tensor.dispose();
    this.cached.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
