/** Parameters in a store and alone: what they are by name, group and whether they train. Their gradients: leaves.test.ts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { backward, cast, checkpoint, gatherRows, linear, mul, sum } from '../src/autograd/index.js';
import { Parameter } from '../src/autograd/parameter.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { forwardBackward } from '../src/train/step/train-step.js';
import { drawnBatch, dropoutModel, settings } from './training-cases.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const [V, C] = [8, 4];
const start = Float32Array.from({ length: V * C }, (_, i) => Math.cos(i));
const seed = Float32Array.from({ length: V * V }, (_, i) => Math.sin(i));
const ids = Uint32Array.of(3, 1, 3, 6);
const weighted = (y: Tensor) => sum(mul(y, Tensor.from(gpu, seed.slice(0, y.size), y.shape)));

for (const table of [false, true])
  for (const precision of ['f32', 'f16'] as FloatDType[])
    test(`a ${table ? 'table' : 'matrix'} alone is a parameter like one in a store, to the bit: ${precision}`, async () => {
      const spec = { name: 'E', shape: [V, C], table, trainable: true, decay: false, product: true };
      const list = new RowIndex(gpu, ids);
      const x = Tensor.from(gpu, new Float32Array(2 * C).fill(0.5), [2, C]);
      const alone = Parameter.alone(gpu, spec);
      const store = new ParameterStore(gpu, [spec], precision);
      assert.equal(alone.tensor.grad, undefined);
      for (const E of [alone.tensor, store.get('E')]) {
        E.write(start);
        E.requiresGrad = true;
      }
      const halfProduct = (E: Tensor) => sum(cast(linear(cast(x, 'f16'), E), 'f32'));
      const uses: ((E: Tensor) => Tensor)[] = [
        (E) => weighted(gatherRows(E, list)),
        halfProduct,
        (E) => weighted(checkpoint((y) => linear(gatherRows(E, list), y), E)),
      ];
      await scope(async () => {
        for (const use of uses)
          for (let n = 0; n < 2; n++) {
            const [own, stored] = [alone.tensor, store.get('E')].map((E) => {
              const loss = use(E);
              backward(loss);
              return [loss, E.grad!] as const;
            }) as [readonly [Tensor, Tensor], readonly [Tensor, Tensor]];
            for (const i of [0, 1] as const)
              assert.deepEqual(await own[i].toFloat32(), await stored[i].toFloat32());
          }
        // A copy is of the weight as it is.
        alone.tensor.fillZero();
        assert.equal(await halfProduct(alone.tensor).item(), 0);

        alone.freeze();
        assert.equal(alone.trains, false);
        assert.equal(alone.tensor.grad, undefined);
        assert.equal(uses[0]!(alone.tensor).node, undefined);
        assert.throws(() => void (alone.tensor.grad = store.get('E').grad), /frozen/);
        alone.unfreeze();
        backward(uses[0]!(alone.tensor));
        assert.ok((await alone.tensor.grad!.toFloat32()).some((value) => value !== 0));
        alone.tensor.zeroGrad();
        assert.equal(alone.tensor.grad, undefined);
        backward(uses[1]!(alone.tensor));
      });
      alone.tensor.dispose();
      store.dispose();
      for (const each of [list, x]) each.dispose();
      assert.equal(gpu.memory().liveBuffers, 0);
    });

test('a parameter alone that cannot be or cannot train is refused', () => {
  const spec = { name: 'w', shape: [4], trainable: false, decay: false };
  assert.throws(
    () => Parameter.alone(gpu, { ...spec, table: true }),
    /Parameter: the table "w" must be of rows/,
  );
  assert.throws(() => Parameter.alone(gpu, { ...spec, shape: [-1] }), ShapeError);
  assert.throws(() => Parameter.alone(gpu, { ...spec, stage: 0.5 }), /the stage of "w"/);
  const fixed = Parameter.alone(gpu, spec);
  assert.throws(() => fixed.unfreeze(), /"w" was made not to train/);
  fixed.freeze();
  fixed.tensor.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('parameters are chosen by their group, and may change it', async () => {
  const named = (parameters: Parameter[]) => parameters.map(({ name }) => name);
  const spec = { shape: [4], trainable: true, decay: false };
  const store = new ParameterStore(gpu, [
    { ...spec, name: 'a' },
    { ...spec, name: 'b', group: 'heads' },
    { ...spec, name: 'c', group: 'heads' },
  ]);
  assert.deepEqual(named(store.group('default')), ['a']);
  assert.deepEqual(named(store.group('heads')), ['b', 'c']);
  store.group('heads')[1]!.group = 'late';
  assert.deepEqual(named(store.group('heads')), ['b']);
  assert.deepEqual(named(store.group('late')), ['c']);
  assert.deepEqual(store.group('other'), []);
  store.dispose();

  const model = dropoutModel(gpu, 'f32');
  const [encoder, heads] = [model.store.group('encoder'), model.store.group('heads')];
  assert.equal(encoder.length + heads.length, model.store.parameters.length);
  assert.deepEqual(named(heads), [
    'colbert_linear.weight',
    'colbert_linear.bias',
    'sparse_linear.weight',
    'sparse_linear.bias',
  ]);
  for (const parameter of heads) parameter.freeze();
  const batch = drawnBatch(model, 2);
  await forwardBackward(model, batch, settings);
  batch.tokens.dispose();
  for (const { tensor, trains } of heads) {
    assert.equal(trains, false);
    assert.ok((await tensor.grad!.toFloat32()).every((value) => value === 0));
  }
  assert.ok((await encoder[1]!.tensor.grad!.toFloat32()).some((value) => value !== 0));
  model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});
