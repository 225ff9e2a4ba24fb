/** What products, layers and attention refuse: rows for operands.test.ts. */
import * as ops from '../../src/autograd/index.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { drop, packed, type Wrong } from './wrong-operands.js';

/** By op. */
export const layersWrong: Record<string, Wrong[]> = {
  matmul: [
    {
      operands: ['[8,64] f32', '[32,16] f16'],
      call: (a, b) => ops.matmul(a!, b!),
      says: /inner dimensions differ: a \[8,64\] f32 · b \[32,16\] f16$/,
    },
    {
      operands: ['[8,64] f32', '[16,32] f32'],
      call: (a, b) => ops.matmul(a!, b!, { transB: true }),
      says: /inner dimensions/,
    },
    {
      operands: ['[3,8,4] f32', '[2,4,4] f32'],
      call: (a, b) => ops.matmul(a!, b!),
      says: /batch dimensions do not broadcast: a \[3,8,4\] f32 · b \[2,4,4\] f32$/,
    },
    {
      operands: ['[2,8,4] f32', '[2,5,4] f32'],
      call: (a, b) => ops.matmul(a!, b!),
      says: /inner dimensions differ: a \[2,8,4\] f32 · b \[2,5,4\] f32$/,
    },
    {
      operands: ['[8,4] f32', '[5] f32'],
      call: (a, b) => ops.matmul(a!, b!),
      says: /inner dimensions differ: a \[8,4\] f32 · b \[5\] f32$/,
    },
    {
      operands: ['[8,4] f32', '[4] f32'],
      call: (a, b) => ops.matmul(a!, b!, { transB: true }),
      says: /a vector has no transpose/,
    },
    {
      operands: ['[4] f32', '[4,4] f32'],
      call: (a, b) => ops.matmul(a!, b!, { transA: true }),
      says: /a must be \[K,M\], found 1 dimensions/,
    },
    { operands: ['[] f32', '[4,4] f32'], call: (a, b) => ops.matmul(a!, b!), says: /found 0 dimensions/ },
    {
      operands: ['[8,4] u32', '[4,4] f32'],
      call: (a, b) => ops.matmul(a!, b!),
      says: /a must be f32 or f16/,
    },
    {
      operands: ['[8,4] f32', '[4,4] f32 elsewhere'],
      call: (a, b) => ops.matmul(a!, b!),
      says: /different devices/,
    },
    {
      operands: ['[8,4] f32', '[4,4] f32 freed'],
      call: (a, b) => ops.matmul(a!, b!),
      says: /b was already freed/,
    },
  ],
  dot: [
    {
      operands: ['[8] f32', '[7] f32'],
      call: (a, b) => ops.dot(a!, b!),
      says: /K is 8 in a \[K\] and 7 in b/,
    },
  ],
  outer: [
    {
      operands: ['[8] f32', '[7,1] f32'],
      call: (a, b) => ops.outer(a!, b!),
      says: /b must be \[N\], found 2 dimensions/,
    },
  ],
  einsum: [
    {
      operands: ['[2,3] f32', '[4,5] f32'],
      call: (a, b) => ops.einsum('ij,jk->ik', a!, b),
      says: /"ij,jk->ik": j is 3 and 4: a \[2,3\] f32 · b \[4,5\] f32$/,
    },
    {
      operands: ['[2,3] f32'],
      call: (a) => ops.einsum('ij,jk', a!),
      says: /names 2 operands, found 1/,
    },
    {
      operands: ['[2,3] f32'],
      call: (a) => ops.einsum('ijk->k', a!),
      says: /"ijk" names no tensor of 2 dimensions/,
    },
    {
      operands: ['[2,3] f32'],
      call: (a) => ops.einsum('ij->ijk', a!),
      says: /k of the result is in no operand/,
    },
    { operands: ['[2,3] f32'], call: (a) => ops.einsum('ij->ii', a!), says: /i stands twice in the result/ },
    { operands: ['[2,3] f32'], call: (a) => ops.einsum('i1->i', a!), says: /"1" is no letter/ },
    { operands: ['[2,3] f32'], call: (a) => ops.einsum('ij->i->', a!), says: /-> stands there twice/ },
    { operands: ['[2,3] f32'], call: (a) => ops.einsum('...i...->i', a!), says: /\.\.\. stands twice/ },
    {
      operands: ['[2,3] f32', '[4,3] f32'],
      call: (a, b) => ops.einsum('...i,...i', a!, b),
      says: /what \.\.\. stands for does not broadcast: 2 and 4/,
    },
    {
      operands: ['[2,3] f32', '[2,3] f16'],
      call: (a, b) => ops.einsum('ij,ij', a!, b),
      says: /a and b must be of one dtype/,
    },
    {
      operands: ['[2,3] f32'],
      call: (a) => ops.einsum(5 as unknown as string, a!),
      says: /needs an equation such as/,
    },
    {
      operands: ['[2,3] f32'],
      call: (a) => (ops.einsum as (...all: unknown[]) => Tensor)('ij,ij,ij', a, a, a),
      says: /takes one or two operands, found 3/,
    },
  ],
  linear: [
    {
      operands: ['[3,8] f32', '[4,6] f32'],
      call: (x, w) => ops.linear(x!, w!),
      says: /in is 8 in x .* 6 in weight/,
    },
    {
      operands: ['[3,8] f32', '[4,8] f32', '[3] f32'],
      call: (x, w, b) => ops.linear(x!, w!, b),
      says: /out is 4 in weight .* 3 in bias/,
    },
    {
      operands: ['[3,8] f32', '[4,8] f32', '[4] f16'],
      call: (x, w, b) => ops.linear(x!, w!, b),
      says: /bias must be f32/,
    },
    {
      operands: ['[3,8] f32', '[4,8] f32', '[4] f32 elsewhere'],
      call: (x, w, b) => ops.linear(x!, w!, b),
      says: /different devices/,
    },
    {
      operands: ['[3,8] f32', '[8] f32'],
      call: (x, w) => ops.linear(x!, w!),
      says: /weight must be \[out,in\]/,
    },
  ],
  linearGelu: [
    {
      operands: ['[3,8] u32', '[4,8] f32'],
      call: (x, w) => ops.linearGelu(x!, w!),
      says: /x must be f32 or f16/,
    },
    { operands: ['[3,8] f32', '[4,6] f32'], call: (x, w) => ops.linearGelu(x!, w!), says: /in is 8/ },
    {
      operands: ['[3,8] f32', '[4,8] f32', '[1,4] f32'],
      call: (x, w, b) => ops.linearGelu(x!, w!, b),
      says: /bias must be \[out\]/,
    },
  ],
  layerNorm: [
    {
      operands: ['[4,8] f32', '[8] f32', '[8] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!, 1e-5, undefined, 'u32' as 'f16'),
      says: /the result must be f32 or f16, not "u32"/,
    },
    {
      operands: ['[4,8] f32', '[7] f32', '[8] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!),
      says: /H is 8 in x .* 7 in gamma/,
    },
    {
      operands: ['[4,8] f32', '[8] f32', '[4] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!),
      says: /4 in beta/,
    },
    {
      operands: ['[4,8] f32', '[2,4] f32', '[8] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!),
      says: /gamma must be \[H\]/,
    },
    {
      operands: ['[4,8] f32', '[8] f32', '[8] f32', '[8,4] f32'],
      call: (x, g, b, r) => ops.layerNorm(x!, g!, b!, 1e-5, r),
      says: /differ/,
    },
    {
      operands: ['[4,8] f32', '[8] f32', '[8] f32', '[2,8] f32'],
      call: (x, g, b, r) => ops.layerNorm(x!, g!, b!, 1e-5, r),
      says: /differ/,
    },
    {
      operands: ['[4,6] f16', '[6] f32', '[4] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!),
      says: /H is 6 in x .* 4 in beta/,
    },
    {
      operands: ['[4,8] f32', '[8] f16', '[8] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!),
      says: /gamma must be f32/,
    },
    {
      operands: ['[4,8] f32', '[8] f32', '[8] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!, -1),
      says: /eps must be a finite number/,
    },
    {
      operands: ['[4,8] f32', '[8] f32', '[8] f32'],
      call: (x, g, b) => ops.layerNorm(x!, g!, b!, Number.NaN),
      says: /eps must be/,
    },
  ],
  attention: [
    {
      operands: ['[3,24] f32'],
      call: (x) => ops.attention(x!, packed(2), 2),
      says: /T is 2 in the sequences and 3 in qkv/,
    },
    {
      operands: ['[3,24] f32'],
      call: (x) => ops.attention(x!, packed(2, 2), 2),
      says: /T is 4 in the sequences/,
    },
    { operands: ['[3,396] f32'], call: (x) => ops.attention(x!, packed(3), 1), says: /head dimension/ },
    { operands: ['[3,25] f32'], call: (x) => ops.attention(x!, packed(3), 2), says: /3\*heads\*d is 25/ },
    {
      operands: ['[3,24] f32'],
      call: (x) => ops.attention(x!, packed(3), 1.5),
      says: /heads must be a whole number/,
    },
    { operands: ['[3,24] f32'], call: (x) => ops.attention(x!, packed(3), 0), says: /heads must be/ },
    { operands: ['[3,1,24] f32'], call: (x) => ops.attention(x!, packed(3), 2), says: /found 3 dimensions/ },
    { operands: ['[3,24] u32'], call: (x) => ops.attention(x!, packed(3), 2), says: /must be f32 or f16/ },
    {
      operands: ['[3,24] f32 elsewhere'],
      call: (x) => ops.attention(x!, packed(3), 2),
      says: /another device/,
    },
    {
      operands: ['[3,24] f32'],
      call: (x) => ops.attention(x!, packed(3), 2, { ...drop, probability: 1.1 }),
      says: /probability must be/,
    },
    {
      operands: ['[3,24] f32'],
      call: (x) => ops.attention(x!, packed(3), 2, { ...drop, probability: -0.1 }),
      says: /probability must be/,
    },
  ],
  rotary: [
    { operands: ['[3,5] f32'], call: (x) => ops.rotary(x!), says: /5 components are no pairs/ },
    { operands: ['[3,4] f32'], call: (x) => ops.rotary(x!, 0.5), says: /offset must be a whole number/ },
    { operands: ['[3,4] f32'], call: (x) => ops.rotary(x!, 0, { base: 0 }), says: /base must be/ },
    { operands: ['[3,4] f32'], call: (x) => ops.rotary(x!, 0, { axis: -1 }), says: /axis -1 is none/ },
    {
      operands: ['[3,4] f32', '[2] u32'],
      call: (x, positions) => ops.rotary(x!, positions!),
      says: /2 positions for an axis of 3/,
    },
    {
      operands: ['[3,4] f32', '[3] f32'],
      call: (x, positions) => ops.rotary(x!, positions!),
      says: /positions must be u32 or i32/,
    },
  ],
  swiglu: [
    {
      operands: ['[3,4] f32', '[3,4] f16'],
      call: (gate, up) => ops.swiglu(gate!, up!),
      says: /gate and up must be of one dtype/,
    },
  ],
  scaledDotProductAttention: (
    [
      [{}, /d is 8 in q \[B,H,Lq,d\] and 4 in k/, '[1,2,3,8] f32', '[1,2,3,4] f32'],
      [{}, /G is 2 in k \[B,G,Lk,d\] and 1 in v/, '[1,2,3,8] f32', '[1,2,3,8] f32', '[1,1,3,8] f32'],
      [{}, /3 heads of queries cannot share 2 of keys/, '[1,3,3,8] f32', '[1,2,3,8] f32'],
      [
        { causal: 'left' as never },
        /causal must be true, false or lower-right, found "left"/,
        '[1,2,3,8] f32',
        '[1,2,3,8] f32',
      ],
      [{}, /head dimension must be from 1 up to 128/, '[1,2,3,132] f32', '[1,2,3,132] f32'],
      [{}, /q and k must be of one dtype/, '[1,2,3,8] f32', '[1,2,3,8] f16'],
      [{ sequences: 2 }, /Tq is 2 in the sequences/, '[3,2,8] f32', '[3,2,8] f32'],
      [{ sequences: 3, layout: 'bhld' }, /layout is for four dimensions/, '[3,2,8] f32', '[3,2,8] f32'],
      [{ sequences: 3 }, /sequences is for three dimensions/, '[1,2,3,8] f32', '[1,2,3,8] f32'],
      [{ lengths: [4] }, /lengths must be whole numbers up to 3, found 4/, '[1,2,3,8] f32', '[1,2,3,8] f32'],
      [{ lengths: [1, 2] }, /2 numbers for a batch of 1/, '[1,2,3,8] f32', '[1,2,3,8] f32'],
      [{ scale: Number.NaN }, /scale must be a finite number/, '[1,2,3,8] f32', '[1,2,3,8] f32'],
      [{ dropout: { ...drop, probability: 2 } }, /probability must be/, '[1,2,3,8] f32', '[1,2,3,8] f32'],
      [
        {},
        /the bias cannot be broadcast to \[1,2,3,3\]/,
        '[1,2,3,8] f32',
        '[1,2,3,8] f32',
        '[1,2,3,8] f32',
        '[2,3] f32',
      ],
    ] as const
  ).map(([options, says, q, k, v = k, bias]) => ({
    operands: [q, k, v, ...(bias ? [bias] : [])],
    call: (q?: Tensor, k?: Tensor, v?: Tensor, bias?: Tensor) =>
      ops.scaledDotProductAttention(q!, k!, v!, {
        ...options,
        ...('sequences' in options ? { sequences: packed(options.sequences) } : {}),
        ...(bias ? { bias } : {}),
      } as ops.ScaledDotProductOptions),
    says,
  })),
  dropout: [
    ...[-0.1, 1.5, Number.NaN].map((p) => ({
      operands: ['[4,4] f32'],
      call: (x?: Tensor) => ops.dropout(x!, p, drop),
      says: /probability must be a probability from 0 to 1/,
    })),
    { operands: ['[4,4] i32'], call: (x) => ops.dropout(x!, 0.5, drop), says: /x must be f32 or f16/ },
    {
      operands: ['[4,4] f32'],
      call: (x) => ops.dropout(x!, 0.5, { ...drop, firstRow: 0.5 }),
      says: /firstRow must be/,
    },
    {
      operands: ['[4,3] f32'],
      call: (x) => ops.dropout(x!, 0.5, { ...drop, firstRow: 1 }),
      says: /groups of 4/,
    },
  ],
};
