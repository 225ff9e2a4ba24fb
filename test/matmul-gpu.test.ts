/**
 * Products for GPUs where there is none: the generators at sizes that a software adapter compiles in a second, what is chosen
 * on imagined adapters, and scratch memory in plans. `npm run test:long` has every variant as it is.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Capabilities } from '../src/gpu/capabilities.js';
import { Gpu } from '../src/gpu/gpu.js';
import { batchesWith, formOf } from '../src/kernels/matmul/cases.js';
import type { MatmulForm, MatmulSize } from '../src/kernels/matmul/form.js';
import { gpuVariant } from '../src/kernels/matmul/gpu-variant.js';
import { matmul, matmulFamily } from '../src/kernels/matmul/matmul.js';
import { matrixTiling } from '../src/kernels/matmul/subgroup-matrix.js';
import { matrixPlan, usableConfigs } from '../src/kernels/matmul/subgroup-matrix-shader.js';
import { tileVariant } from '../src/kernels/matmul/tile.js';
import { choose } from '../src/kernels/variants.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { imaginedGpu, imaginedGpus } from './imagined-gpus.js';
import { checkProduct } from './product-check.js';

/** A tile's rows beyond C would be written there. */
const gpu = await Gpu.open({ guardWords: 4096 });
/** As adapters that can bind and dispatch no more at a time. */
const [narrow, wider] = (await Promise.all(
  [8192, 73728].map((maxBindingSize) => Gpu.open({ maxBindingSize, maxWorkgroupsPerDimension: 16 })),
)) as [Gpu, Gpu];
after(async () => {
  await gpu.close();
  await narrow.close();
  await wider.close();
});

const small = (split: boolean) =>
  tileVariant({
    name: 'small',
    why: 'a tile that a software adapter compiles in a second',
    shapes: [{ rows: 16, columns: 16, depth: 8, each: 4 }],
    split,
    prior: () => -1,
  });

for (const [form, size, split] of [
  [formOf('NT', 'f16', 'f16', 'f16', true), { M: 37, K: 44, N: 28 }, false],
  // More columns than a band has.
  [formOf('NN', 'f32', 'f32', 'f32'), { M: 37, K: 20, N: 1100 }, false],
  [formOf('TN', 'f16', 'f16', 'f32'), { M: 20, K: 301, N: 36 }, true],
  [
    formOf('NT', 'f16', 'f16', 'f32', false, true),
    { M: 20, K: 36, N: 28, ...batchesWith(6, [2, 3], [1, 2]) },
    false,
  ],
] as [MatmulForm, MatmulSize, boolean][]) {
  const name = `tiles in workgroup memory${split ? ', K split' : ''}: ${JSON.stringify(form)}`;
  test(name, async () => {
    const variant = small(split);
    assert.ok(variant.supports(gpu.capabilities, form, size));
    // Rows of 4400 bytes can be bound at every 16th.
    await checkProduct(name, [gpu, size.N > 1024 ? wider : narrow], variant, form, size);
    await gpu.checkGuards();
  });
}

test('subgroup matrices are right where the adapter has them', async (t) => {
  if (usableConfigs(gpu.capabilities, { a: 'f16', b: 'f16' }).length === 0)
    return t.skip('not on this adapter; npm run test:matrix has one');
  let checked = 0;
  for (const variant of matmulFamily.variants.filter(({ name }) => name.startsWith('subgroupMatrix')))
    for (const { name, form, size, use } of matmulFamily.cases) {
      if (use !== 'check' || !variant.supports(gpu.capabilities, form, size)) continue;
      await checkProduct(`${variant.name}, ${name}`, [gpu, narrow], variant, form, size);
      await gpu.checkGuards();
      checked++;
    }
  assert.ok(checked >= 10, `${checked} cases`);
  // What a run with scratch memory takes is what its plan says.
  const real = await Gpu.open({ kernels: { matmul: 'subgroupMatrixSplitK' } });
  const peak = async (device: Gpu) => {
    await scope(async () => {
      const a = Tensor.from(device, new Uint16Array(24 * 328), [24, 328], 'f16');
      const b = Tensor.from(device, new Uint16Array(40 * 328), [40, 328], 'f16');
      await matmul(a, b, { transB: true }).toArray();
    });
    return device.memory().peak;
  };
  assert.equal(await peak(real), await peak(Gpu.plan(real)));
  await real.close();
});

test('subgroup matrices divide a tile as on a GPU', async (t) => {
  for (const [layout, wide, subgroupMinSize] of [
    ['NT', false, gpu.capabilities.subgroupMinSize],
    // As if the driver might choose smaller subgroups.
    ['NN', false, 4],
    ['TN', true, gpu.capabilities.subgroupMinSize],
  ] as const) {
    const facts = { ...gpu.capabilities, software: false, subgroupMinSize };
    const form = formOf(layout, 'f16', 'f16', 'f32');
    const [config] = usableConfigs(facts, form);
    if (!config) return t.skip('not on this adapter; npm run test:matrix has one');
    const plan = matrixPlan(facts, form, config, wide)!;
    assert.deepEqual([plan.subgroupsDown, plan.subgroupsAcross, plan.depth], [2, wide ? 4 : 2, 32]);
    assert.equal(plan.lanesVary, layout === 'NN');
    const size = { M: plan.rows + 24, K: 72, N: plan.columns + 16 };
    const variant = gpuVariant({
      name: 'as on a GPU',
      why: '',
      tiling: (_, own) => matrixTiling(own, plan),
      prior: () => -1,
    });
    await checkProduct(layout, [gpu], variant, form, size);
    await gpu.checkGuards();
  }
});

const chosen = (facts: Capabilities, form: MatmulForm, size: MatmulSize): string =>
  choose(Gpu.plan({ capabilities: facts }), matmulFamily, form, size).name;

test('what GPUs are given', () => {
  const { NVIDIA, Apple, least } = imaginedGpus;
  const [f32, f16] = [formOf('NT', 'f32', 'f32', 'f32'), formOf('NT', 'f16', 'f16', 'f16')];
  const large = { M: 8192, N: 4096, K: 1024 };
  const few = { M: 384, N: 384, K: 4096 };
  assert.equal(chosen(NVIDIA, f16, large), 'subgroupMatrixWide');
  assert.equal(chosen(NVIDIA, f16, { ...large, M: 1024, N: 1024 }), 'subgroupMatrix');
  // Splitting this one would move more bytes than it spares time.
  assert.equal(chosen(NVIDIA, f16, { M: 1728, N: 384, K: 384 }), 'subgroupMatrix');
  assert.equal(chosen(NVIDIA, f16, few), 'subgroupMatrixSplitK');
  assert.equal(chosen(Apple, f32, large), 'subgroupMatrixWide', 'matrices of f32');
  // Never rounded to halves.
  assert.equal(chosen(NVIDIA, f32, large), 'tile128x128');
  assert.equal(chosen(NVIDIA, f32, { ...large, M: 1024, N: 1024 }), 'tile128x64');
  assert.equal(chosen(NVIDIA, f32, few), 'splitK');
  assert.equal(chosen(least, f16, few), 'splitK');
  // Many tiles of many products, which each have one; large ones, or few with a long K, are computed one by one.
  const many = (form: MatmulForm): MatmulForm => ({ ...form, batched: true });
  const heads = { M: 128, N: 128, K: 64, ...batchesWith(384) };
  assert.equal(chosen(NVIDIA, many(f16), heads), 'subgroupMatrixWide');
  assert.equal(chosen(NVIDIA, many(f32), heads), 'tile128x128');
  assert.equal(chosen(least, many(f32), { ...heads, N: 127 }), 'tile64');
  assert.equal(chosen(NVIDIA, many(f16), { ...large, ...batchesWith(4) }), 'loop');
  assert.equal(chosen(NVIDIA, many(f32), { ...few, ...batchesWith(2) }), 'loop');
  // Rows that do not come in fours.
  assert.equal(chosen(NVIDIA, f32, { M: 300, N: 301, K: 1024 }), 'tile64');
  for (const name of ['tile128x64', 'splitK', 'subgroupMatrix'])
    assert.notEqual(chosen({ ...NVIDIA, software: true }, f16, few), name, 'not on a software adapter');
});

test('halves on matrices of the largest shape first, f32 on those of f32 alone', () => {
  const shapes = (facts: Capabilities, a: 'f16' | 'f32', b: 'f16' | 'f32') =>
    usableConfigs(facts, { a, b }).map(({ componentType, M, N, K }) => `${componentType} ${M}×${N}×${K}`);
  assert.deepEqual(shapes(imaginedGpus.NVIDIA, 'f16', 'f16'), ['f16 16×16×16', 'f16 16×8×16', 'f16 16×8×8']);
  assert.deepEqual(shapes(imaginedGpus.NVIDIA, 'f16', 'f32'), []);
  assert.deepEqual(shapes(imaginedGpus.Apple, 'f32', 'f32'), ['f32 8×8×8']);
  assert.deepEqual(shapes(imaginedGpus.Apple, 'f16', 'f16'), ['f16 8×8×8', 'f32 8×8×8']);
  // Sums in halves are not taken for sums in f32.
  const inHalves = imaginedGpu('sums in halves', [32, 32], 32, [
    { componentType: 'f16', resultComponentType: 'f16', M: 16, N: 16, K: 16 },
  ]);
  assert.deepEqual(shapes(inHalves, 'f16', 'f16'), []);
});

test('a plan has the memory of parts of K that the record tells', () => {
  const size = { M: 64, N: 64, K: 4096 };
  for (const [dtype, name] of [
    ['f32', 'splitK'],
    ['f16', 'subgroupMatrixSplitK'],
  ] as const) {
    const plan = Gpu.plan({ capabilities: imaginedGpus.NVIDIA });
    const a = Tensor.empty(plan, [size.M, size.K], dtype);
    const b = Tensor.empty(plan, [size.N, size.K], dtype);
    for (const tensor of [a, b]) plan.clear(tensor.binding());
    const before = plan.memory().peak;
    scope(() => matmul(a, b, { transB: true, dtype: 'f32' }).dispose());
    const form = formOf('NT', dtype, dtype, 'f32');
    const variant = matmulFamily.variants.find((other) => other.name === name)!;
    assert.equal(choose(plan, matmulFamily, form, size), variant);
    const scratch = variant.workspace!(plan.capabilities, form, size);
    assert.ok(scratch >= 16 * size.M * size.N * 4, `${scratch} bytes`);
    assert.equal(plan.memory().peak - before, scratch + size.M * size.N * 4);
  }
});
