/** Transformer layers with the parameters of torch.nn.TransformerEncoder (Vaswani et al. 2017). Batches come first. */
import { add, gelu, geluTanh, linearGelu, relu } from '../autograd/index.js';
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { type FloatDType, floatDType } from '../kernels/launch/formats.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { floats, signature } from '../tensor/operands.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AttendOptions, MultiHeadAttention } from './attention.js';
import { Dropout, LayerNorm, Linear, type RandomOptions } from './layers.js';
import { Module } from './module.js';

const activations = { relu, gelu, geluTanh };

const X = signature('TransformerEncoderLayer', { x: floats('batch', 'length', 'dim') });

export interface TransformerLayerOptions extends RandomOptions {
  /** Width of the feed-forward's inner layer. Default 2048. */
  readonly feedForward?: number;
  /** While training: of attention's probabilities, the inner layer and both branches. Default 0.1. */
  readonly dropout?: number;
  /** Default relu. */
  readonly activation?: keyof typeof activations;
  /** Norms come before attention and feed-forward, not behind the sums. Default false. */
  readonly normFirst?: boolean;
  /** ε of both norms. Default 1e-5. */
  readonly layerNormEps?: number;
  /** Of linear layers and norms. Default true. */
  readonly bias?: boolean;
}

const OPTIONS = new OptionNames<TransformerLayerOptions>({
  feedForward: 'number',
  dropout: 'number',
  activation: 'string',
  normFirst: 'boolean',
  layerNormEps: 'number',
  bias: 'boolean',
  random: 'any',
});

/** Self-attention and a feed-forward, each with a residual and a norm: [batch, length, dim] to the same, of x's format. */
export class TransformerEncoderLayer extends Module {
  /** The first branch. */
  readonly selfAttn: MultiHeadAttention;
  /** dim to feedForward. */
  readonly linear1: Linear;
  /** feedForward back to dim. */
  readonly linear2: Linear;
  /** Of attention: before it with `normFirst`, else behind its sum. */
  readonly norm1: LayerNorm;
  /** Of the feed-forward, likewise. */
  readonly norm2: LayerNorm;
  /** Of the inner layer's values. */
  readonly dropout: Dropout;
  /** Of what attention gives. */
  readonly dropout1: Dropout;
  /** Of what the feed-forward gives. */
  readonly dropout2: Dropout;
  private readonly activation: keyof typeof activations;
  private readonly normFirst: boolean;

  /** @throws ShapeError when the heads do not divide the dimension evenly, and for an activation that there is not. */
  constructor(gpu: Gpu, dim: number, heads: number, options: TransformerLayerOptions = {}) {
    super();
    const {
      feedForward = 2048,
      dropout = 0.1,
      activation = 'relu',
      normFirst = false,
    } = OPTIONS.read('TransformerEncoderLayer', options);
    const { layerNormEps = 1e-5, bias = true, random } = options;
    if (!Object.hasOwn(activations, activation))
      throw new ShapeError(
        'TransformerEncoderLayer',
        `activation must be ${Object.keys(activations).join(', ')}, found ${show(activation)}`,
      );
    this.activation = activation;
    this.normFirst = normFirst;
    this.selfAttn = new MultiHeadAttention(gpu, dim, heads, { dropout, bias, random });
    this.linear1 = new Linear(gpu, dim, feedForward, { bias, random });
    this.linear2 = new Linear(gpu, feedForward, dim, { bias, random });
    this.norm1 = new LayerNorm(gpu, dim, { eps: layerNormEps, bias });
    this.norm2 = new LayerNorm(gpu, dim, { eps: layerNormEps, bias });
    this.dropout = new Dropout(dropout, { random });
    this.dropout1 = new Dropout(dropout, { random });
    this.dropout2 = new Dropout(dropout, { random });
  }

  /** With `causal` it is a layer of a decoder. @throws ShapeError for operands and options that do not fit. */
  forward(x: Tensor, options: AttendOptions = {}): Tensor {
    return scope(() => {
      // What is added up over all layers is not rounded in each of them.
      X.check({ x });
      const dtype = floatDType('TransformerEncoderLayer', x);
      if (this.normFirst) {
        const read = this.precision === 'f16' ? 'f16' : undefined;
        const attended = add(x, this.attend(this.norm1.forward(x, undefined, read), options, dtype));
        return add(attended, this.feed(this.norm2.forward(attended, undefined, read), dtype));
      }
      const attended = this.norm1.forward(this.attend(x, options, dtype), x);
      return this.norm2.forward(this.feed(attended, dtype), attended);
    });
  }

  private attend(x: Tensor, options: AttendOptions, dtype: FloatDType): Tensor {
    return this.dropout1.forward(this.selfAttn.forward(x, options, dtype));
  }

  private feed(x: Tensor, dtype: FloatDType): Tensor {
    const { weight, bias } = this.linear1;
    const inner =
      this.activation === 'gelu'
        ? linearGelu(this.inPrecision(x), weight.tensor, bias?.tensor)
        : activations[this.activation](this.linear1.forward(x));
    return this.dropout2.forward(this.linear2.forward(this.dropout.forward(inner), dtype));
  }
}

/** Layers one after the other, and a norm behind the last where there is one. Their names: `layers.0.self_attn.in_proj_weight` … */
export class TransformerEncoder extends Module {
  /** In their order. */
  readonly layers: readonly TransformerEncoderLayer[];
  /** Behind the last layer; undefined: none. */
  readonly norm: LayerNorm | undefined;

  /** `norm`: behind the last layer, as models with `normFirst` have it. */
  constructor(layers: readonly TransformerEncoderLayer[], norm?: LayerNorm) {
    super();
    this.layers = layers;
    this.norm = norm;
  }

  /** [batch, length, dim] to the same. @throws ShapeError for operands and options that do not fit. */
  forward(x: Tensor, options: AttendOptions = {}): Tensor {
    return scope(() => {
      const y = this.layers.reduce((hidden, layer) => layer.forward(hidden, options), x);
      return this.norm ? this.norm.forward(y) : y;
    });
  }
}
