/**
 * WebGPU's names, which a browser has in its global scope. Their values are taken from Dawn and put nowhere else, since
 * importing a library changes nothing global.
 *
 * The types of `@webgpu/types` do not compile without those of the DOM, so nobody who uses this package needs them:
 * its declarations mention the interfaces below alone, which are opaque until a program brings WebGPU's types itself.
 */
import { globals } from 'webgpu';

declare global {
  interface GPUDevice {}
  interface GPUBuffer {}
  interface GPUTexture {}
  interface GPUTextureView {}
  interface GPUCommandEncoder {}
  interface GPUComputePipeline {}
  interface GPUComputePassTimestampWrites {}
  interface GPUBindGroup {}
  interface GPUBindGroupLayout {}
  interface GPUBufferUsage {}
  interface GPUTextureUsage {}
  interface GPUMapMode {}
}

export interface WebGpuNames {
  readonly GPUBufferUsage: GPUBufferUsage;
  readonly GPUTextureUsage: GPUTextureUsage;
  readonly GPUMapMode: GPUMapMode;
  readonly GPUOutOfMemoryError: new (message: string) => object;
}

export const { GPUBufferUsage, GPUTextureUsage, GPUMapMode, GPUOutOfMemoryError } = globals as WebGpuNames;
