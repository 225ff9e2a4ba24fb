/** Gradients as values, of what is computed on the way, through retained graphs, and held against differences. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  add,
  backward,
  cachedBackward,
  checkGradients,
  checkpoint,
  concat,
  dropout,
  exp,
  GradientMismatch,
  grad,
  log,
  matmul,
  mul,
  record,
  reshape,
  retainGrad,
  scale,
  square,
  sum,
  valueAndGrad,
} from '../src/autograd/index.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

/** A test in a scope, behind which no buffer is left. */
const scoped = (name: string, body: () => unknown) =>
  test(name, async () => {
    const live = gpu.memory().liveBuffers;
    await scope(body);
    assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
  });

const from = (...values: number[]) => Tensor.from(gpu, values, [values.length]);
const leaf = (...values: number[]) => {
  const tensor = from(...values);
  tensor.requiresGrad = true;
  return tensor;
};
const read = async (tensor: Tensor | undefined) => [...(await tensor!.toFloat32())];

scoped('grad: of leaves and of what is computed on the way, and no sink gets anything', async () => {
  const [w, other] = [leaf(1, 2, 3), leaf(4, 5, 6)];
  const h = square(w);
  const loss = sum(mul(h, other));
  const [dh, dw] = grad(loss, [h, w], { retainGraph: true });
  assert.deepEqual(await read(dh), [4, 5, 6]);
  assert.deepEqual(await read(dw), [8, 20, 36]);
  assert.deepEqual([w.grad, other.grad], [undefined, undefined]);
  // Twice the same, and from a seed.
  const [one, two] = grad(h, [w, w], { seeds: [from(1, 0, -1)], retainGraph: true });
  assert.deepEqual(
    [await read(one), await read(two)],
    [
      [2, 0, -6],
      [2, 0, -6],
    ],
  );
  // What was not gone through is there still, although nothing was retained.
  assert.deepEqual(await read(grad(loss, h)[0]), [4, 5, 6]);
  assert.deepEqual(await read(grad(h, w, { seeds: [from(1, 1, 1)] })[0]), [2, 4, 6]);
  assert.throws(() => grad(loss, w), /already used up/);
});

scoped('grad refuses what no gradient reaches', async () => {
  const [w, other] = [leaf(1, 2), leaf(1, 2)];
  const h = sum(square(w));
  const fails = (call: () => unknown, says: RegExp) =>
    assert.throws(call, (error) => error instanceof ShapeError && says.test(error.message));
  fails(() => grad(h, from(1, 2)), /not on the tape/);
  fails(() => grad(h, [w, other]), /no output depends/);
  fails(() => grad(square(w), w), /must be a scalar/);
  fails(() => grad(h, w, { seeds: [] }), /0 seeds for 1/);
  fails(() => grad(h, w, { createGraph: true as never }), /of first order/);
  fails(
    () => backward(sum(square(grad(sum(square(w)), w)[0]!))),
    /gradients themselves, which are of first order/,
  );
});

scoped('grad through a checkpoint: of its inputs, of what trains in it, and of nothing else', async () => {
  const [x, w, frozen] = [leaf(1, 2), leaf(3, 4), leaf(5, 6)];
  const loss = () => sum(checkpoint((input) => mul(mul(square(input), w), frozen), x));
  const [dx, dw] = grad(loss(), [x, w]);
  assert.deepEqual(
    [await read(dx), await read(dw)],
    [
      [30, 96],
      [5, 24],
    ],
  );
  assert.deepEqual([x.grad, w.grad, frozen.grad], [undefined, undefined, undefined]);
  const kept = loss();
  for (const times of [1, 2]) {
    backward(kept, { retainGraph: times < 2 });
    assert.deepEqual(await read(w.grad), [5 * times, 24 * times]);
  }
  for (const each of [x, w, frozen]) each.zeroGrad();
});

scoped(
  'backward through a retained graph adds up; a tensor that was written in between is an error',
  async () => {
    const w = leaf(1, 2);
    const loss = sum(exp(scale(square(w), 0.5)));
    backward(loss, { retainGraph: true });
    const once = await read(w.grad);
    backward(loss, { retainGraph: true });
    assert.deepEqual(
      await read(w.grad),
      once.map((value) => 2 * value),
    );
    noGrad(() => w.write([5, 5]));
    assert.throws(() => backward(loss), /modified in place/);
    w.zeroGrad();
  },
);

scoped('retainGrad: gradients of what is computed on the way, of a root too', async () => {
  const w = leaf(1, 2);
  const h = square(w).retainGrad();
  const loss = retainGrad(sum(mul(h, h)));
  assert.equal(retainGrad(w), w);
  assert.equal(h.grad, undefined);
  backward(loss, { retainGraph: true });
  assert.deepEqual([await read(h.grad), await read(loss.grad)], [[2, 8], [1]]);
  backward(loss);
  assert.deepEqual(
    [await read(h.grad), await read(w.grad)],
    [
      [4, 16],
      [8, 64],
    ],
  );
  h.zeroGrad();
  assert.equal(h.grad, undefined);
  w.zeroGrad();
  // Given up before backward: nobody looks.
  const gone = square(w);
  const end = sum(gone.retainGrad());
  gone.dispose();
  backward(end);
  assert.deepEqual(await read(w.grad), [2, 4]);
  w.zeroGrad();
});

scoped('valueAndGrad: of a tree of tensors, in its structure', async () => {
  const x = Tensor.from(gpu, [1, 2, 3, 4], [2, 2]);
  const parameters = { layers: [{ w: Tensor.from(gpu, [1, 0, 0, 1], [2, 2]) }], unused: from(1, 2) };
  const step = valueAndGrad((p: typeof parameters, input: Tensor) =>
    sum(square(matmul(input, p.layers[0]!.w))),
  );
  const [value, gradients] = step(parameters, x);
  assert.equal(await value.item(), 30);
  assert.deepEqual(await read(gradients.layers[0]!.w), [20, 28, 28, 40]);
  assert.deepEqual(await read(gradients.unused), [0, 0]);
  assert.equal(parameters.unused.requiresGrad, false);
});

scoped('checkGradients: passes what is right, and tells where what is wrong is', async () => {
  const [a, b] = [Tensor.from(gpu, [0.3, -0.5, 0.9, 0.1], [2, 2]), from(0.2, 0.4)];
  const right = await checkGradients((x, y) => exp(add(matmul(x, x), y)), [a, b, from(1)]);
  assert.deepEqual(
    right.map(({ checked, passed }) => [checked, passed]),
    [
      [4, true],
      [2, true],
      [1, true],
    ],
  );
  assert.deepEqual(await read(a), [0.3, -0.5, 0.9, 0.1].map(Math.fround), 'inputs are as they were');
  const wrong = (x: Tensor) =>
    record(
      'wrong',
      noGrad(() => square(x)),
      [x],
      [[x, (dy) => noGrad(() => mul(dy, x))]],
    );
  assert.equal((await checkGradients((x) => exp(x), b)).length, 1);
  await assert.rejects(
    checkGradients((x, y) => add(wrong(x), y), [a, b]),
    (error) => {
      assert.ok(error instanceof GradientMismatch);
      assert.deepEqual(
        error.checks.map(({ passed }) => passed),
        [false, true],
      );
      assert.match(error.message, /input 0 \[2,2\]: WRONG, 4 elements, largest error 1\.0e\+0, at \[\d,\d\]/);
      return true;
    },
  );
});

scoped("gradient caching: in chunks as at once, dropout and the loss's own leaves included", async () => {
  const w = Tensor.from(gpu, [0.3, -0.5, 0.9, 0.1, 0.7, -0.2, 0.4, 0.8], [4, 2]);
  const temperature = Tensor.from(gpu, [0.5], [1, 1]);
  for (const leaf of [w, temperature]) leaf.requiresGrad = true;
  const random = new RandomStreams(3, 5);
  const chunks = [
    [1, 2, 3, 4],
    [4, 3, 2, 1, 0, 1, 0, 1],
    [2, 2, 1, 1],
  ].map((values) => Tensor.from(gpu, values, [values.length / 4, 4]));
  const encode = (x: Tensor) => {
    const h = matmul(dropout(x, 0.25, random.next()), w);
    return [square(h), h];
  };
  const loss = (a: Tensor, b: Tensor) => sum(mul(matmul(a, b, { transB: true }), temperature));
  const gradients = async () => {
    const found = [await read(w.grad), await read(temperature.grad)];
    for (const leaf of [w, temperature]) leaf.zeroGrad();
    return found;
  };
  const parts = chunks.map(encode);
  const plain = loss(concat(parts.map(([a]) => a!)), concat(parts.map(([, b]) => b!)));
  backward(plain, Tensor.from(gpu, [4], []));
  const [want, counter] = [await gradients(), random.counter];
  random.counter = 5;
  const cached = await cachedBackward(chunks, encode, loss, { scale: 4 });
  assert.equal(random.counter, counter);
  assert.equal(cached.node, undefined);
  assert.ok(Math.abs((await cached.item()) - (await plain.item())) < 1e-4);
  const found = await gradients();
  for (const [n, values] of found.entries())
    for (const [i, value] of values.entries())
      assert.ok(Math.abs(value - want[n]![i]!) < 1e-4 * Math.max(...want[n]!.map(Math.abs)), `${n}[${i}]`);
  await assert.rejects(cachedBackward([], encode, loss), /at least one chunk/);
  await assert.rejects(
    cachedBackward(chunks, encode, (a) => a),
    /must be a scalar/,
  );
  await assert.rejects(
    cachedBackward(chunks, () => [3 as never], loss),
    /must give tensors/,
  );
  for (const leaf of [w, temperature]) leaf.zeroGrad();
});

scoped('valueAndGrad has a graph of its own, wherever it is called', async () => {
  const x = from(1, 2);
  const gradientOf = () => valueAndGrad((y: Tensor) => sum(mul(square(y), y)))(x)[1];
  const [plain, unrecorded, inGradient] = [gradientOf(), noGrad(gradientOf), leaf(1, 1)];
  // A gradient of somebody's own that takes one: what else that goes through has none of it.
  const bystander = leaf(3, 3);
  const cube = record(
    'cube',
    from(1, 8),
    [],
    [
      [
        inGradient,
        (dy) => mul(dy, valueAndGrad((y: Tensor) => sum(mul(mul(square(y), y), bystander)))(x)[1]),
      ],
    ],
  );
  backward(sum(cube));
  assert.deepEqual(await read(plain), [3, 12]);
  assert.deepEqual(await read(unrecorded), [3, 12]);
  assert.deepEqual(await read(inGradient.grad), [9, 36]);
  assert.equal(bystander.grad, undefined);
});

scoped(
  'a gradient of a gradient is refused where it would be zeros, and what is detached is not',
  async () => {
    const cubes = (y: Tensor) => sum(mul(square(y), y));
    const inner = (y: Tensor) => valueAndGrad(cubes)(y)[1];
    const refused: Record<string, (y: Tensor) => Tensor> = {
      'of the operand': (y) => sum(inner(y)),
      'of what is computed of it': (y) => sum(inner(square(y))),
      'beside a value that has one': (y) => add(cubes(y), sum(inner(y))),
      'by grad': (y) => sum(grad(cubes(y), y)[0]!),
    };
    for (const [name, f] of Object.entries(refused))
      assert.throws(
        () => valueAndGrad(f)(from(1, 2)),
        (error) => error instanceof ShapeError && /first order/.test(error.message),
        name,
      );
    const taken = valueAndGrad((y: Tensor) => sum(mul(y, inner(y.detach()))))(from(1, 2))[1];
    assert.deepEqual(await read(taken), [3, 12]);
    assert.deepEqual(await read(inner(square(leaf(1, 2)))), [3, 48]);
  },
);

scoped('gradients that are returned lie in memory of their own', async () => {
  const [a, b, seed] = [leaf(1, 2), leaf(3, 4), from(5, 6)];
  const byGrad = () => grad(add(a, b), [a, b, a], { seeds: [seed] });
  const byValue = () => valueAndGrad((y: Tensor[]) => sum(mul(add(y[0]!, y[1]!), seed)))([a, b])[1];
  for (const make of [byGrad, byValue]) {
    const [first, ...others] = make() as [Tensor, ...Tensor[]];
    first.write([0, 0]);
    for (const other of [...others, seed]) assert.deepEqual(await read(other), [5, 6]);
  }
});

scoped('differences that are no numbers are no gradients, wherever they are', async () => {
  for (const values of [
    [0.001, 1, 2],
    [1, 0.001, 2],
    [1, 2, 0.001],
  ])
    await assert.rejects(checkGradients(log, [from(...values)]), GradientMismatch);
  await assert.rejects(checkGradients(log, 3 as never), /inputs must be a tensor or a list of tensors/);
});

scoped('cachedBackward draws again what the device drew for modules too', async () => {
  const x = [from(1, 2, 3, 4), from(4, 3, 2, 1), from(2, 2, 2, 2)].map((row) => reshape(row, [1, 4]));
  const w = leaf(...Array.from({ length: 16 }, (_, n) => n / 8));
  for (const streams of [1, 2]) {
    const all = Array.from({ length: streams }, (_, n) => new RandomStreams(n));
    const encode = (chunk: Tensor) =>
      all.reduce((y, random) => dropout(y, 0.5, random.next()), matmul(chunk, reshape(w, [4, 4])));
    backward(sum(square(concat(x.map(encode)))));
    const want = await read(w.grad);
    w.zeroGrad();
    for (const random of all) random.counter = 0;
    await cachedBackward(x, encode, (y) => sum(square(y)));
    assert.deepEqual(
      all.map(({ counter }) => counter),
      new Array(streams).fill(3),
    );
    for (const [n, value] of (await read(w.grad)).entries())
      assert.ok(Math.abs(value - want[n]!) <= 1e-5 * Math.max(...want.map(Math.abs)));
    w.zeroGrad();
  }
});
