/** What a variant of the matrix product must do, wherever it runs. */
import assert from 'node:assert/strict';
import type { Gpu } from '../src/gpu/gpu.js';
import { checkTrial } from '../src/kernels/check.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { tolerance } from '../src/kernels/matmul/cases.js';
import type { MatmulForm, MatmulSize, MatmulVariant } from '../src/kernels/matmul/form.js';
import { matmulReference } from '../src/kernels/matmul/reference.js';
import { drawTrial } from '../src/kernels/matmul/trial.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

/**
 * Against float64: the product alone, twice the same; then, on each of the devices, with a bias and added to what is there.
 */
export async function checkProduct(
  name: string,
  devices: readonly [Gpu, ...Gpu[]],
  variant: MatmulVariant,
  form: MatmulForm,
  size: MatmulSize,
): Promise<void> {
  const [gpu] = devices;
  const trial = drawTrial(gpu, form, size, (operands) => variant.run(gpu, form, size, operands));
  const { problem } = await checkTrial(trial, tolerance(form));
  assert.equal(problem, undefined, `${name}: ${problem}`);
  const first = await trial.outputs[0]!.toArray();
  trial.run();
  assert.deepEqual(await trial.outputs[0]!.toArray(), first, `${name}: other bits the second time`);
  trial.dispose();
  if (form.gelu || form.c === 'f16' || form.batched) return;
  const { M, N, K } = size;
  const random = new CounterRandom(7, 0);
  const draw = (n: number) =>
    f16ToF32(f32ToF16(Float32Array.from({ length: n }, () => random.uniform() - 0.5)));
  const [a, b, bias, before] = [draw(M * K), draw(N * K), draw(N), draw(M * N)];
  const want = matmulReference(a, b, { ...size, ...form }, bias).map((v, i) => v + before[i]!);
  for (const device of devices) {
    const tensor = (values: Float32Array, rows: number, dtype: FloatDType) =>
      dtype === 'f16'
        ? Tensor.from(device, f32ToF16(values), [rows, values.length / rows], 'f16')
        : Tensor.from(device, values, [rows, values.length / rows]);
    const got = await scope(() => {
      const c = Tensor.from(device, before, [M, N]);
      variant.run(device, form, size, {
        a: tensor(a, form.transA ? K : M, form.a),
        b: tensor(b, form.transB ? N : K, form.b),
        c,
        bias: Tensor.from(device, bias, [N]),
        accumulate: true,
      });
      return c.toFloat32();
    });
    for (const [i, v] of got.entries())
      assert.ok(Math.abs(v - want[i]!) < 1e-4, `${name}, bias and sum: ${v} for ${want[i]} at ${i}`);
  }
}
