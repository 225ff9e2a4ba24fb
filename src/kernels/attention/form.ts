/**
 * What the kernels of attention are made from, and what each way of writing them brings: three shaders, one for the
 * forward pass and two for its gradient, and when they are to be used.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type FloatDType, vec4Type } from '../launch/formats.js';
import { type Shader, type ShaderDefinition, shaderOf } from '../launch/shader.js';
import type { AttentionDropout, AttentionSize, PARAMS, TileSource } from './layout.js';

export interface AttentionForm {
  readonly headDim: number;
  /** Of qkv, its gradient, and the result. Scores, softmax and sums are f32. */
  readonly dtype: FloatDType;
  /** Whether probabilities are dropped. */
  readonly dropout: boolean;
}

/** The kernels: the forward pass; dQ, whose tiles are of queries; dK and dV, whose tiles are of keys. */
export const PARTS = ['forward', 'dq', 'dkv'] as const;
export type Part = (typeof PARTS)[number];

/**
 * One way to write the kernels. `Plan`: scalars that follow from the adapter and the form, on which sources depend beside
 * the form.
 */
export interface AttentionKernels<Plan extends object = object> {
  readonly name: string;
  readonly why: string;
  readonly gpuOnly?: boolean;
  /** What the kernels read qkv and dOut from. */
  readonly reads: 'buffers' | 'sampled textures' | 'storage textures';
  /** Undefined where the adapter cannot run them. */
  plan(facts: Capabilities, form: AttentionForm): Plan | undefined;
  rowsPerTile(form: AttentionForm, part: Part, plan: Plan): number;
  supports(facts: Capabilities, form: AttentionForm, size: AttentionSize): boolean;
  prior(facts: Capabilities, form: AttentionForm, part: 'forward' | 'gradient'): number;
  /** Each takes the buffers of `forwardBuffers` or `gradientBuffers`. */
  readonly parts: { readonly [P in Part]: (form: AttentionForm & Plan) => ShaderDefinition<typeof PARAMS> };
}

/** The shader of a part on such an adapter, and the rows of its tiles. */
export function passOf<Plan extends object>(
  kernels: AttentionKernels<Plan>,
  facts: Capabilities,
  form: AttentionForm,
  part: Part,
): { readonly shader: Shader<typeof PARAMS>; readonly rowsPerTile: number } {
  const plan = kernels.plan(facts, form);
  if (!plan) throw new RangeError(`attention: ${kernels.name} on an adapter that does not support it`);
  return {
    shader: shaderOf(`attention.${kernels.name}.${part}`, { ...form, ...plan }, kernels.parts[part]),
    rowsPerTile: kernels.rowsPerTile(form, part, plan),
  };
}

/** WGSL types of what the forward kernel is given, in order. */
export const forwardBuffers = (source: string, { dtype }: AttentionForm): Record<string, string> => ({
  QKV: source,
  tiles: 'array<vec4u>',
  outO: vec4Type(dtype),
  outL: 'array<f32>',
});

/** The same of both gradient kernels. `L` is the log-sum-exp, `delta` Σ out·dOut of each row and head. */
export const gradientBuffers = (source: string, { dtype }: AttentionForm): Record<string, string> => ({
  QKV: source,
  tiles: 'array<vec4u>',
  DO: source,
  L: 'array<f32>',
  delta: 'array<f32>',
  outD: vec4Type(dtype),
});

export interface ForwardOperands {
  /** [T, 3·heads·headDim]. */
  readonly qkv: Tensor;
  readonly sequences: TileSource;
  readonly dropout: AttentionDropout | undefined;
  /** Written: [T, heads·headDim]. */
  readonly out: Tensor;
  /** Written: the log-sum-exp in base 2, [T, heads] f32. */
  readonly logSumExp: Tensor;
}

export interface GradientOperands {
  /** As in the forward pass; `out` and `logSumExp` are what that wrote. */
  readonly qkv: Tensor;
  readonly sequences: TileSource;
  readonly dropout: AttentionDropout | undefined;
  readonly out: Tensor;
  readonly logSumExp: Tensor;
  /** [T, heads·headDim]. */
  readonly dOut: Tensor;
  /** Written: [T, 3·heads·headDim]. */
  readonly dqkv: Tensor;
}
