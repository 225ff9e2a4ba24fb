/**
 * What several ranks take in memory. Each has a plan of its own (memory-plan.ts) and a budget for it; those that compute
 * on software adapters take all of it from the memory of their machine, side by side.
 */

import type { MemoryReport } from '../../gpu/memory.js';
import { allGatherJson, type Communicator } from '../../ranks/communicator.js';
import { machineName } from '../../ranks/distinct.js';
import { formatBytes } from '../../show.js';

/** Of one rank. */
export interface RankMemory {
  /** Bytes. */
  readonly peak: number;
  /** The machine whose memory it takes; null: a card's. */
  readonly machine: string | null;
}

export interface RanksMemory {
  readonly ranks: number;
  /** Bytes that a rank takes; of all ranks the most. */
  readonly most: number;
  /** Ranks that take memory of one machine, where that are several; of all such machines the one that gives most. */
  readonly shared: SharedMemory | undefined;
}

export interface SharedMemory {
  readonly ranks: readonly number[];
  /** That they take together. */
  readonly bytes: number;
}

/** All ranks call it, each with its own plan; undefined where there is one rank. */
export async function ranksMemory(
  ranks: Communicator,
  { peak }: Pick<MemoryReport, 'peak'>,
  software: boolean,
): Promise<RanksMemory | undefined> {
  if (ranks.size === 1) return undefined;
  const own: RankMemory = { peak, machine: software ? machineName() : null };
  return joinedMemory(await allGatherJson(ranks, own));
}

/** Of ranks in their order. */
export function joinedMemory(of: readonly RankMemory[]): RanksMemory {
  const machines = new Map<string, { ranks: number[]; bytes: number }>();
  for (const [rank, { peak, machine }] of of.entries()) {
    if (machine === null) continue;
    const there = machines.get(machine) ?? { ranks: [], bytes: 0 };
    machines.set(machine, there);
    there.ranks.push(rank);
    there.bytes += peak;
  }
  const shared = [...machines.values()]
    .filter(({ ranks }) => ranks.length > 1)
    .reduce<SharedMemory | undefined>(
      (most, each) => (most && most.bytes >= each.bytes ? most : each),
      undefined,
    );
  return { ranks: of.length, most: Math.max(...of.map(({ peak }) => peak)), shared };
}

/** ` on each of 2 ranks`, behind what a rank takes; empty for one. */
export const onEachRank = (memory: RanksMemory | undefined): string =>
  memory ? ` on each of ${memory.ranks} ranks` : '';

/** `ranks 0, 1 compute in the memory of one machine: 2.00 GB together`. */
export const sharedWords = ({ ranks, bytes }: SharedMemory): string =>
  `${ranks.length > 4 ? `${ranks.length} ranks` : `ranks ${ranks.slice(0, -1).join(', ')} and ${ranks.at(-1)}`} compute in the memory of one machine: ${formatBytes(bytes)} together`;
