/** Of the table of ops: matrix products. */
import * as ops from '../../src/autograd/index.js';
import { matmulReference } from '../../src/kernels/matmul/reference.js';
import { unaryFormulas } from '../../src/kernels/pointwise.js';
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
  halves: K % 4 === 0 && N % 4 === 0 ? [0, 1] : undefined,
  run: (_, [a, b]) => ops.matmul(a!, b!, { transB }),
  reference: ([a, b]) => matmulReference(a!, b!, { M, N, K, transB }),
}));

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
    halves: K % 4 === 0 && out % 4 === 0 ? [0] : undefined,
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
  halves: out % 4 === 0 ? [0] : undefined,
  run: (_, [x, w, b]) => ops.linearGelu(x!, w!, b!),
  reference: ([x, w, b]) =>
    matmulReference(x!, w!, { M: 9, N: out, K: 8, transB: true }, b!).map((v) => unaryFormulas.gelu.host(v)),
}));

export const productCases: OpCase[] = [...matmulCases, ...linearCases, ...linearGeluCases];
