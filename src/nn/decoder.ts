/**
 * The decoder layer of Llama (Touvron et al. 2023): root-mean-square norms before each branch, rotary positions, grouped
 * heads, SwiGLU, no biases. Names are transformers', so that its state dicts load. Batches come first.
 */
import { add, reshape, rotary, scaledDotProductAttention, swiglu } from '../autograd/index.js';
import { requireGpu } from '../autograd/make-options.js';
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { type FloatDType, floatDType } from '../kernels/launch/formats.js';
import { OptionNames } from '../options.js';
import { floats, positive, signature, wholeNumber } from '../tensor/operands.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { AttendOptions } from './attention.js';
import { Linear, RANDOM_OPTIONS, type RandomOptions, RMSNorm } from './layers.js';
import { Module } from './module.js';

export interface RotaryAttentionOptions extends RandomOptions {
  /** Heads of keys and values, each for several of queries that follow each other; by default as many. */
  readonly keyHeads?: number;
  /** Of the angles of rotary positions. Default 10000. */
  readonly ropeBase?: number;
}

const ROTARY = new OptionNames<RotaryAttentionOptions>({
  keyHeads: 'number',
  ropeBase: 'number',
  random: 'any',
});

/** What a decoder's layer is told beside its input. */
export type DecodeOptions = Pick<AttendOptions, 'lengths'> & {
  /** Position of the first token. Default 0. */
  readonly start?: number | undefined;
};

const DECODE = new OptionNames<DecodeOptions>({ lengths: 'any', start: 'number' });

const ATTENTION = signature(
  'RotaryAttention',
  {},
  { numbers: { dim: wholeNumber(1), heads: wholeNumber(1), keyHeads: wholeNumber(1), ropeBase: positive } },
);
const X = signature('RotaryAttention', { x: floats('batch', 'length', 'dim') });

/** Causal self-attention with rotary positions: [batch, length, dim] to the same. */
export class RotaryAttention extends Module {
  /** Queries, of all heads side by side. */
  readonly qProj: Linear;
  /** Keys, of as many heads as they have. */
  readonly kProj: Linear;
  /** Values, of as many heads as keys have. */
  readonly vProj: Linear;
  /** Of the heads side by side, back to `dim`. */
  readonly oProj: Linear;
  private readonly headDim: number;
  private readonly base: number;

  /** @throws ShapeError when heads do not divide the dimension evenly, or those of keys not those of queries. */
  constructor(gpu: Gpu, dim: number, heads: number, options: RotaryAttentionOptions = {}) {
    super();
    const { keyHeads = heads, ropeBase = 10000, random } = ROTARY.read('RotaryAttention', options);
    requireGpu('RotaryAttention', gpu);
    ATTENTION.check({}, { dim, heads, keyHeads, ropeBase });
    if (dim % heads !== 0 || heads % keyHeads !== 0)
      throw new ShapeError(
        'RotaryAttention',
        `${heads} heads, and ${keyHeads} of keys, do not divide a dimension of ${dim} evenly`,
      );
    this.headDim = dim / heads;
    this.base = ropeBase;
    const linear = (from: number, to: number) => new Linear(gpu, from, to, { bias: false, random });
    this.qProj = linear(dim, dim);
    this.kProj = linear(dim, keyHeads * this.headDim);
    this.vProj = linear(dim, keyHeads * this.headDim);
    this.oProj = linear(dim, dim);
  }

  /** The result is of `dtype`, by default that of the products. @throws ShapeError for operands and options that do not fit. */
  forward(input: Tensor, options: DecodeOptions = {}, dtype?: FloatDType): Tensor {
    const { lengths, start = 0 } = DECODE.read('RotaryAttention', options);
    X.check({ x: input });
    return scope(() => {
      const x = this.inPrecision(input);
      const inHeads = (y: Tensor) =>
        reshape(y, [...y.shape.slice(0, 2), y.shape[2]! / this.headDim, this.headDim]);
      const turned = (y: Tensor) => rotary(inHeads(y), start, { axis: -3, base: this.base });
      const y = scaledDotProductAttention(
        turned(this.qProj.forward(x)),
        turned(this.kProj.forward(x)),
        inHeads(this.vProj.forward(x)),
        { layout: 'blhd', causal: true, ...(lengths ? { lengths } : {}) },
      );
      return this.oProj.forward(reshape(y, x.shape), dtype);
    });
  }
}

/** down(silu(gate(x)) · up(x)): Shazeer 2020, "GLU Variants Improve Transformer". [..., dim] to the same. */
export class SwiGLU extends Module {
  /** dim to feedForward; its silu multiplies what `upProj` gives. */
  readonly gateProj: Linear;
  /** dim to feedForward. */
  readonly upProj: Linear;
  /** feedForward back to dim. */
  readonly downProj: Linear;

  /** `dim` values in and out, `feedForward` within; no biases. @throws ShapeError for extents that are none. */
  constructor(gpu: Gpu, dim: number, feedForward: number, options: RandomOptions = {}) {
    super();
    const { random } = RANDOM_OPTIONS.read('SwiGLU', options);
    this.gateProj = new Linear(gpu, dim, feedForward, { bias: false, random });
    this.upProj = new Linear(gpu, dim, feedForward, { bias: false, random });
    this.downProj = new Linear(gpu, feedForward, dim, { bias: false, random });
  }

  /** The result is of `dtype`, by default that of the products. */
  forward(input: Tensor, dtype?: FloatDType): Tensor {
    return scope(() => {
      const x = this.inPrecision(input);
      return this.downProj.forward(swiglu(this.gateProj.forward(x), this.upProj.forward(x)), dtype);
    });
  }
}

const LAYER = signature('DecoderLayer', { x: floats('batch', 'length', 'dim') });

export interface DecoderLayerOptions extends RotaryAttentionOptions {
  /** Width of the feed-forward's inner layer; by default four times the dimension. */
  readonly feedForward?: number;
  /** Of both norms. Default 1e-6. */
  readonly normEps?: number;
}

const LAYER_OPTIONS = new OptionNames<DecoderLayerOptions>({
  feedForward: 'number',
  normEps: 'number',
  keyHeads: 'number',
  ropeBase: 'number',
  random: 'any',
});

/** A layer of a causal model: x + attention(norm(x)), then the same with the feed-forward. [batch, length, dim] to the same, of x's format. */
export class DecoderLayer extends Module {
  /** The first branch. */
  readonly selfAttn: RotaryAttention;
  /** The second branch. */
  readonly mlp: SwiGLU;
  /** Before attention. */
  readonly inputLayernorm: RMSNorm;
  /** Before the feed-forward. */
  readonly postAttentionLayernorm: RMSNorm;

  /** @throws ShapeError for extents and heads that do not fit. */
  constructor(gpu: Gpu, dim: number, heads: number, options: DecoderLayerOptions = {}) {
    super();
    const {
      feedForward = 4 * dim,
      normEps: eps = 1e-6,
      ...attention
    } = LAYER_OPTIONS.read('DecoderLayer', options);
    this.selfAttn = new RotaryAttention(gpu, dim, heads, attention);
    this.mlp = new SwiGLU(gpu, dim, feedForward, { random: options.random });
    this.inputLayernorm = new RMSNorm(gpu, dim, { eps });
    this.postAttentionLayernorm = new RMSNorm(gpu, dim, { eps });
  }

  /** @throws ShapeError for operands and options that do not fit. */
  forward(x: Tensor, options: DecodeOptions = {}): Tensor {
    return scope(() => {
      LAYER.check({ x });
      const dtype = floatDType('DecoderLayer', x);
      const attended = add(x, this.selfAttn.forward(this.inputLayernorm.forward(x), options, dtype));
      return add(attended, this.mlp.forward(this.postAttentionLayernorm.forward(attended), dtype));
    });
  }
}
