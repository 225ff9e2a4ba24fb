/** One rank of parity in a thread of its own (parity-ranks.test.ts). */
import { type ParityOptions, runParity } from '../src/parity/parity.js';
import type { ParityCheck } from '../src/parity/report.js';
import type { RankContext } from '../src/train/ranks/rank-messages.js';

export interface ParityRankData {
  readonly folder: string;
  readonly options: Omit<ParityOptions, 'communicator'>;
}

/** Returns what this rank checked. */
export function runRank({ communicator, data }: RankContext<ParityRankData>): Promise<ParityCheck[]> {
  return runParity(data.folder, { ...data.options, communicator });
}
