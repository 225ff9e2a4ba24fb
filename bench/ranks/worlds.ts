/** Where ranks live while they are measured: whoever carries, each rank runs the same task and tells what it found. */

import type { Communicator } from '../../src/train/ranks/communicator.js';
import { EmulatedRanks } from '../../src/train/ranks/emulated.js';

export const carrierNames = ['emulated'] as const;
export type CarrierName = (typeof carrierNames)[number];

type World = <T>(size: number, task: (communicator: Communicator) => Promise<T>) => Promise<T[]>;

/** What each rank comes to, in rank order. A rank that fails ends all. */
export const worlds: Record<CarrierName, World> = {
  /** One thread plays all ranks. */
  async emulated(size, task) {
    const ranks = new EmulatedRanks(size);
    return Promise.all(
      Array.from({ length: size }, async (_, rank) => {
        const communicator = ranks.rank(rank);
        const result = await task(communicator);
        await communicator.close();
        return result;
      }),
    );
  },
};
