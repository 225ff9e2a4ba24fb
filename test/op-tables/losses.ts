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

/** In pieces no binding shows a row. */
const longRows: OpCase[] = softmaxCases
  .filter(({ name }) => name.endsWith(' 21'))
  .map((row) => ({
    ...row,
    name: `${row.name} in long rows`,
    large: [[3, 1500]],
    adds: 'all',
    likeOthers: false,
  }));

const softminCase: OpCase = {
  name: 'softmin',
  inputs: [[4, 9]],
  large: [[400, 9]],
  halves: [0],
  likeOthers: true,
  run: (_, [x]) => ops.softmin(x!),
  reference: ([x]) =>
    Float64Array.from(
      rowsOf(x!, 9).flatMap((row) => {
        const own = row.map((v) => -v);
        return own.map((v) => Math.exp(v - logSumExp(own)));
      }),
    ),
};

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

const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0) / values.length;
const same = (x: Float64Array, y: Float64Array, f: (a: number, b: number, column: number) => number) =>
  Float64Array.of(mean(x.map((v, i) => f(v, y[i]!, i % 5))));
const cosine = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>) =>
    Array.from(x).reduce((sum, v, i) => sum + v * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};
const distance = (a: number[], b: number[]) => Math.hypot(...a.map((v, i) => v - b[i]! + 1e-6));

const WEIGHTS = [0.5, 2, 1, 3, 1.5];
const SMOOTHING = 0.2;
/** Every third row is ignored. */
const classesOf = (rows: number) =>
  Array.from({ length: rows }, (_, r) => (r % 3 === 1 ? -100 : TARGETS[r % 3]!));
/** Loss and weight of each row, with weights and smoothing. */
const smoothed = (x: Float64Array, rows: number) =>
  rowsOf(x, 5).map((row, r) => {
    const target = classesOf(rows)[r]!;
    if (target < 0) return [0, 0] as const;
    const logs = row.map((v) => logSumExp(row) - v);
    const even = logs.reduce((sum, v, c) => sum + v * WEIGHTS[c]!, 0) / 5;
    return [(1 - SMOOTHING) * WEIGHTS[target]! * logs[target]! + SMOOTHING * even, WEIGHTS[target]!] as const;
  });
const total = (values: number[]) => values.reduce((a, b) => a + b, 0);

/** Of elements alone: an input, a target, and the function of the two that is averaged. */
const elementLoss = (
  name: string,
  run: (x: Tensor, y: Tensor) => Tensor,
  f: (x: number, y: number, column: number) => number,
  ranges?: [number, number][],
): OpCase => ({
  name,
  inputs: [
    [3, 5],
    [3, 5],
  ],
  large: [
    [300, 5],
    [300, 5],
  ],
  adds: 'all',
  output: 'f32',
  halves: [0, 1],
  ...(ranges ? { ranges } : {}),
  run: (_, [x, y]) => run(x!, y!),
  reference: ([x, y]) => same(x!, y!, f),
});

const softplus = (x: number) => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0);
const vectors = (
  rows: number[],
  large: number[],
): Pick<OpCase, 'inputs' | 'large' | 'adds' | 'output' | 'halves'> => ({
  inputs: rows.map((r) => [r, 6]),
  large: large.map((r) => [r, 6]),
  adds: 'all',
  output: 'f32',
  halves: rows.map((_, i) => i),
});

const moreLossCases: OpCase[] = [
  ...(['mean', 'none'] as const).map(
    (reduction): OpCase => ({
      name: `crossEntropy weighted and smoothed, ${reduction}`,
      inputs: [[2, 3, 5]],
      large: [[20, 30, 5]],
      adds: reduction === 'none' ? 'gradients' : 'all',
      output: 'f32',
      halves: [0],
      run: (gpu, [x]) => {
        const targets = classesOf(x!.rows);
        return ops.crossEntropy(
          x!,
          reduction === 'mean' ? targets : Tensor.from(gpu, targets, x!.shape.slice(0, -1), 'i32'),
          { reduction, labelSmoothing: SMOOTHING, weight: Tensor.from(gpu, WEIGHTS, [5]) },
        );
      },
      reference: ([x]) => {
        const rows = smoothed(x!, 6);
        const losses = rows.map(([loss]) => loss);
        if (reduction === 'none') return Float64Array.from(losses);
        return Float64Array.of(total(losses) / total(rows.map(([, weight]) => weight)));
      },
    }),
  ),
  elementLoss('mseLoss', ops.mseLoss, (x, y) => (x - y) ** 2),
  elementLoss('l1Loss', ops.l1Loss, (x, y) => Math.abs(x - y), [
    [-1, 0.4],
    [0.5, 1],
  ]),
  elementLoss(
    'huberLoss',
    (x, y) => ops.huberLoss(x, y, { delta: 0.7 }),
    (x, y) => {
      const d = Math.abs(x - y);
      return d <= 0.7 ? 0.5 * d * d : 0.7 * (d - 0.35);
    },
  ),
  elementLoss('smoothL1Loss', ops.smoothL1Loss, (x, y) => {
    const d = Math.abs(x - y);
    return d <= 1 ? 0.5 * d * d : d - 0.5;
  }),
  elementLoss(
    'bceWithLogits',
    (x, y) =>
      ops.bceWithLogits(x, y, {
        posWeight: Tensor.from(x.gpu, WEIGHTS, [5]),
        weight: Tensor.from(x.gpu, [2], [1]),
      }),
    (x, y, c) => 2 * ((1 - y) * softplus(x) + WEIGHTS[c]! * y * softplus(-x)),
    [
      [-3, 3],
      [0.1, 0.9],
    ],
  ),
  elementLoss('klDivergence', ops.klDivergence, (x, y) => y * (Math.log(y) - x), [
    [-3, 0],
    [0.1, 0.9],
  ]),
  elementLoss(
    'klDivergence of logarithms',
    (x, y) => ops.klDivergence(x, y, { logTarget: true, reduction: 'batchmean' }),
    (x, y) => 5 * Math.exp(y) * (y - x),
    [
      [-3, 0],
      [-3, 0],
    ],
  ),
  {
    name: 'pairwiseDistance',
    ...vectors([4, 4], [300, 300]),
    output: undefined,
    run: (_, [a, b]) => ops.pairwiseDistance(a!, b!),
    reference: ([a, b]) =>
      Float64Array.from(rowsOf(a!, 6), (row, r) =>
        Math.hypot(...row.map((v, i) => v - rowsOf(b!, 6)[r]![i]! + 1e-6)),
      ),
  },
  {
    name: 'cdist',
    ...vectors([4, 5], [30, 50]),
    output: undefined,
    adds: 'gradients',
    run: (_, [a, b]) => ops.cdist(a!, b!, 1),
    reference: ([a, b]) =>
      Float64Array.from(
        rowsOf(a!, 6).flatMap((row) =>
          rowsOf(b!, 6).map((other) => row.reduce((sum, v, i) => sum + Math.abs(v - other[i]!), 0)),
        ),
      ),
  },
  {
    name: 'cosineSimilarity',
    ...vectors([4, 4], [300, 300]),
    run: (_, [a, b]) => ops.cosineSimilarity(a!, b!),
    reference: ([a, b]) => Float64Array.from(rowsOf(a!, 6), (row, r) => cosine(row, rowsOf(b!, 6)[r]!)),
  },
  {
    name: 'cosineEmbeddingLoss',
    ...vectors([4, 4], [300, 300]),
    run: (gpu, [a, b]) => {
      const signs = Array.from({ length: a!.rows }, (_, r) => (r % 2 === 0 ? 1 : -1));
      return ops.cosineEmbeddingLoss(a!, b!, Tensor.from(gpu, signs, [a!.rows], 'i32'), { margin: -0.9 });
    },
    reference: ([a, b]) =>
      Float64Array.of(
        mean(
          rowsOf(a!, 6).map((row, r) => {
            const own = cosine(row, rowsOf(b!, 6)[r]!);
            return r % 2 === 0 ? 1 - own : Math.max(0, own + 0.9);
          }),
        ),
      ),
  },
  ...[false, true].map(
    (symmetric): OpCase => ({
      name: `multipleNegativesRanking${symmetric ? ' symmetric' : ''}`,
      ...vectors([3, 3, 3], [40, 40, 40]),
      // The product sees its operands whole; grids are cut.
      binding: 16384,
      run: (_, [a, p, n]) => ops.multipleNegativesRanking(a!, [p!, n!], { scale: 5, symmetric }),
      reference: ([a, p, n]) => {
        const all = [...rowsOf(p!, 6), ...rowsOf(n!, 6)];
        const scores = rowsOf(a!, 6).map((row) => all.map((other) => 5 * cosine(row, other)));
        const forth = mean(scores.map((row, r) => logSumExp(row) - row[r]!));
        const back = mean([0, 1, 2].map((r) => logSumExp(scores.map((row) => row[r]!)) - scores[r]![r]!));
        return Float64Array.of(symmetric ? (forth + back) / 2 : forth);
      },
    }),
  ),
  ...(['euclidean', 'cosine'] as const).map(
    (how): OpCase => ({
      name: `tripletLoss ${how}`,
      ...vectors([4, 4, 4], [300, 300, 300]),
      run: (_, [a, p, n]) => ops.tripletLoss(a!, p!, n!, { margin: 4, distance: how }),
      reference: ([a, p, n]) =>
        Float64Array.of(
          mean(
            rowsOf(a!, 6).map((row, r) => {
              const apart = (other: number[]) =>
                how === 'cosine' ? 1 - cosine(row, other) : distance(row, other);
              return Math.max(0, apart(rowsOf(p!, 6)[r]!) - apart(rowsOf(n!, 6)[r]!) + 4);
            }),
          ),
        ),
    }),
  ),
];

export const lossAndSoftmaxCases: OpCase[] = [
  ...softmaxCases,
  ...longRows,
  softminCase,
  ...axisCases,
  ...lossCases,
  ...moreLossCases,
];
