/** What an adapter can do, in the few facts that kernels choose their variants by. */
export interface Capabilities {
  /** Raw device name, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  readonly driver: string;
  /** The adapter computes on the CPU (lavapipe, SwiftShader). */
  readonly software: boolean;
  readonly shaderF16: boolean;
  readonly subgroups: boolean;
  /** Smallest subgroup the driver may choose; 0 without the feature. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /**
   * Use the kernels that hand values round between the 8 lanes of a subgroup. They win on lavapipe, whose
   * subgroup is 8 wide and whose barriers are expensive, and would waste most of a GPU's wave.
   */
  readonly subgroup8: boolean;
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
