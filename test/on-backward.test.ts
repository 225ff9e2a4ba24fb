/** Backward tells how far it has come: when exactly, that it costs nothing, and in which buckets gradients are complete. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  add,
  backward,
  checkpoint,
  dropout,
  exp,
  linear,
  mul,
  onBackward,
  scale,
  square,
  sum,
  tanh,
} from '../src/autograd/index.js';
import type { ParameterSpec } from '../src/autograd/parameter.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { CounterRandom } from '../src/tensor/random.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const WIDTH = 8;

/** A layer of a drawn network: which of its parts are recomputed, and where backward tells of itself. */
interface Layer {
  /** Around the layer: not at all, once, or in another checkpoint. */
  readonly checkpoints: 0 | 1 | 2;
  /** Before the layer, and between its two products. */
  readonly told: boolean;
  readonly toldInside: boolean;
  readonly residual: boolean;
  readonly dropout: boolean;
}

const drawLayer = (random: CounterRandom): Layer => ({
  checkpoints: random.int(3) as 0 | 1 | 2,
  told: random.int(4) > 0,
  toldInside: random.int(2) > 0,
  residual: random.int(2) > 0,
  dropout: random.int(2) > 0,
});

/**
 * Runs the network. `told` is called with the parameters whose gradients are complete by then; without it nothing is
 * put between the layers.
 */
function run(
  layers: readonly Layer[],
  store: ParameterStore,
  told: ((place: string, complete: string[]) => void) | undefined,
): void {
  const streams = new RandomStreams(3);
  const weight = (i: number, half: number) => `${i}.${half}`;
  const later = (i: number) =>
    layers.flatMap((_, n) => (n < i ? [] : [weight(n, 0), weight(n, 1)])).concat('last');
  const hook = (x: Tensor, place: string, complete: string[]) =>
    told ? onBackward(x, () => told(place, complete)) : x;
  scope(() => {
    let x = Tensor.from(
      gpu,
      Float32Array.from({ length: 3 * WIDTH }, (_, i) => Math.sin(i)),
      [3, WIDTH],
    );
    x = linear(x, store.get('first'));
    for (const [i, layer] of layers.entries()) {
      const body = (input: Tensor): Tensor => {
        let y = tanh(linear(input, store.get(weight(i, 0))));
        if (layer.dropout) y = dropout(y, 0.25, streams.next());
        if (layer.toldInside) y = hook(y, `inside ${i}`, [weight(i, 1), ...later(i + 1)]);
        y = linear(y, store.get(weight(i, 1)));
        return layer.residual ? add(y, input) : y;
      };
      const input = layer.told ? hook(x, `before ${i}`, later(i)) : x;
      if (layer.checkpoints === 0) x = body(input);
      else if (layer.checkpoints === 1) x = checkpoint(body, input);
      else x = checkpoint((outer) => checkpoint(body, outer), input);
    }
    backward(sum(square(linear(x, store.get('last')))));
  });
}

test('when backward tells of a place, the gradients of all that was computed after it are complete', async () => {
  const random = new CounterRandom(7, 0);
  for (let n = 0; n < 40; n++) {
    const layers = Array.from({ length: 1 + random.int(4) }, () => drawLayer(random));
    const names = ['first', 'last', ...layers.flatMap((_, i) => [`${i}.0`, `${i}.1`])];
    const store = new ParameterStore(
      gpu,
      names.map((name) => ({ name, shape: [WIDTH, WIDTH], trainable: true, decay: false })),
    );
    for (const { tensor } of store.parameters)
      tensor.write(Float32Array.from({ length: tensor.size }, () => random.uniform() - 0.5));
    gpu.pool.resetPeak();
    run(layers, store, undefined);
    const without = { gradients: await store.readGradients(), highest: gpu.memory().highest };
    store.zeroGradients();

    const places: string[] = [];
    const snapshots: { place: string; name: string; copy: Tensor }[] = [];
    run(layers, store, (place, complete) => {
      places.push(place);
      for (const name of complete) {
        const copy = Tensor.empty(gpu, [WIDTH, WIDTH]).keep();
        copy.copyFrom(store.get(name).grad!);
        snapshots.push({ place, name, copy });
      }
    });
    const said = JSON.stringify(layers);
    const gradients = await store.readGradients();
    assert.deepEqual(gradients, without.gradients, said);
    for (const { place, name, copy } of snapshots) {
      assert.deepEqual(await copy.toFloat32(), gradients.get(name), `${place}: ${name} of ${said}`);
      copy.dispose();
    }
    // Each place once, the last one first.
    const expected = layers.flatMap(({ told, toldInside }, i) => [
      ...(told ? [`before ${i}`] : []),
      ...(toldInside ? [`inside ${i}`] : []),
    ]);
    assert.deepEqual(places, expected.reverse(), said);

    store.zeroGradients();
    gpu.pool.resetPeak();
    run(layers, store, () => {});
    assert.deepEqual(gpu.memory().highest, without.highest, said);
    store.dispose();
    assert.equal(gpu.memory().liveBuffers, 0, said);
  }
});

test('told of nothing: without recording, where nothing before trains, where the loss does not depend on it', async () => {
  await scope(async () => {
    const calls: string[] = [];
    const fixed = Tensor.from(gpu, [1, 2, 3, 4], [4]);
    const w = Tensor.from(gpu, [1, 2, 3, 4], [4]);
    w.requiresGrad = true;
    const told = (x: Tensor, name: string) => onBackward(x, () => calls.push(name));
    assert.equal(noGrad(() => told(w, 'not recorded')).node, undefined);
    assert.equal(told(fixed, 'fixed').node, undefined);
    told(exp(w), 'unused');
    const frozen = Tensor.from(gpu, [1, 2, 3, 4], [4]);
    frozen.requiresGrad = true;
    const loss = sum(mul(told(fixed, 'fixed'), add(told(frozen, 'frozen'), told(scale(w, 2), 'used'))));
    frozen.requiresGrad = false;
    backward(loss);
    assert.deepEqual(calls, ['used']);
    assert.deepEqual([...(await w.grad!.toFloat32())], [2, 4, 6, 8]);
    // A leaf has its gradient when it is told of.
    let seen: Tensor | undefined;
    backward(sum(onBackward(w, () => (seen = w.grad))));
    assert.deepEqual([...(await seen!.toFloat32())], [3, 5, 7, 9]);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('what fails when it is told of ends backward, and nothing stays behind', () => {
  scope(() => {
    const w = Tensor.from(gpu, [1, 2], [2]);
    w.requiresGrad = true;
    const hidden = onBackward(exp(w), () => {
      Tensor.zeros(gpu, [100]);
      throw new Error('the exchange failed');
    });
    assert.throws(() => backward(sum(exp(hidden))), /the exchange failed/);
    assert.equal(w.grad, undefined);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('the buckets of a drawn store hold each training element once, by stage, in multiples of 128', async () => {
  const random = new CounterRandom(19, 0);
  const planned = await Gpu.plan(gpu);
  for (let n = 0; n < 200; n++) {
    const specs: ParameterSpec[] = Array.from({ length: random.int(12) }, (_, i) => {
      const table = random.int(6) === 0;
      return {
        name: `p${i}`,
        shape: table || random.int(2) > 0 ? [random.int(40), 1 + random.int(40)] : [random.int(300)],
        trainable: random.int(5) > 0,
        decay: random.int(2) > 0,
        product: random.int(2) > 0,
        table,
        ...(random.int(4) > 0 ? { stage: random.int(5) } : {}),
      };
    });
    const store = new ParameterStore(planned, specs);
    for (const parameter of store.parameters)
      if (parameter.trains && random.int(5) === 0) parameter.tensor.requiresGrad = false;
    const bytes = [0, 1, 4 * random.int(6000), 1e9][random.int(4)]!;
    const buckets = store.buckets(bytes);
    const said = JSON.stringify({ specs, bytes, buckets });

    const holder = new Array<number>(store.weights?.size ?? 0).fill(-1);
    for (const [at, bucket] of buckets.entries()) {
      let before = -1;
      for (const { start, end } of bucket.ranges) {
        assert.ok(start % 128 === 0 && end % 128 === 0 && start < end && start > before, said);
        before = end;
        for (let i = start; i < end; i++) {
          assert.equal(holder[i], -1, said);
          holder[i] = at;
        }
      }
      assert.equal(
        bucket.size,
        bucket.ranges.reduce((size, { start, end }) => size + end - start, 0),
        said,
      );
    }
    assert.deepEqual(
      buckets.map(({ stage }) => stage),
      [...new Set(buckets.map(({ stage }) => stage))].sort((a, b) => b - a),
      said,
    );
    const held = new Set<number>();
    for (const { offset, tensor, stage, trains } of store.parameters) {
      if (offset === undefined || tensor.size === 0) continue;
      const at = holder[offset]!;
      assert.equal(at >= 0, trains, said);
      const end = offset + Math.ceil(tensor.size / 128) * 128;
      for (let i = offset; i < end; i++) assert.equal(holder[i], at, said);
      if (!trains) continue;
      held.add(at);
      // Its own stage closes its bucket, or an earlier one does, and the bucket after it is of an earlier stage.
      assert.ok(buckets[at]!.stage <= stage && (at === 0 || buckets[at - 1]!.stage > stage), said);
    }
    assert.equal(held.size, buckets.length, said);
    // No bucket but the last is smaller than asked for, and none would be large enough without its last stage.
    for (const [at, bucket] of buckets.entries()) {
      if (at < buckets.length - 1) assert.ok(4 * bucket.size >= bytes, said);
      const own = store.parameters
        .filter((p) => p.offset !== undefined && p.trains && p.stage === bucket.stage)
        .reduce((size, { tensor }) => size + Math.ceil(tensor.size / 128) * 128, 0);
      assert.ok(own === bucket.size || 4 * (bucket.size - own) < bytes, said);
    }
    assert.equal(
      store.trainingRanges().reduce((size, { start, end }) => size + end - start, 0),
      buckets.reduce((size, bucket) => size + bucket.size, 0),
      said,
    );
    store.dispose();
  }
  await planned.close();
});

test('BGE-M3 is exchanged layer by layer, each of two ranges; a small model at once; a stage is a whole number', async () => {
  const planned = await Gpu.plan(gpu);
  const config = {
    model_type: 'xlm-roberta',
    hidden_size: 1024,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    intermediate_size: 4096,
    vocab_size: 250002,
    max_position_embeddings: 8194,
  };
  const model = M3Model.random(planned, config, { precision: 'f16' });
  const buckets = model.store.buckets(25e6);
  assert.deepEqual(
    buckets.map(({ stage }) => stage),
    Array.from({ length: 25 }, (_, i) => 24 - i),
  );
  const megabytes = buckets.map(({ size }) => Math.round((4 * size) / 1e5) / 10);
  // Layer 24 with the heads; embeddings but for words.
  assert.deepEqual(megabytes, [54.6, ...Array.from({ length: 23 }, () => 50.4), 33.6]);
  for (const bucket of buckets.slice(1, 24)) assert.equal(bucket.ranges.length, 2);
  model.dispose();
  const small = M3Model.random(planned, {
    ...config,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
  });
  assert.deepEqual(
    small.store.buckets(25e6).map(({ stage, ranges }) => [stage, ranges.length]),
    [[0, 1]],
  );
  small.dispose();
  for (const stage of [-1, 0.5, Number.NaN])
    assert.throws(
      () => new ParameterStore(planned, [{ name: 'w', shape: [4], trainable: true, decay: false, stage }]),
      /the stage of "w" must be a whole number/,
    );
  await planned.close();
});
