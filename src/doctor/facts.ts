/**
 * What doctor finds out of a machine, as plain data: it is what `--json` prints, what problems are found in (problems.ts)
 * and what the page shows (page.ts). How each is found does not belong here (system.ts, probes/).
 */
import type { SubgroupMatrixConfig } from '../gpu/capabilities.js';
import type { DeviceType } from '../gpu/physical-devices.js';

/** What a probe found, or why it found nothing: one that fails takes no other along. */
export type Probed<T> = { readonly found: T } | { readonly failed: string };

export const foundOf = <T>(probed: Probed<T>): T | undefined =>
  'found' in probed ? probed.found : undefined;

/** Whether a probe failed by ending its process (children.ts), as a driver does that crashes. */
export const crashed = (probed: Probed<unknown>): boolean =>
  'failed' in probed && /^the probe (crashed|ended)/.test(probed.failed);

export interface NodeFacts {
  /** `20.20.2` */
  readonly version: string;
  /** The least version that the package asks for. */
  readonly least: string;
}

export interface SystemFacts {
  readonly platform: string;
  readonly arch: string;
  readonly release: string;
  /** Linux: `ID` of /etc/os-release and those that it is like, e.g. `["ubuntu", "debian"]`; else empty. */
  readonly distributions: readonly string[];
  /** Linux: `VERSION_CODENAME` of /etc/os-release, e.g. `bookworm`; null where it says none, and elsewhere. */
  readonly codename: string | null;
  /** `Debian GNU/Linux 12 (bookworm)` */
  readonly name: string;
  /** Linux: `glibc 2.36` or `musl`; null elsewhere, and where it cannot be told. */
  readonly libc: string | null;
  /** Version of the Windows Subsystem for Linux. */
  readonly wsl: 1 | 2 | null;
  /** `docker`, `podman`, `kubernetes`, …; null outside of a container. */
  readonly container: string | null;
}

export interface ProcessorFacts {
  readonly model: string;
  /** Of which this process may use as many. */
  readonly cores: number;
  /** Processors' worth of time that its control group may take; null: no limit. */
  readonly quota: number | null;
  readonly megahertz: number | null;
  readonly vectors: 'AVX-512' | 'AVX2' | 'NEON' | null;
}

export interface MemoryFacts {
  /** Bytes, as are all sizes. */
  readonly total: number;
  readonly free: number;
  /** Of the container; null: none. */
  readonly limit: number | null;
  /** Of /dev/shm, which ranks of one machine exchange through under MPI; null where there is none. */
  readonly shared: number | null;
}

export interface FolderFacts {
  readonly folder: string;
  /** Why nothing can be written there; null: something can. */
  readonly unwritable: string | null;
  /** Null where the file system does not tell. */
  readonly free: number | null;
}

export type GpuVendor = 'NVIDIA' | 'AMD' | 'Intel' | 'other';

/** Linux: what the machine has of graphics, seen from outside of any driver. */
export interface GraphicsFacts {
  /** GPUs on the PCI bus, with the kernel module that drives each. */
  readonly cards: readonly {
    readonly pci: string;
    readonly vendor: GpuVendor;
    readonly module: string | null;
  }[];
  /** Files by which programs reach GPUs (/dev/dri/renderD128, /dev/nvidia0, /dev/dxg), and why one may not be opened. */
  readonly devices: readonly {
    readonly file: string;
    readonly refused: string | null;
    readonly group: string | null;
  }[];
  /** Vulkan drivers that the system describes, e.g. `/usr/share/vulkan/icd.d/lvp_icd.json`. */
  readonly drivers: readonly string[];
  /** Variables that choose Vulkan drivers or adapters, where they are set. */
  readonly variables: Readonly<Record<string, string>>;
  /** XDG_RUNTIME_DIR, and what is wrong with it. */
  readonly runtimeFolder: { readonly folder: string; readonly problem: string | null } | null;
}

export interface DawnFacts {
  /** Of the package `webgpu`. */
  readonly version: string;
  /** The library of this platform; null where the package has none. */
  readonly binary: string | null;
  /** Why it does not load. */
  readonly problem: string | null;
}

export interface AdapterFacts {
  /** By which `--adapters` names it: differing names are counted. */
  readonly index: number;
  readonly name: string;
  readonly backend: string;
  readonly kind: DeviceType | null;
  readonly software: boolean;
  readonly pci: string | null;
  readonly uuid: string | null;
  /** Null where nobody tells: Vulkan does, and Apple's share the machine's. */
  readonly memory: number | null;
}

export interface AdaptersFacts {
  /** Where drivers were looked for and what was found. */
  readonly drivers: string;
  /** The loader of Vulkan was found, by the system or in the cache; null where Vulkan is not what Dawn uses. */
  readonly loader: boolean | null;
  readonly adapters: readonly AdapterFacts[];
  /** Names of devices that Vulkan shows and Dawn does not take. */
  readonly notTaken: readonly string[];
  /** How many ranks they can take together, in words. */
  readonly ranks: string;
}

/** Of the adapter that commands take here. */
export interface ChosenFacts extends AdapterFacts {
  readonly driver: string;
  readonly f16: boolean;
  /** Sizes of subgroups, least and most; null without them. */
  readonly subgroups: readonly [number, number] | null;
  readonly matrixUnits: readonly SubgroupMatrixConfig[];
  readonly timestamps: boolean;
  readonly limits: Readonly<Record<string, number>>;
}

/** A library or a launcher of MPI. */
export interface MpiFacts {
  readonly launchers: readonly {
    readonly name: string;
    readonly version: string;
    readonly command: string;
  }[];
  /** The library that ranks would load, as it names itself. */
  readonly library: { readonly file: string; readonly version: string } | null;
  /** What was tried where there is none. */
  readonly problem: string | null;
}

export interface CheckedKernel {
  /** `matrix product f32`, `matrix product f16`, `copy` */
  readonly name: string;
  readonly size: string;
  readonly variant: string;
  /** What is wrong with its result; null: it is that of the reference. */
  readonly problem: string | null;
  /** The best of the runs; null where the result is wrong. */
  readonly rate: number | null;
  readonly unit: 'GFLOP/s' | 'GB/s';
}

export interface FitFacts {
  /** The step that was planned, in words. */
  readonly step: string;
  /** Whose memory it takes, and how much that has; null where nobody tells. */
  readonly memory: { readonly of: 'adapter' | 'machine'; readonly bytes: number | null };
  readonly ways: readonly FitWay[];
}

export interface FitWay {
  /** Of `finetune`, e.g. `--fp16 --gradient_checkpointing`; empty: none. */
  readonly flags: string;
  /** Accounted at the peak of a step. */
  readonly bytes: number;
  /** What the program itself takes of the machine's memory beside. */
  readonly hostBytes: number;
  /** Of the model that is written, and of a checkpoint beside it. */
  readonly modelBytes: number;
  readonly checkpointBytes: number;
  /** Null where the memory is not known. */
  readonly fits: boolean | null;
}

/** The driver in the cache folder, among those that crash. */
export const CACHED = 'the software driver of the cache';

/** All of it. */
export interface Facts {
  readonly node: NodeFacts;
  readonly system: Probed<SystemFacts>;
  readonly processor: Probed<ProcessorFacts>;
  readonly memory: Probed<MemoryFacts>;
  /** The cache folder, and that of models of the hub. */
  readonly folders: Probed<{ readonly cache: FolderFacts; readonly models: FolderFacts }>;
  readonly graphics: Probed<GraphicsFacts>;
  readonly dawn: Probed<DawnFacts>;
  readonly adapters: Probed<AdaptersFacts>;
  /** Where looking for adapters crashed: the driver files, or `CACHED`, with which it does. */
  readonly crashing: readonly string[];
  readonly chosen: Probed<ChosenFacts>;
  readonly kernels: Probed<readonly CheckedKernel[]>;
  readonly mpi: Probed<MpiFacts>;
  readonly fit: Probed<FitFacts>;
}
