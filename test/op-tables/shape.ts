/** Of the table of ops: what renames, orders, picks, repeats and joins elements. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { sizeOf, stridesOf } from '../../src/tensor/shape.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { OpCase } from './case.js';

/** The elements of a tensor of `shape`, each by its place in x (`from` is x's shape); 0 where there is none. */
function picked(
  x: Float64Array,
  from: number[],
  shape: number[],
  placeOf: (at: number[]) => number[],
): Float64Array {
  const own = stridesOf(from);
  const strides = stridesOf(shape);
  return Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
    const at = shape.map((extent, d) => Math.floor(i / strides[d]!) % extent);
    return x[placeOf(at).reduce((sum, index, d) => sum + index * own[d]!, 0)]!;
  });
}

interface Moved {
  name: string;
  from: number[];
  large: number[];
  run: (x: Tensor) => Tensor;
  to: number[];
  place: (at: number[]) => number[];
  adds?: 'gradients';
}

/** f16 of odd sizes too: halves then share words with others. */
const moves: Moved[] = [
  {
    name: 'roll',
    from: [3, 7],
    large: [50, 33],
    run: (x) => x.roll(-2, 1),
    to: [3, 7],
    place: ([i, j]) => [i!, (j! + 2) % 7],
  },
  {
    name: 'diagonal',
    from: [2, 4, 5],
    large: [30, 14, 15],
    run: (x) => x.diagonal(2),
    to: [2, 3],
    place: ([b, i]) => [b!, i!, i! + 2],
  },
  {
    name: 'clone',
    from: [3, 7],
    large: [50, 33],
    run: (x) => x.clone(),
    to: [3, 7],
    place: (at) => at,
  },
  {
    name: 'unfold with overlaps',
    from: [2, 7, 3],
    large: [5, 40, 33],
    run: (x) => x.unfold(1, 3, 2),
    to: [2, 3, 3, 3],
    place: ([i, window, j, k]) => [i!, 2 * window! + k!, j!],
    adds: 'gradients',
  },
  {
    name: 'reshape',
    from: [6, 4],
    large: [300, 4],
    run: (x) => x.reshape([x.size / 8, -1]),
    to: [24],
    place: ([i]) => [Math.floor(i! / 4), i! % 4],
  },
  {
    name: 'transpose of whole vec4s',
    from: [8, 16],
    large: [64, 64],
    run: (x) => x.transpose(),
    to: [16, 8],
    place: ([i, j]) => [j!, i!],
  },
  {
    name: 'transpose in the middle',
    from: [3, 5, 7],
    large: [40, 5, 41],
    run: (x) => x.transpose(0, -1),
    to: [7, 5, 3],
    place: ([i, j, k]) => [k!, j!, i!],
  },
  {
    name: 'permute of rows',
    from: [2, 3, 2, 8],
    large: [6, 9, 7, 8],
    run: (x) => x.permute([0, 2, 1, -1]),
    to: [2, 2, 3, 8],
    place: ([b, h, l, d]) => [b!, l!, h!, d!],
  },
  {
    name: 'permute of five axes',
    from: [2, 3, 2, 3, 2],
    large: [4, 5, 6, 7, 8],
    run: (x) => x.permute([4, 1, 3, 0, 2]),
    to: [2, 3, 3, 2, 2],
    place: ([a, b, c, d, e]) => [d!, b!, e!, c!, a!],
  },
  {
    name: 'flip',
    from: [3, 5],
    large: [50, 33],
    run: (x) => x.flip(-1).flip(),
    to: [3, 5],
    place: ([i, j]) => [2 - i!, j!],
  },
  {
    name: 'expand',
    from: [3, 1, 5],
    large: [30, 1, 50],
    run: (x) => x.expand([2, -1, 3, -1]),
    to: [2, 3, 3, 5],
    place: ([, i, , k]) => [i!, 0, k!],
    adds: 'gradients',
  },
  {
    name: 'tile',
    from: [3, 5],
    large: [30, 50],
    run: (x) => x.tile([2, 1, 3]),
    to: [2, 3, 15],
    place: ([, i, j]) => [i!, j! % 5],
    adds: 'gradients',
  },
  {
    name: 'repeatInterleave',
    from: [3, 5],
    large: [30, 50],
    run: (x) => x.repeatInterleave(3, 1),
    to: [3, 15],
    place: ([i, j]) => [i!, Math.floor(j! / 3)],
    adds: 'gradients',
  },
  {
    name: 'slice of rows',
    from: [70, 4],
    large: [700, 4],
    run: (x) => x.slice([64, 67]),
    to: [3, 4],
    place: ([i, j]) => [64 + i!, j!],
  },
  {
    name: 'slice with steps',
    from: [7, 9],
    large: [70, 90],
    run: (x) => x.slice([1, -1, 2], [null, 1, -3]),
    to: [3, 3],
    place: ([i, j]) => [1 + 2 * i!, 8 - 3 * j!],
  },
  {
    name: 'slice of one',
    from: [3, 4, 5],
    large: [40, 4, 50],
    run: (x) => x.slice(null, -2, [1, -1]),
    to: [3, 3],
    place: ([i, k]) => [i!, 2, 1 + k!],
  },
];

const moved = moves.map(
  ({ name, from, large, run, to, place, adds }): OpCase => ({
    name,
    inputs: [from],
    large: [large],
    adds,
    halves: [0],
    run: (_: Gpu, [x]: Tensor[]) => run(x!),
    reference: ([x]) => picked(x!, from, to, place),
  }),
);

/** x[first…last] of the last axis, by rows of `cols`. */
const columns = (x: Float64Array, cols: number, row: number): number[] => [
  ...x.subarray(row * cols, (row + 1) * cols),
];

const joins: OpCase[] = [
  {
    name: 'concat of columns',
    inputs: [
      [3, 5],
      [3, 2],
      [3, 0],
    ],
    large: [
      [300, 5],
      [300, 2],
      [300, 0],
    ],
    halves: [0, 1, 2],
    run: (_, tensors) => ops.concat(tensors, -1),
    reference: ([a, b]) =>
      Float64Array.from([0, 1, 2].flatMap((r) => [...columns(a!, 5, r), ...columns(b!, 2, r)])),
  },
  {
    name: 'concat of whole vec4s',
    inputs: [
      [2, 8],
      [2, 16],
    ],
    large: [
      [100, 8],
      [100, 16],
    ],
    halves: [0, 1],
    run: (_, tensors) => ops.concat(tensors, 1),
    reference: ([a, b]) =>
      Float64Array.from([0, 1].flatMap((r) => [...columns(a!, 8, r), ...columns(b!, 16, r)])),
  },
  {
    name: 'stack',
    inputs: [
      [3, 4],
      [3, 4],
    ],
    large: [
      [300, 4],
      [300, 4],
    ],
    halves: [0, 1],
    run: (_, tensors) => ops.stack(tensors, 1),
    reference: ([a, b]) =>
      Float64Array.from([0, 1, 2].flatMap((r) => [...columns(a!, 4, r), ...columns(b!, 4, r)])),
  },
  {
    name: 'split and joined the other way round',
    inputs: [[3, 7]],
    large: [[300, 7]],
    halves: [0],
    run: (_, [x]) => ops.concat(x!.split([3, 0, 4], 1).reverse(), 1),
    reference: ([x]) => picked(x!, [3, 7], [3, 7], ([i, j]) => [i!, (j! + 3) % 7]),
  },
];

const pads: OpCase[] = [
  {
    name: 'tril and triu',
    inputs: [[2, 5, 4]],
    large: [[20, 15, 14]],
    halves: [0],
    run: (_, [x]) => x!.tril(1).triu(-2),
    reference: ([x]) =>
      x!.map((value, at) => {
        const [i, j] = [Math.floor(at / 4) % 5, at % 4];
        return j <= i + 1 && j >= i - 2 ? value : 0;
      }),
  },
  ...[0, -2].map(
    (offset): OpCase => ({
      name: `diag ${offset}`,
      inputs: [[5]],
      large: [[60]],
      halves: [0],
      run: (_, [x]) => x!.diag(offset),
      reference: ([x]) => {
        const side = 5 - offset;
        return Float64Array.from({ length: side * side }, (_, i) => {
          const [row, col] = [Math.floor(i / side), i % side];
          return row + offset === col ? x![col]! : 0;
        });
      },
    }),
  ),
  {
    name: 'trace',
    inputs: [[2, 3, 4]],
    large: [[40, 13, 14]],
    adds: 'all',
    halves: [0],
    run: (_, [x]) => x!.trace(),
    reference: ([x]) => Float64Array.from([0, 12], (b) => x![b]! + x![b + 5]! + x![b + 10]!),
  },
  {
    name: 'pad',
    inputs: [[3, 5]],
    large: [[30, 51]],
    halves: [0],
    run: (_, [x]) =>
      x!.pad(
        [
          [1, 0],
          [2, 1],
        ],
        -0.5,
      ),
    reference: ([x]) =>
      Float64Array.from({ length: 4 * 8 }, (_, at) => {
        const [i, j] = [Math.floor(at / 8) - 1, (at % 8) - 2];
        return i >= 0 && j >= 0 && j < 5 ? x![i * 5 + j]! : -0.5;
      }),
  },
];

export const shapeCases: OpCase[] = [...moved, ...joins, ...pads];
