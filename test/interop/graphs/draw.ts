/** What random graphs are drawn from: numbers by a seed, and the tensors that are there so far. */
import type { Gpu } from '../../../src/gpu/gpu.js';
import type { Shape } from '../../../src/tensor/shape.js';
import { Tensor } from '../../../src/tensor/tensor.js';

export interface LeafRecord {
  readonly shape: readonly number[];
  readonly values: readonly number[];
  /** Whole numbers, of which there is no gradient. */
  readonly ids?: true;
}

/** Elements that a tensor of a graph has at most. */
const MOST = 400;

export class Draw {
  /** All tensors: leaves and results, in the order in which they were made. */
  readonly tensors: Tensor[] = [];
  /** Of a tensor the leaf that it is. */
  readonly leaves = new Map<number, LeafRecord>();

  constructor(
    private readonly gpu: Gpu,
    private state: number,
  ) {}

  /** [0, 1). */
  next(): number {
    // Mulberry32.
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  shuffled<T>(list: readonly T[]): T[] {
    const left = [...list];
    return list.map(() => left.splice(this.below(left.length), 1)[0]!);
  }

  shape(): number[] {
    return Array.from({ length: this.below(4) }, () => 1 + this.below(6));
  }

  /** Another shape of as many elements. */
  otherShape(size: number): number[] {
    const shape: number[] = [];
    let left = size;
    for (let divisor = 2; left > 1 && divisor <= left; )
      if (left % divisor !== 0) divisor++;
      else {
        left /= divisor;
        if (shape.length > 0 && (shape.length === 4 || this.chance(0.4)))
          shape[this.below(shape.length)]! *= divisor;
        else shape.push(divisor);
      }
    return this.shuffled(shape);
  }

  /** One that broadcasts with it to it, or beyond it where extents of 1 are. */
  broadcasting(shape: Shape): number[] {
    const own = shape.map((extent) => (this.chance(0.3) ? 1 : extent === 1 ? 1 + this.below(3) : extent));
    return this.chance(0.3) ? own.slice(this.below(own.length + 1)) : own;
  }

  /** A new leaf, of values evenly from [low, high). */
  leaf(shape: Shape, [low, high]: readonly [number, number] = [-2, 2]): Tensor {
    const values = Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => low + (high - low) * this.next(),
    );
    const tensor = Tensor.from(this.gpu, values, shape);
    tensor.requiresGrad = true;
    this.leaves.set(this.tensors.length, { shape: [...shape], values: [...values] });
    this.tensors.push(tensor);
    return tensor;
  }

  /** A new leaf of whole numbers below `count`, u32 or i32. */
  ids(shape: Shape, count: number): Tensor {
    const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => this.below(count));
    const tensor = Tensor.from(this.gpu, values, shape, this.one(['u32', 'i32'] as const));
    this.leaves.set(this.tensors.length, { shape: [...shape], values, ids: true });
    this.tensors.push(tensor);
    return tensor;
  }

  /** Any float that is there, or a new leaf; the latest most often, so that graphs are deep. */
  any(): Tensor {
    return this.ranked(0);
  }

  /** One of at least so many axes. */
  ranked(axes: number): Tensor {
    const fitting = this.tensors.filter(
      ({ dtype, shape, size }) => dtype === 'f32' && shape.length >= axes && size <= MOST && size > 0,
    );
    if (fitting.length > 0 && this.chance(0.8)) return this.chance(0.6) ? fitting.at(-1)! : this.one(fitting);
    const shape = this.shape();
    while (shape.length < axes) shape.push(1 + this.below(6));
    return this.leaf(shape);
  }

  /** Counted from the beginning or from the end. */
  axis({ shape }: Tensor): number {
    const axis = this.below(shape.length);
    return this.chance(0.3) ? axis - shape.length : axis;
  }

  /** At least one. */
  axes({ shape }: Tensor): number[] {
    const all = this.shuffled(shape.map((_, axis) => axis));
    return all.slice(0, 1 + this.below(all.length));
  }
}
