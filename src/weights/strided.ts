/**
 * Tensors that do not lie in their file as they are counted (transposed, sliced, expanded), in row-major pieces. No
 * more than a piece and a window of the file is held at a time, whatever the tensor's size. Which bytes of the file a
 * storage has is known by who read its headers.
 */
import type { PositionedFile } from '../files/positioned.js';
import { type FileDType, fileDTypeBytes, type HostArray, hostArray } from '../tensor/dtype.js';
import { readArray } from './stored-arrays.js';

export interface Strided {
  readonly dtype: FileDType;
  /** Of the first element, in bytes from the start of the file. */
  readonly position: number;
  readonly shape: readonly number[];
  /** In elements, none below 0. */
  readonly strides: readonly number[];
}

/** Elements that are read from the file at once. */
const WINDOW = 1 << 20;

/**
 * Consecutive pieces of at most `maxElements`, each a fresh array; `offset` is in elements of the result. A piece is a
 * box: a range along one axis, whole along those after it. Its elements are fetched in the order in which they lie in
 * the file, so that each piece reads its part of the file once and forwards.
 */
export function* stridedPieces(
  file: PositionedFile,
  tensor: Strided,
  maxElements: number,
): Generator<{ offset: number; data: HostArray }> {
  const { shape, strides } = tensor;
  if (shape.includes(0)) return;
  // [axis, …) is whole in every piece; the piece is a range along the axis before.
  let axis = shape.length;
  let inner = 1;
  while (axis > 0 && inner * shape[axis - 1]! <= maxElements) inner *= shape[--axis]!;
  const rows = axis === 0 ? 1 : Math.max(1, Math.floor(maxElements / inner));
  const extent = axis === 0 ? 1 : shape[axis - 1]!;
  const outer = shape.slice(0, Math.max(0, axis - 1));
  const index = new Array<number>(outer.length).fill(0);
  let offset = 0;
  for (;;) {
    const start = index.reduce((sum, at, i) => sum + at * strides[i]!, 0);
    for (let row = 0; row < extent; row += rows) {
      const count = Math.min(rows, extent - row);
      const box =
        axis === 0
          ? { start, shape, strides }
          : {
              start: start + row * strides[axis - 1]!,
              shape: [count, ...shape.slice(axis)],
              strides: strides.slice(axis - 1),
            };
      const data = readBox(file, tensor, box, count * inner);
      yield { offset, data };
      offset += data.length;
    }
    let next = outer.length - 1;
    while (next >= 0 && ++index[next]! === outer[next]) index[next--] = 0;
    if (next < 0) return;
  }
}

interface Box {
  /** Of its first element, in elements from that of the tensor. */
  readonly start: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

function readBox(file: PositionedFile, { dtype, position }: Strided, box: Box, count: number): HostArray {
  const target = hostArray(dtype, count);
  const width = fileDTypeBytes(dtype);
  // Axes from the widest step in the file to the narrowest, with the step that each makes in the result.
  const axes: { extent: number; from: number; to: number }[] = [];
  let to = 1;
  for (let i = box.shape.length - 1; i >= 0; i--) {
    if (box.shape[i]! > 1) axes.push({ extent: box.shape[i]!, from: box.strides[i]!, to });
    to *= box.shape[i]!;
  }
  axes.sort((a, b) => b.from - a.from);
  const last = axes.reduce((sum, { extent, from }) => sum + (extent - 1) * from, box.start);
  let window = hostArray(dtype, 0);
  let windowStart = 0;
  const index = new Array<number>(axes.length).fill(0);
  let from = box.start;
  let at = 0;
  for (let left = count; left > 0; left--) {
    if (from < windowStart || from >= windowStart + window.length) {
      window = readArray(file, dtype, position + from * width, Math.min(WINDOW, last + 1 - from));
      windowStart = from;
    }
    target[at] = window[from - windowStart]!;
    for (let i = axes.length - 1; i >= 0; i--) {
      const axis = axes[i]!;
      from += axis.from;
      at += axis.to;
      if (++index[i]! < axis.extent) break;
      from -= axis.from * axis.extent;
      at -= axis.to * axis.extent;
      index[i] = 0;
    }
  }
  return target;
}
