/** Of the table of ops: matrix products. */
import * as ops from '../../src/autograd/index.js';
import { matmulReference } from '../../src/kernels/matmul/reference.js';
import { unaryFormulas } from '../../src/kernels/pointwise.js';
import { broadcastShapes, sizeOf } from '../../src/tensor/shape.js';
import { namedSums } from '../named-sums.js';
import type { OpCase } from './case.js';

const matmulCases: OpCase[] = (
  [
    [8, 12, 16, false],
    [8, 12, 16, true],
    [37, 20, 28, false],
    [37, 20, 28, true],
    [5, 7, 3, false],
    [5, 7, 3, true],
    [1, 1, 9, true],
    [70, 66, 33, false],
    [70, 68, 36, true],
  ] as [number, number, number, boolean][]
).map(([M, N, K, transB]) => ({
  name: `matmul ${M}×${K}·${K}×${N}${transB ? ' transB' : ''}`,
  inputs: [[M, K], transB ? [N, K] : [K, N]],
  large: [[M + 1000, 4 * K], transB ? [4 * N, 4 * K] : [4 * K, 4 * N]],
  // 64 rows of an operand must be seen at once.
  binding: 69632,
  adds: 'all',
  halves: [0, 1],
  run: (_, [a, b]) => ops.matmul(a!, b!, { transB }),
  reference: ([a, b]) => matmulReference(a!, b!, { M, N, K, transB }),
}));

/** The product of the last two dimensions, of batches that broadcast, and of vectors, in float64. */
function batchedReference(
  a: Float64Array,
  b: Float64Array,
  shapeA: readonly number[],
  shapeB: readonly number[],
  { transA = false, transB = false } = {},
): Float64Array {
  const [ofA, ofB] = [
    shapeA.length === 1 ? [1, shapeA[0]!] : shapeA,
    shapeB.length === 1 ? (transB ? [1, shapeB[0]!] : [shapeB[0]!, 1]) : shapeB,
  ];
  const [M, K] = transA ? [ofA.at(-1)!, ofA.at(-2)!] : [ofA.at(-2)!, ofA.at(-1)!];
  const N = ofB.at(transB ? -2 : -1)!;
  const batch = broadcastShapes(ofA.slice(0, -2), ofB.slice(0, -2))!;
  const matrix = (x: Float64Array, shape: readonly number[], index: number) => {
    let at = 0;
    let stride = 1;
    let left = index;
    for (let d = batch.length - 1; d >= 0; d--) {
      const extent = shape[shape.length - 2 - batch.length + d] ?? 1;
      if (extent > 1) at += stride * (left % batch[d]!);
      stride *= extent;
      left = Math.floor(left / batch[d]!);
    }
    const size = shape.at(-1)! * shape.at(-2)!;
    return x.subarray(at * size, (at + 1) * size);
  };
  return Float64Array.from(
    Array.from({ length: sizeOf(batch) }, (_, i) => [
      ...matmulReference(matrix(a, ofA, i), matrix(b, ofB, i), { M, N, K, transA, transB }),
    ]).flat(),
  );
}

const transposed = (shape: number[]): number[] => [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];

/** Shapes of op(a) and op(b), how they are stored, and whether columns come in fours, as f16 in the kernel does. */
const batchedCases: OpCase[] = (
  [
    ['each its own', [3, 5, 7], [3, 7, 6], false, false],
    ['b for all, a transposed', [3, 9, 8], [8, 12], true, false],
    ['a for all, both transposed', [5, 8], [4, 8, 4], true, true],
    // Matrices of a that meet the same one of b, of which each is met by several groups of a's.
    ['both broadcast', [2, 1, 3, 4, 8], [3, 1, 8, 12], false, true],
    ['no simple rule', [2, 3, 2, 4, 8], [2, 1, 2, 8, 4], true, false],
    ['vector and matrices', [8], [3, 8, 4], false, false],
    ['matrices and vector', [3, 4, 8], [8], true, false],
  ] as [string, number[], number[], boolean, boolean][]
).map(([what, a, b, transA, transB]) => {
  const stored = (shape: number[], trans: boolean) => (trans ? transposed(shape) : shape);
  const [shapeA, shapeB] = [stored(a, transA), stored(b, transB)];
  // As many as a dispatch is cut for, and more.
  const more = (shape: number[]) => (shape.length > 2 ? [8 * shape[0]!, ...shape.slice(1)] : shape);
  return {
    name: `matmul of many, ${what}`,
    inputs: [shapeA, shapeB],
    large: [more(shapeA), more(shapeB)],
    adds: 'all',
    halves: [0, 1],
    run: (_, [x, y]) => ops.matmul(x!, y!, { transA, transB }),
    reference: ([x, y]) => batchedReference(x!, y!, shapeA, shapeB, { transA, transB }),
  } satisfies OpCase;
});

/** A product with its operands and its result in other orders, one that is none, and a diagonal of halves too. */
const einsumCases: OpCase[] = (
  [
    ['bqhd,bkhd->qbhk', [2, 3, 2, 4], [2, 5, 2, 4]],
    ['bi,bi->b', [3, 7], [3, 7]],
    ['iji->j', [5, 4, 5]],
  ] as [string, number[], number[]?][]
).map(([equation, ...shapes]) => {
  const [inputs, output] = equation.split('->').map((part) => part.split(','));
  const given = shapes.filter((shape) => shape !== undefined);
  return {
    name: `einsum ${equation}`,
    inputs: given,
    large: given.map((shape) => (shape.length === 3 ? [5, 400, 5] : [30 * shape[0]!, ...shape.slice(1)])),
    adds: 'all',
    halves: given.map((_, i) => i),
    run: (_, [a, b]) => ops.einsum(equation, a!, b),
    reference: (values) =>
      namedSums(
        values.map((own, i) => ({ values: own, shape: given[i]!, axes: [...inputs![i]!] })),
        [...output![0]!],
      ).value,
  } satisfies OpCase;
});

const vectorCases: OpCase[] = [
  {
    name: 'dot',
    inputs: [[50], [50]],
    large: [[3000], [3000]],
    adds: 'all',
    halves: [0, 1],
    run: (_, [a, b]) => ops.matmul(a!, b!),
    reference: ([a, b]) => Float64Array.of(a!.reduce((sum, v, i) => sum + v * b![i]!, 0)),
  },
  {
    name: 'outer',
    inputs: [[9], [6]],
    large: [[600], [60]],
    adds: 'gradients',
    halves: [0, 1],
    run: (_, [a, b]) => ops.outer(a!, b!),
    reference: ([a, b]) => Float64Array.from([...a!].flatMap((v) => [...b!].map((w) => v * w))),
  },
];

const linearCases: OpCase[] = (
  [
    [[3, 11, 16], 24],
    [[29, 8], 4],
    [[13, 6], 1],
  ] as [number[], number][]
).map(([shape, out]) => {
  const K = shape[shape.length - 1]!;
  return {
    name: `linear [${shape}] → ${out}`,
    inputs: [shape, [out, K], [out]],
    large: [[...shape.slice(0, -1), 48, 4 * K], [4 * out, 4 * K], [4 * out]],
    binding: 69632,
    adds: 'all',
    halves: [0],
    run: (_, [x, w, b]) => ops.linear(x!, w!, b!),
    reference: ([x, w, b]) => matmulReference(x!, w!, { M: x!.length / K, N: out, K, transB: true }, b!),
  };
});

const linearGeluCases: OpCase[] = [12, 5].map((out) => ({
  name: `linearGelu → ${out}`,
  inputs: [[9, 8], [out, 8], [out]],
  large: [[1000, 8], [4 * out, 8], [4 * out]],
  binding: 69632,
  adds: 'gradients',
  halves: [0],
  run: (_, [x, w, b]) => ops.linearGelu(x!, w!, b!),
  reference: ([x, w, b]) =>
    matmulReference(x!, w!, { M: 9, N: out, K: 8, transB: true }, b!).map((v) => unaryFormulas.gelu.host(v)),
}));

export const productCases: OpCase[] = [
  ...matmulCases,
  ...batchedCases,
  ...vectorCases,
  ...einsumCases,
  ...linearCases,
  ...linearGeluCases,
];
