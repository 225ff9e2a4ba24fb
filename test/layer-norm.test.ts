/**
 * Rows for which LayerNorm is delicate, by every variant: far from zero, equal values, outliers where the one-pass form
 * takes its shift from, squares that overflow, infinities and NaN; each beside ordinary rows of the same workgroup.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { layerNormFamily, layerNormReference } from '../src/kernels/layer-norm/layer-norm.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const COLS = 128;
const random = new CounterRandom(3, 0);
const plain = () => Array.from({ length: COLS }, () => random.uniform() - 0.5);

/** Values, and what becomes of them where that is not the reference: no numbers, or β to the bit. */
const ROWS: readonly (readonly [what: string, values: number[], becomes?: 'NaN' | 'beta'])[] = [
  ['ordinary', plain()],
  ['equal values', plain().fill(1234.567), 'beta'],
  ['far from zero', plain().map((v) => v + 1e4)],
  ['squares that overflow', plain().map((v) => v * 1e21), 'NaN'],
  ['ordinary again', plain()],
  ['a first value a thousand times the others', plain().map((v, i) => (i === 0 ? 1000 : v))],
  ['first 32 values far from the rest', plain().map((v, i) => (i < 32 ? v + 300 : v))],
  ['an infinity', plain().map((v, i) => (i === 77 ? Infinity : v)), 'NaN'],
  ['zeros', plain().fill(0), 'beta'],
  ['a NaN', plain().map((v, i) => (i === 3 ? Number.NaN : v)), 'NaN'],
  ['all but one equal', plain().map((_, i) => (i === 100 ? 65 : 64))],
];

for (const { name, supports } of layerNormFamily.variants)
  test(`LayerNorm, ${name}: rows that are delicate`, async (context) => {
    const rows = ROWS.length;
    const forms = (['f32', 'f16'] as const).flatMap((from) =>
      (['none', 'f32'] as const).map((residual) => ({
        columns: 4 as const,
        from,
        residual,
        to: 'f32' as const,
      })),
    );
    if (!supports(gpu.capabilities, forms[0]!, { rows, cols: COLS })) {
      context.skip('not on this adapter');
      return;
    }
    const gamma = Float32Array.from({ length: COLS }, (_, i) => 1 + i / COLS);
    const beta = Float32Array.from({ length: COLS }, (_, i) => i - 60);
    for (const form of forms)
      await scope(async () => {
        const half = form.from === 'f16';
        const drawn = Float32Array.from(ROWS.flatMap(([, values]) => values));
        const x = half ? f16ToF32(f32ToF16(drawn)) : drawn;
        const shape = [rows, COLS];
        // A residual that changes nothing still goes through the sum.
        const residual = form.residual === 'none' ? undefined : Tensor.zeros(gpu, shape);
        const y = Tensor.empty(gpu, shape);
        const variant = layerNormFamily.variants.find((one) => one.name === name)!;
        variant.run(
          gpu,
          form,
          { rows, cols: COLS },
          {
            x: half ? Tensor.from(gpu, f32ToF16(x), shape, 'f16') : Tensor.from(gpu, x, shape),
            residual,
            gamma: Tensor.from(gpu, gamma, [COLS]),
            beta: Tensor.from(gpu, beta, [COLS]),
            eps: 1e-5,
            y,
            sum: residual && Tensor.empty(gpu, shape),
            stats: Tensor.empty(gpu, [rows, 2]),
          },
        );
        const found = await y.toFloat32();
        for (const [r, [what, , becomes]] of ROWS.entries()) {
          const values = x.subarray(r * COLS, (r + 1) * COLS);
          const got = found.subarray(r * COLS, (r + 1) * COLS);
          const at = `${what}, ${form.from}${residual ? ' with a residual' : ''}`;
          if (becomes === 'NaN') {
            assert.ok(got.every(Number.isNaN), `${at}: ${got[0]}, expected no numbers`);
            continue;
          }
          if (becomes === 'beta') {
            assert.deepEqual([...got], [...beta], `${at}: not β`);
            continue;
          }
          const want = layerNormReference(values, gamma, beta, COLS, 1e-5);
          // The mean is an f32 too: half a unit in its last place shows in every value.
          const mean = values.reduce((sum, v) => sum + v, 0) / COLS;
          const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2 / COLS, 0));
          const allowed = 1e-5 + (2 * 2 ** -24 * Math.abs(mean)) / deviation;
          got.forEach((value, c) => {
            assert.ok(
              Math.abs(value - want[c]!) <= allowed * 2 + 60 * 2 ** -23,
              `${at}, column ${c}: ${value} instead of ${want[c]}`,
            );
          });
        }
      });
  });
