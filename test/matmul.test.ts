/** The matrix product: every variant on its family's cases, epilogues, and operands beyond what a binding sees. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { formOf } from '../src/kernels/matmul/cases.js';
import type { MatmulSize } from '../src/kernels/matmul/form.js';
import { matmul, matmulFamily } from '../src/kernels/matmul/matmul.js';
import { matmulReference } from '../src/kernels/matmul/reference.js';
import { variantsFor } from '../src/kernels/variants.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

const gpu = await Gpu.open();
/** As an adapter that can bind no more at a time. */
const NARROW = 73728;
const narrow = await Gpu.open({ maxBindingSize: NARROW });
after(async () => {
  await gpu.close();
  await narrow.close();
});

const checks = matmulFamily.cases.filter(({ use }) => use === 'check');
const variantsOn = (device: Gpu, form: object, size: object) =>
  variantsFor(matmulFamily, device.capabilities, form as never, size as never);

for (const variant of matmulFamily.variants.filter((v) => !(v.gpuOnly && gpu.capabilities.software)))
  test(`${variant.name} computes what float64 does`, async (t) => {
    const cases = checks.filter(({ form, size }) => variantsOn(gpu, form, size).includes(variant));
    if (cases.length === 0) return t.skip('not on this adapter');
    for (const { name, form, size } of cases) {
      const trial = matmulFamily.trial(gpu, form, size);
      trial.run(variant.name);
      const error = await trial.error();
      assert.ok(error <= matmulFamily.tolerance(form, size), `${name}: wrong by ${error}`);
      const [first] = await Promise.all(trial.outputs.map((output) => output.toArray()));
      trial.run(variant.name);
      const [again] = await Promise.all(trial.outputs.map((output) => output.toArray()));
      assert.deepEqual(again, first, `${name}: other bits the second time`);
      trial.dispose();
    }
  });

test('what is larger than a binding is computed in parts', async () => {
  const size: MatmulSize = { M: 300, N: 132, K: 260 };
  for (const layout of ['NN', 'NT', 'TN', 'TT'] as const) {
    const form = formOf(layout, 'f32', 'f32', 'f32');
    for (const variant of variantsOn(narrow, form, size)) {
      const trial = matmulFamily.trial(narrow, form, size);
      trial.run(variant.name);
      const error = await trial.error();
      assert.ok(error <= matmulFamily.tolerance(form, size), `${layout} ${variant.name}: wrong by ${error}`);
      trial.dispose();
    }
  }
});

test('a plan takes the memory that a run takes', async () => {
  const heads = { M: 60, N: 36, K: 32, batches: 24, eachA: 1, ofA: 24, eachB: 4, ofB: 6 };
  const cases: readonly (readonly ['NT' | 'TN', MatmulSize, RegExp])[] = [
    ['NT', heads, /^packed|^tile/],
    ['TN', { ...heads, K: 64 }, /^packed/],
    ['NT', { M: 300, N: 132, K: 256 }, /./],
    ['TN', { M: 300, N: 132, K: 256 }, /./],
    // Rows that are long and used often are packed too.
    ['NT', { M: 41, N: 2052, K: 1024 }, /^packed/],
    ['NT', { M: 2052, N: 44, K: 1028 }, /^packed/],
  ];
  for (const [layout, size, names] of cases) {
    const form = formOf(layout, 'f32', 'f32', 'f32', false, size.batches !== undefined);
    // Operands are drawn once for all variants, which is most of what large ones cost.
    const planned = Gpu.plan(gpu);
    const trials = [gpu, planned].map((device) => matmulFamily.trial(device, form, size));
    for (const variant of variantsOn(gpu, form, size).filter(({ name }) => names.test(name))) {
      const [ran, plan] = [gpu, planned].map((device, i) => {
        device.pool.resetPeak();
        const before = device.memory().peak;
        trials[i]!.run(variant.name);
        return device.memory().peak - before;
      });
      assert.equal(plan, ran, `${layout} ${variant.name}`);
      assert.equal(
        ran,
        variant.workspace?.(gpu.capabilities, form, size) ?? 0,
        `${layout} ${variant.name} says other bytes`,
      );
    }
    for (const trial of trials) trial.dispose();
  }
});

test('rows that are long and used often give what others give', async () => {
  for (const [size, a] of [
    [{ M: 41, N: 2052, K: 1024 }, 'f32'],
    [{ M: 2052, N: 44, K: 1024 }, 'f32'],
    [{ M: 41, N: 2052, K: 2048 }, 'f16'],
  ] as const) {
    const form = formOf('NT', a, a, 'f32');
    for (const { name } of variantsOn(gpu, form, size).filter((each) => each.name.startsWith('packed'))) {
      const trial = matmulFamily.trial(gpu, form, size);
      trial.run(name);
      const error = await trial.error();
      assert.ok(error <= matmulFamily.tolerance(form, size), `${a} ${name}: wrong by ${error}`);
      trial.dispose();
    }
  }
});

test('a result that lies in the buffer of an operand is refused, whichever variant would compute it', async () => {
  for (const { name } of variantsOn(gpu, formOf('NN', 'f32', 'f32', 'f32'), { M: 8, N: 8, K: 8 })) {
    const own = await Gpu.open({ kernels: { matmul: name } });
    scope(() => {
      const square = () => Tensor.from(own, new Float32Array(64), [8, 8]);
      const [a, b] = [square(), square()];
      const bias = Tensor.from(own, new Float32Array(8), [8]);
      const refused = /matmul: a result cannot lie in the buffer of an operand/;
      for (const accumulate of [false, true]) {
        assert.throws(() => matmul(a, b, { out: a, accumulate }), refused, name);
        assert.throws(() => matmul(a, b, { out: b, accumulate }), refused, name);
      }
      assert.throws(() => matmul(a, b, { preActivation: a }), refused, name);
      assert.throws(() => matmul(bias.alias([1, 8]), b, { bias, out: bias.alias([1, 8]) }), refused, name);
    });
    await own.close();
  }
});

test('a product that has no room for its operands leaves nothing behind', async () => {
  const size: MatmulSize = { M: 256, N: 256, K: 256 };
  const form = formOf('TN', 'f32', 'f32', 'f32');
  const own = 3 * 4 * 256 * 256;
  let refused = 0;
  for (const spare of [0, 200e3, 300e3, 600e3, 900e3]) {
    const tight = await Gpu.open({ memoryBudget: own + spare });
    const trial = matmulFamily.trial(tight, form, size);
    const live = tight.memory().liveBuffers;
    for (const { name } of variantsOn(tight, form, size)) {
      try {
        trial.run(name);
      } catch (error) {
        assert.match((error as Error).message, /^out of GPU memory/);
        refused++;
      }
      assert.equal(tight.memory().liveBuffers, live, `${name} with ${spare} bytes to spare`);
    }
    trial.dispose();
    await tight.close();
  }
  assert.ok(refused > 0);
});

test('bias and sums of products are right with every variant, in parts too', async () => {
  const [M, N, K] = [150, 28, 36];
  const random = new CounterRandom(5, 0);
  const draw = (n: number) => Float32Array.from({ length: n }, () => random.uniform() - 0.5);
  const [a, b, bias, before] = [draw(M * K), draw(N * K), draw(N), draw(M * N)];
  const want = matmulReference(a, b, { M, N, K, transB: true }, bias).map((v, i) => v + before[i]!);
  for (const { name } of variantsOn(gpu, formOf('NT', 'f32', 'f32', 'f32'), { M, N, K }))
    for (const maxBindingSize of [undefined, 8192]) {
      const device = await Gpu.open({ ...(maxBindingSize && { maxBindingSize }), kernels: { matmul: name } });
      const got = await scope(() => {
        const out = Tensor.from(device, before, [M, N]);
        matmul(Tensor.from(device, a, [M, K]), Tensor.from(device, b, [N, K]), {
          transB: true,
          bias: Tensor.from(device, bias, [N]),
          out,
          accumulate: true,
        });
        return out.toFloat32();
      });
      for (const [i, v] of got.entries())
        assert.ok(Math.abs(v - want[i]!) < 1e-4, `${name}: ${v} for ${want[i]} at ${i}`);
      await device.close();
    }
});
