/** Of the table of ops: operations on single elements. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import {
  type BinaryName,
  binaryFormulas,
  type UnaryName,
  unaryFormulas,
} from '../../src/kernels/pointwise.js';
import { broadcastShapes, stridesOf } from '../../src/tensor/shape.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { OpCase } from './case.js';

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

export const elementwiseCases: OpCase[] = [...unaryCases, ...binaryCases];
