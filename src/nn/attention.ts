/** Multi-head attention with the parameters of torch.nn.MultiheadAttention, over the fused kernels. Batches come first. */
import {
  type AttentionDropout,
  attention,
  linear,
  reshape,
  type ScaledDotProductOptions,
  scaledDotProductAttention,
  sliceRows,
} from '../autograd/index.js';
import { requireGpu } from '../autograd/make-options.js';
import type { Parameter } from '../autograd/parameter.js';
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { OptionNames } from '../options.js';
import { floats, probability, signature, wholeNumber } from '../tensor/operands.js';
import { PackedSequences } from '../tensor/packed.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { constant_, xavierUniform_ } from './initialize.js';
import { Linear, type RandomOptions } from './layers.js';
import { Module, parameter } from './module.js';
import { defaultRandom } from './random.js';

export interface MultiHeadAttentionOptions extends RandomOptions {
  /** Of the probabilities, while training. Default 0. */
  readonly dropout?: number;
  /** Default true. */
  readonly bias?: boolean;
}

const MADE = signature(
  'MultiHeadAttention',
  {},
  { numbers: { dim: wholeNumber(1), heads: wholeNumber(1), dropout: probability } },
);
const OPTIONS = new OptionNames<MultiHeadAttentionOptions>({
  dropout: 'number',
  bias: 'boolean',
  random: 'any',
});
const X = signature('MultiHeadAttention', { x: floats('batch', 'length', 'dim') });
const CROSS = signature(
  'MultiHeadAttention',
  { x: floats('batch', 'length', 'dim'), context: floats('batch', 'keys', 'dim') },
  { sameDType: ['x', 'context'] },
);

/** Which keys a query attends to. */
export interface AttendOptions {
  /** Query i sees keys 0 … i. */
  readonly causal?: boolean | undefined;
  /** Tokens of each example that are there; what follows is padding, which nothing sees and whose result is arbitrary. */
  readonly lengths?: ArrayLike<number> | undefined;
  /** Added to the scaled scores, f32: [batch or 1, heads or 1, length, keys], or less of these from the right. −∞ masks. */
  readonly bias?: Tensor | undefined;
}

const ATTEND = new OptionNames<AttendOptions & { readonly context?: Tensor | undefined }>({
  causal: 'boolean',
  lengths: 'any',
  bias: 'any',
  context: 'any',
});

/**
 * softmax(q·kᵀ/√d)·v over several heads, of projections of the inputs, projected back. PyTorch's names: `in_proj_weight`
 * [3·dim, dim] of query, key and value, which begins as Xavier's uniform, `in_proj_bias` and `out_proj.bias` zeros.
 */
export class MultiHeadAttention extends Module {
  /** [3·dim, dim]: of queries, keys and values, one below the other. */
  readonly inProjWeight: Parameter;
  /** [3·dim], or none. */
  readonly inProjBias: Parameter | undefined;
  /** Of the heads side by side. */
  readonly outProj: Linear;
  private readonly dropout: number;
  private readonly random;

  /** @throws ShapeError when the heads do not divide the dimension evenly. */
  constructor(
    gpu: Gpu,
    dim: number,
    private readonly heads: number,
    options: MultiHeadAttentionOptions = {},
  ) {
    super();
    const { dropout = 0, bias = true, random } = OPTIONS.read('MultiHeadAttention', options);
    requireGpu('MultiHeadAttention', gpu);
    MADE.check({}, { dim, heads, dropout });
    if (dim % heads !== 0)
      throw new ShapeError('MultiHeadAttention', `${heads} heads do not divide a dimension of ${dim} evenly`);
    this.dropout = dropout;
    this.random = random;
    this.inProjWeight = xavierUniform_(parameter(gpu, [3 * dim, dim]), 1, random);
    this.inProjBias = bias ? parameter(gpu, [3 * dim]) : undefined;
    this.outProj = new Linear(gpu, dim, dim, { bias, random });
    if (this.outProj.bias) constant_(this.outProj.bias, 0);
  }

  /**
   * x: [batch, length, dim]; returns the same, of `dtype`, by default that of the products. Its tokens attend to each other, or to
   * those of `context`, [batch, keys, dim], whose `lengths` are then meant. @throws ShapeError for operands and options that
   * do not fit.
   */
  forward(
    input: Tensor,
    options: AttendOptions & {
      /** Keys and values come from it: [batch, keys, dim], of the input's precision. */
      readonly context?: Tensor | undefined;
    } = {},
    dtype?: FloatDType,
  ): Tensor {
    const { causal = false, lengths, bias } = ATTEND.read('MultiHeadAttention', options);
    if (options.context) CROSS.check({ x: input, context: options.context });
    else X.check({ x: input });
    return scope(() => {
      const x = this.inPrecision(input);
      const context = options.context && this.inPrecision(options.context);
      const drops = this.training && this.dropout > 0;
      const random = drops ? (this.random ?? defaultRandom(x.gpu)).next() : undefined;
      const dropout = random && { probability: this.dropout, ...random };
      const attended =
        context || lengths || bias
          ? this.apart(x, context ?? x, {
              causal,
              ...(bias ? { bias } : {}),
              ...(dropout ? { dropout } : {}),
              ...(lengths ? (context ? { keyLengths: lengths } : { lengths }) : {}),
            })
          : this.packed(x, causal, dropout);
      return reshape(this.outProj.forward(attended, dtype), x.shape);
    });
  }

  /** All tokens of all examples: query, key and value side by side, as one product leaves them. */
  private packed(x: Tensor, causal: boolean, dropout: AttentionDropout | undefined): Tensor {
    const [batch, length, dim] = x.shape as [number, number, number];
    const { inProjWeight: weight, inProjBias: bias } = this;
    const qkv = linear(reshape(x, [batch * length, dim]), weight.tensor, bias?.tensor);
    const sequences = new PackedSequences(x.gpu, new Array(length === 0 ? 0 : batch).fill(length));
    try {
      return attention(qkv, sequences, this.heads, dropout, { causal });
    } finally {
      // What was recorded takes what it needs anew.
      sequences.dispose();
    }
  }

  private apart(x: Tensor, context: Tensor, options: ScaledDotProductOptions): Tensor {
    const dim = x.shape[2]!;
    const { inProjWeight: weight, inProjBias: bias, heads } = this;
    const project = (from: Tensor, n: number) =>
      reshape(
        linear(
          from,
          sliceRows(weight.tensor, n * dim, (n + 1) * dim),
          bias && sliceRows(bias.tensor, n * dim, (n + 1) * dim),
        ),
        [...from.shape.slice(0, 2), heads, dim / heads],
      );
    const y = scaledDotProductAttention(project(x, 0), project(context, 1), project(context, 2), {
      ...options,
      layout: 'blhd',
    });
    return reshape(y, x.shape);
  }
}
