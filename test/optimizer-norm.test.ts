/** The norm that ranks join from the norms of their parts, and updates that follow from it alone. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { CounterRandom } from '../src/tensor/random.js';
import { Tensor } from '../src/tensor/tensor.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { joinedNorm } from '../src/train/ranks/ownership.js';

let gpu: Gpu;
before(async () => {
  // Rows of words are summed in pieces, and the table takes several bindings.
  gpu = await Gpu.open({ maxBindingSize: 16384 });
});
after(() => gpu.close());

const WORDS = [40, 2100] as const;

/** A store with gradients, one value of them spoilt where the test says. */
function made(spoil?: { readonly name: 'words' | 'weight'; readonly value: number }) {
  const store = new ParameterStore(gpu, [
    { name: 'words', shape: [...WORDS], table: true, trainable: true, decay: true },
    { name: 'positions', shape: [9, 4], table: true, trainable: true, decay: false },
    { name: 'weight', shape: [13, 50], trainable: true, decay: true },
    { name: 'frozen', shape: [200], trainable: true, decay: true },
    { name: 'bias', shape: [7], trainable: true, decay: false },
  ]);
  const random = new CounterRandom(3, 0);
  const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  store.get('frozen').requiresGrad = false;
  for (const { name, tensor, gradient, table } of store.parameters) {
    tensor.write(values(tensor.size));
    if (!tensor.requiresGrad) continue;
    const rows = name === 'words' ? Uint32Array.of(1, 2, 5, 17, 30, 39) : Uint32Array.of(0, 8);
    const own = values(table ? rows.length * tensor.cols : tensor.size);
    if (spoil?.name === name) own[own.length - 3] = spoil.value;
    if (table) gradient!.addRows(rows, Tensor.from(gpu, own, [rows.length, tensor.cols]).keep());
    else tensor.grad!.write(own);
  }
  const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 0.5 };
  return { store, optimizer: new StoreAdamW(store, options) };
}

function dispose(...all: ReturnType<typeof made>[]): void {
  for (const { store, optimizer } of all) {
    optimizer.dispose();
    store.dispose();
  }
  assert.equal(gpu.memory().liveBuffers, 0);
}

/** Ranges of three ranks, the second with several, the third with none. */
const ranges = (size: number) => [
  [{ start: 0, end: 256 }],
  [
    { start: 256, end: 512 },
    { start: 640, end: size },
  ],
  [],
];

test('norms of parts join to the norm of all, and the update is that of the norm on the device', async () => {
  const [whole, joined] = [made(), made()];
  const { size } = joined.store.gradients!;
  const parts = await Promise.all(
    ranges(size).map((own, rank) => joined.optimizer.partialNorm({ rank, size: 3, ranges: own })),
  );
  const norm = joinedNorm(parts);
  // What is in no range, elements 512 to 640, is there too.
  const gap = await joined.optimizer.partialNorm({ rank: 3, size: 3, ranges: [{ start: 512, end: 640 }] });
  const { norm: expected } = await whole.optimizer.step(1e-2, 0.25);
  const all = joinedNorm([norm, gap]);
  assert.ok(Math.abs(0.25 * all - expected) < 1e-6 * expected, `${0.25 * all} ${expected}`);
  assert.ok(parts.every((part) => part > 0) && gap > 0);
  const stats = joined.optimizer.apply(1e-2, 0.25, { norm: all });
  const [told, skipped] = await stats.toFloat32();
  stats.dispose();
  assert.ok(Math.abs(told! - expected) < 1e-6 * expected);
  assert.equal(skipped, 0);
  for (const [n, { tensor, name }] of joined.store.parameters.entries()) {
    const [a, b] = await Promise.all([tensor.toFloat32(), whole.store.parameters[n]!.tensor.toFloat32()]);
    // The clip factor may differ in its last bit.
    assert.ok(
      a.every((value, i) => Math.abs(value - b[i]!) < 1e-6),
      name,
    );
  }
  dispose(whole, joined);
});

for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1e30])
  for (const name of ['words', 'weight'] as const)
    test(`a gradient of ${value} in ${name} makes the norm of its owner not finite`, async () => {
      const spoilt = made({ name, value });
      const { size } = spoilt.store.gradients!;
      const parts = await Promise.all(
        ranges(size).map((own, rank) => spoilt.optimizer.partialNorm({ rank, size: 3, ranges: own })),
      );
      // Row 39 of 3 ranks; the end of weight lies in elements 640 to 650.
      const owner = name === 'words' ? 0 : 1;
      assert.deepEqual(
        parts.map((part) => Number.isFinite(part)),
        [0, 1, 2].map((rank) => rank !== owner),
      );
      assert.ok(!Number.isFinite(joinedNorm(parts)));
      dispose(spoilt);
    });

test('a norm that is not finite skips the update on every rank, whatever the own gradients are', async () => {
  for (const norm of [Number.NaN, Number.POSITIVE_INFINITY, 1e300]) {
    const { store, optimizer } = made();
    const before = await store.weights!.toArray();
    const stats = optimizer.apply(1e-2, 1, { norm });
    assert.equal((await stats.toFloat32())[1], 1);
    stats.dispose();
    assert.deepEqual(await store.weights!.toArray(), before);
    dispose({ store, optimizer });
  }
});

test('a norm below 0 is refused', () => {
  const each = made();
  assert.throws(
    () => each.optimizer.apply(1e-2, 1, { norm: -1 }),
    (error) => error instanceof ShapeError && /norm must be no number below 0, found -1/.test(error.message),
  );
  assert.equal(each.optimizer.steps, 0);
  dispose(each);
});
