import type { CpuFacts } from './cpu.js';

/** A shape of subgroup matrices that an adapter multiplies: left [M,K] · right [K,N] + result [M,N]. */
export interface SubgroupMatrixConfig {
  /** Of the factors: `f16`, `f32`, `u8`, `i8`. */
  readonly componentType: string;
  /** Of the sum: `f16`, `f32`, `u32`, `i32`. */
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What an adapter can do: facts only. Which kernels follow from them is decided in src/kernels/variants.ts. */
export interface Capabilities {
  /** Raw device name, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  readonly driver: string;
  /** The adapter computes on the CPU (lavapipe, SwiftShader). */
  readonly software: boolean;
  /** Of a software adapter: what it computes on. */
  readonly cpu?: CpuFacts | undefined;
  readonly shaderF16: boolean;
  readonly subgroups: boolean;
  /** Smallest subgroup the driver may choose; 0 without the feature. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** Empty without the feature. */
  readonly subgroupMatrixConfigs: readonly SubgroupMatrixConfig[];
  readonly timestamps: boolean;
  /** Bytes. */
  readonly maxBufferSize: number;
  /** Bytes that one binding can see; larger tensors are worked on in row ranges. */
  readonly maxBindingSize: number;
  /** Bytes; offsets of bindings are multiples of it. */
  readonly bindingAlignment: number;
  /** Texels of a texture's side. */
  readonly maxTextureSize: number;
  readonly maxWorkgroupsPerDimension: number;
  readonly maxWorkgroupInvocations: number;
  readonly maxWorkgroupMemory: number;
}
