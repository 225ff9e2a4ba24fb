import type { CpuFacts } from './cpu.js';

/** A shape of subgroup matrices that an adapter multiplies: left [M,K] · right [K,N] + result [M,N]. */
export interface SubgroupMatrixConfig {
  /** Of the factors: `f16`, `f32`, `u8`, `i8`. */
  readonly componentType: string;
  /** Of the sum: `f16`, `f32`, `u32`, `i32`. */
  readonly resultComponentType: string;
  /** Rows of the result. */
  readonly M: number;
  /** Columns of the result. */
  readonly N: number;
  /** What one product adds up. */
  readonly K: number;
}

/** What an adapter can do: facts only. Which kernels follow from them is decided in src/kernels/variants.ts. */
export interface Capabilities {
  /** Raw device name, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  /** How the driver describes itself, version included; may be empty. */
  readonly driver: string;
  /** The adapter computes on the CPU (lavapipe, SwiftShader). */
  readonly software: boolean;
  /** Of a software adapter: what it computes on. */
  readonly cpu?: CpuFacts | undefined;
  /** Shaders compute in halves; without it f16 tensors are unpacked to f32 in them. */
  readonly shaderF16: boolean;
  /** Lanes of a workgroup exchange values without its memory. */
  readonly subgroups: boolean;
  /** Smallest subgroup the driver may choose; 0 without the feature. */
  readonly subgroupMinSize: number;
  /** Largest subgroup the driver may choose; 0 without the feature. */
  readonly subgroupMaxSize: number;
  /** Empty without the feature. */
  readonly subgroupMatrixConfigs: readonly SubgroupMatrixConfig[];
  /** Dispatches can be timed (`Gpu.startProfile`). */
  readonly timestamps: boolean;
  /** Bytes. */
  readonly maxBufferSize: number;
  /** Bytes that one binding can see; larger tensors are worked on in row ranges. */
  readonly maxBindingSize: number;
  /** Bytes; offsets of bindings are multiples of it. */
  readonly bindingAlignment: number;
  /** Texels of a texture's side. */
  readonly maxTextureSize: number;
  /** Workgroups of a dispatch along one dimension; grids beyond it are folded. */
  readonly maxWorkgroupsPerDimension: number;
  /** Threads of one workgroup. */
  readonly maxWorkgroupInvocations: number;
  /** Bytes that a workgroup shares. */
  readonly maxWorkgroupMemory: number;
}
