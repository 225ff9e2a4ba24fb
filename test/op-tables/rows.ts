/** Of the table of ops: rows, segments, views and formats. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import { RowIndex } from '../../src/tensor/row-index.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { type OpCase, pending, rowsOf } from './case.js';

const index = (gpu: Gpu, values: number[]) => {
  const result = new RowIndex(gpu, Uint32Array.from(values));
  pending.push(result);
  return result;
};

const GATHER = [4, 0, 2, 4, 4, 1];
export const rowCases: OpCase[] = [
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
    name: 'concat',
    inputs: [
      [2, 3],
      [1, 3],
    ],
    large: [
      [400, 3],
      [300, 3],
    ],
    run: (_, [a, b]) => ops.concat([a!, b!]),
    reference: ([a, b]) => Float64Array.from([...a!, ...b!]),
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
