/** Where modules draw from when they are told nothing: one counter a device, which `manualSeed` sets, as PyTorch's generator. */
import type { Gpu } from '../gpu/gpu.js';
import { RandomStreams } from '../tensor/random-streams.js';

const ofDevice = new WeakMap<Gpu, RandomStreams>();

/**
 * From here on weights and dropout masks of this device are those of `seed` (0 at first), in the order in which they are
 * drawn: the same program draws the same. Returns the counter, which a run that goes on sets back.
 */
export function manualSeed(gpu: Gpu, seed: number): RandomStreams {
  const random = new RandomStreams(seed);
  ofDevice.set(gpu, random);
  return random;
}

/** The device's own counter. */
export function defaultRandom(gpu: Gpu): RandomStreams {
  return ofDevice.get(gpu) ?? manualSeed(gpu, 0);
}
