/**
 * The adapter that one rank opens: found by its place on its machine where MPI started it, told by whoever started the
 * thread else; opened so that it alone is seen; and shown to be no other rank's.
 */
import os from 'node:os';
import { InputError } from '../errors.js';
import { type AdapterIdentity, identityOf, visibleAdapters } from '../gpu/adapter-list.js';
import { Gpu, type GpuOptions } from '../gpu/gpu.js';
import { printable } from '../show.js';
import { adapterOfRank, type RankAdapter, type RankRequest } from './choose-ranks.js';
import { allGatherJson, type Communicator } from './communicator.js';
import { requireDistinct } from './distinct.js';
import { together } from './together.js';

/** Which adapters ranks take. */
export interface WantedAdapters {
  /** `--nproc_per_node`; 1 where it was not given. */
  readonly nprocPerNode: number;
  /** `--adapter`: a part of the name that all ranks' adapters have. */
  readonly adapter: string | null;
  /** `--adapters`: such a part for each rank of this machine. */
  readonly adapters: readonly string[] | null;
}

/** What the flags ask for; `--adapter` goes before `DAWNTUNE_ADAPTER`, and `--adapters` before both. */
export function rankRequest(wanted: WantedAdapters, ranks: number): RankRequest {
  const { adapter, adapters } = wanted;
  return {
    ...{ ranks, adapters, cores: os.availableParallelism() },
    adapter: adapters ? null : adapter || process.env['DAWNTUNE_ADAPTER'] || null,
    adapterSource: adapter ? '--adapter' : 'DAWNTUNE_ADAPTER',
  };
}

/**
 * For a process of MPI, by the hosts of all ranks in their order.
 * @throws InputError when `--nproc_per_node` is not how many ranks the launcher started here; as `adapterOfRank`.
 */
export async function adapterOfProcess(
  hosts: readonly string[],
  rank: number,
  wanted: WantedAdapters,
): Promise<RankAdapter> {
  const host = hosts[rank]!;
  const onHost = (ranks: readonly string[]) => ranks.filter((other) => other === host).length;
  const here = onHost(hosts);
  if (wanted.nprocPerNode > 1 && wanted.nprocPerNode !== here)
    throw new InputError(
      `--nproc_per_node: expected ${here}, as many ranks as were started on ${printable(host)}, or no such flag, found ${wanted.nprocPerNode}`,
    );
  return adapterOfRank(await visibleAdapters(), rankRequest(wanted, here), onHost(hosts.slice(0, rank)));
}

/**
 * Opens a rank's adapter. All ranks call it; it returns when each is known to hold a GPU of its own, or a software
 * adapter.
 * @throws MachineError, on all ranks alike, when two hold one GPU (distinct.ts); as `Gpu.open`, RankError where
 *   another rank could not open its own.
 */
export async function openRankGpu(
  communicator: Communicator,
  { name, environment }: RankAdapter,
  options: Omit<GpuOptions, 'adapter'> = {},
): Promise<Gpu> {
  const gpu = await together(communicator, async () => {
    // Dawn's instance reads them when it first looks for adapters. Threads have none to set.
    Object.assign(process.env, environment);
    const identity = identityOf(await visibleAdapters(), name);
    const gpu = await Gpu.open({ ...options, adapter: name });
    identities.set(gpu, identity);
    return gpu;
  });
  try {
    await requireOwnGpu(communicator, gpu);
  } catch (error) {
    await gpu.close();
    throw error;
  }
  return gpu;
}

/**
 * Opens the adapter of this rank's place among those of its machine, as `wanted` says. For ranks in threads and processes
 * that nobody gave one; all call it. @throws as `adapterOfProcess` and `openRankGpu`.
 */
export async function openGpuOfPlace(
  communicator: Communicator,
  wanted: WantedAdapters,
  options: Omit<GpuOptions, 'adapter'> = {},
): Promise<Gpu> {
  const hosts = await allGatherJson(communicator, os.hostname());
  const { rank } = communicator;
  const adapter = await together(communicator, () => adapterOfProcess(hosts, rank, wanted));
  const sharers = hosts.filter((host) => host === hosts[rank]).length;
  return openRankGpu(communicator, adapter, { ...options, sharers });
}

/** What was found of devices when they were opened here. */
const identities = new WeakMap<Gpu, AdapterIdentity | undefined>();

/**
 * All ranks call it with their devices, whoever opened them, before they train. Software adapters may be shared, and
 * whatever one process that plays all ranks has.
 * @throws MachineError, on all ranks alike, when two ranks of one machine hold one GPU, or cannot be shown to hold two.
 */
export async function requireOwnGpu(communicator: Communicator, gpu: Gpu): Promise<void> {
  if (communicator.size === 1 || communicator.emulated) return;
  const identity = await together(communicator, async () =>
    identities.has(gpu) ? identities.get(gpu) : identityOf(await visibleAdapters(), gpu.adapterAsked),
  );
  await requireDistinct(communicator, identity);
}
