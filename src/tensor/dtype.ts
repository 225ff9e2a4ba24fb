/**
 * Number formats as files store them, and bulk conversion between f32 and the 16-bit floats on the host.
 *
 * Conversions to 16 bits round to nearest, ties to even, with subnormals, infinities and NaN payloads kept, so
 * f16 → f32 → f16 is the identity on all 65536 patterns. Hosts are little-endian (every platform Dawn runs on).
 * What a GPU tensor may hold is `DType` in `tensor.ts`; reading files belongs to `src/weights`.
 */
import { ShapeError } from '../errors.js';

/** Number formats of files that are floats. */
export type FloatFileDType = 'f64' | 'f32' | 'f16' | 'bf16';
/** Number formats of files. */
export type FileDType = FloatFileDType | 'i64' | 'i32' | 'i16' | 'i8' | 'u64' | 'u32' | 'u16' | 'u8' | 'bool';

/** Elements of a `FileDType` on the host: f16 and bf16 are raw bits in a Uint16Array, bool is a Uint8Array. */
export type HostArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

const hostArrays = {
  f64: Float64Array,
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i16: Int16Array,
  i8: Int8Array,
  u64: BigUint64Array,
  u32: Uint32Array,
  u16: Uint16Array,
  u8: Uint8Array,
  bool: Uint8Array,
} as const satisfies Record<FileDType, unknown>;

export function fileDTypeBytes(dtype: FileDType): number {
  return hostArrays[dtype].BYTES_PER_ELEMENT;
}

export function isFloatFileDType(dtype: FileDType): dtype is FloatFileDType {
  return dtype === 'f32' || dtype === 'f16' || dtype === 'bf16' || dtype === 'f64';
}

/** Zeros. */
export function hostArray(dtype: FileDType, length: number): HostArray {
  return new hostArrays[dtype](length);
}

/** The memory of `data` as bytes, not a copy. */
export function bytesOf(data: HostArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * The bytes a file of `dtype` holds for `data`: a Float32Array is rounded to f16 or bf16 where asked, anything
 * else must already be the array type of `dtype`. Not a copy when nothing is converted.
 * @throws ShapeError when the array type does not fit.
 */
export function encode(dtype: FileDType, data: HostArray): Uint8Array {
  if (dtype === 'f16' && data instanceof Float32Array) return bytesOf(f32ToF16(data));
  if (dtype === 'bf16' && data instanceof Float32Array) return bytesOf(f32ToBf16(data));
  if (!(data instanceof hostArrays[dtype]))
    throw new ShapeError(
      'encode',
      `${dtype} takes a ${hostArrays[dtype].name}, found ${data.constructor.name}`,
    );
  return bytesOf(data);
}

/** Float elements as f32; f64 is rounded. Returns `data` itself for f32. @throws ShapeError for integers. */
export function toFloat32(dtype: FileDType, data: HostArray): Float32Array {
  if (dtype === 'f32' && data instanceof Float32Array) return data;
  if (dtype === 'f16' && data instanceof Uint16Array) return f16ToF32(data);
  if (dtype === 'bf16' && data instanceof Uint16Array) return bf16ToF32(data);
  if (dtype === 'f64' && data instanceof Float64Array) return new Float32Array(data);
  throw new ShapeError('toFloat32', `expected floats, found ${dtype} in a ${data.constructor.name}`);
}

// ---- f16 ---------------------------------------------------------------------------------------------------

let f32BitsOfF16: Uint32Array | undefined;

/** f32 bit pattern of every f16 bit pattern: 256 KiB, several times faster than deciding element by element. */
function f16Table(): Uint32Array {
  if (f32BitsOfF16) return f32BitsOfF16;
  const table = new Uint32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = (bits & 0x8000) << 16;
    const exponent = (bits >>> 10) & 31;
    const mantissa = bits & 0x3ff;
    if (exponent === 31) table[bits] = sign | 0x7f800000 | (mantissa << 13);
    else if (exponent > 0) table[bits] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    else if (mantissa === 0) table[bits] = sign;
    else {
      // Subnormal mantissa · 2^-24: the leading one, at bit p, becomes the implicit one of exponent p - 24.
      const leading = 31 - Math.clz32(mantissa);
      table[bits] = sign | ((leading - 24 + 127) << 23) | ((mantissa << (23 - leading)) & 0x7fffff);
    }
  }
  f32BitsOfF16 = table;
  return table;
}

/** Exact. `source` holds raw halves. */
export function f16ToF32(source: Uint16Array, target = new Float32Array(source.length)): Float32Array {
  const table = f16Table();
  const bits = bitsOf(target);
  for (let i = 0; i < source.length; i++) bits[i] = table[source[i]!]!;
  return target;
}

/** Rounds to nearest even; beyond 65504 (from 65520 on) becomes infinity. Returns raw halves. */
export function f32ToF16(source: Float32Array, target = new Uint16Array(source.length)): Uint16Array {
  const bits = bitsOf(source);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    const sign = (x >>> 16) & 0x8000;
    const magnitude = x & 0x7fffffff;
    if (magnitude >= 0x38800000 && magnitude < 0x47800000) {
      // [2^-14, 2^16): rebias the exponent, round away 13 mantissa bits; a carry walks into the exponent.
      const rebiased = magnitude - 0x38000000;
      target[i] = sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
    } else if (magnitude >= 0x47800000) {
      const payload = magnitude > 0x7f800000 ? (magnitude >>> 13) & 0x3ff || 0x200 : 0;
      target[i] = sign | 0x7c00 | payload;
    } else if (magnitude <= 0x33000000) {
      target[i] = sign; // At most 2^-25, half of the smallest subnormal: the tie goes to zero.
    } else {
      // Subnormal: units of 2^-24, that is m · 2^(e-150) shifted right by 126 - e.
      const shift = 126 - (magnitude >>> 23);
      const mantissa = (magnitude & 0x7fffff) | 0x800000;
      const kept = mantissa >>> shift;
      const dropped = mantissa & ((1 << shift) - 1);
      const half = 1 << (shift - 1);
      target[i] = sign | (kept + (dropped > half || (dropped === half && (kept & 1) === 1) ? 1 : 0));
    }
  }
  return target;
}

// ---- bf16 --------------------------------------------------------------------------------------------------

/** Exact. `source` holds raw bf16 bits, the upper half of an f32. */
export function bf16ToF32(source: Uint16Array, target = new Float32Array(source.length)): Float32Array {
  const bits = bitsOf(target);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
  return target;
}

/** Rounds to nearest even; the largest f32 values become infinity. Returns raw bf16 bits. */
export function f32ToBf16(source: Float32Array, target = new Uint16Array(source.length)): Uint16Array {
  const bits = bitsOf(source);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    if ((x & 0x7fffffff) > 0x7f800000) target[i] = (x >>> 16) & 0x7f ? x >>> 16 : (x >>> 16) | 0x40;
    else target[i] = (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
  return target;
}

function bitsOf(data: Float32Array): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.length);
}
