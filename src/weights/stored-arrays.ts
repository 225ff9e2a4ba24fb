/** Elements of a weight file, read from their place in it. */
import type { PositionedFile } from '../files/positioned.js';
import {
  bytesOf,
  type FileDType,
  type FloatFileDType,
  fileDTypeBytes,
  type HostArray,
  hostArray,
  toFloat32,
} from '../tensor/dtype.js';
import type { FloatPiece } from './source.js';

/** `count` elements as stored (16-bit floats as raw bits). @throws InputError when the file ends before. */
export function readArray(
  file: PositionedFile,
  dtype: FileDType,
  position: number,
  count: number,
): HostArray {
  const data = hostArray(dtype, count);
  file.readInto(bytesOf(data), position);
  return data;
}

/**
 * `count` elements as f32; the host never holds the stored form of more than a chunk beside the result. `into`: where they
 * are put, of at least so many; by default memory of their own.
 */
export function readFloats(
  file: PositionedFile,
  dtype: FloatFileDType,
  position: number,
  count: number,
  into?: Float32Array,
): Float32Array {
  const result = into?.subarray(0, count) ?? new Float32Array(count);
  if (dtype === 'f32') {
    file.readInto(bytesOf(result), position);
    return result;
  }
  for (const { offset, data } of streamFloats(file, dtype, position, count, 1 << 20))
    result.set(data, offset);
  return result;
}

/** The same in pieces of at most `maxElements`; each piece is a fresh array. */
export function* streamFloats(
  file: PositionedFile,
  dtype: FloatFileDType,
  position: number,
  count: number,
  maxElements: number,
): Generator<FloatPiece> {
  const width = fileDTypeBytes(dtype);
  for (let offset = 0; offset < count; offset += maxElements) {
    const length = Math.min(maxElements, count - offset);
    yield { offset, data: toFloat32(dtype, readArray(file, dtype, position + offset * width, length)) };
  }
}
