/** What the functions that make tensors refuse: rows for operands.test.ts. */
import * as make from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import type { Wrong } from './wrong-operands.js';

/** By function; `device` gives the one that is open when the calls are made. */
export function factoriesWrong(device: () => Gpu): Record<string, Wrong[]> {
  const wrong: Record<string, Wrong[]> = {};
  /** Factories take a device, which must be one, and options, which must be known. */
  const factories = {
    tensor: (gpu: Gpu, options?: object) => make.tensor(gpu, [1, 2], options),
    empty: (gpu: Gpu, options?: object) => make.empty(gpu, [2], options),
    zeros: (gpu: Gpu, options?: object) => make.zeros(gpu, [2], options),
    ones: (gpu: Gpu, options?: object) => make.ones(gpu, [2], options),
    full: (gpu: Gpu, options?: object) => make.full(gpu, [2], 1, options),
    eye: (gpu: Gpu, options?: object) => make.eye(gpu, 2, 2, options),
    arange: (gpu: Gpu, options?: object) => make.arange(gpu, 2, options),
    linspace: (gpu: Gpu, options?: object) => make.linspace(gpu, 0, 1, 2, options),
    uniform: (gpu: Gpu, options?: object) => make.uniform(gpu, [2], { seed: 1, ...options }),
    normal: (gpu: Gpu, options?: object) => make.normal(gpu, [2], { seed: 1, ...options }),
    randomInts: (gpu: Gpu, options?: object) => make.randomInts(gpu, [2], 0, 2, { seed: 1, ...options }),
    bernoulli: (gpu: Gpu, options?: object) => make.bernoulli(gpu, [2], 0.5, { seed: 1, ...options }),
    permutation: (gpu: Gpu, options?: object) => make.permutation(gpu, 2, { seed: 1, ...options }),
  };
  for (const [name, factory] of Object.entries(factories))
    wrong[name] = [
      {
        operands: [],
        call: () => factory([2] as never),
        says: /the first argument must be a Gpu, found \[2\]/,
      },
      {
        operands: [],
        call: () => factory(device(), { dtyp: 'i32' }),
        says: /no option "dtyp", the nearest is dtype; there are dtype/,
      },
      {
        operands: [],
        call: () => factory(device(), { dtype: 'i32', requiresGrad: true }),
        says: /only floats have gradients, not i32/,
      },
    ];
  const bad = [2, -1];
  wrong['tensor']!.push(
    {
      operands: [],
      call: () => make.tensor(device(), [1, 2], { shape: [3] }),
      says: /2 values for shape \[3\]/,
    },
    {
      operands: [],
      call: () => make.tensor(device(), [[1, 2]], { shape: [2] }),
      says: /lists of shape \[1,2\]/,
    },
  );
  for (const name of ['empty', 'zeros', 'ones'] as const)
    wrong[name]!.push({ operands: [], call: () => make[name](device(), bad), says: /bad shape \[2,-1\]/ });
  wrong['full']!.push({ operands: [], call: () => make.full(device(), bad, 1), says: /bad shape/ });
  wrong['eye']!.push({ operands: [], call: () => make.eye(device(), 2.5), says: /bad shape/ });
  wrong['arange']!.push(
    { operands: [], call: () => make.arange(device(), 3, 1), says: /steps of 1 do not lead from 3 to 1/ },
    { operands: [], call: () => make.arange(device(), 0, 1, 0), says: /steps of 0/ },
    { operands: [], call: () => make.arange(device(), Number.NaN), says: /end must be a finite number/ },
    { operands: [], call: () => make.arange(device(), 2, { dtype: 'bool' }), says: /not bools/ },
  );
  wrong['linspace']!.push(
    {
      operands: [],
      call: () => make.linspace(device(), 0, 1, 2, { dtype: 'u32' }),
      says: /must be f32 or f16/,
    },
    { operands: [], call: () => make.linspace(device(), 0, 1, -1), says: /bad shape/ },
  );
  const draws: Record<string, (seed: never) => unknown> = {
    uniform: (seed) => make.uniform(device(), [2], { seed }),
    normal: (seed) => make.normal(device(), [2], { seed }),
    randomInts: (seed) => make.randomInts(device(), [2], 0, 2, { seed }),
    bernoulli: (seed) => make.bernoulli(device(), [2], 0.5, { seed }),
    permutation: (seed) => make.permutation(device(), 2, { seed }),
  };
  for (const [name, draw] of Object.entries(draws))
    for (const seed of [undefined, 0.5, '1', {}, { seed: 1 }])
      wrong[name]!.push({
        operands: [],
        call: () => draw(seed as never),
        says: /seed must be a whole number/,
      });
  const seed = 1;
  wrong['uniform']!.push(
    { operands: [], call: () => make.uniform(device(), bad, { seed }), says: /bad shape/ },
    { operands: [], call: () => make.uniform(device(), [2], { seed, low: 2 }), says: /the range must be/ },
    {
      operands: [],
      call: () => make.uniform(device(), [2], { seed, high: Number.NaN }),
      says: /high must be/,
    },
    {
      operands: [],
      call: () => make.uniform(device(), [2], { seed, dtype: 'i32' }),
      says: /must be f32 or f16/,
    },
    {
      operands: [],
      call: () => make.uniform(device(), [2, 3], { seed: { seed: 1, stream: 0, firstRow: 1 } }),
      says: /whole groups of 4/,
    },
  );
  wrong['normal']!.push(
    { operands: [], call: () => make.normal(device(), [2], { seed, std: -1 }), says: /std must be/ },
    { operands: [], call: () => make.normal(device(), [2], { seed, mean: 1e39 }), says: /mean must be/ },
  );
  for (const [low, high, dtype] of [
    [0, 0, 'i32'],
    [0.5, 2, 'i32'],
    [0, 2 ** 31 + 1, 'i32'],
    [-1, 2, 'u32'],
  ] as const)
    wrong['randomInts']!.push({
      operands: [],
      call: () => make.randomInts(device(), [2], low, high, { seed, dtype }),
      says: /no [iu]32 from/,
    });
  wrong['bernoulli']!.push({
    operands: [],
    call: () => make.bernoulli(device(), [2], 1.5, { seed }),
    says: /from 0 to 1/,
  });
  wrong['permutation']!.push({
    operands: [],
    call: () => make.permutation(device(), -1, { seed }),
    says: /bad shape/,
  });
  for (const name of ['emptyLike', 'zerosLike', 'onesLike'] as const)
    wrong[name] = [
      { operands: ['[4] f32 freed'], call: (x) => make[name](x!), says: /already freed/ },
      { operands: [], call: () => make[name]([4] as never), says: /x must be a tensor/ },
    ];
  wrong['fullLike'] = [{ operands: ['[4] f32 freed'], call: (x) => make.fullLike(x!, 1), says: /freed/ }];
  return wrong;
}
