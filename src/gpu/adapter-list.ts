/**
 * Which adapters there are: the names by which Dawn opens them, joined with what Vulkan says of the devices behind
 * (physical-devices.ts). Dawn picks by name alone, the first that matches, so of several cards of one name it is not
 * told here which one it takes. Opening one is adapter.ts's business.
 */
import { instanceOf, requestAdapter } from './dawn.js';
import { type DeviceType, type PhysicalDevice, physicalDevices } from './physical-devices.js';
import { prepareVulkan } from './software-driver.js';
import { isSoftwareName, isSwiftShader } from './software-name.js';

export interface AdapterName {
  readonly backend: string;
  /** Raw device name; what `adapter=<substring>` is matched against. */
  readonly name: string;
}

/** Every adapter that Dawn can open, fastest kind first, SwiftShader last. Two equal devices appear twice. */
export async function listAdapters(): Promise<AdapterName[]> {
  prepareVulkan();
  // Dawn has no call for this, but its error for a name that matches nothing lists the names that would have.
  try {
    await requestAdapter(instanceOf(['adapter=\u0001']));
  } catch (error) {
    return parseAdapterList((error as Error).message);
  }
  return [];
}

/** Adapter names out of Dawn's "no adapter matches" message, which has software ones in the order of their drivers. */
export function parseAdapterList(message: string): AdapterName[] {
  const names = [...message.matchAll(/\* backend: '([^']*)', name: '(.*)'$/gm)].map((match) => ({
    backend: match[1] ?? '',
    name: match[2] ?? '',
  }));
  return names.sort((a, b) => Number(isSwiftShader(a.name)) - Number(isSwiftShader(b.name)));
}

export interface VisibleAdapter {
  /** Of the name: differing names are counted, in the order of the list, from 0. */
  readonly index: number;
  readonly backend: string;
  readonly name: string;
  /** Undefined where Vulkan does not tell. */
  readonly type: DeviceType | undefined;
  /** Computes on the CPU. */
  readonly software: boolean;
  /** As in `PhysicalDevice`; undefined where Vulkan does not tell. */
  readonly uuid: string | undefined;
  readonly pci: string | undefined;
  readonly memory: number | undefined;
}

/**
 * Every adapter that Dawn can open, in the order of the list, with what Vulkan says of it. The k-th of several of one name is
 * taken to be Vulkan's k-th; where they are not equally many, nothing is said of which is which.
 */
export function joinAdapters(
  names: readonly AdapterName[],
  devices: readonly PhysicalDevice[] | undefined,
): VisibleAdapter[] {
  const differing = [...new Set(names.map(({ name }) => name))];
  const seen = new Map<string, number>();
  return names.map(({ backend, name }) => {
    const nth = seen.get(name) ?? 0;
    seen.set(name, nth + 1);
    const namesakes = backend === 'vulkan' ? (devices ?? []).filter((device) => device.name === name) : [];
    const alike = names.filter((other) => other.backend === backend && other.name === name).length;
    const device = namesakes.length === alike ? namesakes[nth] : undefined;
    const type =
      device?.type ??
      (namesakes.every((each) => each.type === namesakes[0]!.type) ? namesakes[0]?.type : undefined);
    return {
      index: differing.indexOf(name),
      backend,
      name,
      type,
      software: type === undefined ? isSoftwareName(name) : type === 'cpu',
      uuid: device?.uuid,
      pci: device?.pci,
      memory: device?.memory,
    };
  });
}

/** `joinAdapters` of what this process sees now. */
export async function visibleAdapters(): Promise<VisibleAdapter[]> {
  return joinAdapters(await listAdapters(), physicalDevices());
}

/** Which adapter Dawn opens for a part of a name, or for none: the first in the list that has it. */
export function adapterTaken<Adapter extends { readonly name: string }>(
  adapters: readonly Adapter[],
  wanted: string | undefined,
): Adapter | undefined {
  return adapters.find(({ name }) => wanted === undefined || name.includes(wanted));
}

/** Which device somebody holds, as far as it can be told. */
export interface AdapterIdentity {
  readonly name: string;
  readonly software: boolean;
  readonly uuid: string | undefined;
  readonly pci: string | undefined;
  /** Whether UUID and PCI address are those of the device that is held: false where several have its name. */
  readonly exact: boolean;
}

/** Of the adapter that Dawn opens for a part of a name; undefined where none has it. */
export function identityOf(
  adapters: readonly VisibleAdapter[],
  wanted: string | undefined,
): AdapterIdentity | undefined {
  const taken = adapterTaken(adapters, wanted);
  if (!taken) return undefined;
  const { name, software, uuid, pci } = taken;
  return { name, software, uuid, pci, exact: adapters.filter((other) => other.name === name).length === 1 };
}
