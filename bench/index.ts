/**
 * `dawntune/bench`: the suites of `dawntune bench` from code, and times of one's own work as they are taken.
 *
 * @packageDocumentation
 */

import { InputError } from '../src/errors.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { show } from '../src/show.js';
import { measure, type Times } from './kernels/measure.js';

export { bench } from './bench.js';
export type { Times } from './kernels/measure.js';
export { quantile } from './report/statistics.js';

/** How long `time` may take. */
export interface TimeOptions {
  /** To spend on samples, about; 1. */
  readonly seconds?: number;
}

/**
 * Times of `run`, which records work on `gpu` and reads nothing back: warmed up, then sampled by the host's clock, each
 * sample so many runs that the wait for the GPU does not count, and by the GPU's own where the adapter has one. What a run
 * makes is freed after it.
 */
export async function time(gpu: Gpu, run: () => void, { seconds = 1 }: TimeOptions = {}): Promise<Times> {
  if (!(seconds > 0)) throw new InputError(`time: seconds must be above 0, found ${show(seconds)}`);
  const trial = { outputs: [], run, error: async () => 0, dispose() {} };
  return (await measure(gpu, trial, ['own'], seconds)).get('own')!;
}
