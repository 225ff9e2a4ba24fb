/**
 * Each op with operands that do not fit: the error names op, shapes and dtypes, nothing was allocated before it, and
 * the same device goes on to compute what is right.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { maxSimLayout } from '../src/kernels/maxsim/layout.js';
import {
  type BinaryName,
  binaryFormulas,
  type FormulaName,
  formulas,
  type UnaryName,
  unaryFormulas,
} from '../src/kernels/pointwise.js';
import { sparseMatches } from '../src/kernels/sparse-matches.js';
import type { M3Model } from '../src/models/m3.js';
import { evaluateRetrieval } from '../src/retrieval/evaluate/one-relevant.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { sizeOf } from '../src/tensor/shape.js';
import { type DType, Tensor } from '../src/tensor/tensor.js';
import type { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { teacherProbabilities } from '../src/train/losses/score-loss.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { collate } from '../src/train/step/collate.js';
import { factoriesWrong, type Wrong } from './op-tables/factories-wrong.js';
import { callsWithOptions, callsWithout } from './op-tables/options.js';

let gpu: Gpu;
let other: Gpu;
before(async () => {
  gpu = await Gpu.open();
  other = await Gpu.open();
});
after(async () => {
  await gpu.close();
  await other.close();
});

/** A tensor written as in messages: `[2,3] f16`; `freed`, `elsewhere` after that. */
function tensor(text: string): Tensor {
  const [, extents, dtype, state] = /^\[([\d,]*)\] (\w+)(?: (\w+))?$/.exec(text)!;
  const shape = extents === '' ? [] : extents!.split(',').map(Number);
  const result = Tensor.zeros(state === 'elsewhere' ? other : gpu, shape, dtype as DType);
  if (state === 'freed') result.dispose();
  return result;
}

const drop = { seed: 1, stream: 0 };
const index = (...rows: number[]) => new RowIndex(gpu, Uint32Array.from(rows));
const packed = (...lengths: number[]) => new PackedSequences(gpu, lengths);
/** Layouts hold device lists, which are made and freed around the call. */
function withLists(lengths: number[], use: (sequences: PackedSequences) => unknown): unknown {
  const sequences = packed(...lengths);
  try {
    return use(sequences);
  } finally {
    sequences.dispose();
  }
}
const ids = (n: number) => Uint32Array.from({ length: n }, (_, i) => 10 + (i % 3));
const lexical = (w: Tensor, change: object = {}) =>
  withLists([3, 3, 3, 3], (p) =>
    ops.sparseScores(w, { ...sparseMatches(p, ids(12), { queries: 1, special: [] }).matches, ...change }),
  );

/** By op. */
const wrong: Record<string, Wrong[]> = {
  ...factoriesWrong(() => gpu),
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
  softmax: [
    { operands: ['[4,4] i32'], call: (x) => ops.softmax(x!), says: /x must be f32/ },
    { operands: ['[4,4] f32 freed'], call: (x) => ops.softmax(x!), says: /already freed/ },
  ],
  logSoftmax: [{ operands: ['[4,4] u32'], call: (x) => ops.logSoftmax(x!), says: /x must be f32/ }],
  crossEntropy: [
    {
      operands: ['[2,2] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 5]),
      says: /target 5 of row 1 is none of 2 classes/,
    },
    { operands: ['[2,2] f32'], call: (x) => ops.crossEntropy(x!, [0, -1]), says: /target -1 of row 1/ },
    { operands: ['[2,2] f32'], call: (x) => ops.crossEntropy(x!, [0.5, 1]), says: /target 0.5 of row 0/ },
    {
      operands: ['[2,2] f32'],
      call: (x) => ops.crossEntropy(x!, [0, -100], { ignoreIndex: -1 }),
      says: /target -100/,
    },
    {
      operands: ['[2,2] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 1, 1]),
      says: /R is 2 in x .* 3 in targets/,
    },
    {
      operands: ['[2,2] f32', '[3] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /R is 2 in x .* 3 in targets/,
    },
    {
      operands: ['[2,2] f32', '[2] f32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /targets must be u32 or i32/,
    },
    {
      operands: ['[2,2] f32', '[2,1] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /targets must be \[R\]/,
    },
    { operands: ['[4] f32', '[1] u32'], call: (x, t) => ops.crossEntropy(x!, t!), says: /x must be \[R,C\]/ },
    {
      operands: ['[2,0] f32', '[2] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /C must be at least 1/,
    },
    {
      operands: ['[2,3,5] f32', '[2,5] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /rows is \[2,3\] in x .* and \[2,5\] in targets/,
    },
    {
      operands: ['[2,5] f32', '[4] f32'],
      call: (x, w) => ops.crossEntropy(x!, [0, 1], { weight: w! }),
      says: /C is 5 in x .* 4 in weight/,
    },
    {
      operands: ['[2,5] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 1], { labelSmoothing: 2 }),
      says: /labelSmoothing must be a probability/,
    },
    {
      operands: ['[2,5] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 1], { reduction: 'batchmean' as never }),
      says: /reduction must be/,
    },
  ],
  softCrossEntropy: [
    { operands: ['[2,3] f32', '[3,2] f32'], call: (x, p) => ops.softCrossEntropy(x!, p!), says: /differ/ },
    {
      operands: ['[2,3] f32', '[2,3] f16'],
      call: (x, p) => ops.softCrossEntropy(x!, p!),
      says: /probabilities must be f32/,
    },
  ],
  m3Distillation: [
    {
      operands: ['[2,5] f32', '[2,3] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, false),
      says: />=B\*G is 5 .* not at least 6/,
    },
    {
      operands: ['[2,5] f32', '[2,3] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, true),
      says: /G is 5 in x .* 3 in teacher/,
    },
    {
      operands: ['[2,6] f32', '[3,2] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, false),
      says: /B is 2/,
    },
    {
      operands: ['[2,6] f32', '[6] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, false),
      says: /teacher must be/,
    },
  ],
  ownGroup: [
    { operands: ['[2,6] f32'], call: (x) => ops.ownGroup(x!, 2), says: /B\*G is 6 .* not 4/ },
    { operands: ['[2,6] f32'], call: (x) => ops.ownGroup(x!, 1.5), says: /G must be a whole number/ },
    { operands: ['[2,6] f32'], call: (x) => ops.ownGroup(x!, 0), says: /G must be/ },
    { operands: ['[12] f32'], call: (x) => ops.ownGroup(x!, 3), says: /x must be/ },
  ],
  ...Object.fromEntries(
    (['mseLoss', 'l1Loss', 'huberLoss', 'smoothL1Loss', 'bceWithLogits', 'klDivergence'] as const).map(
      (name) => [
        name,
        [
          { operands: ['[3] f32', '[1] f32'], call: (x, y) => ops[name](x!, y!), says: /dimensions differ/ },
          { operands: ['[3] f32', '[3] i32'], call: (x, y) => ops[name](x!, y!), says: /target must be f32/ },
          {
            operands: ['[3] f32', '[3] f32'],
            call: (x, y) => ops[name](x!, y!, { reduction: 'average' as never }),
            says: /reduction must be mean or sum or none/,
          },
        ] satisfies Wrong[],
      ],
    ),
  ),
  cosineSimilarity: [
    { operands: ['[3] i32', '[3] f32'], call: (a, b) => ops.cosineSimilarity(a!, b!), says: /a must be f32/ },
    {
      operands: ['[3] f32', '[3] f32'],
      call: (a, b) => ops.cosineSimilarity(a!, b!, -1, -1),
      says: /eps must be/,
    },
  ],
  cosineEmbeddingLoss: [
    {
      operands: ['[3,2] f32', '[3,2] f32', '[2] i32'],
      call: (a, b, t) => ops.cosineEmbeddingLoss(a!, b!, t!),
      says: /dimensions differ/,
    },
  ],
  multipleNegativesRanking: [
    {
      operands: ['[3,2] f32', '[2,2] f32'],
      call: (a, b) => ops.multipleNegativesRanking(a!, b!),
      says: />=B is 2 in candidates .* not at least 3/,
    },
    {
      operands: ['[3,2] f32', '[3,2] f32'],
      call: (a, b) => ops.multipleNegativesRanking(a!, b!, { similarity: 'euclidean' as never }),
      says: /similarity must be cosine or dot/,
    },
    {
      operands: ['[3,2] f32', '[3,2] f32'],
      call: (a, b) => ops.multipleNegativesRanking(a!, b!, { scale: 0 }),
      says: /scale must be a finite number above 0/,
    },
  ],
  tripletLoss: [
    {
      operands: ['[3,2] f32', '[3,2] f32', '[3,1] f32'],
      call: (a, b, c) => ops.tripletLoss(a!, b!, c!),
      says: /dimensions differ/,
    },
    {
      operands: ['[3,2] f32', '[3,2] f32', '[3,2] f32'],
      call: (a, b, c) => ops.tripletLoss(a!, b!, c!, { distance: 'far' as never }),
      says: /distance must be euclidean or cosine/,
    },
  ],
  countNonzero: [{ operands: ['[3] f32'], call: (x) => ops.countNonzero(x!, 1), says: /no axis 1/ }],
  prod: [{ operands: ['[3] bool'], call: (x) => ops.prod(x!), says: /x must be f32/ }],
  variance: [
    { operands: ['[3] i32'], call: (x) => ops.variance(x!), says: /x must be f32/ },
    {
      operands: ['[3] f32'],
      call: (x) => ops.variance(x!, 0, false, { correction: -1 }),
      says: /correction must be/,
    },
  ],
  std: [
    {
      operands: ['[3] f32'],
      call: (x) => ops.std(x!, 0, false, { correction: -1 }),
      says: /correction must be/,
    },
  ],
  norm: [
    { operands: ['[3] f32'], call: (x) => ops.norm(x!, 0), says: /p must be a number other than 0/ },
    { operands: ['[0] f32'], call: (x) => ops.norm(x!, Infinity), says: /of nothing there is none/ },
  ],
  logSumExp: [{ operands: ['[3] i32'], call: (x) => ops.logSumExp(x!), says: /x must be f32/ }],
  rmsNorm: [
    { operands: ['[2,3] f32', '[2] f32'], call: (x, g) => ops.rmsNorm(x!, g!), says: /H is 3 in x/ },
    { operands: ['[2,3] f32', '[3] f32'], call: (x, g) => ops.rmsNorm(x!, g!, -1), says: /eps must be/ },
  ],
  lateInteraction: [
    {
      operands: ['[3,4] f32', '[6,4] f32'],
      call: (q, p) => withLists([3], (a) => withLists([5], (b) => ops.lateInteraction(q!, p!, a, b))),
      says: /P is 5 in the passages and 6 in passageVectors|P is 6 in passageVectors/,
    },
    {
      operands: ['[3,4] f32', '[6,4] f32'],
      call: (q, p) =>
        withLists([1, 2], (a) =>
          withLists([2, 2, 2], (b) => ops.lateInteraction(q!, p!, a, b, { ownGroup: true })),
        ),
      says: /3 passages are no equal groups for 2 queries/,
    },
    {
      operands: ['[3,4] f32', '[6,4] f32'],
      call: (q, p) =>
        withLists([3], (a) =>
          withLists([6], (b) => ops.lateInteraction(q!, p!, a, b, { reduction: 'max' as never })),
        ),
      says: /reduction must be mean or sum/,
    },
  ],
  lexicalScores: [
    {
      operands: ['[3] f32', '[6] f32'],
      call: (q, p) =>
        withLists([3], (a) =>
          withLists([6], (b) =>
            ops.lexicalScores(q!, p!, { ids: [1, 2, 3], sequences: a }, { ids: [1], sequences: b }),
          ),
        ),
      says: /1 ids for 6 tokens of the passages/,
    },
    {
      operands: ['[3] f32', '[1] f32'],
      call: (q, p) =>
        withLists([3], (a) =>
          withLists([1], (b) =>
            ops.lexicalScores(q!, p!, { ids: [1, 2, -3], sequences: a }, { ids: [1], sequences: b }),
          ),
        ),
      says: /ids must be a whole number .* found -3/,
    },
  ],
  max: [
    { operands: ['[3,0] f32'], call: (x) => ops.max(x!, 1), says: /of nothing there is none/ },
    { operands: ['[3,0] f32'], call: (x) => ops.max(x!), says: /of nothing there is none/ },
    { operands: ['[3,2] bool'], call: (x) => ops.max(x!), says: /must be f32/ },
    {
      operands: ['[3,2] f32'],
      call: (x) => ops.max(x!, 'last' as never),
      says: /axis must be a number or a list/,
    },
  ],
  min: [{ operands: ['[0,2] i32'], call: (x) => ops.min(x!, 0), says: /of nothing there is none/ }],
  argmax: [
    { operands: ['[3,0] f32'], call: (x) => ops.argmax(x!), says: /of nothing there is none/ },
    { operands: ['[3,2] f32'], call: (x) => ops.argmax(x!, [0, 1] as never), says: /along one axis/ },
  ],
  argmin: [{ operands: ['[3,2] bool'], call: (x) => ops.argmin(x!), says: /must be f32/ }],
  any: [{ operands: ['[3,2] f32'], call: (x) => ops.any(x!), says: /must be bool/ }],
  all: [{ operands: ['[3,2] u32'], call: (x) => ops.all(x!), says: /must be bool/ }],
  sum: [
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, 2), says: /no axis 2 among 2 dimensions/ },
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, -3), says: /no axis -3/ },
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, 0.5), says: /no axis 0.5/ },
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, [1, -1]), says: /axis 1 is named twice/ },
    {
      operands: ['[3,2] f32'],
      call: (x) => ops.sum(x!, 1, 1 as never),
      says: /keepDims must be true or false/,
    },
    { operands: ['[3,2] bool'], call: (x) => ops.sum(x!), says: /x must be f32/ },
  ],
  mean: [
    { operands: ['[3,2] f32'], call: (x) => ops.mean(x!, 2), says: /no axis 2/ },
    { operands: ['[3,2] f32 freed'], call: (x) => ops.mean(x!), says: /freed/ },
  ],
  gatherRows: [
    {
      operands: ['[5] f32'],
      call: (t) => ops.gatherRows(t!, index(0)),
      says: /table must be \[V,C\], found 1/,
    },
    { operands: ['[2,3,4] f32'], call: (t) => ops.gatherRows(t!, index(0)), says: /found 3 dimensions/ },
    {
      operands: ['[5,4] f32'],
      call: (t) => ops.gatherRows(t!, index(0, 5)),
      says: /row 5 of a table of 5 rows/,
    },
    {
      operands: ['[0,4] f32'],
      call: (t) => ops.gatherRows(t!, index(0)),
      says: /row 0 of a table of 0 rows/,
    },
  ],
  segmentMean: [
    {
      operands: ['[3,4] f32'],
      call: (x) => ops.segmentMean(x!, packed(2)),
      says: /T is 2 in the sequences and 3 in x/,
    },
    { operands: ['[3,4] f32'], call: (x) => ops.segmentMean(x!, packed(2, 2)), says: /T is 4/ },
    { operands: ['[3] f32'], call: (x) => ops.segmentMean(x!, packed(3)), says: /x must be \[T,C\]/ },
    { operands: ['[3,4] f16'], call: (x) => ops.segmentMean(x!, packed(3)), says: /x must be f32/ },
    {
      operands: ['[3,4] f32 elsewhere'],
      call: (x) => ops.segmentMean(x!, packed(3)),
      says: /another device/,
    },
  ],
  normalizeRows: [
    { operands: ['[3,4] f16'], call: (x) => ops.normalizeRows(x!), says: /x must be f32/ },
    { operands: ['[3,4] f32'], call: (x) => ops.normalizeRows(x!, -1), says: /eps must be/ },
  ],
  segmentMax: [
    {
      operands: ['[3] f32', '[3] f32', '[2] u32'],
      call: (x, o, s) => ops.segmentMax(x!, o!, s!),
      says: /order must be u32/,
    },
    {
      operands: ['[3] f32', '[3] u32', '[0] u32'],
      call: (x, o, s) => ops.segmentMax(x!, o!, s!),
      says: /groups\+1 is 0/,
    },
    {
      operands: ['[3] f32', '[3] u32', '[2,1] u32'],
      call: (x, o, s) => ops.segmentMax(x!, o!, s!),
      says: /starts must be/,
    },
  ],
  sparseScores: [
    { operands: ['[11] f32'], call: (w) => lexical(w!), says: /groups is 11 in weights|groups\+1 is 13/ },
    { operands: ['[12] f16'], call: (w) => lexical(w!), says: /weights must be f32/ },
    {
      operands: ['[12] f32'],
      call: (w) => lexical(w!, { shape: [1, 4] }),
      says: /queries\*columns\+1 is 4 .* not 5/,
    },
    { operands: ['[12] f32'], call: (w) => lexical(w!, { shape: [1, 2.5] }), says: /columns must be/ },
  ],
  maxSim: [
    {
      operands: ['[11,8] f32'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /T is 12 in the layout and 11 in vectors/,
    },
    {
      operands: ['[12,8] f16'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /vectors must be f32/,
    },
    {
      operands: ['[12] f32'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /vectors must be \[T,C\]/,
    },
    {
      operands: ['[12,0] f32'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /C must be at least 1/,
    },
  ],
  concat: [
    { operands: ['[2,3] f32', '[2,4] f32'], call: (a, b) => ops.concat([a!, b!]), says: /differ/ },
    { operands: ['[2,4] f32', '[2,4] f16'], call: (a, b) => ops.concat([a!, b!]), says: /one dtype/ },
    { operands: ['[2,4] f32', '[4] f32'], call: (a, b) => ops.concat([a!, b!]), says: /differ/ },
    { operands: ['[] f32', '[] f32'], call: (a, b) => ops.concat([a!, b!]), says: /no axis 0 among 0 dim/ },
    {
      operands: ['[2,4] f32', '[2,4] f32 elsewhere'],
      call: (a, b) => ops.concat([a!, b!]),
      says: /different devices/,
    },
    { operands: ['[2,4] f32', '[2,4] f32 freed'], call: (a, b) => ops.concat([a!, b!]), says: /freed/ },
  ],
  argsort: [
    { operands: ['[2,3] i32'], call: (x) => ops.argsort(x!, { axis: 2 }), says: /no axis 2 among 2 dim/ },
  ],
  chunk: [{ operands: ['[2,3] i32'], call: (x) => ops.chunk(x!, 0), says: /count must be a whole number/ }],
  cumsum: [{ operands: ['[2,3] bool'], call: (x) => ops.cumsum(x!, 0), says: /x must be f32 or/ }],
  expand: [
    { operands: ['[2,3] f32'], call: (x) => ops.expand(x!, [3]), says: /no \[3\] can be made of it/ },
    { operands: ['[2,3] f32'], call: (x) => ops.expand(x!, [3, 3]), says: /no \[3, ?3\] can be made of it/ },
    { operands: ['[2,3] f32'], call: (x) => ops.expand(x!, [-1, 2, 3]), says: /can be made of it/ },
  ],
  flatten: [
    { operands: ['[2,3] f32'], call: (x) => ops.flatten(x!, 1, 0), says: /axis 1 comes after axis 0/ },
  ],
  flip: [{ operands: ['[2,3] f32'], call: (x) => ops.flip(x!, [0, -2]), says: /is named twice/ }],
  gather: [
    { operands: ['[2,3] f32', '[2] u32'], call: (x, i) => ops.gather(x!, 0, i!), says: /must have x's axes/ },
    {
      operands: ['[2,3] f32', '[3,1] i32'],
      call: (x, i) => ops.gather(x!, 1, i!),
      says: /no longer along others than 1/,
    },
    {
      operands: ['[2,3] f32', '[2,3] f32'],
      call: (x, i) => ops.gather(x!, 1, i!),
      says: /index must be u32 or i32/,
    },
  ],
  indexAdd: [
    {
      operands: ['[2,3] f32', '[1] u32', '[1,2] f32'],
      call: (x, i, y) => ops.indexAdd(x!, 0, i!, y!),
      says: /the source must be \[1,3\]/,
    },
    {
      operands: ['[2,3] f32', '[1,1] u32', '[1,3] f32'],
      call: (x, i, y) => ops.indexAdd(x!, 0, i!, y!),
      says: /index must be \[n\]/,
    },
  ],
  indexSelect: [
    {
      operands: ['[2,3] f32', '[4] f16'],
      call: (x, i) => ops.indexSelect(x!, 0, i!),
      says: /index must be u32 or i32/,
    },
  ],
  bincount: [{ operands: ['[3] f32'], call: (x) => ops.bincount(x!, 4), says: /ids must be/ }],
  diagonal: [
    { operands: ['[3] f32'], call: (x) => ops.diagonal(x!), says: /x must be \[\.\.\.,rows,cols\]/ },
  ],
  diag: [{ operands: ['[3,3] f32'], call: (x) => ops.diag(x!), says: /x must be \[n\]/ }],
  trace: [{ operands: ['[3,3] bool'], call: (x) => ops.trace(x!), says: /x must be/ }],
  median: [
    { operands: ['[3,0] f32'], call: (x) => ops.median(x!), says: /nothing along axis -1/ },
    { operands: ['[3] f32'], call: (x) => ops.median(x!, 1), says: /no axis 1/ },
  ],
  softmin: [{ operands: ['[4] u32'], call: (x) => ops.softmin(x!), says: /x must be f32/ }],
  pairwiseDistance: [
    {
      operands: ['[3] f32', '[4] f32'],
      call: (a, b) => ops.pairwiseDistance(a!, b!),
      says: /dimensions differ/,
    },
  ],
  cdist: [{ operands: ['[3] f32', '[2,3] f32'], call: (a, b) => ops.cdist(a!, b!), says: /a must be/ }],
  oneHot: [
    { operands: ['[2] i32'], call: (x) => ops.oneHot(x!, -1), says: /classes must be a whole number/ },
  ],
  pad: [
    {
      operands: ['[2,3] f32'],
      call: (x) =>
        ops.pad(x!, [
          [1, 1],
          [0, 0],
          [1, 0],
        ]),
      says: /needs \[before, after\] or null/,
    },
    { operands: ['[2,3] f32'], call: (x) => ops.pad(x!, [[-1, 0]]), says: /needs \[before, after\] or null/ },
  ],
  permute: [
    { operands: ['[2,3] f32'], call: (x) => ops.permute(x!, [0]), says: /axes must be a list of all 2/ },
    { operands: ['[2,3] f32'], call: (x) => ops.permute(x!, [0, -2]), says: /is named twice/ },
  ],
  repeatInterleave: [
    {
      operands: ['[2,3] f32'],
      call: (x) => ops.repeatInterleave(x!, 0.5),
      says: /count must be a whole number/,
    },
  ],
  unfold: [
    { operands: ['[2,3] f32'], call: (x) => ops.unfold(x!, 1, 4), says: /no window of 4 among 3/ },
    { operands: ['[2,3] f32'], call: (x) => ops.unfold(x!, 0, 0), says: /size must be/ },
  ],
  roll: [{ operands: ['[2,3] f32'], call: (x) => ops.roll(x!, 1, 2), says: /no axis 2/ }],
  scatterAdd: [
    {
      operands: ['[2,3] f32', '[2,1] u32', '[3,1] f32'],
      call: (x, i, y) => ops.scatterAdd(x!, 1, i!, y!),
      says: /dimensions differ/,
    },
    {
      operands: ['[2,3] f32', '[2,1] u32', '[2,1] f32'],
      call: (x, i, y) => ops.scatterAdd(x!, 0, i!, y!),
      says: /may differ along axis 0 alone/,
    },
    {
      operands: ['[2,3] f32', '[2,1] u32', '[2,1] i32'],
      call: (x, i, y) => ops.scatterAdd(x!, 1, i!, y!),
      says: /one dtype/,
    },
  ],
  slice: [
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, 2), says: /axis 0: no element 2 of 2/ },
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, null, [0, 2, 0]), says: /axis 1: a step of 0/ },
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, 0, 0, 0), says: /3 ranges for 2 axes/ },
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, [0.5]), says: /are whole numbers/ },
    {
      operands: ['[2,3] f32'],
      call: (x) => ops.slice(x!, '1' as unknown as number),
      says: /needs a number, null or/,
    },
  ],
  sort: [{ operands: ['[] f32'], call: (x) => ops.sort(x!), says: /no axis -1/ }],
  split: [
    {
      operands: ['[2,3] f32'],
      call: (x) => ops.split(x!, [1, 3], 1),
      says: /no parts of the 3 elements of axis 1/,
    },
    { operands: ['[2,3] f32'], call: (x) => ops.split(x!, 0), says: /no parts/ },
  ],
  squeeze: [
    { operands: ['[2,3] f32'], call: (x) => ops.squeeze(x!, 1), says: /axis 1 has 3 elements, not 1/ },
  ],
  stack: [
    { operands: ['[2,3] f32', '[2] f32'], call: (x, y) => ops.stack([x!, y!]), says: /dimensions differ/ },
  ],
  tile: [{ operands: ['[2,3] f32'], call: (x) => ops.tile(x!, [2]), says: /whole number of times/ }],
  topk: [
    { operands: ['[2,3] f32'], call: (x) => ops.topk(x!, 4), says: /no 4 of 3 elements/ },
    { operands: ['[2,3] f32'], call: (x) => ops.topk(x!, 1.5), says: /k must be a whole number/ },
  ],
  transpose: [
    { operands: ['[2,3] f32'], call: (x) => ops.transpose(x!, 0, 2), says: /no axis 2 among 2 dim/ },
  ],
  clone: [{ operands: ['[2,3] f32 freed'], call: (x) => ops.clone(x!), says: /x was already freed/ }],
  tril: [{ operands: ['[3] f32'], call: (x) => ops.tril(x!), says: /x must be \[\.\.\.,rows,cols\]/ }],
  triu: [
    { operands: ['[2,3] f32'], call: (x) => ops.triu(x!, 0.5), says: /diagonal must be a whole number/ },
  ],
  unsqueeze: [{ operands: ['[2,3] f32'], call: (x) => ops.unsqueeze(x!, 3), says: /no axis 3/ }],
  sliceRows: [
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, 1, 5), says: /no rows 1 to 5/ },
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, 3, 2), says: /no rows 3 to 2/ },
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, 0.5, 2), says: /start must be a whole number/ },
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, -1, 2), says: /start must be/ },
    { operands: ['[] f32'], call: (x) => ops.sliceRows(x!, 0, 0), says: /x must be/ },
  ],
  reshape: [
    { operands: ['[2,6] f32'], call: (x) => ops.reshape(x!, [5]), says: /12 elements are no \[5\]/ },
    { operands: ['[2,6] f32'], call: (x) => ops.reshape(x!, [5, -1]), says: /leaves no one extent for -1/ },
    { operands: ['[2,6] f32'], call: (x) => ops.reshape(x!, [-1, -1]), says: /leaves no one extent for -1/ },
    { operands: ['[2,6] f16'], call: (x) => ops.reshape(x!, [4.5, 4]), says: /bad shape/ },
    { operands: ['[2,6] f32 freed'], call: (x) => ops.reshape(x!, [12]), says: /freed/ },
  ],
  onBackward: [
    { operands: ['[4] i32'], call: (x) => ops.onBackward(x!, () => {}), says: /x must be/ },
    {
      operands: ['[4] f32'],
      call: (x) => ops.onBackward(x!, 'done' as unknown as () => void),
      says: /needs a function, found "done"/,
    },
    { operands: ['[4] f16 freed'], call: (x) => ops.onBackward(x!, () => {}), says: /freed/ },
  ],
  shift: [{ operands: ['[4] i32'], call: (x) => ops.shift(x!, 2), says: /x must be/ }],
  scaleGradient: [
    { operands: ['[4] i32'], call: (x) => ops.scaleGradient(x!, 2), says: /x must be/ },
    {
      operands: ['[4] f32'],
      call: (x) => ops.scaleGradient(x!, '2' as unknown as number),
      says: /factor must be/,
    },
  ],
  cast: [
    { operands: ['[4] u32 freed'], call: (x) => ops.cast(x!, 'f16'), says: /freed/ },
    { operands: ['[4] f32'], call: (x) => ops.cast(x!, 'i8' as 'f16'), says: /"i8", which is no format/ },
  ],
  clamp: [
    { operands: ['[4] i32'], call: (x) => ops.clamp(x!, { min: 1 }), says: /x must be/ },
    { operands: ['[4] f32'], call: (x) => ops.clamp(x!, {}), says: /needs min, max or both/ },
  ],
  where: [
    {
      operands: ['[4] f32', '[4] f32'],
      call: (c, a) => ops.where(c!, a!, 1),
      says: /condition must be bool/,
    },
    { operands: ['[4] bool', '[3] f32'], call: (c, a) => ops.where(c!, a!, 1), says: /do not broadcast/ },
    {
      operands: ['[4] bool', '[4] f32', '[4] i32'],
      call: (c, a, b) => ops.where(c!, a!, b!),
      says: /a and b must be of one dtype/,
    },
    { operands: ['[4] bool', '[4] u32'], call: (c, a) => ops.where(c!, a!, -1), says: /number of u32/ },
    {
      operands: ['[4] f32'],
      call: (a) => ops.where(1 as unknown as Tensor, a!, 1),
      says: /condition must be a tensor/,
    },
  ],
  lerp: [
    { operands: ['[4] i32', '[4] i32'], call: (a, b) => ops.lerp(a!, b!, 0.5), says: /a must be/ },
    { operands: ['[4] f32', '[4] f16'], call: (a, b) => ops.lerp(a!, b!, 0.5), says: /one dtype/ },
  ],
  maskedFill: [
    { operands: ['[4] f32', '[4] f32'], call: (x, m) => ops.maskedFill(x!, m!, 1), says: /mask must be/ },
  ],
  scale: [
    {
      operands: ['[4] f32'],
      call: (x) => ops.scale(x!, '2' as unknown as number),
      says: /s must be a number/,
    },
    {
      operands: ['[4] f32'],
      call: (x) => ops.scale(x!, undefined as unknown as number),
      says: /s must be a number, found nothing/,
    },
    { operands: ['[4] u32'], call: (x) => ops.scale(x!, 2), says: /x must be/ },
  ],
};
/** A format that a row does not take, beside those that it does. */
const refusedBy = (name: FormulaName) =>
  (['u32', 'f32', 'bool'] as const).find((dtype) => !formulas[name].dtypes.includes(dtype));
for (const name of Object.keys(binaryFormulas) as BinaryName[]) {
  const run = (a: unknown, b: unknown) => ops[name](a as Tensor, b as Tensor);
  const [own, refused] = [formulas[name].dtypes[0]!, refusedBy(name)];
  wrong[name] = [
    { operands: [`[2,3] ${own}`, `[2,4] ${own}`], call: run, says: /do not broadcast/ },
    { operands: [`[2,4] ${own}`, `[2,4] ${own} elsewhere`], call: run, says: /different devices/ },
    { operands: [`[2,4] ${own}`, `[2,4] ${own} freed`], call: run, says: /b was already freed/ },
    { operands: [`[2,4] ${own}`], call: (a) => run(a, undefined), says: /b must be a tensor, found nothing/ },
    { operands: [], call: () => run(1, 2), says: /a must be a tensor, found 1/ },
  ];
  if (own === 'f32')
    wrong[name].push({ operands: ['[4] f32', '[4] f16'], call: run, says: /a and b must be of one dtype/ });
  if (refused)
    wrong[name].push({ operands: [`[4] ${refused}`, `[4] ${refused}`], call: run, says: /a must be / });
  if (formulas[name].dtypes.includes('u32'))
    wrong[name].push(
      { operands: ['[4] u32'], call: (a) => run(a, 0.5), says: /b must be a whole number of u32, found 0.5/ },
      { operands: ['[4] u32'], call: (b) => run(-1, b), says: /a must be a whole number of u32, found -1/ },
      { operands: ['[4] i32'], call: (b) => run(2 ** 31, b), says: /a must be a whole number of i32/ },
    );
  if (formulas[name].dtypes.includes('bool'))
    wrong[name].push({
      operands: ['[4] bool'],
      call: (a) => run(a, 1),
      says: /b must be a tensor beside bools/,
    });
}
for (const name of Object.keys(unaryFormulas) as UnaryName[]) {
  const run = ops[name] as (x: Tensor) => Tensor;
  if (name === 'clamp') continue;
  const refused = refusedBy(name)!;
  wrong[name] = [
    { operands: [`[2,4] ${refused}`], call: (x) => run(x!), says: /x must be / },
    { operands: [`[2,4] ${formulas[name].dtypes[0]} freed`], call: (x) => run(x!), says: /freed/ },
    { operands: [], call: () => run(3 as unknown as Tensor), says: /x must be a tensor, found 3/ },
  ];
}

for (const [op, cases] of Object.entries(wrong))
  test(`${op} refuses what does not fit`, async () => {
    for (const { operands, call, says } of cases) {
      const tensors = operands.map(tensor);
      const live = gpu.memory().liveBuffers + other.memory().liveBuffers;
      const where = `${op}(${operands.join(', ')})`;
      assert.throws(
        () => call(...tensors),
        (error: unknown) => {
          assert.ok(error instanceof ShapeError, `${where}: ${error}`);
          assert.equal(error.op, op, where);
          assert.match(error.message, says, where);
          for (const text of operands) {
            const [shape, dtype] = text.split(' ');
            assert.ok(error.message.includes(`${shape} ${dtype}`), `${where}: ${error.message}`);
          }
          return true;
        },
        where,
      );
      assert.equal(gpu.memory().liveBuffers + other.memory().liveBuffers, live, `${where}: buffers`);
      for (const each of tensors) each.dispose();
    }
    const [a, b] = [Tensor.from(gpu, [1, 2], [1, 2]), Tensor.from(gpu, [3, 4], [2, 1])];
    const c = ops.matmul(a, b);
    assert.equal(await c.item(), 11);
    for (const each of [a, b, c]) each.dispose();
  });

test('every exported op is in the table or takes anything', () => {
  const noOperands = [
    ...['backward', 'backwardAll', 'propagate', 'record', 'wantsGradient', 'checkpoint', 'retainGrad'],
    ...['allClose', 'assertClose', 'ValuesDiffer', 'format', 'print'],
    ...['sharedGradient', 'grad', 'valueAndGrad', 'checkGradients', 'GradientMismatch', 'cachedBackward'],
  ];
  for (const name of Object.keys(ops)) assert.ok(name in wrong || noOperands.includes(name), name);
});

test('host functions refuse what does not fit', () => {
  const tokenizer = {} as Tokenizer;
  const options = { queryMaxLen: 8, passageMaxLen: 8, colbertFloor: false };
  const config = {} as Parameters<typeof collate>[2];
  const live = gpu.memory().liveBuffers;
  const plain = { decay: false, trainable: true };
  const cases: [op: string, RegExp, () => unknown][] = [
    [
      'collate',
      /3 passages are no equal groups for 2 queries/,
      () => collate(gpu, tokenizer, config, ['a', 'b'], ['c', 'd', 'e'], options),
    ],
    ['collate', /0 passages/, () => collate(gpu, tokenizer, config, ['a'], [], options)],
    ['collate', /for 0 queries/, () => collate(gpu, tokenizer, config, [], ['a'], options)],
    ['PackedSequences', /sequence 1 of 2 .* not 0/, () => packed(2, 0)],
    ['PackedSequences', /not 1.5/, () => packed(1.5)],
    ['PackedSequences', /not -1/, () => packed(-1)],
    ['PackedSequences', /not NaN/, () => packed(Number.NaN)],
    ['PackedSequences', /more than 32 bits/, () => packed(2 ** 31, 2 ** 31)],
    ['RowIndex', /must be a Uint32Array/, () => new RowIndex(gpu, [1, 2] as unknown as Uint32Array)],
    [
      'maxSim',
      /3 passages are no equal groups for 2 queries/,
      () => maxSimLayout(packed(2, 2, 2, 2, 2), { queries: 2, ownGroup: true }),
    ],
    ['maxSim', /6 queries among 5/, () => maxSimLayout(packed(2, 2, 2, 2, 2), { queries: 6 })],
    [
      'maxSim',
      /floors of 2 passages for 4/,
      () => maxSimLayout(packed(2, 2, 2, 2, 2), { queries: 1, floor: [true, false] }),
    ],
    [
      'sparseScores',
      /3 ids for 10 tokens/,
      () => sparseMatches(packed(2, 2, 2, 2, 2), ids(3), { queries: 1, special: [] }),
    ],
    [
      'sparseScores',
      /no equal groups/,
      () => sparseMatches(packed(2, 2, 2, 2, 2), ids(10), { queries: 2, ownGroup: true, special: [] }),
    ],
    [
      'teacherProbabilities',
      /5 scores are no groups of 2/,
      () => teacherProbabilities(gpu, [1, 2, 3, 4, 5], 2),
    ],
    [
      'ParameterStore',
      /called "w"/,
      () =>
        new ParameterStore(
          gpu,
          [[4], [2]].map((shape) => ({ name: 'w', shape, decay: false, trainable: true })),
        ),
    ],
    ...[[2.5], [-1], [Number.NaN]].map((shape): [string, RegExp, () => unknown] => [
      'ParameterStore',
      /bad shape/,
      () =>
        new ParameterStore(
          gpu,
          [[4], shape].map((each, i) => ({ ...plain, name: `w${i}`, shape: each })),
        ),
    ]),
    [
      'ParameterStore',
      /the table "w" must be of rows and columns, not \[4\]/,
      () => new ParameterStore(gpu, [{ ...plain, name: 'w', shape: [4], table: true }]),
    ],
    ...Object.entries({
      beta1: [1, -0.5, Number.NaN],
      beta2: [1, 0.999_999_999],
      eps: [0, 1e-50, -1, Number.NaN],
      weightDecay: [-1, Number.NaN, Infinity],
      maxGradNorm: [Number.NaN],
    }).flatMap(([name, values]) =>
      values.map((value): [string, RegExp, () => unknown] => [
        'StoreAdamW',
        new RegExp(`${name} must be`),
        () => {
          const store = new ParameterStore(gpu, [{ name: 'w', shape: [4], decay: false, trainable: true }]);
          try {
            const options = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 };
            return new StoreAdamW(store, { ...options, [name]: value });
          } finally {
            store.dispose();
          }
        },
      ]),
    ),
  ];
  for (const [op, says, call] of cases)
    assert.throws(call, (error: unknown) => {
      assert.ok(error instanceof ShapeError, `${op}: ${error}`);
      assert.equal(error.op, op);
      assert.match(error.message, says);
      return true;
    });
  assert.equal(gpu.memory().liveBuffers, live);
});

test('what stands beside the operands must be there', () => {
  const none = undefined as never;
  const x = Tensor.zeros(gpu, [2, 12]);
  const live = gpu.memory().liveBuffers;
  const cases: [op: string, RegExp, () => unknown][] = [
    ['attention', /sequences must be a PackedSequences, found nothing/, () => ops.attention(x, none, 1)],
    [
      'scaledDotProductAttention',
      /sequences must be a PackedSequences, for \[tokens, heads, dim\]/,
      () =>
        ops.scaledDotProductAttention(
          ...([x, x, x].map((each) => each.alias([2, 3, 4])) as [Tensor, Tensor, Tensor]),
        ),
    ],
    ['segmentMean', /sequences must be a PackedSequences/, () => ops.segmentMean(x, none)],
    ['gatherRows', /index must be a RowIndex/, () => ops.gatherRows(x, [0, 1] as never)],
    ['maxSim', /layout must be one of maxSimLayout/, () => ops.maxSim(x, {} as never)],
    ['sparseScores', /matches must be/, () => ops.sparseScores(x, none)],
    ['dropout', /random must be/, () => ops.dropout(x, 0.5, none)],
    ['crossEntropy', /targets must be/, () => ops.crossEntropy(x, none)],
    ['reshape', /a shape must be a list/, () => ops.reshape(x, none)],
    ['concat', /tensors must be a list/, () => ops.concat(none)],
    ['checkpoint', /needs a function/, () => ops.checkpoint(none, x)],
    ['backward', /root must be a tensor/, () => ops.backward(none)],
    ['tensor', /a shape must be a list/, () => Tensor.from(gpu, [1, 2], '2' as never)],
    ['retainGrad', /x must be a tensor/, () => ops.retainGrad(none)],
    ['retainGrad', /no gradient will reach it/, () => ops.retainGrad(x)],
    ['grad', /outputs must be a tensor or a list/, () => ops.grad(none, x)],
    ['grad', /must be a scalar, or have a seed/, () => ops.grad(x, x)],
    ['valueAndGrad', /needs a function/, () => ops.valueAndGrad(none)],
    ['valueAndGrad', /scalar tensor, found \[/, () => scope(() => ops.valueAndGrad(ops.square)(x))],
    ['valueAndGrad', /parameters must be tensors/, () => ops.valueAndGrad(ops.sum)(3 as never)],
  ];
  for (const [op, says, call] of cases)
    assert.throws(call, (error: unknown) => {
      assert.ok(error instanceof ShapeError, `${op}: ${error}`);
      assert.equal(error.op, op);
      assert.match(error.message, says);
      return true;
    });
  assert.equal(gpu.memory().liveBuffers, live);
  x.dispose();
});

test('an average over no queries is none', async () => {
  const task = { queries: [], candidates: ['a'], targets: [] };
  await assert.rejects(
    evaluateRetrieval({} as M3Model, {} as Tokenizer, task, { maxLength: 8 }),
    /^ShapeError: evaluateRetrieval: no queries/,
  );
});

test('a step of no rate or scale is refused before anything changes', async () => {
  const store = new ParameterStore(gpu, [{ name: 'w', shape: [4], decay: false, trainable: true }]);
  const optimizer = new StoreAdamW(store, {
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weightDecay: 0,
    maxGradNorm: 1,
  });
  for (const [rate, scale] of [
    [Number.NaN, 1],
    [undefined as unknown as number, 1],
    [-1, 1],
    [Infinity, 1],
    [1, Number.NaN],
    [1, 0],
    [1, -1],
    [1, Infinity],
  ] as const)
    await assert.rejects(optimizer.step(rate, scale), /^ShapeError: StoreAdamW\.step: \w+ must be/);
  assert.equal(optimizer.steps, 0);
  assert.deepEqual([...(await store.get('w').toFloat32())], [0, 0, 0, 0]);
  optimizer.dispose();
  store.dispose();
});

/** What PyTorch 2 prints for cross_entropy of [[1,2],[3,5],[0,−1]]: loss, gradient. */
const logits = [1, 2, 3, 5, 0, -1];
const crossEntropies: { targets: number[]; loss: number; gradient: number[]; ignoreIndex?: number }[] = [
  {
    targets: [0, 1, 0],
    loss: 0.584_483_8,
    gradient: [-0.243_686, 0.243_686, 0.039_734, -0.039_734, -0.089_647, 0.089_647],
  },
  {
    targets: [0, -100, 0],
    loss: 0.813_261_7,
    gradient: [-0.365_529, 0.365_529, 0, 0, -0.134_471, 0.134_471],
  },
  {
    targets: [0, 1, 0],
    ignoreIndex: 1,
    loss: 0.813_261_7,
    gradient: [-0.365_529, 0.365_529, 0, 0, -0.134_471, 0.134_471],
  },
  { targets: [-100, -100, -100], loss: Number.NaN, gradient: [0, 0, 0, 0, 0, 0] },
];
for (const where of ['host', 'u32', 'i32'] as const)
  test(`crossEntropy leaves ignoreIndex out as PyTorch does, targets: ${where}`, async () => {
    for (const { targets, loss, gradient, ignoreIndex } of crossEntropies) {
      const x = Tensor.from(gpu, logits, [3, 2]);
      x.requiresGrad = true;
      const options = ignoreIndex === undefined ? {} : { ignoreIndex };
      const to =
        where === 'host'
          ? targets
          : Tensor.from(
              gpu,
              where === 'u32' ? Uint32Array.from(targets) : Int32Array.from(targets),
              [3],
              where,
            );
      const y = ops.crossEntropy(x, to, options);
      const value = await y.item();
      assert.ok(
        Number.isNaN(loss) ? Number.isNaN(value) : Math.abs(value - loss) < 2e-6,
        `${targets}: ${value}`,
      );
      ops.backward(y);
      const dx = await x.grad!.toFloat32();
      gradient.forEach((g, i) => {
        assert.ok(Math.abs(dx[i]! - g) < 2e-6, `${targets}: gradient ${dx}`);
      });
    }
  });

test('a target on the device that is no class gives NaN, not another class', async () => {
  for (const bad of [2, 7, 0xffffffff]) {
    const x = Tensor.from(gpu, logits, [3, 2]);
    x.requiresGrad = true;
    const y = ops.crossEntropy(x, Tensor.from(gpu, Uint32Array.of(0, bad, 1), [3], 'u32'));
    assert.ok(Number.isNaN(await y.item()));
    ops.backward(y);
    const dx = await x.grad!.toFloat32();
    assert.deepEqual([...dx].map(Number.isNaN), [false, false, true, true, false, false]);
  }
});

test('segmentMax is NaN where its lists leave x or name nothing', async () => {
  const x = Tensor.from(gpu, [1, 5, 3], [3]);
  x.requiresGrad = true;
  const u32s = (...numbers: number[]) => Tensor.from(gpu, Uint32Array.from(numbers), [numbers.length], 'u32');
  // Groups: [0,1], none, [2,9], beyond order.
  const y = ops.segmentMax(x, u32s(0, 1, 2, 9), u32s(0, 2, 2, 4, 6));
  assert.deepEqual([...(await y.toFloat32())], [5, Number.NaN, Number.NaN, Number.NaN]);
  ops.backward(ops.sum(y));
  assert.deepEqual([...(await x.grad!.toFloat32())], [0, 1, 0]);
});

test('cosineSimilarity broadcasts before it takes lengths along the axis', () =>
  scope(async () => {
    const [a, b] = [
      ops.tensor(gpu, [
        [1, 2],
        [3, -4],
        [5, 6],
      ]),
      ops.tensor(gpu, [2, -1]),
    ];
    const cosines = (y: number[]) => ops.assertClose(ops.cosineSimilarity(a, b, y[0]!), y.slice(1));
    // Of the columns [1,3,5] and [2,−4,6] with [2,2,2] and [−1,−1,−1]; of rows with [2,−1].
    await cosines([0, 9 / Math.sqrt(35 * 3), -4 / Math.sqrt(56 * 3)]);
    await cosines([1, 0, 10 / Math.sqrt(25 * 5), 4 / Math.sqrt(61 * 5)]);
    assert.throws(() => ops.cosineSimilarity(a, b, 2), /cosineSimilarity: no axis 2 among 2 dimensions/);
  }));

test('triangles of diagonals beyond the matrix, and beyond i32', () =>
  scope(async () => {
    const x = ops.ones(gpu, [2, 3]);
    for (const far of [7, 2 ** 31, 2 ** 40]) {
      assert.deepEqual(await ops.sum(ops.tril(x, far)).item(), 6);
      assert.deepEqual(await ops.sum(ops.tril(x, -far)).item(), 0);
      assert.deepEqual(await ops.sum(ops.triu(x, far)).item(), 0);
      assert.deepEqual(await ops.sum(ops.triu(x, -far)).item(), 6);
    }
  }));

test('sizes stay those of the shapes', () => {
  assert.equal(sizeOf([3, 0]), 0);
  const none = Tensor.empty(gpu, [3, 0]);
  assert.deepEqual([none.rows, none.cols], [3, 0]);
  none.dispose();
});

for (const [name, before] of Object.entries(callsWithOptions))
  test(`${name} refuses options that there are not`, () =>
    scope(async () => {
      const given = before(gpu);
      const live = gpu.memory().liveBuffers;
      const call = async (options: unknown) =>
        (ops[name as keyof typeof ops] as (...operands: unknown[]) => unknown)(...given, options);
      const refused = async (options: unknown, says: RegExp) =>
        assert.rejects(call(options), (error: unknown) => {
          assert.ok(error instanceof ShapeError, `${error}`);
          assert.match(error.message, says);
          return true;
        });
      await refused({ nonsense: 1 }, /no option "nonsense".*; there (is|are) /);
      const known = await call({ nonsense: 1 }).catch(
        (error: Error) => /there (?:is|are) (.*)/.exec(error.message)![1]!,
      );
      const option = String(known).split(', ').at(-1)!;
      const snake = `${option.replace(/[A-Z]/g, (letter) => `_${letter}`)}_`.toLowerCase();
      await refused({ [snake]: undefined }, new RegExp(`the nearest is ${option};`));
      // What is of no kind that any option has.
      for (const each of String(known).split(', ')) await refused({ [each]: () => 1 }, new RegExp(each));
      // A lone number in the place of options is one more number of the sequence.
      for (const other of name === 'arange' ? [null] : [null, 3, 'sum', [1], true])
        await refused(other, /must be (an object|a RandomStream|a seed)/);
      assert.equal(gpu.memory().liveBuffers, live);
    }));

const nonsense: readonly unknown[] = [
  ...[null, Number.NaN, 0.5, 2 ** 31, 'foo', 1n, Symbol('x'), true, {}, () => 1],
  ...[[null], [undefined], [2 ** 31, 2 ** 31], new Set([1]), new BigInt64Array(2), Promise.resolve(1)],
];

test('nonsense in the place of any operand is computed with, or refused by an error that names the operation', () =>
  scope(async () => {
    const { print, ...calls } = { ...callsWithOptions, ...callsWithout };
    for (const [name, before] of Object.entries(calls))
      for (let at = 0; at < before(gpu).length; at++)
        for (const value of nonsense)
          await scope(async () => {
            const given = before(gpu).map((operand, i) => (i === at ? value : operand));
            const live = gpu.memory().liveBuffers;
            const call = async () =>
              (ops[name as keyof typeof ops] as (...operands: unknown[]) => unknown)(...given);
            const error = await call().then(
              () => undefined,
              (reason: Error) => reason,
            );
            if (!error) return;
            assert.equal(gpu.memory().liveBuffers, live, `${name}, operand ${at}`);
            const told =
              ['ShapeError', 'MachineError', 'ValuesDiffer'].includes(error.name) ||
              error.message.startsWith(`${name}:`);
            assert.ok(told, `${name}, operand ${at}, ${String(value)}: ${error.stack}`);
          });
    await gpu.finish();
  }));

test('elementwise operations refuse more operands, but for what map and reduce of lists give', () =>
  scope(() => {
    for (const [name, { operands, dtypes }] of Object.entries(formulas)) {
      if (!['x', 'a'].includes(operands[0]!) || formulas[name as FormulaName].numbers.length > 0) continue;
      const tensors = operands.map(() => Tensor.zeros(gpu, [2], dtypes[0]!));
      const run = (...more: unknown[]) =>
        (ops[name as FormulaName] as (...all: unknown[]) => unknown)(...tensors, ...more);
      for (const more of [[tensors[0]], [{ alpha: 2 }], [0], [0, 1]])
        assert.throws(() => run(...more), /takes [12] operands?, found/, name);
      run(0, tensors);
    }
    const [a, b] = [Tensor.zeros(gpu, [2]), Tensor.zeros(gpu, [2])];
    [a, b, a].map(ops.exp).reduce(ops.add);
  }));

test('what stands in the place of a tensor, or is done to one as to a number, is told with what was meant', () =>
  scope(() => {
    const a = Tensor.zeros(gpu, [2]);
    const wrong: [given: unknown, says: RegExp][] = [
      [{ tensor: a }, /whose \.tensor is one/],
      [Promise.resolve(a), /found a Promise: await gives what it will be/],
      [[1, 2], /found \[1,2\]: tensor\(gpu, data\) makes one/],
      [new Float32Array(2), /found 8 bytes: tensor\(gpu, data\) makes one/],
      [undefined, /found nothing/],
    ];
    for (const [given, says] of wrong) {
      assert.throws(() => ops.add(a, given as Tensor), says);
      assert.throws(() => ops.matmul(a, given as Tensor), says);
    }
    const operators = [(x: never) => x + 1, (x: never) => 2 * x, (x: never) => x < 3];
    for (const operator of operators)
      assert.throws(() => operator(a as never), /is no number: add\(\), lt\(\)/);
    assert.equal(`${a}`, a.toString());
  }));

test('backward refuses seeds and gradients that do not fit', () =>
  scope(() => {
    const x = Tensor.zeros(gpu, [2, 4]);
    x.requiresGrad = true;
    const shifted = (gradient: number[]) =>
      ops.record('shifted', x.detach(), [], [[x, () => Tensor.zeros(gpu, gradient)]]);
    const wrongCalls: [string, RegExp, () => unknown][] = [
      [
        'backward',
        /needs a scalar, as sum\(\) and mean\(\) give, or a seed: root \[2,4\] f32/,
        () => ops.backward(ops.neg(x)),
      ],
      ['backward', /differ: .*seed \[4,2\]/, () => ops.backward(ops.neg(x), Tensor.zeros(gpu, [4, 2]))],
      ['backward', /one dtype/, () => ops.backward(ops.neg(x), Tensor.zeros(gpu, [2, 4], 'f16'))],
      ['backward', /different devices/, () => ops.backward(ops.neg(x), Tensor.zeros(other, [2, 4]))],
      ['backward', /nothing on the tape/, () => ops.backward(Tensor.scalar(gpu, 1))],
      [
        'shifted',
        /of an input \[2,4\] must be of its shape: gradient \[4\] f32/,
        () => ops.backward(shifted([4]), Tensor.zeros(gpu, [2, 4])),
      ],
      ['shifted', /gradient \[1,4\] f32/, () => ops.backward(shifted([1, 4]), Tensor.zeros(gpu, [2, 4]))],
      [
        'dropout',
        /freed/,
        () => {
          const gone = Tensor.zeros(gpu, [4]);
          gone.dispose();
          return ops.dropout(gone, 0, drop);
        },
      ],
    ];
    for (const [op, says, call] of wrongCalls)
      assert.throws(call, (error: unknown) => {
        assert.ok(error instanceof ShapeError, `${op}: ${error}`);
        assert.equal(error.op, op);
        assert.match(error.message, says);
        return true;
      });
    assert.equal(x.grad, undefined);
  }));
