/**
 * Every function of autograd whose last operand is an object of options, with what stands before that in a call: found by
 * their types, so that a new one without a row does not compile. Rows for operands.test.ts.
 */
import type * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import type { MaxSimLayout } from '../../src/kernels/maxsim/layout.js';
import type { SparseMatches } from '../../src/kernels/sparse.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import type { RowIndex } from '../../src/tensor/row-index.js';
import { Tensor } from '../../src/tensor/tensor.js';

/** Objects that are operands and no options. */
type Operand =
  | Tensor
  | Gpu
  | PackedSequences
  | RowIndex
  | MaxSimLayout
  | SparseMatches
  | readonly unknown[]
  | ArrayBufferView
  | ((...operands: never[]) => unknown);

type Options<T> = T extends Operand ? never : T extends object ? T : never;

/** What stands before the options; never where there are none. */
type Before<F> = F extends (...operands: infer All) => unknown
  ? Required<All> extends readonly [...infer Rest, infer Last]
    ? [Options<Last>] extends [never]
      ? never
      : Rest
    : never
  : never;

type WithOptions = {
  [Name in keyof typeof ops]: [Before<(typeof ops)[Name]>] extends [never] ? never : Name;
}[keyof typeof ops];

type Calls = { readonly [Name in WithOptions]: (gpu: Gpu) => readonly unknown[] };

const x = (gpu: Gpu) => Tensor.zeros(gpu, [4, 4]);
const one = (gpu: Gpu) => [x(gpu)];
const two = (gpu: Gpu) => [x(gpu), x(gpu)];
const three = (gpu: Gpu) => [x(gpu), x(gpu), x(gpu)];
const four = (gpu: Gpu) => Tensor.zeros(gpu, [1, 1, 2, 4]);
const packed = (gpu: Gpu) => new PackedSequences(gpu, [4]);
const lexical = (gpu: Gpu) => ({ ids: [1, 2, 3, 4], sequences: packed(gpu) });
const weights = (gpu: Gpu) => Tensor.zeros(gpu, [4]);

export const callsWithOptions: Calls = {
  allClose: two,
  arange: (gpu) => [gpu, 0, 1, 1],
  argsort: one,
  assertClose: two,
  attention: (gpu) => [Tensor.zeros(gpu, [4, 12]), packed(gpu), 1, undefined],
  backward: (gpu) => [Tensor.zeros(gpu, [])],
  bceWithLogits: two,
  bernoulli: (gpu) => [gpu, [2], 0.5],
  cachedBackward: (gpu) => [[1], () => x(gpu), () => x(gpu)],
  checkGradients: (gpu) => [() => x(gpu), one(gpu)],
  clamp: one,
  cosineEmbeddingLoss: (gpu) => [x(gpu), x(gpu), Tensor.zeros(gpu, [4])],
  crossEntropy: (gpu) => [x(gpu), [0, 1, 2, 3]],
  cumsum: (gpu) => [x(gpu), 0],
  dropout: (gpu) => [x(gpu), 0.5],
  empty: (gpu) => [gpu, [2]],
  emptyLike: one,
  eye: (gpu) => [gpu, 2, 2],
  format: one,
  full: (gpu) => [gpu, [2], 1],
  fullLike: (gpu) => [x(gpu), 1],
  gatherRows: (gpu) => [x(gpu), Tensor.zeros(gpu, [2], 'i32')],
  grad: (gpu) => [Tensor.zeros(gpu, []), x(gpu)],
  hardtanh: one,
  huberLoss: two,
  klDivergence: two,
  l1Loss: two,
  lateInteraction: (gpu) => [x(gpu), x(gpu), packed(gpu), packed(gpu)],
  lexicalScores: (gpu) => [weights(gpu), weights(gpu), lexical(gpu), lexical(gpu)],
  linspace: (gpu) => [gpu, 0, 1, 2],
  matmul: two,
  mseLoss: two,
  multipleNegativesRanking: two,
  nanToNum: one,
  normal: (gpu) => [gpu, [2]],
  ones: (gpu) => [gpu, [2]],
  onesLike: one,
  permutation: (gpu) => [gpu, 2],
  print: one,
  propagate: (gpu) => [[[Tensor.zeros(gpu, []), Tensor.zeros(gpu, [])]], []],
  randomInts: (gpu) => [gpu, [2], 0, 2],
  rotary: (gpu) => [x(gpu), 0],
  scaledDotProductAttention: (gpu) => [four(gpu), four(gpu), four(gpu)],
  smoothL1Loss: two,
  sort: one,
  std: (gpu) => [x(gpu), 0, false],
  tensor: (gpu) => [gpu, [1]],
  topk: (gpu) => [x(gpu), 1],
  tripletLoss: three,
  uniform: (gpu) => [gpu, [2]],
  variance: (gpu) => [x(gpu), 0, false],
  zeros: (gpu) => [gpu, [2]],
  zerosLike: one,
};

/** Calls of operations without options, whose operands are replaced by nonsense one after the other. */
export const callsWithout: Readonly<Partial<Record<keyof typeof ops, (gpu: Gpu) => readonly unknown[]>>> = {
  add: two,
  all: (gpu) => [Tensor.zeros(gpu, [2, 3], 'bool'), 1, false],
  argmax: (gpu) => [x(gpu), 1, false],
  cast: (gpu) => [x(gpu), 'i32'],
  chunk: (gpu) => [x(gpu), 2, 0],
  concat: (gpu) => [two(gpu), 0],
  cosineSimilarity: (gpu) => [x(gpu), x(gpu), -1, 1e-8],
  einsum: (gpu) => ['ij,jk->ik', x(gpu), x(gpu)],
  elu: (gpu) => [x(gpu), 1],
  expand: (gpu) => [x(gpu), [2, 4, 4]],
  flatten: (gpu) => [x(gpu), 0, 1],
  flip: (gpu) => [x(gpu), [0]],
  gather: (gpu) => [x(gpu), 1, Tensor.zeros(gpu, [4, 2], 'i32')],
  indexAdd: (gpu) => [x(gpu), 0, Tensor.zeros(gpu, [2], 'i32'), Tensor.zeros(gpu, [2, 4])],
  layerNorm: (gpu) => [x(gpu), weights(gpu), weights(gpu), 1e-5, x(gpu), 'f32'],
  linear: (gpu) => [x(gpu), x(gpu), weights(gpu), 'f32'],
  logSumExp: (gpu) => [x(gpu), 1, false],
  m3Distillation: (gpu) => [x(gpu), Tensor.zeros(gpu, [4, 1]), false],
  max: (gpu) => [x(gpu), 1, false],
  norm: (gpu) => [x(gpu), 2, 1, false],
  normalizeRows: (gpu) => [x(gpu), 1e-12],
  onBackward: (gpu) => [x(gpu), () => {}],
  oneHot: (gpu) => [Tensor.zeros(gpu, [2], 'i32'), 3, 'f32'],
  ownGroup: (gpu) => [x(gpu), 1],
  pad: (gpu) => [x(gpu), [[1, 1], null], 0],
  permute: (gpu) => [x(gpu), [1, 0]],
  repeatInterleave: (gpu) => [x(gpu), 2, 1],
  reshape: (gpu) => [x(gpu), [2, 8]],
  roll: (gpu) => [x(gpu), 1, 1],
  segmentMean: (gpu) => [x(gpu), packed(gpu)],
  slice: (gpu) => [x(gpu), [1, 3, 1], 0],
  softmax: (gpu) => [x(gpu), -1],
  split: (gpu) => [x(gpu), 2, 0],
  squeeze: (gpu) => [Tensor.zeros(gpu, [1, 3]), 0],
  stack: (gpu) => [two(gpu), 0],
  sum: (gpu) => [x(gpu), 1, false],
  tile: (gpu) => [x(gpu), [2, 1]],
  transpose: (gpu) => [x(gpu), 0, 1],
  tril: (gpu) => [x(gpu), 0],
  unsqueeze: (gpu) => [x(gpu), 0],
  where: (gpu) => [Tensor.zeros(gpu, [4], 'bool'), weights(gpu), 1],
};
