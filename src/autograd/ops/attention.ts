/** Fused attention over packed sequences. Source: FlashAttention-2 (Dao 2023), kernels in `src/kernels/attention/`. */
import {
  type AttentionDropout,
  attentionGradient,
  attention as attentionKernel,
} from '../../kernels/attention/attention.js';
import { dropMask } from '../../kernels/dropout.js';
import type { PackedSequences } from '../../tensor/packed.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

/**
 * softmax(q·kᵀ/√d)·v per sequence and head. qkv: [T, 3·heads·d], query, key and value of a token side by side;
 * d a multiple of 4 up to 128. Returns [T, heads·d]. Dropout acts on the probabilities.
 */
export function attention(
  qkv: Tensor,
  sequences: PackedSequences,
  heads: number,
  dropout?: AttentionDropout,
): Tensor {
  // What is no probability is the kernel's to refuse.
  const drops = dropout && !(dropout.probability >= 0 && dropMask(dropout.probability).threshold === 0);
  // As it is now: backward must draw the same.
  const active = drops ? { ...dropout } : undefined;
  return scope(() => {
    const { out, logSumExp } = attentionKernel(qkv, sequences, heads, active);
    return record(
      'attention',
      out,
      [qkv, out, logSumExp],
      [[qkv, (dOut) => attentionGradient(qkv, out, logSumExp, dOut, sequences, heads, active)]],
    );
  });
}
