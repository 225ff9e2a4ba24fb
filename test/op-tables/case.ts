/** What a row of the table of ops says, and what rows share. */
import type { Gpu } from '../../src/gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../../src/tensor/dtype.js';
import { type DType, Tensor } from '../../src/tensor/tensor.js';

export interface OpCase {
  name: string;
  /** Shapes of the inputs; those that are floats get gradients where the result is one. */
  inputs: number[][];
  /** Their formats where not all are f32: `['bool', 'f32']`; what is left out is f32. */
  dtypes?: (DType | undefined)[] | undefined;
  /** Inputs that are floats and get no gradient all the same. */
  constant?: number[];
  /** The format of the result where it is not that of the run, f32 or f16. Integers and bools are exact, without gradient. */
  output?: DType | undefined;
  /** The same of which some takes more than `binding` bytes, for the test of what is cut into pieces. */
  large: number[][];
  /** Bytes of a binding in that test, by default 4096. */
  binding?: number;
  /** What of it adds up over pieces, and so need not be equal to the bit. */
  adds?: 'gradients' | 'all';
  /** Values are drawn from [low, high], by default from −1 to 1, of integers from −9 (u32: 0) to 9. */
  range?: [number, number];
  /** The same for single inputs, as lists of indices need it. */
  ranges?: ([number, number] | undefined)[];
  run(gpu: Gpu, inputs: Tensor[]): Tensor;
  reference(inputs: Float64Array[]): Float64Array;
  /** Largest error of the result and of gradients, relative to the largest reference value. */
  tolerance?: number;
  gradientTolerance?: number;
  /**
   * Its kernels are those of another row with another formula in them: it is run whole, with the kernels that the device
   * chooses, and the other row stands for it with those that are forced, and in pieces.
   */
  likeOthers?: boolean;
  /** Inputs that may be f16 (the others stay f32): the op is then tested in mixed precision too. */
  halves?: number[] | undefined;
}

/** The format of an input, with its `halves` in f16. */
export const inputDType = (op: OpCase, i: number, halves: readonly number[]): DType =>
  halves.includes(i) ? 'f16' : (op.dtypes?.[i] ?? 'f32');

const isFloat = (dtype: DType): boolean => dtype === 'f32' || dtype === 'f16';

/** The inputs that get gradients. */
export const trained = (op: OpCase): number[] =>
  op.output !== undefined && !isFloat(op.output)
    ? []
    : op.inputs.flatMap((_, i) => (isFloat(inputDType(op, i, [])) && !op.constant?.includes(i) ? [i] : []));

/** Values of an input as its format holds them; `uniform`: a number from [0, 1). */
export function inputValues(
  op: OpCase,
  i: number,
  halves: readonly number[],
  count: number,
  uniform: () => number,
): Float32Array {
  const dtype = inputDType(op, i, halves);
  if (dtype === 'bool') return Float32Array.from({ length: count }, () => Math.floor(uniform() * 2));
  const range = op.ranges?.[i] ?? op.range;
  const [low, high] = range ?? (isFloat(dtype) ? [-1, 1] : [dtype === 'u32' ? 0 : -9, 9]);
  const drawn = isFloat(dtype)
    ? Float32Array.from({ length: count }, () => low + (high - low) * uniform())
    : Float32Array.from({ length: count }, () => low + Math.floor((high - low + 1) * uniform()));
  return dtype === 'f16' ? f16ToF32(f32ToF16(drawn)) : drawn;
}

/** Those values on the device. */
export function tensorOf(gpu: Gpu, values: Float32Array, shape: readonly number[], dtype: DType): Tensor {
  if (dtype === 'f32') return Tensor.from(gpu, values, shape);
  if (dtype === 'f16') return Tensor.from(gpu, f32ToF16(values), shape, 'f16');
  return Tensor.from(gpu, dtype === 'bool' ? Uint8Array.from(values) : [...values], shape, dtype);
}

/** A tensor of any format as numbers. */
export async function numbersOf(tensor: Tensor): Promise<ArrayLike<number>> {
  const found = await tensor.toArray();
  return found instanceof Uint16Array ? f16ToF32(found) : found;
}

/** Things that cases make beside tensors; the test disposes of them. */
export const pending: { dispose(): void }[] = [];

export const rowsOf = (x: Float64Array, cols: number) =>
  Array.from({ length: x.length / cols }, (_, r) => [...x.subarray(r * cols, (r + 1) * cols)]);
export const logSumExp = (row: number[]) => {
  const top = Math.max(...row);
  return top + Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0));
};
