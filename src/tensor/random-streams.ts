/**
 * Names for uses of randomness on the device. A dropout mask is a function of (seed, stream, position), so whoever
 * knows the stream draws the same mask again; recomputation and gradient caching rest on that. What is drawn from
 * a stream belongs to the kernels.
 */
import { noteDraw } from './scope.js';

/** Identifies one use of randomness: the run's seed and a counter that is unique per use. */
export interface RandomStream {
  readonly seed: number;
  readonly stream: number;
  /**
   * Rows of the whole batch before these: a part of a batch then draws what the whole batch would draw for its
   * rows. Default 0.
   */
  readonly firstRow?: number;
}

/** Hands out a fresh stream per use of randomness; its state is two integers. */
export class RandomStreams {
  constructor(
    readonly seed: number,
    public counter = 0,
  ) {}

  next(): RandomStream {
    noteDraw(this);
    return { seed: this.seed, stream: this.counter++ };
  }
}
