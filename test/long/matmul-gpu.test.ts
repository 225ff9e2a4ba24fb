/**
 * The products for GPUs as they are, on a software adapter, which takes seconds to compile one: all layouts, formats and
 * epilogues of one size of tile, and a few of the others.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { formOf } from '../../src/kernels/matmul/cases.js';
import { layoutOf, type MatmulForm, type MatmulSize } from '../../src/kernels/matmul/form.js';
import { matmulFamily } from '../../src/kernels/matmul/matmul.js';
import { tileVariants } from '../../src/kernels/matmul/tile.js';
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

/** The first has the smallest tile; a variant with scratch memory has a second kernel, which adds what the first leaves there. */
for (const [i, variant] of tileVariants.entries())
  for (const form of i === 0 || variant.workspace ? ALL : SOME) {
    const sizes = SIZES.filter((size) => variant.supports(gpu.capabilities, form, size));
    if (sizes.length === 0) continue;
    const batched = form.batched ? ', batched' : '';
    test(`${variant.name}, ${layoutOf(form)} ${form.a}·${form.b}→${form.c}${form.gelu ? ' GELU' : ''}${batched}`, async () => {
      for (const size of sizes) await checkProduct(variant.name, [gpu], variant, form, size);
      await gpu.checkGuards();
    });
  }

test('each variant has forms that it is checked in', () => {
  for (const variant of tileVariants)
    assert.ok(
      SOME.some((form) => SIZES.some((size) => variant.supports(gpu.capabilities, form, size))),
      variant.name,
    );
});
