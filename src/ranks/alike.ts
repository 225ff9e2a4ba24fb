/**
 * Whether ranks compute the same bits: the same kernels on adapters of one name and driver do. Where they do not, replicas
 * that each update all weights would drift apart; there the owner of each part updates it for all (shard.ts).
 */
import type { Capabilities } from '../gpu/capabilities.js';
import { printable } from '../show.js';
import { allGatherJson, type Communicator } from './communicator.js';

/** What differs, in one line for people; undefined where nothing does. All ranks call it, and all are told the same. */
export async function unlikeAdapters(
  communicator: Communicator,
  { name, driver }: Pick<Capabilities, 'name' | 'driver'>,
): Promise<string | undefined> {
  if (communicator.size === 1) return undefined;
  const all = await allGatherJson(communicator, { name, driver });
  const first = all[0]!;
  const other = all.findIndex((each) => each.name !== first.name || each.driver !== first.driver);
  if (other < 0) return undefined;
  const shown = (each: typeof first) => printable(`${each.name}, ${each.driver}`);
  return (
    `rank ${other} computes on ${shown(all[other]!)}, rank 0 on ${shown(first)}, which need not give the same bits: ` +
    'ranks divide the optimiser’s state as with --shard_optimizer, so that each weight is updated by one of them'
  );
}
