/** Leaves: every gradient that reaches one arrives in its sink, and the optimiser, the norm and freezing know of it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  add,
  backward,
  cast,
  checkpoint,
  concat,
  gatherRows,
  linear,
  m3Distillation,
  matmul,
  mul,
  onBackward,
  reshape,
  scale,
  sliceRows,
  square,
  sum,
} from '../src/autograd/index.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { f32ToF16 } from '../src/tensor/dtype.js';
import { CounterRandom } from '../src/tensor/random.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { StoreAdamW } from '../src/train/optimizer.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const [V, C] = [8, 4];
const random = new CounterRandom(11, 0);
const draw = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
const start = draw(V * C);
const seed = Float32Array.from({ length: V * V }, (_, i) => Math.sin(i));
const ids = Uint32Array.of(3, 1, 3, 6);
const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 0 };

type Use = (E: Tensor, list: RowIndex) => Tensor;
const weighted = (y: Tensor) => sum(mul(y, Tensor.from(gpu, seed.slice(0, y.size), y.shape)));
/** Ways for a gradient to reach a table. */
const uses: Record<string, Use> = {
  gathered: (E, list) => weighted(gatherRows(E, list)),
  'tied embeddings': (E, list) => weighted(linear(gatherRows(E, list), E)),
  'a product first, then gathered': (E, list) =>
    add(weighted(linear(gatherRows(E.detach(), list), E)), weighted(gatherRows(E, list))),
  'gathered nine times': (E, list) =>
    Array.from({ length: 9 }, (_, i) => scale(weighted(gatherRows(E, list)), 1 + i)).reduce(add),
  'matmul on the left': (E) => weighted(matmul(E, Tensor.from(gpu, seed.slice(0, C * C), [C, C]))),
  'matmul on the right': (E) =>
    weighted(matmul(Tensor.from(gpu, seed.slice(0, 2 * C), [2, C]), E, { transB: true })),
  elementwise: (E) => sum(square(E)),
  'a bias of a sum': (E, list) => weighted(add(gatherRows(E, list), sum(E, 0))),
  'a slice': (E) => weighted(sliceRows(E, 2, 5)),
  stacked: (E) => weighted(concat([E, scale(E, 2)])),
  'reshaped, then gathered': (E, list) => weighted(gatherRows(reshape(E, [V, C]), list)),
  recomputed: (E, list) => weighted(checkpoint((x) => linear(gatherRows(E, list), x), E)),
  'cast to halves and back': (E) => weighted(cast(cast(E, 'f16'), 'f32')),
};

/** Norm, gradients, and the weights after two steps. */
async function trained(table: boolean, use: Use, precision: FloatDType = 'f32') {
  const specs = [
    { name: 'E', shape: [V, C], table, trainable: true, decay: true, product: true },
    { name: 'other', shape: [5], trainable: true, decay: false },
  ];
  const store = new ParameterStore(gpu, specs, precision);
  store.get('E').write(start);
  const optimizer = new StoreAdamW(store, options);
  const list = new RowIndex(gpu, ids);
  const norms: number[] = [];
  let gradient = new Float32Array();
  for (let step = 0; step < 2; step++) {
    // Two micro-batches; the gradient is read once between them.
    for (let n = 0; n < 2; n++) {
      scope(() => backward(use(store.get('E'), list)));
      gradient = (await store.readGradients()).get('E')!.slice();
    }
    norms.push((await optimizer.step(1e-2, 0.5)).norm);
  }
  assert.ok((await store.readGradients()).get('E')!.every((value) => value === 0));
  const weights = await store.get('E').toFloat32();
  list.dispose();
  optimizer.dispose();
  store.dispose();
  return { gradient, norms, weights };
}

for (const [name, use] of Object.entries(uses))
  test(`a table takes what a dense parameter takes: ${name}`, async () => {
    const [dense, table] = [await trained(false, use), await trained(true, use)];
    assert.ok(dense.gradient.some((value) => value !== 0));
    const close = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
      Array.from(want).forEach((value, i) => {
        assert.ok(
          Math.abs(got[i]! - value) <= 2e-6 * Math.max(1, Math.abs(value)),
          `${what} ${i}: ${got[i]}, ${value}`,
        );
      });
    };
    close(table.gradient, dense.gradient, 'gradient');
    close(table.norms, dense.norms, 'norm');
    close(table.weights, dense.weights, 'weight');
    assert.equal(gpu.memory().liveBuffers, 0);
  });

test('a table of a larger tensor than a binding takes dense gradients in pieces', async () => {
  const limited = await Gpu.open({ maxBindingSize: 65536 });
  const [rows, cols] = [4099, 5];
  const store = new ParameterStore(limited, [
    { name: 'E', shape: [rows, cols], table: true, trainable: true, decay: false },
  ]);
  const data = draw(rows * cols);
  store.get('E').write(data);
  await scope(async () => {
    const seed = Tensor.from(limited, new Float32Array(rows * cols).fill(1), [rows, cols]);
    for (let n = 0; n < 2; n++) backward(square(store.get('E')), seed);
  });
  const got = (await store.readGradients()).get('E')!;
  got.forEach((value, i) => {
    assert.ok(Math.abs(value - 4 * data[i]!) < 1e-6, `${i}: ${value}`);
  });
  store.dispose();
  await limited.close();
});

test('a backward leaves one piece of a table, also of one that it computes again; merged rows go out and in', async () => {
  const store = new ParameterStore(gpu, [
    { name: 'E', shape: [V, C], table: true, trainable: true, decay: false },
  ]);
  const E = store.get('E');
  E.write(start);
  const sink = store.tables[0]!.gradient;
  const lists = [
    [3, 1, 3],
    [6, 0],
    [1, 7],
  ].map((rows) => new RowIndex(gpu, Uint32Array.from(rows)));
  const gathered = () => lists.map((list) => sum(gatherRows(E, list))).reduce(add);
  const pieces: number[] = [];
  await scope(async () => {
    const w = Tensor.from(gpu, [2], []);
    w.requiresGrad = true;
    const told = () => onBackward(scale(w, 1), () => void pieces.push(sink.count));
    backward(
      add(
        mul(told(), gathered()),
        checkpoint((x) => mul(x, gathered()), told()),
      ),
    );
    // What is computed again has not ended a backward that goes on.
    assert.deepEqual(pieces, [3, 6]);
    assert.equal(sink.count, 1);
    const { rows, values } = sink.merged()!;
    assert.deepEqual([...rows], [0, 1, 3, 6, 7]);
    // Times 2 in each of the two.
    const times = [1, 2, 2, 1, 1].flatMap((n) => Array.from({ length: C }, () => 4 * n));
    assert.deepEqual([...(await values.toFloat32())], times);

    for (const list of [[0, 2, 5], [7], []]) {
      // Made in a scope that ends: the sink owns it.
      scope(() =>
        sink.replace({
          rows: Uint32Array.from(list),
          values: Tensor.from(gpu, new Float32Array(list.length * C).fill(3), [list.length, C]),
        }),
      );
      const held = (await store.readGradients()).get('E')!;
      held.forEach((value, i) => {
        assert.equal(value, list.includes(Math.floor(i / C)) ? 3 : 0);
      });
      assert.equal(sink.count, list.length > 0 ? 1 : 0);
    }
    // Itself, by rows and dense; rows instead of a dense gradient.
    backward(gathered());
    sink.replace(sink.merged()!);
    assert.equal((await store.readGradients()).get('E')![0], 1);
    backward(square(E), Tensor.from(gpu, new Float32Array(V * C).fill(1), [V, C]));
    assert.equal(sink.byRows, false);
    const dense = (await store.readGradients()).get('E')!;
    sink.replace(sink.merged()!);
    assert.equal(sink.byRows, true);
    assert.deepEqual((await store.readGradients()).get('E'), dense);
    assert.throws(
      () => sink.replace({ rows: Uint32Array.of(2, 1), values: Tensor.zeros(gpu, [2, C]) }),
      /replace: needs a row of values for each of 2 distinct, ascending rows/,
    );
    assert.deepEqual((await store.readGradients()).get('E'), dense);
  });
  for (const list of lists) list.dispose();
  store.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('rows that are no rows of the table are refused by its sink', () => {
  const store = new ParameterStore(gpu, [
    { name: 'E', shape: [V, C], table: true, trainable: true, decay: false },
  ]);
  const sink = store.get('E').role!.gradient!;
  scope(() => {
    for (const rows of [[1, 1], [2, 1], [1, V], [1]])
      assert.throws(() => sink.addRows(Uint32Array.from(rows), Tensor.zeros(gpu, [2, C])), ShapeError);
    assert.throws(() => sink.addRows(Uint32Array.of(1, 2), Tensor.zeros(gpu, [2, C + 1])), ShapeError);
    assert.throws(() => sink.add(Tensor.zeros(gpu, [2, C])), ShapeError);
  });
  store.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('no gradient is cut off: probabilities get theirs, a teacher on the tape is refused', () => {
  scope(() => {
    const x = Tensor.from(gpu, [1, 2, 3, 4], [2, 2]);
    x.requiresGrad = true;
    for (const own of [false, true])
      assert.throws(
        () => m3Distillation(x, square(x), own),
        /m3Distillation: .*detach\(\).*teacher \[2,2\] f32/,
      );
    noGrad(() => m3Distillation(x, square(x), true));
  });
});

const makeStore = (precision: FloatDType = 'f32') => {
  const store = new ParameterStore(
    gpu,
    [
      { name: 'w', shape: [4, 4], trainable: true, decay: true, product: true },
      { name: 'v', shape: [4, 4], trainable: true, decay: true, product: true },
      { name: 'b', shape: [5], trainable: true, decay: false },
      { name: 'table', shape: [V, C], table: true, trainable: true, decay: true },
      { name: 'fixed', shape: [4, 4], trainable: false, decay: true, product: true },
    ],
    precision,
  );
  for (const { tensor } of store.parameters) tensor.write(draw(tensor.size));
  return store;
};
const list4 = () => new RowIndex(gpu, Uint32Array.of(0, 1, 2, 3));
const objective = (store: ParameterStore, list: RowIndex) =>
  ['w', 'v', 'b', 'table', 'fixed']
    .map((name) => (name === 'table' ? sum(gatherRows(store.get(name), list)) : sum(square(store.get(name)))))
    .reduce(add);

test('a gradient set to undefined is zeros, and training goes on', async () => {
  const store = makeStore();
  const optimizer = new StoreAdamW(store, options);
  const list = list4();
  for (const name of ['w', 'b', 'table']) {
    const w = store.get(name);
    scope(() => backward(objective(store, list)));
    w.grad = undefined;
    assert.ok(
      (await store.readGradients()).get(name)!.every((value) => value === 0),
      name,
    );
    scope(() => backward(objective(store, list)));
    const once = (await store.readGradients()).get(name)!.slice();
    assert.ok(once.some((value) => value !== 0));
    // Read densely, set to itself, cleared, set to another.
    assert.deepEqual(await w.grad!.toFloat32(), once);
    const held = w.grad;
    w.grad = held;
    assert.deepEqual((await store.readGradients()).get(name), once);
    w.zeroGrad();
    const own = Tensor.from(gpu, draw(w.size), w.shape);
    w.grad = own;
    assert.deepEqual((await store.readGradients()).get(name), await own.toFloat32());
    own.dispose();
    scope(() =>
      assert.throws(() => {
        w.grad = Tensor.from(gpu, [1], [1]);
      }, ShapeError),
    );
    const before = await w.toFloat32();
    await optimizer.step(1e-2);
    assert.notDeepEqual(await w.toFloat32(), before);
  }
  assert.throws(() => {
    store.get('fixed').grad = store.get('w');
  }, ShapeError);
  list.dispose();
  optimizer.dispose();
  store.dispose();
  scope(() => {
    const leaf = Tensor.from(gpu, [1, 2], [2]);
    leaf.requiresGrad = true;
    backward(sum(leaf));
    leaf.zeroGrad();
    assert.equal(leaf.grad, undefined);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

for (const name of ['w', 'b', 'table'])
  test(`requiresGrad taken back freezes ${name}: no gradient, no update, no decay; given again it trains`, async () => {
    const store = makeStore('f16');
    const optimizer = new StoreAdamW(store, options);
    const list = list4();
    const step = async () => {
      scope(() => backward(objective(store, list)));
      return optimizer.step(1e-2);
    };
    await step();
    scope(() => backward(objective(store, list)));
    store.get(name).requiresGrad = false;
    const values = () => Promise.all(store.parameters.map(({ tensor }) => tensor.toFloat32()));
    const before = await values();
    await step();
    await step();
    const after = await values();
    store.parameters.forEach((parameter, i) => {
      const same = parameter.name === name || parameter.name === 'fixed';
      assert.equal(
        before[i]!.every((value, at) => value === after[i]![at]),
        same,
        parameter.name,
      );
    });
    store.get(name).requiresGrad = true;
    await step();
    assert.notDeepEqual(
      await store.get(name).toFloat32(),
      after[store.parameters.findIndex((p) => p.name === name)],
    );
    assert.throws(() => {
      store.get('fixed').requiresGrad = true;
    }, /"fixed" was made not to train/);
    list.dispose();
    optimizer.dispose();
    store.dispose();
    assert.equal(gpu.memory().liveBuffers, 0);
  });

test('a gradient may be, or be computed from, one in the same buffer', async () => {
  const store = makeStore();
  const list = list4();
  const [w, v] = [store.get('w'), store.get('v')];
  const cases: [string, set: () => void, factor: number][] = [
    ['set to a view of itself', () => (w.grad = w.grad!.detach()), 1],
    ['set to half of itself', () => (w.grad = noGrad(() => scale(w.grad!, 0.5))), 0.5],
    ['itself as the seed', () => backward(add(w, w), w.grad), 3],
    [
      'a view of it as the seed of a view',
      () => backward(reshape(w, [w.size]), w.grad!.detach().view([w.size])),
      2,
    ],
    [
      'itself as the seed of a product that adds in place',
      () => backward(linear(w.detach(), w), w.grad),
      Number.NaN,
    ],
  ];
  for (const [how, set, factor] of cases)
    await scope(async () => {
      store.zeroGradients();
      backward(objective(store, list));
      const before = (await w.grad!.toFloat32()).slice();
      set();
      const after = await w.grad!.toFloat32();
      if (Number.isNaN(factor)) assert.notDeepEqual(after, before, how);
      else
        assert.deepEqual(
          after,
          before.map((value) => value * factor),
          how,
        );
    });
  // Two parameters of one store: their gradients lie in one buffer.
  await scope(async () => {
    w.zeroGrad();
    w.grad = v.grad;
    assert.deepEqual(await w.grad!.toFloat32(), await v.grad!.toFloat32());
  });
  list.dispose();
  store.dispose();
  scope(() => {
    const leaf = Tensor.from(gpu, [1, 2], [2]);
    leaf.requiresGrad = true;
    backward(sum(leaf));
    backward(add(leaf, leaf), leaf.grad);
    leaf.zeroGrad();
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('a frozen parameter takes no gradient by hand; a leaf that was disposed takes none from backward', () => {
  const store = makeStore();
  const w = store.get('w');
  w.requiresGrad = false;
  scope(() =>
    assert.throws(() => {
      w.grad = Tensor.zeros(gpu, w.shape);
    }, /grad: the parameter is frozen/),
  );
  store.dispose();
  scope(() => {
    const loss = scope(() => {
      const leaf = Tensor.from(gpu, [1, 2], [2]);
      leaf.requiresGrad = true;
      return sum(mul(leaf, leaf));
    });
    backward(loss);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('a gradient of another shape, dtype or device is none of the leaf', async () => {
  const other = await Gpu.open();
  scope(() => {
    const leaf = Tensor.from(gpu, [1, 2], [2]);
    for (const gradient of [
      Tensor.zeros(gpu, [1, 2]),
      Tensor.zeros(gpu, [2], 'f16'),
      Tensor.zeros(other, [2]),
    ])
      assert.throws(() => {
        leaf.grad = gradient;
      }, ShapeError);
  });
  await other.close();
});

test('frozen after it was recorded: no gradient; integers and results of ops', async () => {
  await scope(async () => {
    const [a, b] = [Tensor.from(gpu, [1, 2], [2]), Tensor.from(gpu, [3, 4], [2])];
    a.requiresGrad = b.requiresGrad = true;
    const y = sum(mul(a, b));
    a.requiresGrad = false;
    assert.throws(() => {
      y.requiresGrad = false;
    }, /computed by an op/);
    backward(y);
    assert.equal(a.grad, undefined);
    assert.deepEqual([...(await b.grad!.toFloat32())], [1, 2]);
    b.zeroGrad();
    assert.throws(() => {
      Tensor.from(gpu, Uint32Array.of(1), [1]).requiresGrad = true;
    }, /only floats have gradients/);
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

for (const name of ['w', 'fixed'])
  test(`what is written to "${name}" of an f16 model reaches the copy that products read`, async () => {
    const store = makeStore('f16');
    const w = store.get(name);
    const x = Tensor.from(gpu, f32ToF16(Float32Array.of(1, 0, 0, 0)), [1, 4]);
    const column = () => scope(async () => noGrad(() => linear(x, w, undefined, 'f32')).toFloat32());
    const writes: [string, () => void, number][] = [
      ['write', () => w.write(new Float32Array(16).fill(3)), 3],
      ['a part of it', () => w.write([5, 5, 5, 5], 0), 5],
      ['copyFrom', () => scope(() => w.copyFrom(Tensor.from(gpu, new Float32Array(16).fill(7), [4, 4]))), 7],
      ['fillZero', () => w.fillZero(), 0],
      ['a view', () => scope(() => w.detach().write(new Float32Array(16).fill(9))), 9],
    ];
    await column();
    for (const [how, write, want] of writes) {
      write();
      assert.equal((await column())[0], want, how);
    }
    // Written before a step that does not happen: the copy is of what was written.
    const optimizer = new StoreAdamW(store, options);
    w.write(new Float32Array(16).fill(11));
    store.get('v').grad!.write([Number.NaN]);
    assert.equal((await optimizer.step(1e-2)).skipped, true);
    assert.equal((await column())[0], 11);
    optimizer.dispose();
    x.dispose();
    store.dispose();
    assert.equal(gpu.memory().liveBuffers, 0);
  });

for (const dense of [false, true])
  test(`rows for whose sum there is no memory are not lost${dense ? ', beside a dense gradient too' : ''}`, async () => {
    const small = await Gpu.open({ memoryBudget: 2 ** 20 });
    const store = new ParameterStore(small, [
      { name: 'E', shape: [600, 4], table: true, trainable: true, decay: false },
    ]);
    const sink = store.tables[0]!.gradient;
    const lists = [3, 5, 7].map((step) => Uint32Array.from({ length: 80 }, (_, i) => i * step));
    const want = new Float32Array(600 * 4);
    for (const rows of lists)
      for (const row of rows) want.fill((want[4 * row] ?? 0) + 1 + row, 4 * row, 4 * row + 4);
    if (dense) want.forEach((_, i) => void want[i]!++);
    let refused = 0;
    for (let spare = 0; spare < 16; spare++) {
      for (const rows of lists) {
        const values = Float32Array.from({ length: 4 * rows.length }, (_, i) => 1 + rows[i >> 2]!);
        sink.addRows(rows, Tensor.from(small, values, [rows.length, 4]));
      }
      const part = Tensor.from(small, new Float32Array(600 * 4).fill(1), [600, 4]);
      if (dense) sink.add(part);
      part.dispose();
      const before = small.memory().liveBuffers;
      const take = (bytes: number) => Tensor.empty(small, [bytes / 4]);
      // Room for so much, in pieces of several sizes.
      const room = Array.from({ length: spare }, (_, i) => take(i % 2 === 0 ? 4096 : 256));
      const rest: Tensor[] = [];
      for (const bytes of [65536, 4096, 256])
        for (let more = true; more; )
          try {
            rest.push(take(bytes));
          } catch {
            more = false;
          }
      for (const tensor of room) tensor.dispose();
      try {
        sink.settle();
      } catch (error) {
        assert.match(String(error), /out of GPU memory/);
        refused++;
      }
      for (const tensor of rest) tensor.dispose();
      assert.ok(small.memory().liveBuffers <= before + 1, `${spare}`);
      assert.deepEqual((await store.readGradients()).get('E'), want, `${spare}`);
      assert.equal(sink.count, 1);
      store.zeroGradients();
    }
    assert.ok(refused > 0 && refused < 16, `${refused}`);
    store.dispose();
    assert.equal(small.memory().liveBuffers, 0);
    await small.close();
  });

test('a step for which there is no memory changes nothing, and can be taken again', async () => {
  const small = await Gpu.open({ memoryBudget: 2 ** 20 });
  const run = async (starve: boolean) => {
    const specs = [
      { name: 'w', shape: [4, 4], trainable: true, decay: true },
      { name: 'table', shape: [4096, 4], table: true, trainable: true, decay: true },
    ];
    const store = new ParameterStore(small, specs);
    for (const { tensor } of store.parameters) tensor.write(new Float32Array(tensor.size).fill(0.5));
    const optimizer = new StoreAdamW(store, options);
    const index = new RowIndex(small, Uint32Array.of(3, 1));
    scope(() =>
      backward(add(sum(square(store.get('w'))), sum(square(gatherRows(store.get('table'), index))))),
    );
    if (starve) {
      const take = (bytes: number) => Tensor.empty(small, [bytes / 4]).keep();
      // Room for the norm, and for nothing as large as a number for each row of the table.
      const spare = Array.from({ length: 12 }, () => take(256));
      const rest: Tensor[] = [];
      for (const bytes of [65536, 4096, 256])
        for (let room = true; room; )
          try {
            rest.push(take(bytes));
          } catch {
            room = false;
          }
      for (const tensor of spare) tensor.dispose();
      await assert.rejects(optimizer.step(1e-2), /out of GPU memory/);
      assert.equal(optimizer.steps, 0);
      for (const tensor of rest) tensor.dispose();
    }
    await optimizer.step(1e-2);
    const result = [await store.get('w').toFloat32(), await store.get('table').toFloat32()];
    for (const each of [index, optimizer, store]) each.dispose();
    return result;
  };
  assert.deepEqual(await run(true), await run(false));
  await small.close();
});
