/**
 * What the kernels of attention are made from, and what each way of writing them brings: three shaders, one for the
 * forward pass and two for its gradient, and when they are to be used.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type FloatDType, vec4Type } from '../launch/formats.js';
import { type ParamType, type Shader, type ShaderDefinition, shaderOf } from '../launch/shader.js';
import { type AttentionDropout, type AttentionSize, foldOfSize, type TileSource } from './layout.js';
import type { Spans } from './spans.js';

export interface AttentionForm {
  /** A multiple of 4: others are filled up (`widths.ts`). */
  readonly headDim: number;
  /** Of qkv, its gradient, and the result. Scores, softmax and sums are f32. */
  readonly dtype: FloatDType;
  /** Whether probabilities are dropped. */
  readonly dropout: boolean;
  /** Query, key and value are tensors of their own; without it they lie side by side in the rows of one. */
  readonly apart?: true | undefined;
  /** A query sees no key that comes after it; `lower-right`: where the last query and the last key are at one place. */
  readonly causal?: true | 'lower-right' | undefined;
  /** A number is added to each score; only where they are apart. */
  readonly bias?: true | undefined;
  /** Several rows lie side by side in the rows of textures: set by `textureForm`. */
  readonly folded?: true | undefined;
}

/** The form of kernels that read from textures where rows of such a size are not multiples of 256 bytes. */
export const textureForm = (
  { reads }: Pick<AttentionKernels, 'reads'>,
  form: AttentionForm,
  size: AttentionSize,
): AttentionForm =>
  reads !== 'buffers' && foldOfSize(form.dtype, size) > 1 ? { ...form, folded: true } : form;

/** The kernels: the forward pass; dQ, whose tiles are of queries; dK and dV, whose tiles are of keys. */
export const PARTS = ['forward', 'dq', 'dkv'] as const;
export type Part = (typeof PARTS)[number];

type Params = Record<string, ParamType>;
type AttentionShader = ShaderDefinition<Params>;

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
  readonly parts: { readonly [P in Part]: (form: AttentionForm & Plan) => AttentionShader };
}

/** The shader of a part on such an adapter, and the rows of its tiles. */
export function passOf<Plan extends object>(
  kernels: AttentionKernels<Plan>,
  facts: Capabilities,
  form: AttentionForm,
  part: Part,
): { readonly shader: Shader<Params>; readonly rowsPerTile: number } {
  const plan = kernels.plan(facts, form);
  if (!plan) throw new RangeError(`attention: ${kernels.name} on an adapter that does not support it`);
  return {
    shader: shaderOf(`attention.${kernels.name}.${part}`, { ...form, ...plan }, kernels.parts[part]),
    rowsPerTile: kernels.rowsPerTile(form, part, plan),
  };
}

type Buffers = Record<string, string>;

const sourceBuffers = (source: string, { apart }: AttentionForm): Buffers =>
  apart ? { Q: source, K: source, V: source } : { QKV: source };

const biasBuffer = ({ bias }: AttentionForm): Buffers => (bias ? { Bias: 'array<f32>' } : {});

/** WGSL types of what the forward kernel is given, in order. */
export const forwardBuffers = (source: string, form: AttentionForm): Buffers => ({
  ...sourceBuffers(source, form),
  tiles: 'array<vec4u>',
  ...biasBuffer(form),
  outO: vec4Type(form.dtype),
  outL: 'array<f32>',
});

/**
 * The same of both gradient kernels. `L` is the log-sum-exp, `delta` Σ out·dOut of each row and head; apart they are pairs,
 * `stats`, and with a bias dK and dV lie side by side, since there are adapters that bind no more than 8 buffers.
 */
export const gradientBuffers = (source: string, form: AttentionForm, part: 'dq' | 'dkv'): Buffers => {
  const out = vec4Type(form.dtype);
  const written: Buffers = !form.apart
    ? { outD: out }
    : part === 'dq'
      ? { outDQ: out }
      : form.bias
        ? { outDKV: out }
        : { outDK: out, outDV: out };
  return {
    ...sourceBuffers(source, form),
    tiles: 'array<vec4u>',
    ...biasBuffer(form),
    DO: source,
    ...(form.apart ? { stats: 'array<vec2f>' } : { L: 'array<f32>', delta: 'array<f32>' }),
    ...written,
  };
};

/** Query, key and value side by side in rows. */
export interface FusedSources {
  /** [T, 3·heads·headDim]. */
  readonly qkv: Tensor;
  readonly sequences: TileSource;
  readonly scale: number;
}

/** Query, key and value apart. */
export interface ApartSources {
  /** [query rows, heads·headDim]. */
  readonly q: Tensor;
  /** [key rows, key heads·headDim]. */
  readonly k: Tensor;
  readonly v: Tensor;
  /** f32; `spans` say where in it. */
  readonly bias: Tensor | undefined;
  readonly spans: Spans;
  readonly scale: number;
}

/** What the forward pass writes, and what its gradient takes from it. */
interface Results {
  readonly dropout: AttentionDropout | undefined;
  /** [query rows, heads·headDim]. Rows of no sequence are left as they are. */
  readonly out: Tensor;
  /** The log-sum-exp in base 2, [query rows, heads] f32. */
  readonly logSumExp: Tensor;
}

export type ForwardOperands = Results & (FusedSources | ApartSources);

export type GradientOperands = Results & {
  /** [query rows, heads·headDim]. */
  readonly dOut: Tensor;
} & (
    | (FusedSources & {
        /** Written: [T, 3·heads·headDim]. */
        readonly dqkv: Tensor;
      })
    | (ApartSources & {
        /** Written, each of its source's shape. Rows of no sequence are left as they are. */
        readonly dq: Tensor;
        readonly dk: Tensor;
        readonly dv: Tensor;
        /** f32, of the shape of the bias: added to. Of a bias that has all queries and keys. */
        readonly dBias?: Tensor | undefined;
      })
  );
