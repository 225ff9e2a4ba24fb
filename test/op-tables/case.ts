/** What a row of the table of ops says, and what rows share. */
import type { Gpu } from '../../src/gpu/gpu.js';
import type { Tensor } from '../../src/tensor/tensor.js';

export interface OpCase {
  name: string;
  /** Shapes of the inputs that get gradients. */
  inputs: number[][];
  /** The same of which some takes more than `binding` bytes, for the test of what is cut into pieces. */
  large: number[][];
  /** Bytes of a binding in that test, by default 4096. */
  binding?: number;
  /** What of it adds up over pieces, and so need not be equal to the bit. */
  adds?: 'gradients' | 'all';
  /** Values are drawn from [low, high]. */
  range?: [number, number];
  run(gpu: Gpu, inputs: Tensor[]): Tensor;
  reference(inputs: Float64Array[]): Float64Array;
  /** Largest error of the result and of gradients, relative to the largest reference value. */
  tolerance?: number;
  gradientTolerance?: number;
  /** Inputs that may be f16 (the others stay f32): the op is then tested in mixed precision too. */
  halves?: number[] | undefined;
}

/** Things that cases make beside tensors; the test disposes of them. */
export const pending: { dispose(): void }[] = [];

export const rowsOf = (x: Float64Array, cols: number) =>
  Array.from({ length: x.length / cols }, (_, r) => [...x.subarray(r * cols, (r + 1) * cols)]);
export const logSumExp = (row: number[]) => {
  const top = Math.max(...row);
  return top + Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0));
};
