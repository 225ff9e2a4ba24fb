/**
 * Whether ranks hold the cards that they are meant to hold: one each. Nothing in WebGPU says which of several equal
 * cards a device is on, so without this eight ranks can train on the first card, eight times as slowly and in silence.
 */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { MachineError } from '../errors.js';
import type { AdapterIdentity } from '../gpu/adapter-list.js';
import { printable } from '../show.js';
import { EXPOSE_ONE_CARD } from './choose-ranks.js';
import { allGatherJson, type Communicator } from './communicator.js';
import { alikeOnAllRanks } from './together.js';

/** What names this machine, for containers on it too; its name where the system has no such number. */
export function machineName(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return os.hostname();
  }
}

/**
 * All ranks call it once each has opened its adapter. Software adapters may be shared.
 * @param identity of the adapter that this rank holds; undefined where it could not be found in the list.
 * @throws MachineError, on all ranks alike, when two ranks of one machine hold one GPU, or cannot be shown to hold two.
 */
export async function requireDistinct(
  communicator: Communicator,
  identity: AdapterIdentity | undefined,
  machine: string = machineName(),
): Promise<void> {
  if (communicator.size === 1) return;
  const held = await allGatherJson<HeldAdapter>(communicator, { machine, ...(identity && { identity }) });
  const problem = sharedCard(held);
  if (problem) throw alikeOnAllRanks(new MachineError(problem));
}

/** What a rank tells the others. */
export interface HeldAdapter {
  readonly machine: string;
  readonly identity?: AdapterIdentity;
}

/** What is wrong, by the ranks in their order; undefined where every GPU has one rank. */
export function sharedCard(held: readonly HeldAdapter[]): string | undefined {
  for (const [first, one] of held.entries())
    for (const [distance, other] of held.slice(first + 1).entries()) {
      if (one.machine !== other.machine) continue;
      const verdict = compare(one.identity, other.identity);
      if (verdict === 'apart') continue;
      const ranks = `ranks ${first} and ${first + 1 + distance}`;
      const { name, pci, uuid } = one.identity ?? other.identity ?? {};
      const card = name === undefined ? 'adapters that are not in the list' : printable(name);
      const where = pci ? `, PCI ${pci}` : uuid ? `, UUID ${uuid}` : '';
      return verdict === 'same'
        ? `${ranks} hold the same GPU (${card}${where}); ${EXPOSE_ONE_CARD}`
        : `${ranks} cannot be shown to hold different GPUs (${card}: ${
            one.identity?.exact && other.identity?.exact
              ? 'the driver tells neither UUID nor PCI address'
              : 'each process sees several of that name'
          }); ${EXPOSE_ONE_CARD}`;
    }
  return undefined;
}

type Verdict = 'apart' | 'same' | 'unknown';

function compare(a: AdapterIdentity | undefined, b: AdapterIdentity | undefined): Verdict {
  if (a?.software || b?.software) return 'apart';
  if (!a || !b) return 'unknown';
  const exact = a.exact && b.exact;
  const both = (x: string | undefined, y: string | undefined): Verdict =>
    !exact || x === undefined || y === undefined ? 'unknown' : x === y ? 'same' : 'apart';
  const verdicts = [both(a.pci, b.pci), both(a.uuid, b.uuid)];
  // Two drivers may give one card two names, and UUIDs of their own; its address on the bus they share.
  if (verdicts.includes('same')) return 'same';
  return a.name !== b.name || verdicts.includes('apart') ? 'apart' : 'unknown';
}
