/**
 * What a tensor may hold, and which host data that is. A typed array says by its type what its bits are, so it goes
 * into a tensor of that format and no other; plain numbers are converted, where the format has them.
 */
import { show } from '../show.js';
import { f32ToF16 } from './dtype.js';

/** A `bool` is a word on the device, 0 or 1. */
export type DType = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';

export const bytesPerElement: Readonly<Record<DType, number>> = { f32: 4, f16: 2, i32: 4, u32: 4, bool: 4 };

/** As tensors are read back: f16 as raw halves, bool as bytes of 0 and 1. */
export type TensorArray = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/** As a tensor of one format is read back. */
export interface ArrayOf {
  /** As they are. */
  f32: Float32Array;
  /** Raw halves; `f16ToF32` makes numbers of them. */
  f16: Uint16Array;
  /** As they are. */
  i32: Int32Array;
  /** As they are. */
  u32: Uint32Array;
  /** 0 or 1 each. */
  bool: Uint8Array;
}

/** A Float64Array is numbers like any list of them: no device has the format. */
export type HostData = TensorArray | Float64Array | readonly number[] | readonly boolean[];

/** @throws TypeError when that is no format of tensors. */
export function checkDType(dtype: unknown, op = 'tensor'): asserts dtype is DType {
  if (typeof dtype !== 'string' || !Object.hasOwn(bytesPerElement, dtype))
    throw new TypeError(
      `${op}: no dtype ${typeof dtype === 'string' ? dtype : show(dtype)}; there are ${Object.keys(bytesPerElement).join(', ')}`,
    );
}

/** The format of `data` by itself: numbers are f32. @throws TypeError when no format of tensors has such data. */
export function dtypeOf(data: HostData): DType {
  if (Array.isArray(data)) return typeof data[0] === 'boolean' ? 'bool' : 'f32';
  if (data instanceof Float32Array || data instanceof Float64Array) return 'f32';
  if (data instanceof Uint8Array) return 'bool';
  if (data instanceof Int32Array) return 'i32';
  if (data instanceof Uint32Array) return 'u32';
  if (data instanceof Uint16Array) return 'f16';
  throw new TypeError(
    `tensor: ${kindOf(data)} is none of Float32Array (f32), Int32Array (i32), Uint32Array (u32), Uint16Array (f16, raw halves), Uint8Array (bool), Float64Array, numbers, booleans`,
  );
}

/**
 * `data` as a tensor of `dtype` holds it; not a copy when it is a typed array.
 * @throws TypeError naming both when it does not fit: a typed array of another format, a number that is none of
 * i32's or u32's, something that is no number. `place`: where the value of a number stands, as the message says it.
 */
export function toTensorArray(
  op: string,
  dtype: DType,
  data: HostData,
  place: (i: number) => string = (i) => ` at ${i}`,
): TensorArray {
  const own = dtypeOf(data);
  if (!Array.isArray(data) && !(data instanceof Float64Array)) {
    if (own !== dtype)
      throw new TypeError(
        `${op}: ${kindOf(data)} (${own}) does not fit a tensor of ${dtype}; the numbers of Array.from(data) are converted`,
      );
    if (data instanceof Uint8Array) {
      const at = data.findIndex((value) => value > 1);
      if (at >= 0) throw new TypeError(`${op}: ${data[at]}${place(at)} is no bool: 0 or 1`);
    }
    return data as TensorArray;
  }
  if (dtype === 'bool') {
    for (let i = 0; i < data.length; i++)
      if (typeof data[i] !== 'boolean')
        throw new TypeError(`${op}: ${kindOf(data[i])}${place(i)} does not fit a tensor of bool`);
    return Uint8Array.from(data as ArrayLike<unknown>, Number);
  }
  const [least, most] = dtype === 'u32' ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  const integers = dtype === 'i32' || dtype === 'u32';
  // By number, not by `forEach`, which leaves out holes.
  for (let i = 0; i < data.length; i++) {
    const value: unknown = data[i];
    if (typeof value !== 'number')
      throw new TypeError(`${op}: ${kindOf(value)}${place(i)} does not fit a tensor of ${dtype}`);
    if (integers && !(Number.isInteger(value) && value >= least && value <= most))
      throw new TypeError(`${op}: the number ${value}${place(i)} does not fit a tensor of ${dtype}`);
  }
  const numbers = data as ArrayLike<number>;
  switch (dtype) {
    case 'f32':
      return Float32Array.from(numbers);
    case 'f16':
      return f32ToF16(Float32Array.from(numbers));
    case 'i32':
      return Int32Array.from(numbers);
    case 'u32':
      return Uint32Array.from(numbers);
  }
}

/** The words that the device holds for them: of bools one each, of all others what they are. */
export const deviceWords = (data: TensorArray): TensorArray =>
  data instanceof Uint8Array ? Uint32Array.from(data) : data;

/** What the device holds, as a host reads it. */
export function arrayOf(dtype: DType, buffer: ArrayBuffer): TensorArray {
  switch (dtype) {
    case 'f32':
      return new Float32Array(buffer);
    case 'i32':
      return new Int32Array(buffer);
    case 'u32':
      return new Uint32Array(buffer);
    case 'f16':
      return new Uint16Array(buffer);
    case 'bool':
      return Uint8Array.from(new Uint32Array(buffer));
  }
}

export function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return value.constructor?.name ?? 'object';
}
