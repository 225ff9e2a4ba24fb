/**
 * Names for uses of randomness on the device. A dropout mask is a function of (seed, stream, position), so whoever
 * knows the stream draws the same mask again; recomputation and gradient caching rest on that. What is drawn from
 * a stream belongs to the kernels.
 */
import { noteDraw } from './scope.js';

/** Identifies one use of randomness: the run's seed and a counter that is unique per use. */
export interface RandomStream {
  /** Of the run. */
  readonly seed: number;
  /** Of this use: one draw of one tensor. */
  readonly stream: number;
  /**
   * Rows of the whole batch before these: a part of a batch then draws what the whole batch would draw for its
   * rows. Default 0.
   */
  readonly firstRow?: number;
}

/** Hands out a fresh stream per use of randomness; its state is two integers. */
export class RandomStreams {
  /** `counter`: uses before the first, where a run goes on. */
  constructor(
    /** Of all its streams. */
    readonly seed: number,
    /** Uses so far: with the seed all that a checkpoint keeps. */
    public counter = 0,
  ) {}

  /** The stream of the next use. */
  next(): RandomStream {
    noteDraw(this);
    return { seed: this.seed, stream: this.counter++ };
  }
}
