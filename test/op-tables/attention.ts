/** Of the table of ops: attention. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { attentionReference } from '../../src/kernels/attention/reference.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import { type OpCase, pending } from './case.js';

export const attentionCases: OpCase[] = (
  [
    [[5], 1, 4],
    [[3, 17, 1, 8], 4, 16],
    [[9, 20, 33], 2, 32],
    [[12, 5], 1, 64],
    [[70, 3], 1, 20],
  ] as [number[], number, number][]
).map(([lengths, heads, d]) => {
  const tokens = lengths.reduce((a, b) => a + b, 0);
  const times = tokens < 10 ? 16 : 6;
  const many = Array.from({ length: times }, () => lengths).flat();
  const { bounds } = new PackedSequences({} as Gpu, many);
  const mostRows = Math.max(...many.map((_, s) => bounds[s + 1]! - Math.floor(bounds[s]! / 64) * 64));
  return {
    name: `attention lengths ${lengths} heads ${heads} dim ${d}`,
    inputs: [[tokens, 3 * heads * d]],
    large: [[times * tokens, 3 * heads * d]],
    // A sequence must be seen at once, from a row on that is a multiple of 64.
    binding: Math.max(4096, 12 * heads * d * mostRows),
    halves: [0],
    run: (gpu, [qkv]) => {
      const packed = new PackedSequences(gpu, qkv!.rows === tokens ? lengths : many);
      pending.push(packed);
      return ops.attention(qkv!, packed, heads);
    },
    reference: ([qkv]) =>
      attentionReference(qkv!, new PackedSequences({} as Gpu, lengths).bounds, heads, heads * d),
  };
});
