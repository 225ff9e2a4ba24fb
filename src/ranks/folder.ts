/** The folder of a model that several ranks read, of which one asks the hub. */
import fs from 'node:fs';
import type { Communicator } from './communicator.js';
import { fromFirstRank, together } from './together.js';

/**
 * The folder of the model `name` on each rank. Rank 0 opens it first, and fetches what is not there; the others read what
 * it found where they can, and open it themselves on another machine.
 * @throws as `together`.
 */
export async function folderOnAllRanks(
  ranks: Communicator,
  name: string,
  open: () => Promise<string>,
): Promise<string> {
  const found = await fromFirstRank(ranks, open);
  const cached = !fs.existsSync(name) && fs.existsSync(found);
  return together(ranks, async () => (ranks.rank === 0 || cached ? found : open()));
}
