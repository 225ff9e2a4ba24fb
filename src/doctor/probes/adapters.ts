/**
 * Which adapters there are, and what the one can do that commands take. Speaks to Dawn and Vulkan, so it runs in a child;
 * the adapters and the one that is taken are two probes, as opening a device does more than listing it.
 */
import os from 'node:os';
import { openAdapter, subgroupMatrixConfigs } from '../../gpu/adapter.js';
import { adapterTaken, joinAdapters, listAdapters, type VisibleAdapter } from '../../gpu/adapter-list.js';
import { physicalDevices } from '../../gpu/physical-devices.js';
import { prepareVulkan } from '../../gpu/software-driver.js';
import { isSoftwareName } from '../../gpu/software-name.js';
import { ranksTogether } from '../../ranks/choose-ranks.js';
import type { AdapterFacts, AdaptersFacts, ChosenFacts } from '../facts.js';

export async function probeAdapters(): Promise<AdaptersFacts> {
  const { description } = prepareVulkan();
  const devices = physicalDevices();
  const adapters = joinAdapters(await listAdapters(), devices);
  const names = new Set(adapters.map(({ name }) => name));
  return {
    drivers: description,
    loader: process.platform === 'linux' ? devices !== undefined : null,
    adapters: adapters.map(factsOf),
    notTaken: (devices ?? []).map(({ name }) => name).filter((name) => !names.has(name)),
    ranks: adapters.length === 0 ? 'none' : ranksTogether(adapters, os.availableParallelism()),
  };
}

function factsOf(adapter: VisibleAdapter): AdapterFacts {
  const { index, name, backend, type, software, pci, uuid, memory } = adapter;
  return {
    index,
    name,
    backend,
    kind: type ?? null,
    software,
    pci: pci ?? null,
    uuid: uuid ?? null,
    memory: memory ?? (process.platform === 'darwin' && process.arch === 'arm64' ? os.totalmem() : null),
  };
}

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
] as const;

/** `wanted`: a part of a name, as `--adapter` has it. @throws InputError for a name that none has; MachineError where there is none. */
export async function probeChosen({ wanted }: { wanted: string | null }): Promise<ChosenFacts> {
  const { adapter, asked } = await openAdapter(wanted === null ? {} : { adapter: wanted });
  const { info, limits, features } = adapter;
  const listed = joinAdapters(await listAdapters(), physicalDevices());
  const name = info.device || info.description || info.vendor;
  const taken = adapterTaken(listed, asked);
  const seen: AdapterFacts = taken
    ? factsOf(taken)
    : {
        ...{ index: 0, name, backend: '', kind: null, pci: null, uuid: null, memory: null },
        software: info.isFallbackAdapter || isSoftwareName(name),
      };
  return {
    ...seen,
    driver: info.description,
    f16: features.has('shader-f16'),
    subgroups: features.has('subgroups') ? [info.subgroupMinSize ?? 0, info.subgroupMaxSize ?? 0] : null,
    matrixUnits: subgroupMatrixConfigs(info),
    timestamps: features.has('timestamp-query'),
    limits: Object.fromEntries(LIMITS.map((limit) => [limit, limits[limit]])),
  };
}
