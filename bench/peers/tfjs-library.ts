/** What `bench peers` uses of TensorFlow.js. */

/** What is used of the library. */
export interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}
export interface Tf {
  version_core: string;
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(values: Float32Array | Int32Array, shape: readonly number[], dtype?: 'int32'): TfTensor;
  reshape(x: TfTensor, shape: readonly number[]): TfTensor;
  split(x: TfTensor, parts: number, axis: number): TfTensor[];
  oneHot(x: TfTensor, classes: number): TfTensor;
  gather(x: TfTensor, indices: TfTensor): TfTensor;
  logSoftmax(x: TfTensor): TfTensor;
  sum(x: TfTensor): TfTensor;
  rsqrt(x: TfTensor): TfTensor;
  variable(value: TfTensor): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  add(a: TfTensor, b: TfTensor | number): TfTensor;
  sub(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor | number): TfTensor;
  softmax(x: TfTensor): TfTensor;
  transpose(x: TfTensor, order: readonly number[]): TfTensor;
  erf(x: TfTensor): TfTensor;
  square(x: TfTensor): TfTensor;
  mean(x: TfTensor, axis?: number, keepDims?: boolean): TfTensor;
  slice(x: TfTensor, begin: readonly number[], size: readonly number[]): TfTensor;
  tidy<T extends TfTensor>(body: () => T): T;
  train: {
    adam(
      rate: number,
      beta1: number,
      beta2: number,
      eps: number,
    ): { minimize(f: () => TfTensor, returnCost: true): TfTensor };
  };
}
