/** What elementwise operations refuse: rows for operands.test.ts. */
import * as ops from '../../src/autograd/index.js';
import {
  type BinaryName,
  binaryFormulas,
  type FormulaName,
  formulas,
  type UnaryName,
  unaryFormulas,
} from '../../src/kernels/pointwise.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { Wrong } from './wrong-operands.js';

/** By op. */
export const elementwiseWrong: Record<string, Wrong[]> = {
  shift: [{ operands: ['[4] i32'], call: (x) => ops.shift(x!, 2), says: /x must be/ }],
  scaleGradient: [
    { operands: ['[4] i32'], call: (x) => ops.scaleGradient(x!, 2), says: /x must be/ },
    {
      operands: ['[4] f32'],
      call: (x) => ops.scaleGradient(x!, '2' as unknown as number),
      says: /factor must be/,
    },
  ],
  cast: [
    { operands: ['[4] u32 freed'], call: (x) => ops.cast(x!, 'f16'), says: /freed/ },
    { operands: ['[4] f32'], call: (x) => ops.cast(x!, 'i8' as 'f16'), says: /"i8", which is no format/ },
  ],
  clamp: [
    { operands: ['[4] i32'], call: (x) => ops.clamp(x!, { min: 1 }), says: /x must be/ },
    { operands: ['[4] f32'], call: (x) => ops.clamp(x!, {}), says: /needs min, max or both/ },
  ],
  where: [
    {
      operands: ['[4] f32', '[4] f32'],
      call: (c, a) => ops.where(c!, a!, 1),
      says: /condition must be bool/,
    },
    { operands: ['[4] bool', '[3] f32'], call: (c, a) => ops.where(c!, a!, 1), says: /do not broadcast/ },
    {
      operands: ['[4] bool', '[4] f32', '[4] i32'],
      call: (c, a, b) => ops.where(c!, a!, b!),
      says: /a and b must be of one dtype/,
    },
    { operands: ['[4] bool', '[4] u32'], call: (c, a) => ops.where(c!, a!, -1), says: /number of u32/ },
    {
      operands: ['[4] f32'],
      call: (a) => ops.where(1 as unknown as Tensor, a!, 1),
      says: /condition must be a tensor/,
    },
  ],
  lerp: [
    { operands: ['[4] i32', '[4] i32'], call: (a, b) => ops.lerp(a!, b!, 0.5), says: /a must be/ },
    { operands: ['[4] f32', '[4] f16'], call: (a, b) => ops.lerp(a!, b!, 0.5), says: /one dtype/ },
  ],
  maskedFill: [
    { operands: ['[4] f32', '[4] f32'], call: (x, m) => ops.maskedFill(x!, m!, 1), says: /mask must be/ },
  ],
  scale: [
    {
      operands: ['[4] f32'],
      call: (x) => ops.scale(x!, '2' as unknown as number),
      says: /s must be a number/,
    },
    {
      operands: ['[4] f32'],
      call: (x) => ops.scale(x!, undefined as unknown as number),
      says: /s must be a number, found nothing/,
    },
    { operands: ['[4] u32'], call: (x) => ops.scale(x!, 2), says: /x must be/ },
  ],
};

/** A format that a row does not take, beside those that it does. */
const refusedBy = (name: FormulaName) =>
  (['u32', 'f32', 'bool'] as const).find((dtype) => !formulas[name].dtypes.includes(dtype));
for (const name of Object.keys(binaryFormulas) as BinaryName[]) {
  const run = (a: unknown, b: unknown) => ops[name](a as Tensor, b as Tensor);
  const [own, refused] = [formulas[name].dtypes[0]!, refusedBy(name)];
  elementwiseWrong[name] = [
    { operands: [`[2,3] ${own}`, `[2,4] ${own}`], call: run, says: /do not broadcast/ },
    { operands: [`[2,4] ${own}`, `[2,4] ${own} elsewhere`], call: run, says: /different devices/ },
    { operands: [`[2,4] ${own}`, `[2,4] ${own} freed`], call: run, says: /b was already freed/ },
    { operands: [`[2,4] ${own}`], call: (a) => run(a, undefined), says: /b must be a tensor, found nothing/ },
    { operands: [], call: () => run(1, 2), says: /a must be a tensor, found 1/ },
  ];
  if (own === 'f32')
    elementwiseWrong[name].push({
      operands: ['[4] f32', '[4] f16'],
      call: run,
      says: /a and b must be of one dtype/,
    });
  if (refused)
    elementwiseWrong[name].push({
      operands: [`[4] ${refused}`, `[4] ${refused}`],
      call: run,
      says: /a must be /,
    });
  if (formulas[name].dtypes.includes('u32'))
    elementwiseWrong[name].push(
      { operands: ['[4] u32'], call: (a) => run(a, 0.5), says: /b must be a whole number of u32, found 0.5/ },
      { operands: ['[4] u32'], call: (b) => run(-1, b), says: /a must be a whole number of u32, found -1/ },
      { operands: ['[4] i32'], call: (b) => run(2 ** 31, b), says: /a must be a whole number of i32/ },
    );
  if (formulas[name].dtypes.includes('bool'))
    elementwiseWrong[name].push({
      operands: ['[4] bool'],
      call: (a) => run(a, 1),
      says: /b must be a tensor beside bools/,
    });
}
for (const name of Object.keys(unaryFormulas) as UnaryName[]) {
  const run = ops[name] as (x: Tensor) => Tensor;
  if (name === 'clamp') continue;
  const refused = refusedBy(name)!;
  elementwiseWrong[name] = [
    { operands: [`[2,4] ${refused}`], call: (x) => run(x!), says: /x must be / },
    { operands: [`[2,4] ${formulas[name].dtypes[0]} freed`], call: (x) => run(x!), says: /freed/ },
    { operands: [], call: () => run(3 as unknown as Tensor), says: /x must be a tensor, found 3/ },
  ];
}
