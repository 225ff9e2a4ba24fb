/** Every op of the table with the kernels that an adapter like this one could use; see ops.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { whole } from '../src/kernels/launch/operands.js';
import { shaderOf } from '../src/kernels/launch/shader.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { GUARD_WORDS, testOps, testVariants } from './ops.js';

testOps();
testOps('fallback');
testVariants({ likely: true });

test('a kernel that writes out of bounds is named', async () => {
  const gpu = await Gpu.open({ guardWords: GUARD_WORDS });
  const fill = (count: number, label: string) =>
    scope(() => {
      shaderOf('test.fill', { label }, (form) => ({
        label: form.label,
        params: { count: 'u32' } as const,
        buffers: { outY: 'array<f32>' },
        body: `@compute @workgroup_size(1) fn main(@builtin(workgroup_id) g: vec3u) {
  for (var i = 0u; i < p.count; i++) { outY[i] = f32(i); }
}`,
      })).launch(
        gpu,
        { outY: whole(Tensor.empty(gpu, [20])) },
        () => ({ count }),
        () => 1,
      );
    });
  fill(20, 'careful');
  await gpu.checkGuards();
  fill(21, 'careless');
  fill(20, 'careful');
  await assert.rejects(
    gpu.checkGuards(),
    /behind the end of buffer \d+ \(80 B, activations, last written by careless\), word 0: 0x41a00000$/,
  );
  await gpu.checkGuards();
  await gpu.close();
});
