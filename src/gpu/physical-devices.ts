/**
 * What Vulkan says of the devices that its loader shows this process: name, kind, and what tells two cards of one name
 * apart (UUID, PCI address), which Dawn does not hand on. Structures are those of the Vulkan 1.3 specification, laid
 * out by koffi as a C compiler for a 64-bit machine does. Opening devices does not belong here (adapter.ts).
 */
import koffi, { type LibraryHandle, type TypeObject } from 'koffi';
import { prepareVulkan } from './software-driver.js';

export type DeviceType = 'other' | 'integrated' | 'discrete' | 'virtual' | 'cpu';

/** By the values of VkPhysicalDeviceType. */
const DEVICE_TYPES: readonly DeviceType[] = ['other', 'integrated', 'discrete', 'virtual', 'cpu'];

export interface PhysicalDevice {
  /** Raw, as Dawn lists it. */
  readonly name: string;
  readonly type: DeviceType;
  readonly vendorId: number;
  readonly deviceId: number;
  /** Of this device in this machine, in lower case; undefined where the driver gives none, or zeros. */
  readonly uuid: string | undefined;
  /** Of the driver's build; as above. */
  readonly driverUuid: string | undefined;
  /** `0000:08:00.0` (hexadecimal domain:bus:device.function); undefined without VK_EXT_pci_bus_info, and for zeros. */
  readonly pci: string | undefined;
  /** Bytes of its largest heap of memory of its own; of a GPU that shares the machine's, a part of that. */
  readonly memory: number | undefined;
}

// ---- structures ----------------------------------------------------------------------------------------------

const u32 = 'uint32_t';
const pointer = 'void *';
const text256 = () => koffi.array('char', 256, 'String');
const bytes16 = () => koffi.array('uint8_t', 16, 'Typed');

/** Made at the first use: a program that never asks loads no types. */
let made: ReturnType<typeof makeStructures> | undefined;

function makeStructures() {
  return {
    applicationInfo: koffi.struct({
      sType: u32,
      pNext: pointer,
      pApplicationName: pointer,
      applicationVersion: u32,
      pEngineName: pointer,
      engineVersion: u32,
      apiVersion: u32,
    }),
    instanceCreateInfo: koffi.struct({
      sType: u32,
      pNext: pointer,
      flags: u32,
      pApplicationInfo: pointer,
      enabledLayerCount: u32,
      ppEnabledLayerNames: pointer,
      enabledExtensionCount: u32,
      ppEnabledExtensionNames: pointer,
    }),
    extensionProperties: koffi.struct({ extensionName: text256(), specVersion: u32 }),
    // VkPhysicalDeviceProperties stands in it at an offset of 16, with fields that need alignments of 8 at most.
    properties2: koffi.struct({
      sType: u32,
      pNext: pointer,
      apiVersion: u32,
      driverVersion: u32,
      vendorID: u32,
      deviceID: u32,
      deviceType: u32,
      deviceName: text256(),
      pipelineCacheUUID: bytes16(),
      // VkPhysicalDeviceLimits: 504 bytes, some of them 64-bit numbers.
      limits: koffi.array('uint64_t', 63),
      sparseProperties: koffi.array(u32, 5),
    }),
    idProperties: koffi.struct({
      sType: u32,
      pNext: pointer,
      deviceUUID: bytes16(),
      driverUUID: bytes16(),
      deviceLUID: koffi.array('uint8_t', 8, 'Typed'),
      deviceNodeMask: u32,
      deviceLUIDValid: u32,
    }),
    pciBusInfo: koffi.struct({
      sType: u32,
      pNext: pointer,
      pciDomain: u32,
      pciBus: u32,
      pciDevice: u32,
      pciFunction: u32,
    }),
    memoryProperties: koffi.struct({
      memoryTypeCount: u32,
      // VkMemoryType: flags and the index of a heap.
      memoryTypes: koffi.array(u32, 64),
      memoryHeapCount: u32,
      // VkMemoryHeap: its size, and flags with the padding behind them.
      memoryHeaps: koffi.array('uint64_t', 32),
    }),
  };
}

/** For the test that compares them with what a C compiler makes of the specification's headers. */
export function vulkanStructures(): Readonly<Record<string, TypeObject>> {
  made ??= makeStructures();
  return made;
}

/** VkStructureType. */
const APPLICATION_INFO = 0;
const INSTANCE_CREATE_INFO = 1;
const PROPERTIES_2 = 1000059001;
const ID_PROPERTIES = 1000071004;
const PCI_BUS_INFO = 1000212000;

const API_1_1 = (1 << 22) | (1 << 12);
const INCOMPATIBLE_DRIVER = -9;

// ---- calls ---------------------------------------------------------------------------------------------------

type NativeFunction = ReturnType<LibraryHandle['func']>;

interface Loader {
  /** Held, since koffi closes a library whose handle is collected. */
  readonly library: LibraryHandle;
  readonly createInstance: NativeFunction;
  readonly destroyInstance: NativeFunction;
  readonly enumerateDevices: NativeFunction;
  readonly enumerateExtensions: NativeFunction;
  readonly properties2: NativeFunction;
  readonly memoryProperties: NativeFunction;
}

let opened: Loader | null | undefined;

/** The loader that Dawn talks to; null without one, and with one of Vulkan 1.0, which Dawn does not take either. */
function loader(): Loader | null {
  if (opened !== undefined) return opened;
  try {
    const library = koffi.load('libvulkan.so.1');
    opened = {
      library,
      createInstance: library.func('int vkCreateInstance(void *info, void *allocator, void *instance)'),
      destroyInstance: library.func('void vkDestroyInstance(void *instance, void *allocator)'),
      enumerateDevices: library.func(
        'int vkEnumeratePhysicalDevices(void *instance, void *count, void *devices)',
      ),
      enumerateExtensions: library.func(
        'int vkEnumerateDeviceExtensionProperties(void *device, const char *layer, void *count, void *properties)',
      ),
      properties2: library.func('void vkGetPhysicalDeviceProperties2(void *device, void *properties)'),
      memoryProperties: library.func(
        'void vkGetPhysicalDeviceMemoryProperties(void *device, void *properties)',
      ),
    };
  } catch {
    opened = null;
  }
  return opened;
}

/** Memory that stays where it is, zeroed, until the call is over. */
class Memory {
  private readonly held: bigint[] = [];

  take(bytes: number): bigint {
    const at = koffi.address(koffi.alloc('uint8_t', bytes));
    this.held.push(at);
    new Uint8Array(koffi.view(at, bytes)).fill(0);
    return at;
  }

  /** A structure with these fields; the others are zero. */
  struct(type: TypeObject, fields: Readonly<Record<string, number | bigint>>): bigint {
    const at = this.take(koffi.sizeof(type));
    for (const [name, value] of Object.entries(fields))
      koffi.encode(at, koffi.offsetof(type, name), typeof value === 'bigint' ? 'uint64_t' : u32, value);
    return at;
  }

  free(): void {
    for (const at of this.held) koffi.free(at);
  }
}

/**
 * The devices that Vulkan's loader shows this process now, in its order: the environment (drivers, layers that select
 * devices) is read anew at every call, as it is for every instance of Dawn's.
 * @returns undefined where Vulkan is not what Dawn uses (macOS, Windows), where there is no loader, and where it fails;
 *   an empty list where a loader finds no driver.
 */
export function physicalDevices(): PhysicalDevice[] | undefined {
  if (process.platform !== 'linux') return undefined;
  prepareVulkan();
  const vulkan = loader();
  if (!vulkan) return undefined;
  made ??= makeStructures();
  const memory = new Memory();
  try {
    const application = memory.struct(made.applicationInfo, { sType: APPLICATION_INFO, apiVersion: API_1_1 });
    const info = memory.struct(made.instanceCreateInfo, {
      sType: INSTANCE_CREATE_INFO,
      pApplicationInfo: application,
    });
    const handle = memory.take(8);
    const result = vulkan.createInstance(info, null, handle);
    if (result === INCOMPATIBLE_DRIVER) return [];
    if (result !== 0) return undefined;
    const instance = BigInt(koffi.decode(handle, 'uint64_t'));
    try {
      return devicesOf(vulkan, instance, made, memory);
    } finally {
      vulkan.destroyInstance(instance, null);
    }
  } finally {
    memory.free();
  }
}

function devicesOf(
  vulkan: Loader,
  instance: bigint,
  structures: ReturnType<typeof makeStructures>,
  memory: Memory,
): PhysicalDevice[] | undefined {
  const count = memory.take(4);
  if (vulkan.enumerateDevices(instance, count, null) !== 0) return undefined;
  const most = koffi.decode(count, u32) as number;
  if (most === 0) return [];
  const handles = memory.take(8 * most);
  if (vulkan.enumerateDevices(instance, count, handles) < 0) return undefined;
  const found = koffi.decode(count, u32) as number;
  return Array.from({ length: Math.min(found, most) }, (_, i) =>
    deviceOf(vulkan, BigInt(koffi.decode(handles, 8 * i, 'uint64_t')), structures, memory),
  );
}

function deviceOf(
  vulkan: Loader,
  device: bigint,
  structures: ReturnType<typeof makeStructures>,
  memory: Memory,
): PhysicalDevice {
  const hasPci = extensionsOf(vulkan, device, structures, memory).has('VK_EXT_pci_bus_info');
  const pci = memory.struct(structures.pciBusInfo, { sType: PCI_BUS_INFO });
  const ids = memory.struct(structures.idProperties, {
    sType: ID_PROPERTIES,
    ...(hasPci ? { pNext: pci } : {}),
  });
  const properties = memory.struct(structures.properties2, { sType: PROPERTIES_2, pNext: ids });
  vulkan.properties2(device, properties);
  const basic = koffi.decode(properties, structures.properties2);
  const id = koffi.decode(ids, structures.idProperties);
  return {
    name: basic.deviceName,
    type: DEVICE_TYPES[basic.deviceType] ?? 'other',
    vendorId: basic.vendorID,
    deviceId: basic.deviceID,
    uuid: uuidText(id.deviceUUID),
    driverUuid: uuidText(id.driverUUID),
    pci: hasPci ? pciText(koffi.decode(pci, structures.pciBusInfo)) : undefined,
    memory: memoryOf(vulkan, device, structures, memory),
  };
}

/** VK_MEMORY_HEAP_DEVICE_LOCAL_BIT */
const DEVICE_LOCAL = 1n;

function memoryOf(
  vulkan: Loader,
  device: bigint,
  { memoryProperties }: ReturnType<typeof makeStructures>,
  memory: Memory,
): number | undefined {
  const at = memory.struct(memoryProperties, {});
  vulkan.memoryProperties(device, at);
  const heaps = Number(koffi.offsetof(memoryProperties, 'memoryHeaps'));
  const count = koffi.decode(at, koffi.offsetof(memoryProperties, 'memoryHeapCount'), u32) as number;
  const word = (index: number) => BigInt(koffi.decode(at, heaps + 8 * index, 'uint64_t'));
  let largest = 0;
  for (let i = 0; i < count; i++)
    // The flags are the lower half of the second word, whatever stands in its padding.
    if ((word(2 * i + 1) & DEVICE_LOCAL) !== 0n) largest = Math.max(largest, Number(word(2 * i)));
  return largest > 0 ? largest : undefined;
}

function extensionsOf(
  vulkan: Loader,
  device: bigint,
  { extensionProperties }: ReturnType<typeof makeStructures>,
  memory: Memory,
): Set<string> {
  const count = memory.take(4);
  if (vulkan.enumerateExtensions(device, null, count, null) !== 0) return new Set();
  const most = koffi.decode(count, u32) as number;
  const width = koffi.sizeof(extensionProperties);
  const list = memory.take(Math.max(1, most) * width);
  if (vulkan.enumerateExtensions(device, null, count, list) < 0) return new Set();
  const found = koffi.decode(count, u32) as number;
  return new Set(
    Array.from(
      { length: Math.min(found, most) },
      (_, i) => koffi.decode(list, i * width, extensionProperties).extensionName as string,
    ),
  );
}

// ---- texts ---------------------------------------------------------------------------------------------------

/** 16 bytes as `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; undefined for zeros, which name nothing. */
export function uuidText(bytes: Uint8Array): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  const hex = Buffer.from(bytes).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

interface PciAddress {
  readonly pciDomain: number;
  readonly pciBus: number;
  readonly pciDevice: number;
  readonly pciFunction: number;
}

/** As `lspci -D` writes it; undefined for zeros, the address of no GPU. */
export function pciText({ pciDomain, pciBus, pciDevice, pciFunction }: PciAddress): string | undefined {
  if (pciDomain === 0 && pciBus === 0 && pciDevice === 0 && pciFunction === 0) return undefined;
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  return `${hex(pciDomain, 4)}:${hex(pciBus, 2)}:${hex(pciDevice, 2)}.${pciFunction}`;
}
