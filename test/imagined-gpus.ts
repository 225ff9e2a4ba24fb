/** Facts of GPUs that no machine at hand has: to compile kernels for them, and to see what they would be given. */
import type { Capabilities, SubgroupMatrixConfig } from '../src/gpu/capabilities.js';

const matrices = (componentType: string, ...extents: [M: number, N: number, K: number][]) =>
  extents.map(([M, N, K]): SubgroupMatrixConfig => ({ componentType, resultComponentType: 'f32', M, N, K }));

export const imaginedGpu = (
  name: string,
  [subgroupMinSize, subgroupMaxSize]: [number, number],
  workgroupKilobytes: number,
  subgroupMatrixConfigs: readonly SubgroupMatrixConfig[],
  others: Partial<Capabilities> = {},
): Capabilities => ({
  name,
  driver: 'imagined',
  software: false,
  cpu: undefined,
  shaderF16: true,
  subgroups: subgroupMaxSize > 0,
  subgroupMinSize,
  subgroupMaxSize,
  subgroupMatrixConfigs,
  timestamps: true,
  maxBufferSize: 2 ** 32 - 4,
  maxBindingSize: 2 ** 31 - 4,
  bindingAlignment: 16,
  maxTextureSize: 16384,
  maxWorkgroupsPerDimension: 65535,
  maxWorkgroupInvocations: 1024,
  maxWorkgroupMemory: workgroupKilobytes * 1024,
  ...others,
});

export const imaginedGpus = {
  NVIDIA: imaginedGpu('NVIDIA', [32, 32], 48, matrices('f16', [16, 8, 8], [16, 8, 16], [16, 16, 16])),
  AMD: imaginedGpu('AMD', [32, 64], 64, matrices('f16', [16, 16, 16])),
  Intel: imaginedGpu('Intel', [8, 32], 32, matrices('f16', [8, 8, 16], [8, 16, 16])),
  Apple: imaginedGpu('Apple', [32, 32], 32, [...matrices('f32', [8, 8, 8]), ...matrices('f16', [8, 8, 8])]),
  /** No more than WebGPU promises everywhere. */
  least: imaginedGpu('least', [0, 0], 16, [], {
    shaderF16: false,
    maxBufferSize: 256 * 2 ** 20,
    maxBindingSize: 128 * 2 ** 20,
    bindingAlignment: 256,
    maxTextureSize: 8192,
    maxWorkgroupInvocations: 256,
  }),
};
