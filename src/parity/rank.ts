/** One of several ranks of `dawntune parity`, in a thread of its own (train/ranks/rank-threads.ts). */
import type { RankContext } from '../train/ranks/rank-messages.js';
import { type ParityOptions, runParity } from './parity.js';
import type { ParityCheck } from './report.js';

export interface ParityRankData {
  readonly folder: string;
  readonly options: Omit<ParityOptions, 'communicator'>;
}

/** Returns what this rank checked. */
export function runRank({ communicator, data }: RankContext): Promise<ParityCheck[]> {
  const { folder, options } = data as ParityRankData;
  return runParity(folder, { ...options, communicator });
}
