/** Draws of the fuzz: everything about a made input follows from one integer. */

/** A small generator (mulberry32): its quality is that of a fuzz, not of training. */
export class FuzzRandom {
  private state: number;

  constructor(seed: number, stream = '') {
    let state = seed >>> 0;
    for (const unit of `${seed} ${stream}`) state = Math.imul(state ^ unit.codePointAt(0)!, 0x9e3779b1) >>> 0;
    this.state = state;
  }

  /** 0 ≤ value < 2^32. */
  uint32(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (z ^ (z >>> 14)) >>> 0;
  }

  /** 0 ≤ value < end. */
  below(end: number): number {
    return Math.floor((this.uint32() / 2 ** 32) * end);
  }

  chance(probability: number): boolean {
    return this.uint32() < probability * 2 ** 32;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** 1, 2, 4, … up to `most`, small ones more often. */
  size(most: number): number {
    return 1 + this.below(2 ** this.below(Math.log2(Math.max(2, most)) + 1));
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}
