/**
 * Opening adapters and devices, in this one place: which adapter, with which of Dawn's switches, and what it can do.
 * Which adapters there are is told by adapter-list.ts; which driver the process talks to is software-driver.ts's
 * business, what is then done with a device gpu.ts's.
 */
import { InputError, type MachineError } from '../errors.js';
import { printable, show } from '../show.js';
import { listAdapters } from './adapter-list.js';
import type { Capabilities, SubgroupMatrixConfig } from './capabilities.js';
import { cpuFacts } from './cpu.js';
import { instanceOf, requestAdapter } from './dawn.js';
import { noAdapterError, prepareVulkan } from './software-driver.js';
import { isSoftwareName, isSwiftShader } from './software-name.js';

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

export interface OpenedAdapter {
  readonly adapter: GPUAdapter;
  /** The part of its name by which it was asked for; undefined: the first. */
  readonly asked: string | undefined;
}

/**
 * The first matching adapter, a real GPU before a software one, and lavapipe before SwiftShader.
 * @throws MachineError when there is none, InputError when none has the name that is asked for; says what to do next.
 */
export async function openAdapter(options: AdapterOptions = {}): Promise<OpenedAdapter> {
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
  const adapter = await requestAdapter(instance).catch(() => null);
  if (!adapter) throw await adapterNotFound(wanted);
  const opened = { adapter, asked: wanted?.name };
  if (wanted || backend !== undefined || !isSoftware(adapter.info)) return opened;
  // Dawn counts the adapter of a virtual machine ("virtual" or "other" to Vulkan) behind software ones, and those alike.
  const adapters = await listAdapters();
  const better =
    adapters.find(({ name }) => !isSoftwareName(name)) ??
    (isSwiftShader(wordsOf(adapter.info)) ? adapters.find(({ name }) => !isSwiftShader(name)) : undefined);
  return better ? openAdapter({ ...options, adapter: better.name }) : opened;
}

const wordsOf = (info: GPUAdapterInfo): string => `${info.device} ${info.description}`;
const isSoftware = (info: GPUAdapterInfo): boolean => info.isFallbackAdapter || isSoftwareName(wordsOf(info));

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
  const software = isSoftware(info);
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

// ---- which one is wanted ----------------------------------------------------------------------------------------

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
