/** Of the table of ops: elements by index tensors, order, running sums. */
import { sizeOf } from '../../src/tensor/shape.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { OpCase } from './case.js';

/** Every [o, m, i] of a tensor [outer, middle, inner] by its element. */
function each(
  outer: number,
  middle: number,
  inner: number,
  visit: (o: number, m: number, i: number, at: number) => void,
): void {
  for (let o = 0; o < outer; o++)
    for (let m = 0; m < middle; m++)
      for (let i = 0; i < inner; i++) visit(o, m, i, (o * middle + m) * inner + i);
}

/** An index of 0 … N−1 into [outer, N, inner], with one place for each element or for each row; `large` the same. */
interface Taken {
  name: string;
  x: number[];
  index: number[];
  large: [x: number[], index: number[]];
  axis: number;
  dtype?: 'i32';
  rows?: true;
}

const taken: Taken[] = [
  {
    name: 'few',
    x: [5, 7],
    index: [5, 2],
    large: [
      [200, 7],
      [200, 2],
    ],
    axis: 1,
  },
  {
    name: 'many',
    x: [3, 4, 5],
    index: [3, 20, 5],
    large: [
      [3, 4, 150],
      [3, 60, 150],
    ],
    axis: 1,
    dtype: 'i32',
  },
  {
    name: 'short index',
    x: [4, 3],
    index: [30, 2],
    large: [
      [4, 300],
      [30, 299],
    ],
    axis: 0,
  },
  { name: 'odd rows', x: [6, 5], index: [19], large: [[6, 401], [19]], axis: 0, rows: true },
  {
    name: 'whole rows',
    x: [6, 8],
    index: [2, 9],
    large: [
      [6, 400],
      [2, 9],
    ],
    axis: 0,
    dtype: 'i32',
    rows: true,
  },
  { name: 'columns', x: [3, 6, 2], index: [4], large: [[300, 6, 2], [4]], axis: -2, rows: true },
];

const places = ({ x, index, axis, rows }: Taken) => {
  const at = axis < 0 ? axis + x.length : axis;
  const inner = sizeOf((rows ? x : index).slice(at + 1));
  const outer = sizeOf((rows ? x : index).slice(0, at));
  return { at, extent: x[at]!, inner, outer, picks: rows ? sizeOf(index) : index[at]! };
};

const gathers = taken.map(
  (row): OpCase => ({
    name: `${row.rows ? 'indexSelect' : 'gather'} ${row.name}`,
    inputs: [row.x, row.index],
    dtypes: ['f32', row.dtype ?? 'u32'],
    ranges: [undefined, [0, places(row).extent - 1]],
    large: row.large,
    adds: 'gradients',
    halves: [0],
    run: (_, [x, index]) => (row.rows ? x!.indexSelect(row.axis, index!) : x!.gather(row.axis, index!)),
    reference: ([x, index]) => {
      const { at, extent, inner, outer, picks } = places(row);
      const y = new Float64Array(outer * picks * inner);
      // Along other axes x may be longer than the index.
      const within = row.rows ? inner : sizeOf(row.x.slice(at + 1));
      each(outer, picks, inner, (o, m, i, to) => {
        const id = index![row.rows ? m : to]!;
        y[to] = x![(o * extent + id) * within + i]!;
      });
      return y;
    },
  }),
);

const scatters = taken
  .filter(({ name, index }) => name !== 'short index' && name !== 'whole rows' && index.length > 0)
  .map(
    (row): OpCase => ({
      name: `${row.rows ? 'indexAdd' : 'scatterAdd'} ${row.name}`,
      inputs: [
        row.x,
        row.index,
        row.rows ? row.x.map((extent, d) => (d === places(row).at ? row.index[0]! : extent)) : row.index,
      ],
      dtypes: ['f32', row.dtype ?? 'u32', 'f32'],
      ranges: [undefined, [0, places(row).extent - 1], undefined],
      large: [
        ...row.large,
        row.rows
          ? row.large[0].map((extent, d) => (d === places(row).at ? row.large[1][0]! : extent))
          : row.large[1],
      ],
      adds: 'all',
      halves: [0, 2],
      run: (_, [x, index, source]) =>
        row.rows ? x!.indexAdd(row.axis, index!, source!) : x!.scatterAdd(row.axis, index!, source!),
      reference: ([x, index, source]) => {
        const { extent, inner, outer, picks } = places(row);
        const y = x!.slice();
        each(outer, picks, inner, (o, m, i, from) => {
          y[(o * extent + index![row.rows ? m : from]!) * inner + i]! += source![from]!;
        });
        return y;
      },
    }),
  );

const integerSum: OpCase = {
  name: 'scatterAdd of integers',
  inputs: [[9], [40], [40]],
  dtypes: ['i32', 'u32', 'i32'],
  ranges: [undefined, [0, 8], undefined],
  output: 'i32',
  large: [[1100], [2000], [2000]],
  run: (_, [x, index, source]) => x!.scatterAdd(0, index!, source!),
  reference: ([x, index, source]) => {
    const y = x!.slice();
    index!.forEach((id, i) => {
      y[id]! += source![i]!;
    });
    return y;
  },
};

const oneHots = (['f32', 'f16', 'bool'] as const).map(
  (dtype): OpCase => ({
    name: `oneHot ${dtype}`,
    inputs: [[3, 2]],
    dtypes: ['i32'],
    range: [0, 4],
    output: dtype,
    large: [[30, 15]],
    constant: [0],
    run: (_, [ids]) => ids!.oneHot(5, dtype),
    reference: ([ids]) =>
      Float64Array.from([...ids!].flatMap((id) => [0, 1, 2, 3, 4].map((c) => (c === id ? 1 : 0)))),
  }),
);

/** Lines of [outer, length, inner] in order. */
function ordered(
  x: Float64Array,
  [outer, length, inner]: [number, number, number],
  descending: boolean,
  k = length,
) {
  const values = new Float64Array(outer * k * inner);
  const indices = new Float64Array(outer * k * inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = (m: number) => x[(o * length + m) * inner + i]!;
      const order = Array.from({ length }, (_, m) => m).sort((a, b) =>
        at(a) === at(b) ? a - b : (at(a) < at(b) ? -1 : 1) * (descending ? -1 : 1),
      );
      for (let m = 0; m < k; m++) {
        values[(o * k + m) * inner + i] = at(order[m]!);
        indices[(o * k + m) * inner + i] = order[m]!;
      }
    }
  return { values, indices };
}

const orders: OpCase[] = [
  {
    name: 'sort of rows',
    inputs: [[3, 37]],
    large: [[20, 230]],
    halves: [0],
    run: (_, [x]) => x!.sort().values,
    reference: ([x]) => ordered(x!, [3, 37, 1], false).values,
  },
  {
    name: 'sort of columns, descending',
    inputs: [[2, 9, 3]],
    large: [[2, 190, 5]],
    run: (_, [x]) => x!.sort({ axis: 1, descending: true }).values,
    reference: ([x]) => ordered(x!, [2, 9, 3], true).values,
  },
  ...(['i32', 'u32', 'bool'] as const).map(
    (dtype): OpCase => ({
      name: `argsort ${dtype}`,
      inputs: [[4, 29]],
      dtypes: [dtype],
      output: 'u32',
      large: [[20, 230]],
      run: (_: unknown, [x]: Tensor[]) => x!.argsort({ descending: dtype !== 'u32' }),
      reference: ([x]: Float64Array[]) => ordered(x!, [4, 29, 1], dtype !== 'u32').indices,
    }),
  ),
  ...[9, 8].map(
    (length): OpCase => ({
      name: `median of ${length}`,
      inputs: [[3, length]],
      large: [[20, 200 + length]],
      halves: [0],
      likeOthers: true,
      run: (_, [x]) => x!.median(),
      reference: ([x]) => {
        const sorted = ordered(x!, [3, length, 1], false).values;
        return Float64Array.from([0, 1, 2], (r) => sorted[r * length + Math.floor((length - 1) / 2)]!);
      },
    }),
  ),
  {
    name: 'bincount',
    inputs: [[40]],
    dtypes: ['i32'],
    output: 'u32',
    large: [[3000]],
    run: (_, [x]) => x!.bincount(8),
    reference: ([x]) => Float64Array.from({ length: 8 }, (_, bin) => x!.filter((id) => id === bin).length),
  },
  {
    name: 'topk',
    inputs: [[4, 29]],
    large: [[20, 230]],
    halves: [0],
    run: (_, [x]) => x!.topk(5).values,
    reference: ([x]) => ordered(x!, [4, 29, 1], true, 5).values,
  },
  {
    name: 'topk of long rows',
    inputs: [[2, 2500]],
    large: [[40, 2500]],
    binding: 65536,
    run: (_, [x]) => x!.topk(5).values,
    reference: ([x]) => ordered(x!, [2, 2500, 1], true, 5).values,
  },
  {
    name: 'topk smallest of columns',
    inputs: [[9, 4]],
    large: [[190, 9]],
    run: (_, [x]) => x!.topk(3, { axis: 0, largest: false }).values,
    reference: ([x]) => ordered(x!, [1, 9, 4], false, 3).values,
  },
];

function running(
  x: Float64Array,
  [outer, length, inner]: [number, number, number],
  reverse = false,
): Float64Array {
  const y = new Float64Array(x.length);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      let sum = 0;
      for (let m = 0; m < length; m++) {
        const at = (o * length + (reverse ? length - 1 - m : m)) * inner + i;
        sum += x[at]!;
        y[at] = sum;
      }
    }
  return y;
}

const sums: OpCase[] = [
  {
    name: 'cumsum of rows',
    inputs: [[3, 150]],
    large: [[3, 2000]],
    halves: [0],
    run: (_, [x]) => x!.cumsum(-1),
    reference: ([x]) => running(x!, [3, 150, 1]),
  },
  {
    name: 'cumsum of columns, from the end',
    inputs: [[2, 70, 3]],
    large: [[2, 900, 3]],
    run: (_, [x]) => x!.cumsum(1, { reverse: true }),
    reference: ([x]) => running(x!, [2, 70, 3], true),
  },
  {
    name: 'cumsum of integers',
    inputs: [[5000]],
    dtypes: ['i32'],
    output: 'i32',
    large: [[5000]],
    run: (_, [x]) => x!.cumsum(0),
    reference: ([x]) => running(x!, [1, 5000, 1]),
  },
];

export const indexingCases: OpCase[] = [...sums, ...gathers, ...scatters, integerSum, ...oneHots, ...orders];
