/** Where modules draw from when they are told nothing: one counter a device, which `manualSeed` sets, as PyTorch's generator. */
import type { Gpu } from '../gpu/gpu.js';
import { integer, signature } from '../tensor/operands.js';
import { RandomStreams } from '../tensor/random-streams.js';

const SEED = signature('manualSeed', {}, { numbers: { seed: integer, counter: integer } });

const ofDevice = new WeakMap<Gpu, RandomStreams>();

/**
 * From here on weights and dropout masks of this device are those of `seed` (0 at first), in the order in which they are
 * drawn: the same program draws the same. A run that goes on passes the `counter` at which it was saved
 * (`defaultRandom(gpu).counter`), and draws what it would have drawn. Returns the counter.
 * @throws ShapeError for a seed that is no whole number.
 */
export function manualSeed(gpu: Gpu, seed: number, counter = 0): RandomStreams {
  SEED.check({}, { seed, counter });
  const random = new RandomStreams(seed, counter);
  ofDevice.set(gpu, random);
  return random;
}

/** The device's own counter. */
export function defaultRandom(gpu: Gpu): RandomStreams {
  return ofDevice.get(gpu) ?? manualSeed(gpu, 0);
}
