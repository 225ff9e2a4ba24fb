/**
 * The products for GPUs as they are, on a software adapter, which takes seconds to compile one: all layouts, formats and
 * epilogues of one size of tile, and a few of the others.
 */
import { after, test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { formOf } from '../../src/kernels/matmul/cases.js';
import { layoutOf, type MatmulForm, type MatmulSize } from '../../src/kernels/matmul/form.js';
import { matmulFamily } from '../../src/kernels/matmul/matmul.js';
import { checkProduct } from '../product-check.js';

const gpu = await Gpu.open({ guardWords: 4096 });
after(() => gpu.close());

/** Several tiles and a part of one in each direction. */
const SIZES: readonly MatmulSize[] = [
  { M: 268, N: 276, K: 44 },
  { M: 68, N: 44, K: 300 },
];
const SOME: readonly MatmulForm[] = [
  formOf('NN', 'f32', 'f32', 'f32'),
  formOf('NT', 'f16', 'f16', 'f16', true),
  formOf('TN', 'f16', 'f16', 'f32'),
];
const ALL: readonly MatmulForm[] = [
  ...new Map(matmulFamily.cases.map(({ form }) => [JSON.stringify(form), form])).values(),
];

for (const [name, forms] of [
  ['tile64x64', ALL],
  ['splitK', ALL],
  ['tile128x64', SOME],
  ['tile128x128', SOME],
] as const)
  for (const form of forms)
    test(`${name}, ${layoutOf(form)} ${form.a}·${form.b}→${form.c}${form.gelu ? ' GELU' : ''}`, async () => {
      const variant = matmulFamily.variants.find((other) => other.name === name)!;
      for (const size of SIZES)
        if (variant.supports(gpu.capabilities, form, size))
          await checkProduct(name, [gpu], variant, form, size);
      await gpu.checkGuards();
    });
