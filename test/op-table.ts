/**
 * One record per differentiable op: how to run it and its float64 reference. The table drives the forward check,
 * the gradient check (finite differences of the float64 reference), odd shapes and the leak check.
 */
import * as ops from '../src/autograd/index.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { attentionReference } from '../src/kernels/attention/reference.js';
import { layerNormReference } from '../src/kernels/layer-norm/layer-norm.js';
import { matmulReference } from '../src/kernels/matmul/reference.js';
import { maxSimLayout } from '../src/kernels/maxsim/layout.js';
import { maxSimReference } from '../src/kernels/maxsim/reference.js';
import { type BinaryName, binaryFormulas, type UnaryName, unaryFormulas } from '../src/kernels/pointwise.js';
import { sparseMatches } from '../src/models/score-layout.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { broadcastShapes, stridesOf } from '../src/tensor/shape.js';
import { Tensor } from '../src/tensor/tensor.js';

export interface OpCase {
  name: string;
  /** Shapes of the inputs that get gradients. */
  inputs: number[][];
  /** The same of which some takes more than `binding` bytes, for the test of what is cut into pieces. */
  large: number[][];
  /** Bytes of a binding in that test, by default 4096. */
  binding?: number;
  /** What of it adds up over pieces, and so need not be equal to the bit. */
  adds?: 'gradients' | 'all';
  /** Values are drawn from [low, high]. */
  range?: [number, number];
  run(gpu: Gpu, inputs: Tensor[]): Tensor;
  reference(inputs: Float64Array[]): Float64Array;
  /** Largest error of the result and of gradients, relative to the largest reference value. */
  tolerance?: number;
  gradientTolerance?: number;
  /** Inputs that may be f16 (the others stay f32): the op is then tested in mixed precision too. */
  halves?: number[] | undefined;
}

type Unary = Exclude<UnaryName, 'scale' | 'shift'>;
const positive = new Set<string>(['log', 'sqrt', 'reciprocal']);

const unaryCases: OpCase[] = (Object.keys(unaryFormulas) as UnaryName[]).map((name) => ({
  name,
  inputs: [[3, 7]],
  large: [[130, 20]],
  halves: [0],
  range: positive.has(name) ? [0.5, 2] : [-3, 3],
  run: (_, [x]) => (name === 'scale' || name === 'shift' ? ops[name](x!, 1.7) : ops[name as Unary](x!)),
  reference: ([x]) => x!.map((v) => unaryFormulas[name].host(v, 1.7)),
}));

function broadcastReference(
  f: (a: number, b: number) => number,
  a: Float64Array,
  b: Float64Array,
  sa: number[],
  sb: number[],
) {
  const shape = broadcastShapes(sa, sb)!;
  const strides = stridesOf(shape);
  const at = (own: number[], index: number) => {
    const os = stridesOf(own);
    let offset = 0;
    shape.forEach((extent, i) => {
      const j = i - (shape.length - own.length);
      if (j >= 0 && own[j] !== 1) offset += (Math.floor(index / strides[i]!) % extent) * os[j]!;
    });
    return offset;
  };
  return Float64Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) =>
    f(a[at(sa, i)]!, b[at(sb, i)]!),
  );
}

const binaryCases: OpCase[] = (Object.keys(binaryFormulas) as BinaryName[]).flatMap(
  (name) =>
    (
      [
        [
          [5, 6],
          [5, 6],
          [65, 40],
          [65, 40],
        ],
        // A row alone is more than a binding.
        [[2, 3, 5], [5], [2, 2, 1100], [1100]],
        [
          [2, 1, 5],
          [3, 1],
          [40, 1, 45],
          [3, 1],
        ],
        [[4, 3], [], [70, 30], []],
        [[1], [2, 2], [1], [60, 40]],
      ] as [number[], number[], number[], number[]][]
    ).map(([sa, sb, ...large]) => ({
      name: `${name} [${sa}] [${sb}]`,
      inputs: [sa, sb],
      large,
      adds: String(sa) === String(sb) ? undefined : 'gradients',
      halves: String(sa) === String(sb) ? [0, 1] : undefined,
      range: name === 'div' ? [0.5, 2] : [-2, 2],
      run: (_: Gpu, [a, b]: Tensor[]) => ops[name](a!, b!),
      reference: ([a, b]: Float64Array[]) => broadcastReference(binaryFormulas[name].host, a!, b!, sa, sb),
    })) as OpCase[],
);

function reduceReference(
  x: Float64Array,
  shape: number[],
  axis: number | undefined,
  kind: 'sum' | 'mean',
): Float64Array {
  if (axis === undefined)
    return Float64Array.of(x.reduce((a, b) => a + b, 0) / (kind === 'mean' ? x.length : 1));
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1);
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const length = shape[axis]!;
  const y = new Float64Array(outer * inner);
  for (let o = 0; o < outer; o++)
    for (let l = 0; l < length; l++)
      for (let i = 0; i < inner; i++)
        y[o * inner + i]! += x[(o * length + l) * inner + i]! / (kind === 'mean' ? length : 1);
  return y;
}

const reduceCases: OpCase[] = (['sum', 'mean'] as const).flatMap((kind) =>
  ([undefined, 0, 1, 2] as const).map((axis) => ({
    name: `${kind} axis ${axis}`,
    inputs: [[3, 5, 7]],
    // Of axis 0 two rows of what is summed are more than a binding, of axis 2 a row is within one.
    large: [axis === 1 ? [3, 40, 30] : [3, 5, 300]],
    adds: axis === 2 ? undefined : 'all',
    run: (_: Gpu, [x]: Tensor[]) => ops[kind](x!, axis),
    reference: ([x]: Float64Array[]) => reduceReference(x!, [3, 5, 7], axis, kind),
  })),
);

const rowsOf = (x: Float64Array, cols: number) =>
  Array.from({ length: x.length / cols }, (_, r) => [...x.subarray(r * cols, (r + 1) * cols)]);
const logSumExp = (row: number[]) => {
  const top = Math.max(...row);
  return top + Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0));
};

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

const layerNormCases: OpCase[] = [
  [3, 7],
  [9, 32],
  [70, 20],
].flatMap(([rows, cols]) => [
  {
    name: `layerNorm ${rows}×${cols}`,
    inputs: [[rows!, cols!], [cols!], [cols!]],
    large: [[rows! + 400, 6 * cols!], [6 * cols!], [6 * cols!]],
    binding: 65536,
    adds: 'gradients',
    halves: cols! % 4 === 0 ? [0] : undefined,
    run: (_, [x, g, b]) => ops.layerNorm(x!, g!, b!, 1e-5),
    reference: ([x, g, b]) => layerNormReference(x!, g!, b!, cols!, 1e-5),
  } satisfies OpCase,
  {
    name: `layerNorm with residual ${rows}×${cols}`,
    inputs: [[rows!, cols!], [cols!], [cols!], [rows!, cols!]],
    large: [[rows! + 400, 6 * cols!], [6 * cols!], [6 * cols!], [rows! + 400, 6 * cols!]],
    binding: 65536,
    adds: 'gradients',
    halves: cols! % 4 === 0 ? [0, 3] : undefined,
    run: (_, [x, g, b, r]) => ops.layerNorm(x!, g!, b!, 1e-5, r),
    reference: ([x, g, b, r]) =>
      layerNormReference(
        x!.map((v, i) => v + r![i]!),
        g!,
        b!,
        cols!,
        1e-5,
      ),
  } satisfies OpCase,
]);

const attentionCases: OpCase[] = (
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

/** Things that cases make beside tensors; the test disposes of them. */
export const pending: { dispose(): void }[] = [];

const index = (gpu: Gpu, values: number[]) => {
  const result = new RowIndex(gpu, Uint32Array.from(values));
  pending.push(result);
  return result;
};

const GATHER = [4, 0, 2, 4, 4, 1];
const rowCases: OpCase[] = [
  ...[5, 8].map(
    (cols): OpCase => ({
      name: `gatherRows ${cols} columns`,
      inputs: [[6, cols]],
      large: [[6, cols === 5 ? 200 : 248]],
      run: (gpu, [table]) => ops.gatherRows(table!, index(gpu, GATHER)),
      reference: ([table]) =>
        Float64Array.from(GATHER.flatMap((row) => [...table!.subarray(row * cols, (row + 1) * cols)])),
    }),
  ),
  {
    name: 'segmentMean',
    inputs: [[9, 6]],
    large: [[9, 250]],
    adds: 'all',
    run: (gpu, [x]) => {
      const packed = new PackedSequences(gpu, [4, 1, 4]);
      pending.push(packed);
      return ops.segmentMean(x!, packed);
    },
    reference: ([x]) =>
      Float64Array.from(
        [
          [0, 4],
          [4, 5],
          [5, 9],
        ].flatMap(([from, to]) =>
          Array.from({ length: 6 }, (_, c) => {
            let sum = 0;
            for (let t = from!; t < to!; t++) sum += x![t * 6 + c]! / (to! - from!);
            return sum;
          }),
        ),
      ),
  },
  ...[5, 16].map(
    (cols): OpCase => ({
      name: `normalizeRows ${cols} columns`,
      inputs: [[7, cols]],
      large: [[300, cols]],
      run: (_, [x]) => ops.normalizeRows(x!),
      reference: ([x]) =>
        Float64Array.from(rowsOf(x!, cols).flatMap((row) => row.map((v) => v / Math.hypot(...row)))),
    }),
  ),
  {
    name: 'cast to f16 and back',
    inputs: [[5, 6]],
    large: [[130, 20]],
    halves: [0],
    run: (_, [x]) => ops.cast(ops.cast(x!, x!.dtype === 'f16' ? 'f32' : 'f16'), x!.dtype as 'f32' | 'f16'),
    reference: ([x]) => x!.slice(),
    tolerance: 5e-4,
    gradientTolerance: 1e-3,
  },
  {
    name: 'reshape',
    inputs: [[6, 4]],
    large: [[300, 4]],
    run: (_, [x]) => ops.reshape(x!, [x!.size / 8, 8]),
    reference: ([x]) => x!.slice(),
  },
  {
    name: 'onBackward',
    inputs: [[6, 4]],
    large: [[300, 4]],
    run: (_, [x]) => ops.onBackward(x!, () => {}),
    reference: ([x]) => x!.slice(),
  },
  {
    name: 'sliceRows view',
    inputs: [[6, 4]],
    large: [[6, 600]],
    run: (_, [x]) => ops.sliceRows(x!, 2, 5),
    reference: ([x]) => x!.slice(8, 20),
  },
  {
    name: 'sliceRows copy',
    inputs: [[6, 3]],
    large: [[6, 601]],
    run: (_, [x]) => ops.sliceRows(x!, 1, 4),
    reference: ([x]) => x!.slice(3, 12),
  },
  {
    name: 'concatRows',
    inputs: [
      [2, 3],
      [1, 3],
    ],
    large: [
      [400, 3],
      [300, 3],
    ],
    run: (_, [a, b]) => ops.concatRows([a!, b!]),
    reference: ([a, b]) => Float64Array.from([...a!, ...b!]),
  },
  {
    name: 'max',
    inputs: [[5, 9]],
    large: [[300, 9]],
    run: (_, [x]) => ops.max(x!),
    reference: ([x]) => Float64Array.from(rowsOf(x!, 9).map((row) => Math.max(...row))),
  },
  {
    name: 'segmentMax',
    inputs: [[7]],
    large: [[7 * 300]],
    run: (gpu, [x]) => {
      // Three groups among every seven values, of which one is in none.
      const blocks = Array.from({ length: x!.size / 7 }, (_, i) => i);
      const list = blocks.flatMap((i) => [0, 3, 5, 1, 2, 6].map((at) => 7 * i + at));
      const bounds = [0, ...blocks.flatMap((i) => [3, 4, 6].map((end) => 6 * i + end))];
      const order = Tensor.from(gpu, list, [list.length], 'u32');
      const starts = Tensor.from(gpu, bounds, [bounds.length], 'u32');
      return ops.segmentMax(x!, order, starts);
    },
    reference: ([x]) => Float64Array.of(Math.max(x![0]!, x![3]!, x![5]!), x![1]!, Math.max(x![2]!, x![6]!)),
  },
];

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

const LENGTHS = [3, 6, 2, 9, 1, 28, 4, 7]; // two queries, six passages; a text of CLS only
const scoreCases: OpCase[] = [8, 6].flatMap((cols) =>
  [false, true].flatMap((own) =>
    [false, true].map((floor): OpCase => {
      const bounds = new PackedSequences({} as Gpu, LENGTHS).bounds;
      return {
        name: `maxSim width ${cols}${own ? ' own group' : ''}${floor ? ' floored' : ''}`,
        inputs: [[bounds[8]!, cols]],
        large: [[bounds[8]!, 4 * cols]],
        adds: 'gradients',
        run: (gpu, [v]) => {
          const packed = new PackedSequences(gpu, LENGTHS);
          pending.push(packed);
          return ops.maxSim(
            v!,
            maxSimLayout(packed, {
              queries: 2,
              ownGroup: own,
              width: v!.cols,
              floor: floor ? new Array(6).fill(true) : undefined,
            }),
          );
        },
        reference: ([v]) => {
          const text = (s: number) => v!.subarray((bounds[s]! + 1) * cols, bounds[s + 1]! * cols);
          const scores: number[] = [];
          for (let b = 0; b < 2; b++)
            for (let j = own ? b * 3 : 0; j < (own ? b * 3 + 3 : 6); j++)
              scores.push(text(2 + j).length === 0 ? 0 : maxSimReference(text(b), text(2 + j), cols, floor));
          return Float64Array.from(scores);
        },
      };
    }),
  ),
);

const IDS = [0, 9, 7, 2, 0, 7, 8, 9, 2, 0, 7, 2, 0, 9, 9, 4, 2, 0, 5, 2, 0, 8, 7, 6, 2];
const ID_LENGTHS = [4, 5, 3, 5, 3, 5];
const sparseCases: OpCase[] = [false, true].map((own) => ({
  name: `lexical scores${own ? ' own group' : ''}`,
  inputs: [[IDS.length]],
  large: [[IDS.length * 42]],
  adds: 'all',
  range: [0.1, 1],
  run: (gpu, [w]) => {
    const times = w!.size / IDS.length;
    const repeated = (list: number[]) => Array.from({ length: times }, () => list).flat();
    const packed = new PackedSequences(gpu, repeated(ID_LENGTHS));
    pending.push(packed);
    const { groups, matches } = sparseMatches(packed, Uint32Array.from(repeated(IDS)), {
      queries: 2 * times,
      ownGroup: own,
      special: [0, 1, 2, 3],
    });
    return ops.sparseScores(ops.segmentMax(w!, groups.order, groups.starts), matches);
  },
  reference: ([w]) => {
    const bounds = new PackedSequences({} as Gpu, ID_LENGTHS).bounds;
    const weights = (s: number) => {
      const map = new Map<number, number>();
      for (let t = bounds[s]!; t < bounds[s + 1]!; t++)
        if (IDS[t]! > 3) map.set(IDS[t]!, Math.max(map.get(IDS[t]!) ?? 0, w![t]!));
      return map;
    };
    const scores: number[] = [];
    for (let b = 0; b < 2; b++)
      for (let j = own ? b * 2 : 0; j < (own ? b * 2 + 2 : 4); j++) {
        let score = 0;
        for (const [id, value] of weights(b)) score += value * (weights(2 + j).get(id) ?? 0);
        scores.push(score);
      }
    return Float64Array.from(scores);
  },
}));

export const opTable: OpCase[] = [
  ...unaryCases,
  ...binaryCases,
  ...reduceCases,
  ...matmulCases,
  ...linearCases,
  ...linearGeluCases,
  ...layerNormCases,
  ...attentionCases,
  ...rowCases,
  ...softmaxCases,
  ...lossCases,
  ...scoreCases,
  ...sparseCases,
];
