/**
 * Which adapter each rank of this machine gets, and whether the ranks can be threads of one process. A pure function of
 * what adapters there are and what was asked for.
 *
 * Dawn picks an adapter by a part of its name and takes the first that matches. So threads can hold cards of differing
 * names, each opened by its own; of several cards of one name a process can only ever reach the first one that it is
 * shown, and each rank is a process that is shown its card alone. A software adapter can be opened as often as one likes; each rank on it takes all cores for its
 * own, so of those that nobody named one by one there are as many as cores at most.
 */
import { InputError, MachineError } from '../errors.js';
import { adapterTaken, type VisibleAdapter } from '../gpu/adapter-list.js';
import { printable, show } from '../show.js';

/** How the ranks of this machine are started. */
export const launchers = ['auto', 'threads', 'mpirun'] as const;
export type Launcher = (typeof launchers)[number];

export interface RankRequest {
  /** On this machine. */
  readonly ranks: number;
  /** `--adapters`: an adapter for each rank, by a part of its name or by its index. */
  readonly adapters?: readonly string[] | null | undefined;
  /** `--adapter` (or `DAWNTUNE_ADAPTER`): a part of the name that the adapters of all ranks have. */
  readonly adapter?: string | null | undefined;
  /** Which of the two it was, for messages. */
  readonly adapterSource?: '--adapter' | 'DAWNTUNE_ADAPTER' | undefined;
  readonly launcher?: Launcher | undefined;
  /** Of the machine; by default as many as it takes. */
  readonly cores?: number | undefined;
}

export interface RankAdapter {
  /** Raw, and whole: what Dawn is asked for. */
  readonly name: string;
  readonly software: boolean;
  /** What the rank's process sets before it looks for adapters, to be shown this card alone. Threads need none. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface RankChoice {
  readonly launcher: 'threads' | 'mpirun';
  /** In the order of the ranks. */
  readonly adapters: readonly RankAdapter[];
}

/** What a user can do where ranks cannot be given cards of their own. */
export const EXPOSE_ONE_CARD =
  "show each process one card: DRI_PRIME=pci-0000_08_00_0! (its own PCI address) in each rank's environment where Mesa's device-select layer is installed, or a container with one /dev/nvidiaN a rank";

/** Ranks that any machine starts on a software adapter, so that runs of a few can be tried where there are fewer cores. */
const TRIED_RANKS = 4;

const mostOnSoftware = (cores: number): number => Math.max(TRIED_RANKS, cores);

/**
 * For ranks that this command starts itself.
 * @throws InputError for adapters that are named and not there, or not as often, and for more ranks than a software
 *   adapter takes unasked; MachineError where there are fewer cards than ranks, and where they cannot be held apart, with
 *   what to do.
 */
export function chooseRanks(visible: readonly VisibleAdapter[], request: RankRequest): RankChoice {
  const { launcher = 'auto', cores = Number.POSITIVE_INFINITY } = request;
  const chosen = assign(visible, request);
  const most = mostOnSoftware(cores);
  if (!request.adapters && chosen[0]!.software && chosen.length > most)
    throw new InputError(
      `--nproc_per_node: expected at most ${most} on the software adapter ${show(chosen[0]!.name)} (as many as cores, of which there are ${cores}, or ${TRIED_RANKS}), found ${chosen.length}: ranks share the cores and the memory of the machine and become no faster; --adapters with ${chosen[0]!.index} once for each rank starts more`,
    );
  const beyond = chosen.find((adapter) => !reachedByName(visible, adapter));
  if (!beyond && launcher !== 'mpirun')
    return { launcher: 'threads', adapters: chosen.map((adapter) => shown(adapter, {})) };
  if (launcher === 'threads')
    throw new MachineError(
      `--launcher threads: ${show(beyond!.name)} cannot be opened by its name, because another card comes first that has it too; leave the flag out, and each rank is a process`,
    );
  return {
    launcher: 'mpirun',
    adapters: chosen.map((adapter) => shown(adapter, aloneIn(visible, adapter))),
  };
}

/**
 * For a rank that a launcher of MPI started: its adapter, among those that its own process sees. A process that is shown
 * one GPU takes it, whatever its place on the machine: somebody gave each rank its card (distinct.ts sees whether).
 * @throws as `chooseRanks`.
 */
export function adapterOfRank(
  visible: readonly VisibleAdapter[],
  request: RankRequest,
  localRank: number,
): RankAdapter {
  const { adapters, adapter: wanted } = request;
  const cards = cardsAmong(visible, wanted);
  if (cards.length === 1 && !adapters) return shown(cards[0]!, aloneIn(visible, cards[0]!));
  const own = assign(visible, request)[localRank]!;
  return shown(own, aloneIn(visible, own));
}

const shown = ({ name, software }: VisibleAdapter, environment: Record<string, string>): RankAdapter => ({
  name,
  software,
  environment,
});

const reachedByName = (visible: readonly VisibleAdapter[], adapter: VisibleAdapter): boolean =>
  adapterTaken(visible, adapter.name) === adapter;

/**
 * The environment of a process that is to see this adapter alone; empty where its name alone tells it from all others.
 * The form of `DRI_PRIME` is that of Mesa's VkLayer_MESA_device_select, which serves drivers of any vendor.
 */
function aloneIn(visible: readonly VisibleAdapter[], adapter: VisibleAdapter): Record<string, string> {
  const namesakes = visible.filter(({ name }) => name === adapter.name);
  if (adapter.software || (namesakes.length === 1 && reachedByName(visible, adapter))) return {};
  if (adapter.pci === undefined)
    throw new MachineError(
      `the driver tells no PCI address for ${show(adapter.name)}, so that its ${namesakes.length} cards cannot be given to one rank each; ${EXPOSE_ONE_CARD}`,
    );
  return { DRI_PRIME: `pci-${adapter.pci.replaceAll(/[:.]/g, '_')}!` };
}

/** GPUs, each once: two drivers of one card, which give it names of their own, share its PCI address. */
function cardsAmong(visible: readonly VisibleAdapter[], wanted: string | null | undefined): VisibleAdapter[] {
  return visible.filter(
    (adapter) =>
      !adapter.software &&
      (!wanted || adapter.name.includes(wanted)) &&
      adapter === visible.find((other) => other === adapter || sharesCard(other, adapter)),
  );
}

const sharesCard = (a: VisibleAdapter, b: VisibleAdapter): boolean => a.pci !== undefined && a.pci === b.pci;

// ---- which adapters ------------------------------------------------------------------------------------------

function assign(visible: readonly VisibleAdapter[], request: RankRequest): VisibleAdapter[] {
  const { ranks, adapters, adapter, adapterSource = '--adapter' } = request;
  if (visible.length === 0)
    throw new MachineError('no WebGPU adapter for the ranks: `dawntune doctor` says where was looked');
  if (adapters) return assignNamed(visible, adapters, ranks);
  const taken = adapterTaken(visible, adapter ?? undefined);
  if (!taken)
    throw new InputError(
      `${adapterSource}: expected a part of an adapter's name (upper and lower case count), found ${show(adapter)}; there are: ${listOf(visible)}`,
    );
  const cards = cardsAmong(visible, adapter);
  if (cards.length === 0) return Array.from({ length: ranks }, () => taken);
  if (cards.length < ranks)
    throw new MachineError(
      `${ranks} ranks need as many GPUs, and this process sees ${cards.length}${adapter ? ` with ${show(adapter)} in its name` : ''} (there are: ${listOf(visible)}); start fewer ranks, or name the adapters of all with --adapters (software ones too, as often as you like). Where there are more cards, ${EXPOSE_ONE_CARD}, and start the ranks with mpirun`,
    );
  return cards.slice(0, ranks);
}

/** `--adapters`: the k-th time that a name is given, its k-th card. */
function assignNamed(
  visible: readonly VisibleAdapter[],
  words: readonly string[],
  ranks: number,
): VisibleAdapter[] {
  if (words.length !== ranks)
    throw new InputError(
      `--adapters: expected ${ranks} ${ranks === 1 ? 'adapter' : 'adapters'}, one for each rank of this machine (--nproc_per_node, or those that mpirun starts here), found ${words.length}`,
    );
  const given = new Map<string, number>();
  const chosen = words.map((word) => {
    const name = nameOf(visible, word);
    const nth = given.get(name) ?? 0;
    given.set(name, nth + 1);
    const cards = visible.filter((adapter) => adapter.name === name);
    if (cards[0]!.software) return cards[0]!;
    const card = cards[nth];
    if (!card)
      throw new InputError(
        `--adapters: there ${cards.length === 1 ? 'is 1 card' : `are ${cards.length} cards`} of the name ${show(name)}, found it ${words.filter((other) => nameOf(visible, other) === name).length} times; a GPU takes one rank`,
      );
    return card;
  });
  for (const [i, card] of chosen.entries()) {
    const other = chosen.slice(0, i).find((each) => sharesCard(each, card));
    if (other)
      throw new InputError(
        `--adapters: ${show(other.name)} and ${show(card.name)} are one GPU (PCI ${card.pci}), which takes one rank`,
      );
  }
  return chosen;
}

/**
 * An index counts differing names and has at most two digits; a longer number is a part of a name, as the 4090 of a
 * card is.
 */
function nameOf(visible: readonly VisibleAdapter[], word: string): string {
  const found = /^\d{1,2}$/.test(word)
    ? visible.find(({ index }) => index === Number(word))
    : adapterTaken(visible, word);
  if (!found)
    throw new InputError(
      `--adapters: expected parts of adapters' names (upper and lower case count) or their numbers, found ${show(word)}; there are: ${listOf(visible)}`,
    );
  return found.name;
}

/** `0 NVIDIA H100 (8 cards), 1 llvmpipe (software)`. */
export function listOf(visible: readonly VisibleAdapter[]): string {
  const names = [...new Map(visible.map((adapter) => [adapter.name, adapter])).values()];
  return names
    .map(({ index, name, software }) => {
      const cards = visible.filter((other) => other.name === name).length;
      return `${index} ${printable(name)}${software ? ' (software)' : cards > 1 ? ` (${cards} cards)` : ''}`;
    })
    .join(', ');
}

/** How many ranks these adapters can take at once, and as what, in one phrase: for people who look before they start. */
export function ranksTogether(visible: readonly VisibleAdapter[], cores: number): string {
  const cards = cardsAmong(visible, undefined).length;
  if (cards === 0)
    return `up to ${mostOnSoftware(cores)} on one software adapter, as threads: for tests, it becomes no faster`;
  if (cards === 1) return '1: there is one GPU';
  try {
    const { launcher } = chooseRanks(visible, { ranks: cards });
    return launcher === 'threads'
      ? `up to ${cards}: --nproc_per_node ${cards} starts a thread for each GPU`
      : `up to ${cards}: GPUs have one name, so --nproc_per_node ${cards} starts a process for each, under mpirun`;
  } catch (error) {
    return `1: ${(error as Error).message}`;
  }
}
