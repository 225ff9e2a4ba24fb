/** jax-js with its WebGPU backend. A use of an array consumes it; `ref` is one use more. */
import { pathToFileURL } from 'node:url';
import { gpuWait } from '../../src/gpu/wait.js';
import { peerRequire, provideNavigator, versionOf } from './dawn.js';
import { characterWork } from './jax-characters.js';
import { type Compute, type Jax, type JaxArray, trainingWork } from './jax-library.js';
import type { Library, Work } from './protocol.js';
import {
  type AttentionWorkload,
  CHECKED_STEPS,
  type MatmulWorkload,
  operand,
  probed,
  SEEDS,
  type TrainWorkload,
  weightScale,
} from './workloads.js';

/** The library maps and filters iterators, which Node does since version 22. */
function provideIteratorHelpers(): void {
  const arrayIterator = Object.getPrototypeOf([][Symbol.iterator]()) as object;
  const shared = Object.getPrototypeOf(arrayIterator) as { map?: unknown; filter?: unknown };
  shared.map ??= function* <T, U>(this: Iterable<T>, f: (value: T) => U): Generator<U> {
    for (const value of this) yield f(value);
  };
  shared.filter ??= function* <T>(this: Iterable<T>, f: (value: T) => boolean): Generator<T> {
    for (const value of this) if (f(value)) yield value;
  };
}

export async function open(folder: string, adapter: string | null): Promise<Library> {
  const name = await provideNavigator(adapter);
  provideIteratorHelpers();
  const require = peerRequire(folder);
  const entry = require.resolve('@jax-js/jax').replace(/\.cjs$/, '.js');
  const jax = (await import(pathToFileURL(entry).href)) as Jax;
  const devices = await gpuWait(jax.init('webgpu'));
  if (!devices.includes('webgpu')) throw new Error('its WebGPU backend does not start');
  jax.defaultDevice('webgpu');
  return {
    version: versionOf(folder, '@jax-js/jax'),
    adapter: name,
    async prepare(workload) {
      if (workload.kind === 'matmul') return matmulWork(jax, workload);
      if (workload.kind === 'characters') return characterWork(jax);
      return workload.kind === 'attention' ? attentionWork(jax, workload) : trainWork(jax, workload);
    },
  };
}

/** Results that are held at once. */
const HELD = 16;

const array = (jax: Jax, values: Float32Array, shape: readonly number[]) =>
  jax.numpy.array(values).reshape(shape);

function repeated(
  jax: Jax,
  operands: readonly JaxArray[],
  compute: Compute<JaxArray>,
  pick: (result: Float32Array) => number[],
): Work {
  const compiled = jax.jit(compute);
  const once = () => compiled(...operands.map(({ ref }) => ref));
  return {
    result: async () => pick(await gpuWait(once().data())),
    async run(times) {
      // Nothing is disposed before it is there: the library does not compute what nobody holds any more.
      for (let left = times; left > 0; left -= HELD) {
        const results = Array.from({ length: Math.min(left, HELD) }, once);
        await gpuWait(jax.blockUntilReady(results));
        for (const each of results) each.dispose();
      }
    },
    dispose() {
      for (const each of operands) each.dispose();
    },
  };
}

function matmulWork(jax: Jax, { n }: MatmulWorkload): Work {
  const operands = [SEEDS.a, SEEDS.b].map((seed) => array(jax, operand(seed, n * n), [n, n]));
  return repeated(
    jax,
    operands,
    (a, b) => jax.numpy.matmul(a!, b!),
    (y) => probed(y, 1, n, n),
  );
}

function attentionWork(jax: Jax, { texts, tokens, heads, headDim }: AttentionWorkload): Work {
  const width = heads * headDim;
  const operands = [SEEDS.q, SEEDS.k, SEEDS.v].map((seed) =>
    array(jax, operand(seed, texts * tokens * width), [texts, tokens, heads, headDim]),
  );
  return repeated(
    jax,
    operands,
    (q, k, v) => jax.nn.dotProductAttention(q!, k!, v!),
    (y) => probed(y, texts, tokens, width),
  );
}

/** Weights lie transposed, as its layers have them: x·W. AdamW is not part of the library. */
async function trainWork(jax: Jax, { rows, width, hidden }: TrainWorkload): Promise<Work> {
  const np = jax.numpy;
  const x = array(jax, operand(SEEDS.x, rows * width), [rows, width]);
  const target = array(jax, operand(SEEDS.target, rows * width), [rows, width]);
  const transposed = (seed: number, to: number, from: number) =>
    np.matrixTranspose(array(jax, operand(seed, to * from, weightScale(from)), [to, from]));
  const zeros = (shape: readonly number[]) =>
    array(jax, new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
  const start = [
    transposed(SEEDS.w1, hidden, width),
    zeros([hidden]),
    transposed(SEEDS.w2, width, hidden),
    zeros([width]),
  ];
  const loss: Compute<JaxArray> = (w1, b1, w2, b2, input, wanted) => {
    const h = jax.nn.gelu(np.matmul(input!, w1!).add(b1!), { approximate: false });
    const y = np.matmul(h, w2!).add(b2!);
    return np.mean(np.square(y.sub(wanted!)));
  };
  return trainingWork(jax, start, loss, () => [x.ref, target.ref], CHECKED_STEPS);
}
