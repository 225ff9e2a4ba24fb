/** Tensors alone, in a program that loads nothing that differentiates; so nothing here may import it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { Tensor } from '../src/tensor/tensor.js';

test('a gradient that nothing could compute is refused; without one a tensor is a tensor', async () => {
  const gpu = await Gpu.open();
  const x = Tensor.from(gpu, [1, 2], [2]);
  const gradient = Tensor.from(gpu, [1, 2], [2]);
  for (const ask of [() => void (x.requiresGrad = true), () => void (x.grad = gradient)])
    assert.throws(
      ask,
      (error) => error instanceof ShapeError && /nothing that differentiates/.test(error.message),
    );
  assert.equal(x.requiresGrad, false);
  assert.equal(x.grad, undefined);
  x.zeroGrad();
  assert.deepEqual([...(await x.view([1, 2]).toFloat32())], [1, 2]);
  await gpu.close();
});
