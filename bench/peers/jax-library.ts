/** What `bench peers` uses of jax-js, and the optimiser that the library does not have. */
import { gpuWait } from '../../src/gpu/wait.js';
import type { Work } from './protocol.js';
import { ADAM } from './workloads.js';

/** What is used of the library. */
export interface JaxArray {
  readonly shape: readonly number[];
  readonly ref: JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  data(): Promise<Float32Array>;
  dispose(): void;
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray | number): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  div(other: JaxArray | number): JaxArray;
}
export type Compute<Out> = (...inputs: JaxArray[]) => Out;
export interface Jax {
  init(device: string): Promise<readonly string[]>;
  defaultDevice(device: string): void;
  jit<Out>(f: Compute<Out>): Compute<Out>;
  valueAndGrad(f: Compute<JaxArray>, options: { argnums: number[] }): Compute<[JaxArray, JaxArray[]]>;
  blockUntilReady<T>(arrays: T): Promise<T>;
  numpy: {
    array(values: Float32Array | Int32Array): JaxArray;
    split(x: JaxArray, parts: number, axis: number): JaxArray[];
    sum(x: JaxArray): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    mean(x: JaxArray): JaxArray;
    square(x: JaxArray): JaxArray;
    sqrt(x: JaxArray): JaxArray;
    matrixTranspose(x: JaxArray): JaxArray;
  };
  nn: {
    gelu(x: JaxArray, options: { approximate: boolean }): JaxArray;
    dotProductAttention(q: JaxArray, k: JaxArray, v: JaxArray, options?: { isCausal: boolean }): JaxArray;
    standardize(x: JaxArray, axis: number, options: { epsilon: number }): JaxArray;
    oneHot(x: JaxArray, classes: number): JaxArray;
    logSoftmax(x: JaxArray, axis: number): JaxArray;
  };
}

/** One step of Adam for a weight, compiled: (weight, gradient, first moment, second moment, 1 − β1ᵗ, 1 − β2ᵗ) → the first three anew. */
function adamUpdate(jax: Jax): Compute<JaxArray[]> {
  const np = jax.numpy;
  const { learningRate, beta1, beta2, eps } = ADAM;
  return jax.jit((...[w, g, m, v, c1, c2]: JaxArray[]) => {
    const mean = m!.mul(beta1).add(g!.ref.mul(1 - beta1));
    const square = v!.mul(beta2).add(np.square(g!).mul(1 - beta2));
    const change = mean.ref.div(c1!).div(np.sqrt(square.ref.div(c2!)).add(eps));
    return [w!.sub(change.mul(learningRate)), mean, square];
  });
}

/**
 * Training from these weights on, as work of a peer: `loss` of the weights and of what `operandsOf` gives for each step, whose
 * arrays it consumes. The losses of the first `checked` steps are its result.
 */
export async function trainingWork(
  jax: Jax,
  start: readonly JaxArray[],
  loss: Compute<JaxArray>,
  operandsOf: (step: number) => readonly JaxArray[],
  checked: number,
): Promise<Work> {
  const np = jax.numpy;
  const gradients = jax.jit(jax.valueAndGrad(loss, { argnums: start.map((_, i) => i) }));
  const update = adamUpdate(jax);
  const { beta1, beta2 } = ADAM;
  let weights = [...start];
  let moments = start.map(({ shape }) => {
    const zeros = () => np.array(new Float32Array(shape.reduce((a, b) => a * b, 1))).reshape(shape);
    return [zeros(), zeros()];
  });
  let steps = 0;
  const step = (): JaxArray => {
    const [value, slopes] = gradients(...weights.map(({ ref }) => ref), ...operandsOf(steps++));
    const corrections = [beta1, beta2].map((beta) => np.array(Float32Array.of(1 - beta ** steps)));
    const updated = weights.map((weight, i) =>
      update(weight, slopes[i]!, ...moments[i]!, ...corrections.map(({ ref }) => ref)),
    );
    for (const each of corrections) each.dispose();
    weights = updated.map((each) => each[0]!);
    moments = updated.map((each) => each.slice(1));
    return value;
  };
  const losses: number[] = [];
  while (losses.length < checked) losses.push((await gpuWait(step().data()))[0]!);
  return {
    result: async () => losses,
    async run(times) {
      for (let i = 0; i < times; i++) step().dispose();
      await gpuWait(jax.blockUntilReady(weights.map(({ ref }) => ref)));
    },
    dispose() {
      for (const each of [...weights, ...moments.flat()]) each.dispose();
    },
  };
}
