/** Recomputation: the same gradients to the bit, with dropout; what the function may use; nothing left behind. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { add, backward, checkpoint, dropout, exp, linear, mul, scale, sum } from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { forwardBackward } from '../src/train/step/train-step.js';
import { kernelSets } from './kernel-sets.js';
import { drawnBatch, dropoutModel, settings } from './training-cases.js';

const gpus: Gpu[] = [];
before(async () => {
  gpus.push(await Gpu.open({ kernels: kernelSets[0]! }), await Gpu.open({ kernels: kernelSets[1]! }));
});
after(async () => {
  for (const gpu of gpus) await gpu.close();
});

for (const which of [0, 1])
  for (const precision of ['f32', 'f16'] as FloatDType[])
    test(`an encoder's gradients are equal to the bit, dropout on: ${which === 0 ? 'subgroup8' : 'fallback'} ${precision}`, async () => {
      const gpu = gpus[which]!;
      const results = [];
      for (const recompute of [false, true]) {
        const model = dropoutModel(gpu, precision);
        const random = new RandomStreams(3);
        const batch = drawnBatch(model, 5);
        const loss = await forwardBackward(model, batch, { ...settings, recompute }, { random });
        batch.tokens.dispose();
        results.push({ loss, counter: random.counter, gradients: await model.store.readGradients() });
        model.dispose();
      }
      const [kept, again] = results as [(typeof results)[number], (typeof results)[number]];
      assert.equal(again.loss, kept.loss);
      assert.equal(again.counter, kept.counter);
      // Embeddings, three a layer.
      assert.equal(kept.counter, 1 + 3 * 2);
      for (const [name, gradient] of kept.gradients) {
        assert.deepEqual(again.gradients.get(name), gradient, name);
        if (!name.endsWith('key.bias'))
          assert.ok(
            gradient.some((value) => value !== 0),
            name,
          );
      }
      assert.equal(gpu.memory().liveBuffers, 0);
    });

test('recomputation keeps the inputs only, and frees them', async () => {
  const gpu = gpus[0]!;
  const peak = async (recompute: boolean) => {
    const model = dropoutModel(gpu, 'f32', 6);
    gpu.pool.resetPeak();
    const batch = drawnBatch(model, 12);
    await forwardBackward(model, batch, { ...settings, recompute }, { random: new RandomStreams(1) });
    batch.tokens.dispose();
    model.dispose();
    return gpu.memory().highest.activations;
  };
  const [all, inputs] = [await peak(false), await peak(true)];
  assert.ok(inputs < 0.45 * all, `${inputs} bytes instead of ${all}`);
  assert.equal(gpu.memory().liveBuffers, 0);
});

const leaf = (gpu: Gpu, data: number[], shape = [data.length]) => {
  const tensor = Tensor.from(gpu, data, shape);
  tensor.requiresGrad = true;
  return tensor;
};

test('parameters that the function uses get their gradients, also where no input wants one', async () => {
  const gpu = gpus[0]!;
  await scope(async () => {
    const w = leaf(gpu, [1, 2, 3, 4], [2, 2]);
    const x = Tensor.from(gpu, [1, -1], [1, 2]);
    const y = checkpoint((input) => exp(scale(linear(input, w), 0.5)), x);
    backward(sum(mul(y, y)));
    const got = await w.grad!.toArray();
    // d/dw Σ exp(w·x) = exp(w·x)·x
    const e = Math.exp(-1);
    [e, -e, e, -e].forEach((want, i) => {
      assert.ok(Math.abs(got[i]! - want) < 1e-6);
    });
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('several inputs, checkpoints inside checkpoints, an input that comes back as it is', async () => {
  const gpu = gpus[0]!;
  const run = async (use: typeof checkpoint) => {
    const streams = new RandomStreams(9);
    return scope(async () => {
      const a = leaf(gpu, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]);
      const b = leaf(gpu, [1, 2, 3, 4, 5, 6, 7, 8]);
      const y = use(
        (p, q) => {
          const inner = use((r) => exp(dropout(r, 0.5, streams.next())), mul(p, q));
          return add(
            inner,
            use((r) => r, p),
          );
        },
        a,
        b,
      );
      backward(sum(mul(y, y)));
      return [await a.grad!.toArray(), await b.grad!.toArray(), streams.counter];
    });
  };
  assert.deepEqual(await run(checkpoint), await run((fn, ...inputs) => fn(...inputs)));
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('a tensor on the tape that is no input is refused; so is a promise; without recording it is a plain call', () => {
  const gpu = gpus[0]!;
  scope(() => {
    const a = leaf(gpu, [1, 2, 3, 4]);
    const hidden = exp(a);
    assert.throws(() => checkpoint((x) => mul(x, hidden), a), /checkpoint: .*\[4\].*not among its inputs/);
    assert.throws(
      () => checkpoint((async (x: Tensor) => exp(x)) as unknown as (x: Tensor) => Tensor, a),
      /one tensor, and not a promise/,
    );
    assert.equal(noGrad(() => checkpoint(exp, a)).node, undefined);
    // Nothing in it trains: nothing is put on the tape.
    assert.equal(checkpoint(exp, a.detach()).node, undefined);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('a parameter that comes back as it is, and a result that nothing trainable led to', async () => {
  const gpu = gpus[0]!;
  await scope(async () => {
    const [a, w] = [leaf(gpu, [1, 2, 3, 4]), leaf(gpu, [5, 6, 7, 8])];
    for (let n = 1; n <= 2; n++) {
      const y = checkpoint((x) => {
        exp(x);
        return w;
      }, a);
      backward(sum(y));
      assert.deepEqual([...(await w.grad!.toArray())], [n, n, n, n]);
      assert.equal(w.node, undefined);
    }
    const y = checkpoint((x) => {
      exp(x);
      return exp(x.detach());
    }, a);
    backward(sum(mul(y, w)));
    assert.equal(a.grad, undefined);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});
