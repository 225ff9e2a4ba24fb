/** Multi-head attention with the parameters of torch.nn.MultiheadAttention, over the fused kernels. Batches come first. */
import { attention, linear, reshape } from '../autograd/index.js';
import type { Parameter } from '../autograd/parameters.js';
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
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
const X = signature('MultiHeadAttention', { x: floats('batch', 'length', 'dim') });

/**
 * softmax(q·kᵀ/√d)·v over several heads, of projections of the inputs, projected back. PyTorch's names: `in_proj_weight`
 * [3·dim, dim] of query, key and value, which begins as Xavier's uniform, `in_proj_bias` and `out_proj.bias` zeros.
 */
export class MultiHeadAttention extends Module {
  readonly inProjWeight: Parameter;
  readonly inProjBias: Parameter | undefined;
  readonly outProj: Linear;
  private readonly dropout: number;
  private readonly random;

  /** @throws ShapeError when the heads do not divide the dimension evenly. */
  constructor(
    gpu: Gpu,
    dim: number,
    private readonly heads: number,
    { dropout = 0, bias = true, random }: MultiHeadAttentionOptions = {},
  ) {
    super();
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

  /** Every token attends to all of its example. x: [batch, length, dim]; returns the same. */
  forward(x: Tensor): Tensor {
    X.check({ x });
    return scope(() => {
      const [batch, length, dim] = x.shape as [number, number, number];
      const qkv = linear(
        reshape(x, [batch * length, dim]),
        this.inProjWeight.tensor,
        this.inProjBias?.tensor,
      );
      const drops = this.training && this.dropout > 0;
      const random = drops ? (this.random ?? defaultRandom(x.gpu)).next() : undefined;
      const sequences = new PackedSequences(x.gpu, new Array(length === 0 ? 0 : batch).fill(length));
      try {
        const context = attention(
          qkv,
          sequences,
          this.heads,
          random && { probability: this.dropout, ...random },
        );
        return reshape(this.outProj.forward(context), x.shape);
      } finally {
        // What was recorded takes what it needs anew.
        sequences.dispose();
      }
    });
  }
}
