/** What `bench peers` uses of jax-js, and the optimiser that the library does not have. */
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
export function adamUpdate(jax: Jax): Compute<JaxArray[]> {
  const np = jax.numpy;
  const { learningRate, beta1, beta2, eps } = ADAM;
  return jax.jit((...[w, g, m, v, c1, c2]: JaxArray[]) => {
    const mean = m!.mul(beta1).add(g!.ref.mul(1 - beta1));
    const square = v!.mul(beta2).add(np.square(g!).mul(1 - beta2));
    const change = mean.ref.div(c1!).div(np.sqrt(square.ref.div(c2!)).add(eps));
    return [w!.sub(change.mul(learningRate)), mean, square];
  });
}
