/** Kernels that users write: values, gradients, pieces, and every way to be wrong with the place where it is. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { add, backward, mul, square, sum } from '../src/autograd/index.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { bools, defineKernel, f16, f32, floats, i32, KernelError, u32 } from '../src/own-kernels/index.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

/** Small limits: operands are seen in pieces, and grids are folded. */
let small: Gpu;
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open({ guardWords: 8 });
  small = await Gpu.open({ maxBindingSize: 4096, maxWorkgroupsPerDimension: 5 });
});
after(() => {
  gpu.close();
  small.close();
});

const softShrink = defineKernel({
  name: 'softShrink',
  inputs: { x: f32('...') },
  outputs: { y: f32('...') },
  params: { threshold: 'f32' },
  body: 'y[i] = sign(x[i]) * max(abs(x[i]) - p.threshold, 0.0);',
  gradient: { x: 'dx[i] = select(0.0, dy[i], abs(x[i]) > p.threshold);' },
});

/** x / Σ|x| of a row, times a weight a column; the norms are a result that takes no gradient. */
const l1Normalize = defineKernel({
  name: 'l1Normalize',
  inputs: { x: f32('N', 'C'), w: f32('C') },
  outputs: { y: f32('N', 'C'), norms: f32('N') },
  each: 'N',
  body: `var sum = 0.0;
for (var c = lane; c < p.C; c += 64u) { sum += abs(x[row * p.C + c]); }
let total = rowSum(sum, lane);
if (lane == 0u) { norms[row] = total; }
for (var c = lane; c < p.C; c += 64u) { y[row * p.C + c] = w[c] * x[row * p.C + c] / total; }`,
  gradient: {
    x: `var sum = 0.0;
for (var c = lane; c < p.C; c += 64u) { sum += dy[row * p.C + c] * w[c] * x[row * p.C + c]; }
let inner = rowSum(sum, lane) / norms[row];
for (var c = lane; c < p.C; c += 64u) {
  let at = row * p.C + c;
  dx[at] = (dy[at] * w[c] - sign(x[at]) * inner) / norms[row];
}`,
    w: (dy, { x, norms }) => sum(mul(dy, mul(x, norms.view([norms.size, 1]).reciprocal())), 0),
  },
});

const liveBytes = () => Object.values(gpu.memory().live).reduce((a, b) => a + b, 0);

const random = (size: number, seed = 1) =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + seed)) * 2);

function close(got: ArrayLike<number>, want: ArrayLike<number>, tolerance = 1e-5): void {
  assert.equal(got.length, want.length);
  for (let i = 0; i < want.length; i++)
    assert.ok(
      Math.abs(got[i]! - want[i]!) <= tolerance * (1 + Math.abs(want[i]!)),
      `${i}: ${got[i]} is not ${want[i]}`,
    );
}

test('values and gradients of a body for every element, whole and in pieces', async () => {
  for (const [device, size] of [
    [gpu, 5],
    [small, 5000],
  ] as const) {
    const values = random(size);
    const x = Tensor.from(device, values, [size]);
    x.requiresGrad = true;
    const y = softShrink({ x }, { threshold: 0.5 });
    close(
      await y.toFloat32(),
      values.map((v) => Math.sign(v) * Math.max(Math.abs(v) - 0.5, 0)),
    );
    backward(sum(square(y)));
    close(
      await x.grad!.toFloat32(),
      values.map((v) => 2 * Math.sign(v) * Math.max(Math.abs(v) - 0.5, 0)),
    );
  }
});

/** The same in float64. */
function l1Reference(x: Float32Array, w: Float32Array, seed: Float32Array) {
  const C = w.length;
  const y = new Float64Array(x.length);
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(C);
  for (let row = 0; row < x.length; row += C) {
    let total = 0;
    let inner = 0;
    for (let c = 0; c < C; c++) total += Math.abs(x[row + c]!);
    for (let c = 0; c < C; c++) inner += (seed[row + c]! * w[c]! * x[row + c]!) / total;
    for (let c = 0; c < C; c++) {
      y[row + c] = (w[c]! * x[row + c]!) / total;
      dx[row + c] = (seed[row + c]! * w[c]! - Math.sign(x[row + c]!) * inner) / total;
      dw[c]! += (seed[row + c]! * x[row + c]!) / total;
    }
  }
  return { y, dx, dw };
}

test('values and gradients of a body for every row, with a result beside the first, whole and in pieces', async () => {
  for (const [device, rows] of [
    [gpu, 3],
    [small, 70],
  ] as const) {
    const C = 100;
    const [xs, ws, seeds] = [random(rows * C), random(C, 7), random(rows * C, 3)];
    const x = Tensor.from(device, xs, [rows, C]);
    const w = Tensor.from(device, ws, [C]);
    x.requiresGrad = true;
    w.requiresGrad = true;
    const { y, norms } = l1Normalize({ x, w });
    assert.deepEqual(norms.shape, [rows]);
    assert.equal(norms.node, undefined);
    const want = l1Reference(xs, ws, seeds);
    close(await y.toFloat32(), want.y);
    backward(y, Tensor.from(device, seeds, [rows, C]));
    close(await x.grad!.toFloat32(), want.dx);
    close(await w.grad!.toFloat32(), want.dw, 1e-4);
  }
});

test('a whole shader with a grid: integers, bools, halves, dimensions that are computed', async () => {
  const pairs = defineKernel({
    name: 'pairs',
    inputs: { ids: i32('N'), keep: bools('N'), h: f16('2*N') },
    outputs: { sums: i32('N', 'k'), flags: bools('N'), next: u32('N+1') },
    params: { k: 'u32', shift: 'i32' },
    wgsl: `@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let n = (group.y * groups.x + group.x) * 4u + local;
  if (n > p.N) { return; }
  next[n] = n + 1u;
  if (n == p.N) { return; }
  let halves = unpack2x16float(h[n]);
  for (var j = 0u; j < p.k; j++) { sums[n * p.k + j] = ids[n] * i32(j) + p.shift + i32(halves.x + halves.y); }
  flags[n] = 1u - keep[n];
}`,
    grid: ({ N }) => Math.ceil((N! + 1) / 4),
  });
  const N = 30;
  for (const device of [gpu, small]) {
    const { sums, flags, next } = pairs(
      {
        ids: Tensor.from(
          device,
          Int32Array.from({ length: N }, (_, i) => i - 3),
          [N],
        ),
        keep: Tensor.from(
          device,
          Array.from({ length: N }, (_, i) => i % 3 === 0),
          [N],
        ),
        h: Tensor.from(
          device,
          Array.from({ length: 2 * N }, (_, i) => i),
          [2 * N],
          'f16',
        ),
      },
      { k: 2, shift: -5 },
    );
    assert.equal(flags.dtype, 'bool');
    const want = Array.from({ length: N }, (_, i) => [0, 1].map((j) => (i - 3) * j - 5 + 4 * i + 1)).flat();
    assert.deepEqual([...(await sums.toArray())], want);
    assert.deepEqual(
      [...(await next.toArray())],
      Array.from({ length: N + 1 }, (_, i) => i + 1),
    );
    assert.deepEqual(
      [...(await flags.toArray())].map(Number),
      Array.from({ length: N }, (_, i) => (i % 3 === 0 ? 0 : 1)),
    );
  }
});

test('operands of another shape are seen whole; empty tensors, scalars and plans pass', async () => {
  const lookUp = defineKernel({
    name: 'lookUp',
    inputs: { table: f32('V'), ids: u32('M') },
    outputs: { y: f32('M') },
    functions: 'fn twice(v: f32) -> f32 { return 2.0 * v; }',
    body: 'y[i] = twice(table[ids[i]]) + f32(p.start + i);',
    gradient: {
      table: `var total = 0.0;
for (var k = 0u; k < p.M; k++) { if (ids[k] == p.start + i) { total += 2.0 * dy[k]; } }
dtable[i] = total;`,
    },
  });
  for (const [device, M] of [
    [gpu, 12],
    [small, 3000],
  ] as const) {
    const table = Tensor.from(device, [5, 6, 7], [3]);
    table.requiresGrad = true;
    const values = Uint32Array.from({ length: M }, (_, i) => i % 3);
    const ids = Tensor.from(device, values, [M]);
    const y = lookUp({ table, ids });
    close(
      await y.toFloat32(),
      Array.from(values, (id, i) => 2 * (5 + id) + i),
    );
    if (device === small) {
      // The gradient sees all of dy, which no binding does here.
      assert.throws(() => backward(sum(y)), /lookUp: .* exceeds the 4.1 kB that this adapter can bind/);
      continue;
    }
    backward(sum(y));
    assert.deepEqual([...(await table.grad!.toArray())], [8, 8, 8]);
  }

  const empty = softShrink({ x: Tensor.from(gpu, [], [0, 4]) }, { threshold: 1 });
  assert.deepEqual([empty.shape, (await empty.toArray()).length], [[0, 4], 0]);
  assert.equal(await softShrink({ x: Tensor.scalar(gpu, 3) }, { threshold: 1 }).item(), 2);
  const plan = Gpu.plan(gpu);
  const planned = softShrink({ x: Tensor.zeros(plan, [1000]) }, { threshold: 1 });
  assert.deepEqual(planned.shape, [1000]);
  await gpu.checkGuards();
});

/** The same kernels of halves: what they read was rounded before, and what they write is rounded once. */
const halved = {
  softShrink: defineKernel({
    name: 'softShrink',
    inputs: { x: floats('...') },
    outputs: { y: floats('...') },
    params: { threshold: 'f32' },
    body: 'y[i] = sign(x[i]) * max(abs(x[i]) - p.threshold, 0.0);',
    gradient: { x: 'dx[i] = select(0.0, dy[i], abs(x[i]) > p.threshold);' },
  }),
  /** Rows, a weight of f32, a result that has no gradient, and a gradient that is a function. */
  scaledRows: defineKernel({
    name: 'scaledRows',
    inputs: { x: f16('N', 'C'), w: f32('C') },
    outputs: { y: f16('N', 'C'), sums: f32('N') },
    each: 'N',
    body: `var sum = 0.0;
for (var c = lane; c < p.C; c += 64u) { sum += x[row * p.C + c]; y[row * p.C + c] = w[c] * x[row * p.C + c]; }
let total = rowSum(sum, lane);
if (lane == 0u) { sums[row] = total; }`,
    gradient: {
      x: 'for (var c = lane; c < p.C; c += 64u) { dx[row * p.C + c] = w[c] * dy[row * p.C + c]; }',
      w: (dy, { x }) => sum(mul(dy, x), 0),
    },
  }),
};

test('halves are seen as f32 and rounded once, gradients too, in pieces and of odd sizes', async () => {
  const round = (values: ArrayLike<number>) => f16ToF32(f32ToF16(Float32Array.from(values)));
  for (const device of [gpu, small])
    await scope(async () => {
      for (const size of [5, 3001]) {
        const values = round(random(size));
        const x = Tensor.from(device, f32ToF16(values), [size], 'f16');
        x.requiresGrad = true;
        const y = halved.softShrink({ x }, { threshold: 0.7 });
        assert.deepEqual(
          [y.dtype, halved.softShrink({ x: x.cast('f32') }, { threshold: 0.7 }).dtype],
          ['f16', 'f32'],
        );
        assert.deepEqual(
          await y.toFloat32(),
          round(values.map((v) => Math.fround(Math.sign(v) * Math.max(Math.abs(v) - Math.fround(0.7), 0)))),
        );
        // One gradient of halves and one of f32.
        backward(add(sum(square(y)).cast('f32'), sum(y.cast('f32'))));
        assert.equal(x.grad!.dtype, 'f16');
        const shrunk = await y.toFloat32();
        close(
          await x.grad!.toFloat32(),
          values.map((v, i) => (Math.abs(v) > 0.7 ? 2 * shrunk[i]! + 1 : 0)),
          2e-3,
        );
        x.grad!.dispose();
      }
      const [n, c] = [9, 67];
      const values = round(random(n * c));
      const x = Tensor.from(device, f32ToF16(values), [n, c], 'f16');
      const w = Tensor.from(device, random(c, 3), [c]);
      x.requiresGrad = true;
      w.requiresGrad = true;
      const { y, sums } = halved.scaledRows({ x, w });
      const weights = random(c, 3);
      assert.deepEqual(await y.toFloat32(), round(values.map((v, i) => Math.fround(v * weights[i % c]!))));
      const totals = Array.from({ length: n }, (_, r) =>
        values.subarray(r * c, (r + 1) * c).reduce((a, b) => a + b, 0),
      );
      close(await sums.toFloat32(), totals, 1e-4);
      backward(sum(y.cast('f32')));
      assert.deepEqual(await x.grad!.toFloat32(), round(values.map((_, i) => weights[i % c]!)));
      const columns = Array.from({ length: c }, (_, j) =>
        values.reduce((a, v, i) => a + (i % c === j ? v : 0), 0),
      );
      close(await w.grad!.toFloat32(), columns, 1e-4);
      x.grad!.dispose();
      w.grad!.dispose();
    });
  await gpu.checkGuards();
});

test('nothing leaks, and nothing is recorded for what no gradient reaches', () => {
  const x = Tensor.from(gpu, random(64), [64]);
  const before = liveBytes();
  scope(() => void softShrink({ x }, { threshold: 1 }));
  assert.equal(liveBytes(), before);
  assert.equal(softShrink({ x }, { threshold: 1 }).node, undefined);
  x.requiresGrad = true;
  assert.equal(noGrad(() => softShrink({ x }, { threshold: 1 })).node, undefined);
});

// ---- what is wrong, and where -------------------------------------------------------------------------------

/** A definition that computes, of which one thing is changed. */
const good = {
  name: 'odd',
  inputs: { x: f32('N') },
  outputs: { y: f32('N') },
  body: 'y[i] = x[i];',
};
type Anything = Record<string, unknown>;
const define = (change: Anything) =>
  (defineKernel as unknown as (d: Anything) => unknown)({ ...good, ...change });

test('a definition that contradicts itself says how', () => {
  define({});
  for (const [change, message] of [
    [{ name: '' }, /^defineKernel: name must be a text, found ""/],
    [{ inputs: {} }, /^odd: inputs must name at least one tensor/],
    [{ outputs: {} }, /^odd: outputs must name at least one tensor/],
    [{ inputs: { p: f32('N') } }, /^odd: "p" can be no operand's name/],
    [{ inputs: { 'x y': f32('N') } }, /^odd: "x y" can be no operand's name/],
    [{ outputs: { x: f32('N') } }, /^odd: two operands are named x/],
    [{ inputs: { x: f32('N'), dy: f32('N') } }, /^odd: two operands are named dy/],
    [{ inputs: { x: 'f32' } }, /^odd: x must be described as f32\('N', 'C'\) is, found "f32"/],
    [{ inputs: { x: { shape: ['N'], dtypes: ['f32', 'u32'] } } }, /^odd: x must be of one dtype, or floats/],
    [
      { inputs: { x: floats('N') }, body: undefined, wgsl: 'y x', grid: () => 1 },
      /^odd: x is f32 or f16, which lie differently: a body takes either, a whole wgsl is of one/,
    ],
    [{ outputs: { y: f32('M') } }, /^odd: M of y is no dimension of an input, and no u32 parameter/],
    [{ params: { s: 'f64' } }, /^odd: s must be f32, u32 or i32, found "f64"/],
    [{ params: { count: 'u32' } }, /^odd: "count" can be no parameter's name/],
    [{ body: ' ' }, /^odd: body must be WGSL, it is empty/],
    [
      { body: 'y[i] = p.s * x[i];' },
      /^odd: p\.s is neither a parameter nor a dimension; there are count, start, N$/,
    ],
    [{ body: '// y\nlet z = x[i];' }, /^odd: the body never writes y/],
    [{ body: 'y[i] = 1.0; // x' }, /^odd: nothing reads x/],
    [{ each: 'M' }, /^odd: each is M, and y \[N\] does not begin with it/],
    [{ outputs: { y: floats('N') } }, /^odd: a result of floats has the format of an input of floats/],
    [{ wgsl: 'y x' }, /^odd: either body or wgsl, not both/],
    [{ body: undefined }, /^odd: body or wgsl must be there/],
    [{ body: undefined, wgsl: 'y x' }, /^odd: grid must be a function, found nothing/],
    [
      { body: undefined, wgsl: 'y x', grid: () => 1, types: { z: 'array<u32>' } },
      /^odd: a type for z, which is no operand/,
    ],
    [{ gradients: { x: 'dx[i] = dy[i];' } }, /^odd: there is no "gradients", the nearest is gradient;/],
    [
      { gradient: { x: { body: 'dx[i] = dy[i];', eech: 'N' } } },
      /^odd: gradient of x, there is no "eech", .* each;/,
    ],
    [{ grid: () => 1 }, /^odd: grid belongs to a wgsl, and here is a body/],
    [{ body: undefined, wgsl: 'y x', grid: () => 1, each: 'N' }, /^odd: each belongs to a body, and here/],
    [{ gradient: { y: 'dx[i] = dy[i];' } }, /^odd: a gradient of y, which is no input/],
    [{ gradient: { x: 3 } }, /^odd: the gradient of x must be WGSL or a function, found 3/],
    [{ gradient: { x: 'x[i] = dy[i];' } }, /^odd: gradient of x, the body never writes dx/],
    [{ outputs: { y: u32('N') }, gradient: { x: 'dx[i] = 1.0;' } }, /^odd: a gradient of x, and y is u32/],
    [
      {
        params: Object.fromEntries([...'abcdefghijklmno'].map((name) => [name, 'f32'])),
        body: `y[i] = x[i]${[...'abcdefghijklmno'].map((name) => ` + p.${name}`).join('')};`,
      },
      /^odd: 17 scalars in p \(count, start, a,.*\), and there is room for 16/,
    ],
  ] as const)
    assert.throws(
      () => define(change),
      (error) => error instanceof KernelError && message.test(error.message) && error.kernel.length > 0,
      `${message}`,
    );
});

test('operands, numbers and gradients that do not fit are refused before anything is allocated', () => {
  const x = Tensor.from(gpu, random(6), [2, 3]);
  const w = Tensor.from(gpu, random(4), [4]);
  const whole = Tensor.from(gpu, [1], [1], 'u32');
  const leaf = Tensor.from(gpu, [1], [1]);
  leaf.requiresGrad = true;
  const before = liveBytes();
  const refuse = (call: () => unknown, message: RegExp) =>
    assert.throws(call, (error) => error instanceof ShapeError && message.test(error.message), `${message}`);
  refuse(
    () => l1Normalize({ x, w }),
    /^l1Normalize: dimensions differ: C is 3 in x \[N,C\] and 4 in w \[C\]/,
  );
  refuse(
    () => softShrink({ x }, { threshold: 'a' as never }),
    /^softShrink: threshold must be a number, found "a"/,
  );
  refuse(() => (softShrink as (inputs: object) => unknown)({ x }), /^softShrink: threshold must be a number/);
  refuse(() => softShrink({} as never, { threshold: 1 }), /^softShrink: x must be a tensor, found nothing/);
  refuse(
    () => softShrink({ x: whole }, { threshold: 1 }),
    /^softShrink: x must be f32, to which cast\(\) converts: x \[1\] u32/,
  );
  refuse(() => (softShrink as () => unknown)(), /^softShrink: inputs must be an object of x, found nothing/);
  refuse(
    () => softShrink(x as never, { threshold: 1 }),
    /^softShrink: inputs must be an object of x, found a?/,
  );
  refuse(
    () => softShrink({ x, y: x } as never, { threshold: 1 }),
    /^softShrink: inputs: there is no "y".*; there is x$/,
  );
  refuse(
    () => softShrink({ x }, { threshold: 1, treshold: 2 } as never),
    /^softShrink: params: there is no "treshold", the nearest is threshold; there is threshold$/,
  );
  const step = defineKernel({ ...good, name: 'step' });
  refuse(() => step({ x: leaf }), /^step: has no gradient for x; define one, or detach\(\) it/);
  noGrad(() => step({ x: leaf })).dispose();
  assert.equal(liveBytes(), before);
});

test('a gradient that is a function must give one of the shape of its input', () => {
  for (const [gradient, found] of [
    [(dy: Tensor) => sum(dy), /\[\] f32/],
    [() => undefined as unknown as Tensor, /nothing/],
  ] as const) {
    const odd = defineKernel({ ...good, gradient: { x: gradient } });
    const x = Tensor.from(gpu, [1, 2], [2]);
    x.requiresGrad = true;
    const y = odd({ x });
    assert.throws(
      () => backward(sum(y)),
      (error) =>
        error instanceof KernelError &&
        error.message.startsWith('odd: the gradient of x must be [2] f32, found ') &&
        found.test(error.message),
    );
  }
});

test("the compiler's errors quote the line of the user's source", () => {
  const x = Tensor.from(gpu, [1, 2], [2]);
  const error = (
    change: Anything,
    run = (kernel: (inputs: object) => unknown) => kernel({ x }),
  ): KernelError => {
    try {
      run(define(change) as (inputs: object) => unknown);
    } catch (thrown) {
      assert.ok(thrown instanceof KernelError, String(thrown));
      return thrown;
    }
    return assert.fail('nothing was thrown');
  };
  const wrong = error({ body: 'let a = 1.0;\n  y[i] = b * x[i];\n' });
  assert.equal(wrong.message, "odd: body, line 2: unresolved value 'b'\n    y[i] = b * x[i];\n           ^");
  assert.deepEqual([wrong.kernel, wrong.line, wrong.column], ['odd', 2, 10]);
  assert.match(
    error({ functions: '\n\nfn f() -> f32 { return 1u; }', body: 'y[i] = f() + x[i];' }).message,
    /^odd: functions, line 3: return statement type must match .*\n {2}fn f\(\)/,
  );
  assert.match(
    error({ each: 'N', body: 'let s = rowSum(x[row], lane);\nif (lane == 0) { y[row] = rowSum(1, lane) }' })
      .message,
    /^odd: body, line 2: expected ';' for assignment statement\n/,
  );
  assert.match(
    error({ body: undefined, wgsl: '\n@compute @workgroup_size(1)\nfn main() { y[0] = x; }', grid: () => 1 })
      .message,
    /^odd: wgsl, line 3: /,
  );
  assert.match(
    error({ inputs: { var: f32('N') }, body: 'y[i] = var[i];' }, (kernel) => kernel({ var: x })).message,
    /^odd: in what is declared for it: .*\n.* var: array<f32>;/,
  );
  const late = error({ gradient: { x: 'let z = 1.0;\ndx[i] = dy[i] * zz;' } }, (kernel) => {
    const leaf = Tensor.from(gpu, [1, 2], [2]);
    leaf.requiresGrad = true;
    backward(sum(kernel({ x: leaf }) as Tensor));
  });
  assert.match(
    late.message,
    /^odd: gradient of x, body, line 2: unresolved value 'zz'\n {2}dx\[i\] = dy\[i\] \* zz;\n +\^/,
  );
});

test("a grid that counts nothing is told as the definition's fault", () => {
  const x = Tensor.from(gpu, [1, 2], [2]);
  for (const grid of [undefined, -1, Number.NaN, 1.5, '3', [], [1, 2, 3, 4], [1, -1]]) {
    const odd = defineKernel({
      ...{ name: 'odd', inputs: { x: f32('N') }, outputs: { y: f32('N') } },
      wgsl: '@compute @workgroup_size(1) fn main() { y[0] = x[0]; }',
      grid: () => grid as never,
    });
    assert.throws(
      () => odd({ x }),
      (error) => error instanceof KernelError && /^odd: grid must give a whole number/.test(error.message),
    );
  }
});

test('what is noticed behind the text is told as of its end', () => {
  const x = Tensor.from(gpu, [1, 2], [2]);
  for (const body of ['y[i] = x[i]', 'y[i] = x[i]; }', 'if (i < 9u) { y[i] = x[i];\n\n'])
    assert.throws(
      () => defineKernel({ ...good, body })({ x }),
      (error) =>
        error instanceof KernelError &&
        error.line === 1 &&
        /^odd: body, behind line 1, its last: /.test(error.message) &&
        error.message.endsWith(body.split('\n')[0]!),
      body,
    );
});
