/** Where ranks live while their exchanges are measured: whoever carries, each rank runs the same task. */
import { CarriedCommunicator } from '../../src/train/ranks/carrier.js';
import type { Communicator } from '../../src/train/ranks/communicator.js';
import { EmulatedRanks } from '../../src/train/ranks/emulated.js';
import { threadsPlace, threadsWorld } from '../../src/train/ranks/threads-transport.js';
import type { CarrierName } from './flags.js';

type World = <T>(size: number, task: (communicator: Communicator) => Promise<T>) => Promise<T[]>;

/** What each rank comes to, in rank order. */
export const worlds: Record<CarrierName, World> = {
  /** One thread plays all ranks. */
  async emulated(size, task) {
    const ranks = new EmulatedRanks(size);
    return together(
      Array.from({ length: size }, (_, rank) => ranks.rank(rank)),
      task,
    );
  },
  /** Each has its communication thread; what is said in them comes from this one. */
  async threads(size, task) {
    const world = threadsWorld(size);
    const ranks = Array.from({ length: size }, (_, rank) =>
      CarriedCommunicator.open({ transport: threadsPlace(world, rank) }),
    );
    return together(await Promise.all(ranks), task);
  },
};

/** A rank that fails ends all. */
function together<T>(
  ranks: readonly Communicator[],
  task: (communicator: Communicator) => Promise<T>,
): Promise<T[]> {
  const one = async (communicator: Communicator): Promise<T> => {
    try {
      return await task(communicator);
    } catch (error) {
      const { rank } = communicator;
      await communicator
        .abort({ rank, message: (error as Error).message, exitCode: 1 })
        .catch(() => undefined);
      throw error;
    } finally {
      await communicator.close();
    }
  };
  return Promise.all(ranks.map(one));
}
