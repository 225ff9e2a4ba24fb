/**
 * Every op of the table on tensors that no binding shows whole and with grids that no dimension holds: the same values
 * and gradients as without the limits, to the bit but where sums are added up over pieces.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { backward } from '../src/autograd/index.js';
import type { ForcedKernels } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { nameOf, runs } from './kernel-sets.js';
import { type OpCase, opTable, pending } from './op-table.js';
import { inputDType, inputValues, numbersOf, tensorOf, trained } from './op-tables/case.js';

const BINDING = 4096;
const WORKGROUPS = 8;

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** The result and the gradients of the inputs that get one. */
async function compute(gpu: Gpu, op: OpCase, halves: readonly number[]): Promise<ArrayLike<number>[]> {
  const live = gpu.memory().liveBuffers;
  const results = await scope(async () => {
    const random = new CounterRandom(7, 0);
    const draw = () => random.uniform();
    const inputs = op.large.map((shape, i) =>
      tensorOf(gpu, inputValues(op, i, halves, sizeOf(shape), draw), shape, inputDType(op, i, halves)),
    );
    const withGradient = trained(op).map((n) => inputs[n]!);
    for (const input of withGradient) input.requiresGrad = true;
    const out = op.run(gpu, inputs);
    const found = [await numbersOf(out)];
    if (withGradient.length === 0) return found;
    const seed = Float32Array.from({ length: out.size }, () => 2 * draw() - 1);
    backward(out, tensorOf(gpu, seed, out.shape, out.dtype));
    for (const input of withGradient) {
      found.push(await input.grad!.toFloat32());
      input.grad!.dispose();
    }
    return found;
  });
  for (const item of pending.splice(0)) item.dispose();
  assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
  return results;
}

/** The table with these kernels, those of the device's own choice without; `f16`: in mixed precision. */
export function testPieces(kernels: ForcedKernels | undefined, f16: boolean): void {
  const name = kernels === undefined ? 'chosen' : nameOf(kernels);
  describe(`pieces with ${name} kernels${f16 ? ' in f16' : ''}`, () => {
    const devices = new Map<number, Promise<Gpu>>();
    const deviceOf = (maxBindingSize: number): Promise<Gpu> => {
      const limits = { maxBindingSize, maxWorkgroupsPerDimension: WORKGROUPS };
      let device = devices.get(maxBindingSize);
      if (!device)
        devices.set(
          maxBindingSize,
          (device = Gpu.open({
            ...(kernels ? { kernels } : {}),
            ...(maxBindingSize === Infinity ? {} : limits),
          })),
        );
      return device;
    };
    after(async () => {
      for (const device of devices.values()) await (await device).close();
    });
    for (const op of opTable) {
      if (op.likeOthers || (f16 && !op.halves)) continue;
      const halves = f16 ? op.halves! : [];
      test(op.name, async (t) => {
        const unlimited = await deviceOf(Infinity);
        if (kernels && !runs(unlimited, kernels)) {
          t.skip('the adapter has no subgroups of 8');
          return;
        }
        const limited = await deviceOf(op.binding ?? BINDING);
        const before = [unlimited.dispatchCount, limited.dispatchCount] as const;
        const want = await compute(unlimited, op, halves);
        const got = await compute(limited, op, halves);
        const dispatches = unlimited.dispatchCount - before[0];
        assert.ok(
          dispatches === 0 || limited.dispatchCount - before[1] > dispatches,
          'the table has large operands for it',
        );
        const tolerance = halves.length > 0 ? 2e-3 : 1e-5;
        want.forEach((values, n) => {
          let top = 1e-3;
          for (let i = 0; i < values.length; i++) top = Math.max(top, Math.abs(values[i]!));
          const bound = op.adds === 'all' || (op.adds === 'gradients' && n > 0) ? tolerance * top : 0;
          for (let i = 0; i < values.length; i++)
            if (!(Math.abs(got[n]![i]! - values[i]!) <= bound))
              assert.fail(
                `${n === 0 ? 'value' : `gradient ${n - 1}`} ${i}: ${got[n]![i]}, whole ${values[i]}`,
              );
        });
      });
    }
  });
}
