/** Operations as methods of tensors. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { formulas } from '../src/kernels/formulas.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { repositoryRoot } from './repository.js';

test('a method is the function of its name with the tensor as first operand', async () => {
  const gpu = await Gpu.open();
  await scope(async () => {
    const x = Tensor.from(gpu, [1, 2, 3, 4], [2, 2]);
    x.requiresGrad = true;
    const y = x.matmul(x.detach(), { transB: true }).sum(1).square().mean();
    assert.equal(await y.item(), (16 * 16 + 36 * 36) / 2);
    y.backward();
    assert.deepEqual([...(await x.grad!.toFloat32())], [64, 96, 144, 216]);
    x.zeroGrad();
    x.grad = undefined;
    const again = ops.mean(ops.square(ops.sum(ops.matmul(x, x.detach(), { transB: true }), 1)));
    assert.equal(await again.item(), await y.item());
  });
  await gpu.close();
});

test('every method is an exported operation', () => {
  const exported = new Set<unknown>(Object.values(ops));
  const own = Object.keys(Object.getOwnPropertyDescriptors(Tensor.prototype));
  const methods = own.filter((name) => Object.hasOwn(ops, name));
  assert.ok(methods.length > 30, `${methods.length} methods`);
  for (const name of methods) assert.ok(exported.has((ops as Record<string, unknown>)[name]), name);
});

test('bools are kept as words of 0 and 1', async () => {
  const gpu = await Gpu.open();
  await scope(async () => {
    const x = Tensor.from(gpu, [true, false, true], [3]);
    assert.equal(x.dtype, 'bool');
    assert.deepEqual(await x.toArray(), Uint8Array.of(1, 0, 1));
    x.write(Uint8Array.of(1, 1), 1);
    assert.deepEqual(await x.toArray(), Uint8Array.of(1, 1, 1));
    assert.deepEqual(await Tensor.zeros(gpu, [2], 'bool').toArray(), Uint8Array.of(0, 0));
    assert.throws(() => Tensor.from(gpu, Uint8Array.of(0, 2), [2]), /2 at 1 is no bool/);
    assert.throws(() => Tensor.from(gpu, [true, 1 as unknown as boolean], [2]), /number at 1/);
  });
  await gpu.close();
});

test('the library documentation lists every elementwise operation with the formats that its row has', () => {
  const text = readFileSync(path.join(repositoryRoot, 'docs', 'operations.md'), 'utf8');
  const listed = new Map<string, string>();
  for (const [, names, formats] of text.matchAll(/^\| [^|]*\| (`[^|]*) \| ([^|]*) \|$/gm))
    for (const [, name] of names!.matchAll(/`(\w+)`/g)) listed.set(name!, formats!);
  for (const [name, { dtypes }] of Object.entries(formulas))
    assert.equal(listed.get(name), dtypes.length === 5 ? 'all' : dtypes.join(', '), name);
});
