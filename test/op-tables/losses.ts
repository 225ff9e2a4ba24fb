/** Of the table of ops: softmax, and the losses on rows of scores. */
import * as ops from '../../src/autograd/index.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { logSumExp, type OpCase, rowsOf } from './case.js';

const TARGETS = [2, 0, 4];
const softmaxCases: OpCase[] = [3, 21, 70].flatMap((cols): OpCase[] => [
  {
    name: `softmax ${cols}`,
    inputs: [[4, cols]],
    large: [[400, cols]],
    run: (_, [x]) => ops.softmax(x!),
    reference: ([x]) =>
      Float64Array.from(rowsOf(x!, cols).flatMap((row) => row.map((v) => Math.exp(v - logSumExp(row))))),
  },
  {
    name: `logSoftmax ${cols}`,
    inputs: [[4, cols]],
    large: [[400, cols]],
    run: (_, [x]) => ops.logSoftmax(x!),
    reference: ([x]) =>
      Float64Array.from(rowsOf(x!, cols).flatMap((row) => row.map((v) => v - logSumExp(row)))),
  },
]);

const axisCases: OpCase[] = (['softmax', 'logSoftmax'] as const).map((name, at) => ({
  name: `${name} along axis ${at}`,
  inputs: [[4, 5, 3]],
  large: [[4, 50, 30]],
  halves: [0],
  run: (_, [x]) => ops[name](x!, at),
  reference: ([x]) => {
    const [outer, length, inner] = at === 0 ? [1, 4, 15] : [4, 5, 3];
    const y = new Float64Array(60);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const index = (l: number) => (o * length + l) * inner + i;
        const row = Array.from({ length }, (_, l) => x![index(l)]!);
        row.forEach((v, l) => {
          const log = v - logSumExp(row);
          y[index(l)] = name === 'softmax' ? Math.exp(log) : log;
        });
      }
    return y;
  },
}));

const P = (rows: number, cols: number) =>
  Float32Array.from({ length: rows * cols }, (_, i) => ((i * 7 + 3) % 5) / 10);

const lossCases: OpCase[] = [
  {
    name: 'crossEntropy',
    inputs: [[3, 5]],
    large: [[1200, 5]],
    adds: 'all',
    run: (gpu, [x]) => {
      const targets = Array.from({ length: x!.rows }, (_, r) => TARGETS[r % 3]!);
      return ops.crossEntropy(x!, Tensor.from(gpu, targets, [x!.rows], 'u32'));
    },
    reference: ([x]) => {
      const rows = rowsOf(x!, 5);
      return Float64Array.of(rows.reduce((sum, row, r) => sum + (logSumExp(row) - row[TARGETS[r]!]!) / 3, 0));
    },
  },
  {
    name: 'softCrossEntropy',
    inputs: [[3, 5]],
    large: [[300, 5]],
    adds: 'all',
    run: (gpu, [x]) => ops.softCrossEntropy(x!, Tensor.from(gpu, P(x!.rows, 5), [x!.rows, 5])),
    reference: ([x]) => {
      const p = P(3, 5);
      const rows = rowsOf(x!, 5);
      return Float64Array.of(
        rows.reduce(
          (sum, row, r) =>
            sum + row.reduce((part, v, c) => part + p[r * 5 + c]! * (logSumExp(row) - v), 0) / 3,
          0,
        ),
      );
    },
  },
  {
    name: 'softCrossEntropy towards both',
    inputs: [
      [3, 5],
      [3, 5],
    ],
    large: [
      [300, 5],
      [300, 5],
    ],
    adds: 'all',
    run: (_, [x, p]) => ops.softCrossEntropy(x!, p!),
    reference: ([x, p]) => {
      const rows = rowsOf(x!, 5);
      return Float64Array.of(
        rows.reduce(
          (sum, row, r) =>
            sum + row.reduce((part, v, c) => part + p![r * 5 + c]! * (logSumExp(row) - v), 0) / 3,
          0,
        ),
      );
    },
  },
  ...[false, true].map(
    (ownOnly): OpCase => ({
      name: `m3Distillation ${ownOnly ? 'own block' : 'in batch'}`,
      inputs: [ownOnly ? [3, 4] : [3, 12]],
      large: [ownOnly ? [400, 4] : [20, 80]],
      adds: 'all',
      run: (gpu, [x]) => ops.m3Distillation(x!, Tensor.from(gpu, P(x!.rows, 4), [x!.rows, 4]), ownOnly),
      reference: ([x]) => {
        const p = P(3, 4);
        let total = 0;
        rowsOf(x!, ownOnly ? 4 : 12).forEach((row, r) => {
          const start = ownOnly ? 0 : r * 4;
          for (let i = 0; i < 4; i++)
            total +=
              (p[r * 4 + i]! *
                (logSumExp(row.filter((_, c) => c < start || c >= start + i)) - row[start + i]!)) /
              3;
        });
        return Float64Array.of(total);
      },
    }),
  ),
  {
    name: 'ownGroup',
    inputs: [[3, 12]],
    large: [[20, 80]],
    run: (_, [x]) => ops.ownGroup(x!, 4),
    reference: ([x]) =>
      Float64Array.from([0, 1, 2].flatMap((r) => [...x!.subarray(r * 12 + r * 4, r * 12 + r * 4 + 4)])),
  },
];

export const lossAndSoftmaxCases: OpCase[] = [...softmaxCases, ...axisCases, ...lossCases];
