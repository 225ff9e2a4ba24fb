/** Machines for the tests of doctor: facts of one that lacks nothing, and what differs on others. */
import type { AdapterFacts, ChosenFacts, Facts, Probed } from '../src/doctor/facts.js';

/** Some of the found of a probe, in the place of what the healthy machine has. */
type Changes = {
  readonly [Name in keyof Facts]?: Facts[Name] extends Probed<infer T>
    ? T extends readonly unknown[]
      ? Probed<T>
      : { readonly failed: string } | Partial<T>
    : Facts[Name];
};

const H100: AdapterFacts = {
  index: 0,
  name: 'NVIDIA H100 80GB HBM3',
  backend: 'vulkan',
  kind: 'discrete',
  software: false,
  pci: '0000:17:00.0',
  uuid: '1',
  memory: 85e9,
};

export const llvmpipe: AdapterFacts = {
  ...H100,
  ...{ name: 'llvmpipe (LLVM 15.0.6, 256 bits)', kind: 'cpu', software: true, pci: null, memory: 64e9 },
};

export const gpus = (...names: string[]): AdapterFacts[] =>
  names.map((name, i) => ({ ...H100, name, index: i, uuid: String(i) }));

const chosen: ChosenFacts = {
  ...H100,
  driver: 'NVIDIA: 550.54.15',
  f16: true,
  subgroups: [32, 32],
  matrixUnits: [{ componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 }],
  timestamps: true,
  limits: {
    maxBufferSize: 2 ** 40,
    maxStorageBufferBindingSize: 2 ** 31,
    maxStorageBuffersPerShaderStage: 16,
    maxComputeWorkgroupStorageSize: 49152,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupsPerDimension: 65535,
  },
};

/** An H100 under Debian, where all is well. */
export const healthy: Facts = {
  node: { version: '22.11.0', least: '20.15' },
  system: {
    found: {
      platform: 'linux',
      arch: 'x64',
      release: '6.1.0',
      distributions: ['debian'],
      codename: 'bookworm',
      name: 'Debian GNU/Linux 12 (bookworm)',
      libc: 'glibc 2.36',
      wsl: null,
      container: null,
    },
  },
  processor: {
    found: { model: 'AMD EPYC 9354', cores: 16, quota: null, megahertz: 3250, vectors: 'AVX-512' },
  },
  memory: { found: { total: 128e9, free: 120e9, limit: null, shared: 64e9 } },
  folders: {
    found: {
      cache: { folder: '/home/ada/.cache/dawntune', unwritable: null, free: 500e9 },
      models: { folder: '/home/ada/.cache/huggingface/hub', unwritable: null, free: 500e9 },
    },
  },
  graphics: {
    found: {
      cards: [{ pci: '0000:17:00.0', vendor: 'NVIDIA', module: 'nvidia' }],
      devices: [{ file: '/dev/nvidia0', refused: null, group: 'root' }],
      drivers: ['/usr/share/vulkan/icd.d/nvidia_icd.json'],
      variables: {},
      runtimeFolder: { folder: '/run/user/1000', problem: null },
    },
  },
  dawn: { found: { version: '0.6.2', binary: '/package/dawn.node', problem: null } },
  adapters: {
    found: {
      drivers: 'a Vulkan loader with the drivers nvidia_icd',
      loader: true,
      adapters: [H100],
      notTaken: [],
      ranks: '1: there is one GPU',
    },
  },
  crashing: [],
  chosen: { found: chosen },
  kernels: {
    found: [
      {
        name: 'matrix product f32',
        size: '2048×1024×4096',
        variant: 'tile64',
        problem: null,
        rate: 21000,
        unit: 'GFLOP/s',
      },
      {
        name: 'matrix product f16',
        size: '2048×1024×4096',
        variant: 'matrix',
        problem: null,
        rate: 90000,
        unit: 'GFLOP/s',
      },
      { name: 'copy f32', size: '16 Mi values', variant: 'vec4x4', problem: null, rate: 2600, unit: 'GB/s' },
    ],
  },
  mpi: {
    found: {
      launchers: [{ name: 'Open MPI', version: '4.1.4', command: 'mpirun' }],
      library: { file: 'libmpi.so.40', version: 'Open MPI v4.1.4' },
      problem: null,
    },
  },
  fit: {
    found: {
      step: 'a step of 2 queries',
      memory: { of: 'adapter', bytes: 85e9 },
      ways: [
        { flags: '', bytes: 23e9, hostBytes: 1e9, modelBytes: 2e9, checkpointBytes: 7e9, fits: true },
        { flags: '--fp16', bytes: 16e9, hostBytes: 1e9, modelBytes: 2e9, checkpointBytes: 7e9, fits: true },
      ],
    },
  },
};

/** The healthy machine with these facts in place of its own. */
export function machine(...changes: Changes[]): Facts {
  const facts: Record<string, unknown> = { ...healthy };
  for (const [name, change] of changes.flatMap((each) => Object.entries(each))) {
    const before = facts[name] as { found?: object };
    const whole =
      Array.isArray(change) || 'failed' in change || 'found' in change || before.found === undefined;
    facts[name] = whole ? change : { found: { ...before.found, ...change } };
  }
  return facts as unknown as Facts;
}

/** Nobody has opened an adapter. */
export const withoutAdapter: Changes = {
  adapters: { adapters: [], ranks: 'none' },
  chosen: { failed: 'there is no adapter' },
  kernels: { failed: 'no adapter was opened' },
};

/** Only the processor computes. */
export const onProcessor: Changes = {
  adapters: { adapters: [llvmpipe] },
  chosen: { ...llvmpipe, matrixUnits: [], subgroups: [8, 8] },
  kernels: { found: [] },
};

/** No GPU is in the machine. */
export const noCard: Changes = { graphics: { cards: [], devices: [], drivers: [] } };
