/** Products of random shapes, values and gradients against float64. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { backward, einsum, matmul } from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { sizeOf } from '../src/tensor/shape.js';
import { Tensor } from '../src/tensor/tensor.js';
import { type NamedOperand, namedSums } from './named-sums.js';

const gpu = await Gpu.open({ guardWords: 64 });
after(() => gpu.close());

interface Drawn {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly axes: readonly (readonly string[])[];
  readonly output: readonly string[];
  run(operands: readonly Tensor[]): Tensor;
}

const below = (random: CounterRandom, n: number): number => random.int(n);
const pick = <T>(random: CounterRandom, list: readonly T[]): T => list[below(random, list.length)]!;

/** Some batch dimensions, each in both operands or broadcast; or vectors. */
function drawMatmul(random: CounterRandom): Drawn {
  const extent = () => pick(random, [1, 2, 3, 4, 5, 8, 12, 17]);
  const [M, N, K] = [extent(), extent(), below(random, 12) === 0 ? 0 : extent()];
  const [vectorA, vectorB] = [below(random, 8) === 0, below(random, 8) === 0];
  const [transA, transB] = [!vectorA && below(random, 2) === 0, !vectorB && below(random, 2) === 0];
  const rank = below(random, 4);
  const batch = Array.from({ length: rank }, () => pick(random, [1, 2, 3, 4]));
  const own = () => batch.slice(below(random, rank + 1)).map((n) => (below(random, 3) === 0 ? 1 : n));
  const names = (of: readonly number[], last: readonly string[]) => [
    ...of.map((_, i) => `batch${of.length - i}`),
    ...last,
  ];
  const [batchA, batchB] = [vectorA ? [] : own(), vectorB ? [] : own()];
  const a = vectorA ? ['k'] : transA ? ['k', 'm'] : ['m', 'k'];
  const b = vectorB ? ['k'] : transB ? ['n', 'k'] : ['k', 'n'];
  const extents: Record<string, number> = { m: M, n: N, k: K };
  const longest = batchA.length > batchB.length ? batchA : batchB;
  const shapeOf = (of: readonly number[], axes: readonly string[]) => [
    ...of,
    ...axes.map((x) => extents[x]!),
  ];
  const shapes = [shapeOf(batchA, a), shapeOf(batchB, b)];
  return {
    name: `matmul [${shapes[0]}]${transA ? 'ᵀ' : ''} [${shapes[1]}]${transB ? 'ᵀ' : ''}`,
    shapes,
    axes: [names(batchA, a), names(batchB, b)],
    output: [...names(longest, []), ...(vectorA ? [] : ['m']), ...(vectorB ? [] : ['n'])],
    run: ([x, y]) => matmul(x!, y!, { transA, transB }),
  };
}

/** Letters at random, in either operand or both, in the result or not; some twice, some behind dots. */
function drawEinsum(random: CounterRandom): Drawn {
  const letters = [...'ijklm'].slice(0, 1 + below(random, 5));
  const extents = new Map(letters.map((letter) => [letter, pick(random, [1, 2, 3, 5, 8])]));
  const shuffled = (list: readonly string[]) => {
    const left = [...list];
    return Array.from({ length: left.length }, () => left.splice(below(random, left.length), 1)[0]!);
  };
  const one = below(random, 4) === 0;
  const where = letters.map(() => (one ? 0 : below(random, 3)));
  const own = (which: number) => {
    const list = shuffled(letters.filter((_, i) => where[i] === 2 || where[i] === which));
    if (list.length > 0 && list.length < 4 && below(random, 5) === 0) list.push(pick(random, list));
    return list;
  };
  const dots = below(random, 4) === 0 ? [pick(random, [2, 3])] : [];
  const inputs = one ? [own(0)] : [own(0), own(1)];
  const implicit = below(random, 4) === 0;
  const counted = inputs.flat();
  const once = letters.filter((letter) => counted.filter((other) => other === letter).length === 1).sort();
  const used = letters.filter((letter) => counted.includes(letter));
  const output = implicit ? once : shuffled(used.filter(() => below(random, 3) > 0));
  const text = `${inputs.map((list) => `${dots.length ? '...' : ''}${list.join('')}`).join(',')}${
    implicit ? '' : `->${dots.length ? '...' : ''}${output.join('')}`
  }`;
  const broadcast = (i: number) => (i === 1 && below(random, 2) === 0 ? dots.map(() => 1) : dots);
  // Of an operand whose letters are each there once, one may have extent 1 where the other's is longer.
  const short = inputs.map((list) =>
    list.length > 0 && new Set(list).size === list.length && below(random, 3) === 0
      ? list[below(random, list.length)]
      : undefined,
  );
  const shapes = inputs.map((list, i) => [
    ...broadcast(i),
    ...list.map((letter) => (letter === short[i] ? 1 : extents.get(letter)!)),
  ]);
  return {
    name: `einsum ${text} [${shapes.join('] [')}]`,
    shapes,
    axes: inputs.map((list) => [...dots.map(() => '…'), ...list]),
    output: [...dots.map(() => '…'), ...output],
    run: ([x, y]) => (y ? einsum(text, x!, y) : einsum(text, x!)),
  };
}

async function compare(drawn: Drawn, seed: number, dtype: 'f32' | 'f16'): Promise<void> {
  const random = new CounterRandom(seed, 1);
  const values = (count: number) => {
    const list = Float32Array.from({ length: count }, () => 2 * random.uniform() - 1);
    return dtype === 'f16' ? f16ToF32(f32ToF16(list)) : list;
  };
  const tensor = (list: Float32Array, shape: readonly number[]) =>
    dtype === 'f16' ? Tensor.from(gpu, f32ToF16(list), shape, 'f16') : Tensor.from(gpu, list, shape);
  const operands: NamedOperand[] = drawn.shapes.map((shape, i) => ({
    values: values(sizeOf(shape)),
    shape,
    axes: drawn.axes[i]!,
  }));
  const { shape } = namedSums(operands, drawn.output);
  const weights = values(sizeOf(shape));
  const wanted = namedSums(operands, drawn.output, weights);
  await scope(async () => {
    const inputs = operands.map(({ values: list, shape: own }) => {
      const input = tensor(list as Float32Array, own);
      input.requiresGrad = true;
      return input;
    });
    const y = drawn.run(inputs);
    assert.deepEqual(y.shape, shape, `${drawn.name}: shape`);
    assert.equal(y.dtype, dtype);
    const near = (got: Float32Array, want: Float64Array, what: string) => {
      const top = want.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-2);
      const allowed = dtype === 'f16' ? 3e-3 : 2e-5;
      got.forEach((v, i) => {
        assert.ok(
          Math.abs(v - want[i]!) <= allowed * top,
          `${drawn.name}: ${what} ${i}: ${v}, not ${want[i]}`,
        );
      });
    };
    near(await y.toFloat32(), wanted.value, 'value');
    backward(y, tensor(weights, shape));
    for (const [i, input] of inputs.entries()) {
      const { grad } = input;
      assert.deepEqual(grad!.shape, input.shape, `${drawn.name}: shape of gradient ${i}`);
      near(await grad!.toFloat32(), wanted.gradients[i]!, `gradient ${i} at`);
      grad!.dispose();
    }
  });
}

test('the gradient of one matrix that many products share is added up in its own memory where it is large', async () => {
  // 17 products of 1024×1024: more than what is kept to be summed.
  const [n, many] = [1024, 17];
  const random = new CounterRandom(9, 0);
  const draw = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  const [b, seed] = [draw(many * n), draw(many * n)];
  await scope(async () => {
    const a = Tensor.zeros(gpu, [n, n]);
    a.requiresGrad = true;
    const y = matmul(a, Tensor.from(gpu, b, [many, n, 1]));
    const weights = Tensor.from(gpu, seed, [many, n, 1]);
    gpu.pool.resetPeak();
    const before = gpu.memory().peak;
    backward(y, weights);
    assert.ok(gpu.memory().peak - before < 32e6, `${gpu.memory().peak - before} bytes`);
    const got = await a.grad!.toFloat32();
    for (let i = 0; i < 50; i++) {
      const [m, k] = [random.int(n), random.int(n)];
      let want = 0;
      for (let j = 0; j < many; j++) want += seed[j * n + m]! * b[j * n + k]!;
      assert.ok(Math.abs(got[m * n + k]! - want) < 1e-5);
    }
    a.grad!.dispose();
  });
});

for (const [what, draw] of [
  ['matmul', drawMatmul],
  ['einsum', drawEinsum],
] as const)
  test(`${what} of random shapes is what float64 says, in f32 and f16, values and gradients`, async () => {
    const live = gpu.memory().liveBuffers;
    for (let seed = 0; seed < 45; seed++) {
      const random = new CounterRandom(seed, 0);
      await compare(draw(random), seed, seed % 3 === 2 ? 'f16' : 'f32');
    }
    assert.equal(gpu.memory().liveBuffers, live);
    await gpu.checkGuards();
  });
