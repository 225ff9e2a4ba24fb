/** Fused attention. Source: FlashAttention-2 (Dao 2023), kernels in `src/kernels/attention/`. */
import { ShapeError } from '../../errors.js';
import {
  type AttentionDropout,
  attentionGradient,
  attention as attentionKernel,
} from '../../kernels/attention/attention.js';
import {
  type ScaledDotProductOptions,
  scaledDotProduct,
  scaledDotProductCall,
  scaledDotProductGradient,
} from '../../kernels/attention/scaled-dot-product.js';
import { dropMask } from '../../kernels/dropout.js';
import { type RotaryOptions, rotaryCall, rotary as rotaryKernel } from '../../kernels/rotary.js';
import { OptionNames } from '../../options.js';
import { floats, signature } from '../../tensor/operands.js';
import type { PackedSequences } from '../../tensor/packed.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record, sharedGradient, wantsGradient } from '../tape.js';
import { cast, mul, silu } from './pointwise.js';

export type { AttentionDropout, RotaryOptions, ScaledDotProductOptions };

const DROPOUT = new OptionNames<AttentionDropout>({
  probability: 'number',
  seed: 'number',
  stream: 'number',
  firstRow: 'number',
});

/** What of a draw takes part; what is no probability is the kernel's to refuse. As it is now: backward must draw the same. */
function activeOf(op: string, dropout: AttentionDropout | undefined): AttentionDropout | undefined {
  if (dropout !== undefined) DROPOUT.read(op, dropout, 'dropout');
  const drops = dropout && !(dropout.probability >= 0 && dropMask(dropout.probability).threshold === 0);
  return drops ? { ...dropout } : undefined;
}

/** Which tokens see which. */
export interface AttentionOptions {
  /** A token sees itself and those before it. Default false: all of its sequence. */
  readonly causal?: boolean;
}

const ATTENTION_OPTIONS = new OptionNames<AttentionOptions>({ causal: 'boolean' });

/**
 * softmax(q·kᵀ/√d)·v per sequence and head. qkv: [T, 3·heads·d], query, key and value of a token side by side;
 * d up to 128, of which multiples of 4 need no copies. Returns [T, heads·d]. Dropout acts on the probabilities. With `causal`
 * a token sees itself and those before it. A query whose scores are all −∞ has the result 0.
 */
export function attention(
  qkv: Tensor,
  sequences: PackedSequences,
  heads: number,
  dropout?: AttentionDropout,
  options: AttentionOptions = {},
): Tensor {
  const { causal = false } = ATTENTION_OPTIONS.read('attention', options);
  const active = activeOf('attention', dropout);
  return scope(() => {
    const { out, logSumExp } = attentionKernel(qkv, sequences, heads, active, causal);
    return record(
      'attention',
      out,
      [qkv, out, logSumExp],
      [[qkv, (dOut) => attentionGradient(qkv, out, logSumExp, dOut, sequences, heads, active, causal)]],
    );
  });
}

const SDPA_OPTIONS = new OptionNames<ScaledDotProductOptions>({
  causal: 'any',
  bias: 'any',
  scale: 'number',
  dropout: 'any',
  layout: 'string',
  lengths: 'any',
  keyLengths: 'any',
  sequences: 'any',
  keySequences: 'any',
});

/**
 * softmax(q·kᵀ·scale + bias)·v, as PyTorch's `scaled_dot_product_attention`: never the whole matrix of scores in memory.
 * q: [batch, heads, Lq, d], k and v: [batch, key heads, Lk, d] f32 or f16, all of one; or with `layout: 'blhd'` length
 * before heads; or packed, [tokens, heads, d] with `sequences` and, where keys are others, `keySequences`. d is up to
 * 128, of which multiples of 4 need no copies. A key head may serve several heads of queries that follow each other
 * (grouped-query attention). Returns q's shape. A query that sees no key, by lengths or by a bias of −∞, has the result 0 and
 * passes no gradient on. The bias has a gradient where each query and key has one of its own.
 *
 * With a cache of keys and values, q is the newest tokens and `causal: 'lower-right'` lets them see all before them; of a
 * single one no option is needed. Where the cache has room for more, `keyLengths` say how much of it is there, and the
 * newest token is at the end of that.
 * @throws ShapeError when shapes, lengths or options do not fit, and for an option that the layout does not have.
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: ScaledDotProductOptions = {},
): Tensor {
  return scope(() => {
    const { dropout: drawn, ...rest } = SDPA_OPTIONS.read('scaledDotProductAttention', options);
    const dropout = activeOf('scaledDotProductAttention', drawn);
    const checked = scaledDotProductCall(q, k, v, { ...rest, ...(dropout ? { dropout } : {}) });
    const given = checked.sources.bias;
    if (given && wantsGradient(given) && checked.sharedBias)
      throw new ShapeError(
        'scaledDotProductAttention',
        'a bias that all queries or all keys share has no gradient; expand it, or detach it',
        { q, k, bias: given },
      );
    const bias = given && cast(given, 'f32');
    const call = { ...checked, sources: { ...checked.sources, bias } };
    const { out, logSumExp } = scaledDotProduct(call);
    const trainsBias = bias !== undefined && wantsGradient(bias);
    const gradients = sharedGradient((dOut) =>
      scaledDotProductGradient(call, out, logSumExp, dOut, trainsBias),
    );
    return record(
      'scaledDotProductAttention',
      out,
      [q, k, v, out, logSumExp, ...(bias ? [bias] : [])],
      [
        [q, (dOut) => gradients(dOut).dq.alias(q.shape)],
        [k, (dOut) => gradients(dOut).dk.alias(k.shape)],
        [v, (dOut) => gradients(dOut).dv.alias(v.shape)],
        ...(bias ? [[bias, (dOut: Tensor) => gradients(dOut).dBias] as const] : []),
      ],
    );
  });
}

const ROTARY_OPTIONS = new OptionNames<RotaryOptions>({
  base: 'number',
  interleaved: 'boolean',
  axis: 'number',
});

/**
 * Rotary positions: pairs of components of x [..., length, d] are turned by position · base^(−2i/d), as in RoFormer (Su et
 * al. 2021). `positions`: u32 or i32 [length], or the first of as many in a row. Pairs are i and i + d/2, or with
 * `interleaved` 2i and 2i+1; `axis` is that of positions, −3 where heads come after the length. Returns a copy; the gradient
 * is turned back.
 * @throws ShapeError unless d is even.
 */
export function rotary(x: Tensor, positions: number | Tensor = 0, options: RotaryOptions = {}): Tensor {
  const call = rotaryCall(x, positions, ROTARY_OPTIONS.read('rotary', options));
  return record('rotary', rotaryKernel(call, x), call.positions ? [call.positions] : [], [
    [x, (dy) => rotaryKernel(call, dy, true)],
  ]);
}

const SWIGLU = signature('swiglu', { gate: floats('...'), up: floats('...') }, { sameDType: ['gate', 'up'] });

/** SwiGLU (Shazeer 2020): silu(gate) · up, of one shape and format. @throws ShapeError where they are not. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  SWIGLU.check({ gate, up });
  return scope(() => mul(silu(gate), up));
}
