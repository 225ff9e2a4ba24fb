/**
 * Opening adapters and devices, in this one place: which adapter, with which of Dawn's switches, and what it can do.
 * Which driver the process talks to is software-driver.ts's business, what is then done with a device gpu.ts's.
 */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import koffi from 'koffi';
import { create, globals } from 'webgpu';
import { InputError, type MachineError } from '../errors.js';
import { printable, show } from '../show.js';
import type { Capabilities, SubgroupMatrixConfig } from './capabilities.js';
import { cpuFacts } from './cpu.js';
import { noAdapterError, prepareVulkan } from './software-driver.js';

Object.assign(globalThis, globals);

// If the object that create() returned is collected while its device works, Dawn crashes: keep all of them.
const instances: GPU[] = [];

// ---- opening -------------------------------------------------------------------------------------------------

/** Halves on NVIDIA and subgroup matrices are behind switches; with the second, timestamps are in nanoseconds. */
const ENABLED = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia'];
const DISABLED = ['timestamp_quantization'];

export interface AdapterOptions {
  /** Substring of the adapter's raw name (case-sensitive), by default what `DAWNTUNE_ADAPTER` says; the first match wins. */
  readonly adapter?: string | undefined;
  /** Extra Dawn toggles to enable. */
  readonly toggles?: readonly string[] | undefined;
  /**
   * `null`: Dawn's device that checks and compiles everything, subgroup matrices included, and computes nothing; what
   * is read back is anything. For tests of kernels that no adapter at hand can run, and for host time alone.
   */
  readonly backend?: 'null' | undefined;
}

function instanceOf(flags: string[]): GPU {
  const instance = create(flags);
  instances.push(instance);
  return instance;
}

const request = (instance: GPU) =>
  withoutChatter(() => instance.requestAdapter({ powerPreference: 'high-performance' }));

/**
 * The first matching adapter, a real GPU before a software one.
 * @throws MachineError when there is none, InputError when none has the name that is asked for; says what to do next.
 */
export async function openAdapter(options: AdapterOptions = {}): Promise<GPUAdapter> {
  const { adapter: name, toggles = [], backend } = options;
  if (backend === undefined) prepareVulkan();
  const wanted = backend === undefined ? wantedAdapter(name) : undefined;
  const instance = instanceOf([
    `enable-dawn-features=${[...ENABLED, ...toggles].join(',')}`,
    `disable-dawn-features=${DISABLED.join(',')}`,
    ...(wanted ? [`adapter=${wanted.name}`] : []),
    ...(backend ? [`backend=${backend}`] : []),
  ]);
  // Dawn rejects where there is no adapter of that name.
  const adapter = await request(instance).catch(() => null);
  if (!adapter) throw await adapterNotFound(wanted);
  return adapter;
}

// ---- what an adapter can do ----------------------------------------------------------------------------------

const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix' as GPUFeatureName;
const FEATURES: readonly GPUFeatureName[] = ['shader-f16', 'subgroups', 'timestamp-query', SUBGROUP_MATRIX];

/** Limits that are taken to be lower than the adapter's own, so that small tensors meet them. */
export interface LowerLimits {
  readonly maxBindingSize?: number;
  readonly maxWorkgroupsPerDimension?: number;
}

/** Opens the adapter's device with all of its limits and the features that kernels may use. */
export async function openDevice(
  adapter: GPUAdapter,
  { maxBindingSize = Infinity, maxWorkgroupsPerDimension = Infinity }: LowerLimits,
): Promise<{ device: GPUDevice; capabilities: Capabilities }> {
  const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name));
  const limits: Record<string, number> = {};
  for (const key in adapter.limits) {
    const value = (adapter.limits as unknown as Record<string, unknown>)[key];
    if (typeof value === 'number') limits[key] = value;
  }
  const info = adapter.info;
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits: limits });
  const software =
    info.isFallbackAdapter || /llvmpipe|swiftshader/i.test(`${info.device} ${info.description}`);
  const subgroups = requiredFeatures.includes('subgroups');
  const capabilities: Capabilities = {
    name: info.device || info.description || info.vendor,
    driver: info.description,
    software,
    cpu: software ? cpuFacts() : undefined,
    shaderF16: requiredFeatures.includes('shader-f16'),
    subgroups,
    subgroupMinSize: subgroups ? (info.subgroupMinSize ?? 0) : 0,
    subgroupMaxSize: subgroups ? (info.subgroupMaxSize ?? 0) : 0,
    subgroupMatrixConfigs: requiredFeatures.includes(SUBGROUP_MATRIX) ? subgroupMatrixConfigs(info) : [],
    timestamps: requiredFeatures.includes('timestamp-query'),
    maxBufferSize: limits['maxBufferSize']!,
    maxBindingSize: Math.min(limits['maxStorageBufferBindingSize']!, maxBindingSize),
    bindingAlignment: limits['minStorageBufferOffsetAlignment']!,
    maxTextureSize: limits['maxTextureDimension2D']!,
    maxWorkgroupsPerDimension: Math.min(
      limits['maxComputeWorkgroupsPerDimension']!,
      maxWorkgroupsPerDimension,
    ),
    maxWorkgroupInvocations: limits['maxComputeInvocationsPerWorkgroup']!,
    maxWorkgroupMemory: limits['maxComputeWorkgroupStorageSize']!,
  };
  return { device, capabilities };
}

/** Dawn's own, not yet in the standard's types. */
export function subgroupMatrixConfigs(info: GPUAdapterInfo): SubgroupMatrixConfig[] {
  const { subgroupMatrixConfigs } = info as unknown as { subgroupMatrixConfigs?: SubgroupMatrixConfig[] };
  return [...(subgroupMatrixConfigs ?? [])].map(({ componentType, resultComponentType, M, N, K }) => ({
    componentType,
    resultComponentType,
    M,
    N,
    K,
  }));
}

// ---- which adapters there are --------------------------------------------------------------------------------

export interface AdapterName {
  readonly backend: string;
  /** Raw device name; what `adapter=<substring>` is matched against. */
  readonly name: string;
}

/** Every adapter that Dawn can open, fastest kind first. Two equal devices appear twice. */
export async function listAdapters(): Promise<AdapterName[]> {
  prepareVulkan();
  // Dawn has no call for this, but its error for a name that matches nothing lists the names that would have.
  try {
    await request(instanceOf(['adapter=\u0001']));
  } catch (error) {
    return parseAdapterList((error as Error).message);
  }
  return [];
}

/** Adapter names out of Dawn's "no adapter matches" message. */
export function parseAdapterList(message: string): AdapterName[] {
  return [...message.matchAll(/\* backend: '([^']*)', name: '(.*)'$/gm)].map((match) => ({
    backend: match[1] ?? '',
    name: match[2] ?? '',
  }));
}

/** Which adapter is asked for, by a part of its name, and by what. */
export interface WantedAdapter {
  readonly name: string;
  readonly source: '--adapter' | 'DAWNTUNE_ADAPTER';
}

/** `flag`: the value of `--adapter`, which goes before `DAWNTUNE_ADAPTER`. Undefined where neither is set. */
function wantedAdapter(flag: string | null | undefined): WantedAdapter | undefined {
  if (flag) return { name: flag, source: '--adapter' };
  const name = process.env['DAWNTUNE_ADAPTER'];
  return name ? { name, source: 'DAWNTUNE_ADAPTER' } : undefined;
}

/** The error where Dawn gave no adapter: none has the wanted name, or there is none at all. */
async function adapterNotFound(wanted: WantedAdapter | undefined): Promise<InputError | MachineError> {
  const names = [...new Set((await listAdapters()).map(({ name }) => printable(name)))];
  if (!wanted || names.length === 0) return noAdapterError();
  return new InputError(
    `${wanted.source}: expected a part of an adapter's name (upper and lower case count), found ${show(wanted.name)}; there are: ${names.join(', ')}`,
  );
}

// ---- Dawn's chatter ------------------------------------------------------------------------------------------

/** Lines, with the source positions below them, that Dawn writes on every enumeration or that our own errors repeat. */
const CHATTER =
  /^Warning: (?:\w+ artificially reduced|Couldn't load Vulkan|vkCreateInstance).*(?:\n {4}at .*)*(?:\n(?=\n|$))?\n?/gm;

const MFD_CLOEXEC = 1;

/**
 * Runs a call during which Dawn enumerates adapters, without what it then always writes to standard error
 * ("artificially reduced …" for lavapipe). Anything else written meanwhile still appears, afterwards.
 *
 * Dawn writes to the file descriptor itself and has no switch for it, so the descriptor is redirected for the
 * synchronous part of the call, in which enumeration happens. Workers share the descriptor and leave it alone.
 */
export function withoutChatter<T>(call: () => T): T {
  if (process.platform !== 'linux' || !isMainThread) return call();
  const libc = koffi.load(null);
  const dup = libc.func('int dup(int fd)');
  const dup2 = libc.func('int dup2(int from, int to)');
  // A file in memory: there need be no folder for temporary ones, and none is left behind.
  let file: number;
  try {
    file = libc.func('int memfd_create(const char *name, unsigned int flags)')(
      'dawntune-stderr',
      MFD_CLOEXEC,
    );
  } catch {
    return call();
  }
  if (file < 0) return call();
  const original = dup(2);
  dup2(file, 2);
  try {
    return call();
  } finally {
    dup2(original, 2);
    closeSync(original);
    const written = Buffer.alloc(fstatSync(file).size);
    readSync(file, written, 0, written.length, 0);
    closeSync(file);
    const rest = written.toString().replace(CHATTER, '');
    if (rest.trim()) process.stderr.write(rest);
  }
}
