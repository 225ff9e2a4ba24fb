/** Of the table of ops: operations on single elements, from the rows of their formulas, and casts. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import {
  type BinaryFormula,
  type BinaryName,
  binaryFormulas,
  choiceFormulas,
  formulas,
  type TensorOrNumber,
  type UnaryFormula,
  type UnaryName,
  unaryFormulas,
} from '../../src/kernels/pointwise.js';
import { broadcastShapes, type Shape, stridesOf } from '../../src/tensor/shape.js';
import type { DType, Tensor } from '../../src/tensor/tensor.js';
import type { OpCase } from './case.js';

const isFloat = (dtype: DType) => dtype === 'f32' || dtype === 'f16';

/** What an integer or a bool holds of a number. */
const kept = (dtype: DType | undefined, value: number): number => {
  if (dtype === 'i32') return value | 0;
  return dtype === 'u32' ? value >>> 0 : value;
};

/** Functions of rows that have numbers beside their operands, with some. */
const withNumbers: Partial<Record<UnaryName, { numbers: number[]; run(x: Tensor): Tensor }>> = {
  leakyRelu: { numbers: [0.1], run: (x) => ops.leakyRelu(x, 0.1) },
  elu: { numbers: [1.5], run: (x) => ops.elu(x, 1.5) },
  clamp: { numbers: [-1.1, 1.3], run: (x) => ops.clamp(x, { min: -1.1, max: 1.3 }) },
  hardtanh: { numbers: [-1.1, 1.3], run: (x) => ops.hardtanh(x, { min: -1.1, max: 1.3 }) },
  nanToNum: { numbers: [0, -1e9, 1e9], run: (x) => ops.nanToNum(x, { posInf: 1e9, negInf: -1e9 }) },
};

/** Rows that stand for the others of their kind: one for each set of what value and gradient read and write. */
const REPRESENTATIVES = new Set<string>(['neg', 'exp', 'gelu', 'leakyRelu', 'isNan', 'div', 'pow', 'lt']);
const likeOthers = (name: string, dtype: DType) =>
  !REPRESENTATIVES.has(name) && !(name === 'sub' && dtype === 'i32');

/** The formats that a row is tried in: f32, with f16 beside it, else i32 or bool. */
const formatsOf = (name: keyof typeof formulas): DType[] =>
  (['f32', 'i32', 'bool'] as const).filter((dtype) => formulas[name].dtypes.includes(dtype));

const unaryCases: OpCase[] = (Object.keys(unaryFormulas) as UnaryName[]).flatMap((name) =>
  formatsOf(name).map((dtype): OpCase => {
    const { host, exactHost, range, result, gradient }: UnaryFormula = unaryFormulas[name];
    const steps = gradient === 'T()';
    const { numbers = [], run } = withNumbers[name] ?? {};
    const reference = isFloat(dtype) ? host : (exactHost ?? host);
    return {
      name: dtype === 'f32' ? name : `${name} ${dtype}`,
      inputs: [[3, 7]],
      large: [[130, 20]],
      likeOthers: likeOthers(name, dtype),
      dtypes: [dtype],
      output: result ?? (isFloat(dtype) ? undefined : dtype),
      // Halves lie on steps too often for differences.
      ...(isFloat(dtype) && !steps ? { halves: [0] } : {}),
      ...(isFloat(dtype) ? { range: range ? [...range] : [-3, 3] } : {}),
      run: (_, [x]) => (run ?? (ops[name] as (x: Tensor) => Tensor))(x!),
      reference: ([x]) => x!.map((v) => kept(dtype, reference(v, ...numbers))),
    };
  }),
);

/** Of operands of these shapes, as NumPy broadcasts them. */
function broadcastReference(
  f: (...values: number[]) => number,
  operands: readonly Float64Array[],
  shapes: readonly Shape[],
) {
  const shape = shapes.reduce((all, own) => broadcastShapes(all, own)!);
  const strides = stridesOf(shape);
  const at = (own: Shape, index: number) => {
    const os = stridesOf(own);
    let offset = 0;
    shape.forEach((extent, i) => {
      const j = i - (shape.length - own.length);
      if (j >= 0 && own[j] !== 1) offset += (Math.floor(index / strides[i]!) % extent) * os[j]!;
    });
    return offset;
  };
  return Float64Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) =>
    f(...operands.map((operand, n) => operand[at(shapes[n]!, i)]!)),
  );
}

type Shapes = [inputs: number[][], large: number[][]];

const same: Shapes = [
  [
    [5, 6],
    [5, 6],
  ],
  [
    [65, 40],
    [65, 40],
  ],
];
const both: Shapes = [
  [
    [2, 1, 5],
    [3, 1],
  ],
  [
    [40, 1, 45],
    [3, 1],
  ],
];
/** What else broadcasts in ways of its own. */
const others: Shapes[] = [
  // A row alone is more than a binding.
  [
    [[2, 3, 5], [5]],
    [[2, 2, 1100], [1100]],
  ],
  [
    [[4, 4], []],
    [[70, 32], []],
  ],
  [
    [[1], [2, 2]],
    [[1], [60, 40]],
  ],
  // Fours of the last dimension, of which one operand has none.
  [
    [
      [3, 1, 8],
      [2, 1],
    ],
    [
      [40, 1, 48],
      [3, 1],
    ],
  ],
  // Six dimensions of which no two can be seen as one.
  [
    [
      [2, 1, 3, 1, 2, 1],
      [3, 1, 2, 1, 3],
    ],
    [
      [2, 1, 3, 1, 20, 1],
      [3, 1, 5, 1, 6],
    ],
  ],
];

const binaryCases: OpCase[] = (Object.keys(binaryFormulas) as BinaryName[]).flatMap((name) =>
  formatsOf(name).flatMap((dtype) =>
    [
      same,
      ...(isFloat(dtype) || name === 'sub' ? [both] : []),
      ...(name === 'div' && isFloat(dtype) ? others : []),
    ].map(([inputs, large]): OpCase => {
      const { host, exactHost, range, result }: BinaryFormula = binaryFormulas[name];
      const reference = isFloat(dtype) ? host : (exactHost ?? host);
      return {
        name: `${name} ${inputs.map((shape) => `[${shape}]`).join(' ')}${dtype === 'f32' ? '' : ` ${dtype}`}`,
        inputs,
        large,
        likeOthers: likeOthers(name, dtype),
        dtypes: [dtype, dtype],
        output: result ?? (isFloat(dtype) ? undefined : dtype),
        ...(inputs === same[0] ? {} : { adds: 'gradients' }),
        ...(isFloat(dtype) ? { halves: [0, 1], range: range ? [...range] : [-2, 2] } : {}),
        run: (_, [a, b]) => ops[name](a!, b!),
        reference: (operands) =>
          broadcastReference((a, b) => kept(result ? 'bool' : dtype, reference(a!, b!)), operands, inputs),
      };
    }),
  ),
);

/** With a number for an operand. */
const numberCases: OpCase[] = (
  [
    ['sub', 1.5, undefined],
    ['div', undefined, 0.7],
    ['pow', undefined, 3],
    ['pow', 2, undefined],
    ['maximum', undefined, 0.8],
    ['lt', undefined, 0.9],
  ] as const
).map(([name, left, right]): OpCase => {
  const { host, result }: BinaryFormula = binaryFormulas[name];
  return {
    name: `${name}(${left ?? 'x'}, ${right ?? 'x'})`,
    inputs: [[3, 7]],
    large: [[130, 20]],
    likeOthers: name !== 'pow',
    output: result,
    halves: [0],
    range: [0.5, 2],
    run: (_, [x]) => (ops[name] as (a: TensorOrNumber, b: TensorOrNumber) => Tensor)(left ?? x!, right ?? x!),
    reference: ([x]) => x!.map((v) => host(left ?? v, right ?? v)),
  };
});

const whereCases: OpCase[] = (
  [
    [
      [
        [4, 5],
        [4, 5],
        [4, 5],
      ],
      [
        [65, 40],
        [65, 40],
        [65, 40],
      ],
      'f32',
    ],
    [
      [
        [3, 1],
        [2, 1, 4],
        [3, 4],
      ],
      [
        [30, 1],
        [3, 1, 40],
        [30, 40],
      ],
      'f32',
    ],
    [[[5], [4, 1], [1]], [[45], [40, 1], [1]], 'i32'],
    [[[5], [5], [5]], [[1100], [1100], [1100]], 'bool'],
  ] as [number[][], number[][], DType][]
).map(
  ([inputs, large, dtype]): OpCase => ({
    name: `where ${inputs.map((shape) => `[${shape}]`).join(' ')} ${dtype}`,
    inputs,
    large,
    dtypes: ['bool', dtype, dtype],
    ...(isFloat(dtype) ? { halves: [1, 2] } : { output: dtype }),
    ...(inputs[0]!.length === inputs[1]!.length ? {} : { adds: 'gradients' }),
    run: (_, [condition, a, b]) => ops.where(condition!, a!, b!),
    reference: (operands) =>
      broadcastReference((c, a, b) => choiceFormulas.where.host(c!, a!, b!), operands, inputs),
  }),
);

const whereNumber: OpCase = {
  name: 'where(condition, x, -2)',
  inputs: [[3, 1], [7]],
  large: [[65, 1], [40]],
  dtypes: ['bool', 'f32'],
  halves: [1],
  adds: 'gradients',
  run: (_, [condition, x]) => ops.where(condition!, x!, -2),
  reference: (operands) => broadcastReference((c, x) => (c ? x! : -2), operands, [[3, 1], [7]]),
};

/** What is made of the rows above. */
const compositionCases: OpCase[] = (
  [
    ['lerp 0.3', [[3, 7]], ([x, y]) => ops.lerp(x!, y!, 0.3), (x, y) => x + 0.3 * (y! - x)],
    ['lerp 0.8', [[7]], ([x, y]) => ops.lerp(x!, y!, 0.8), (x, y) => x + 0.8 * (y! - x)],
    ['lerp', [[3, 7], [7]], ([x, y, w]) => ops.lerp(x!, y!, w!), (x, y, w) => x + w! * (y! - x)],
    ['maskedFill', [], ([x]) => ops.maskedFill(x!, ops.lt(x!, 0.4), -2), (x) => (x < 0.4 ? -2 : x)],
  ] as [string, number[][], (inputs: Tensor[]) => Tensor, (x: number, ...others: number[]) => number][]
).map(([name, others, run, reference]) => {
  const inputs = [[3, 7], ...others];
  return {
    name,
    inputs,
    large: inputs.map((shape) => [...shape.slice(0, -1).map(() => 300), 7]),
    likeOthers: true,
    halves: inputs.map((_, i) => i),
    gradientTolerance: 1e-3,
    range: [-3, 3],
    run: (_, tensors) => run(tensors),
    reference: (operands) => broadcastReference((x, ...more) => reference(x!, ...more), operands, inputs),
  } satisfies OpCase;
});

/** What a cast makes of numbers that both formats have, or that are cut. */
const castTo = (dtype: DType, value: number): number => {
  if (dtype === 'bool') return value === 0 ? 0 : 1;
  if (dtype === 'u32') return value < 0 && !Number.isInteger(value) ? 0 : Math.trunc(value) >>> 0;
  return dtype === 'i32' ? Math.trunc(value) | 0 : value;
};

const castCases: OpCase[] = (['f32', 'f16', 'i32', 'u32', 'bool'] as const).flatMap((from) =>
  (['f32', 'f16', 'i32', 'u32', 'bool'] as const)
    .filter((to) => to !== from && !(from === 'f32' && to === 'f16'))
    .map((to) => ({
      name: `cast ${from} to ${to}`,
      inputs: [[3, 7]],
      large: [[130, 20]],
      likeOthers: !(from === 'f16' && to === 'i32') && !(from === 'bool' && to === 'f16'),
      dtypes: [from],
      output: to,
      gradientTolerance: 1e-3,
      // Of floats to u32 what is negative is cut to 0, not wrapped.
      ...(isFloat(from) ? { range: (to === 'u32' ? [0, 9] : [-9, 9]) as [number, number] } : {}),
      run: (_: Gpu, [x]: Tensor[]) => ops.cast(x!, to),
      reference: ([x]: Float64Array[]) => x!.map((v) => castTo(to, v)),
    })),
);

export const elementwiseCases: OpCase[] = [
  ...unaryCases,
  ...binaryCases,
  ...numberCases,
  ...whereCases,
  whereNumber,
  ...compositionCases,
  ...castCases,
];
