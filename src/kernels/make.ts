/**
 * Kernels that make tensors from nothing: one value everywhere, and one along the diagonal. They write words, so one
 * text serves all number formats.
 */
import type { Gpu } from '../gpu/gpu.js';
import { deviceWords, toTensorArray } from '../tensor/host-data.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import { bytesPerElement, type DType, Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { flat, type Piece, windowed } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

/** The bits of a value in a word; of a half in its lower half. @throws TypeError when the format has no such value. */
export function bitsOf(op: string, dtype: DType, value: number | boolean): number {
  const words = deviceWords(toTensorArray(op, dtype, [value] as number[] | boolean[], () => ''));
  return words instanceof Uint16Array ? words[0]! : new Uint32Array(words.buffer, words.byteOffset, 1)[0]!;
}

/** A tensor of one value everywhere. @throws TypeError when `dtype` has no such value. */
export function filled(
  gpu: Gpu,
  shape: Shape,
  value: number | boolean,
  dtype: DType = 'f32',
  op = 'full',
): Tensor {
  const bits = bitsOf(op, dtype, value);
  const out = Tensor.empty(gpu, shape, dtype);
  if (bits === 0) {
    gpu.clear(out.binding());
    return out;
  }
  const word = dtype === 'f16' ? bits * 0x10001 : bits;
  // In groups of four words: what lies after the last value is room that every new tensor has.
  const groups = ({ count }: Piece) => Math.ceil((count * bytesPerElement[dtype]) / 16);
  shaderOf('full', { dtype }, (form) => ({
    label: 'full',
    params: { count: 'u32', word: 'u32' } as const,
    buffers: { outY: 'array<vec4u>' },
    dtypes: { outY: form.dtype },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  outY[i] = vec4u(p.word);
}`,
  })).launch(
    gpu,
    { outY: flat(out) },
    (piece) => ({ count: groups(piece), word }),
    (piece) => flatGroups(groups(piece)),
  );
  return out;
}

/** What a gradient begins with at `root`: a value everywhere, f16 where root is. */
export const seedOf = (root: Tensor, value = 1): Tensor =>
  filled(root.gpu, root.shape, value, root.dtype === 'f16' ? 'f16' : 'f32');

/** [rows, columns] of zeros, with ones where row and column are the same. */
export function diagonal(gpu: Gpu, rows: number, columns: number, dtype: DType): Tensor {
  const one = bitsOf('eye', dtype, dtype === 'bool' ? true : 1);
  const out = Tensor.zeros(gpu, [rows, columns], dtype);
  const count = Math.min(rows, columns);
  if (count === 0 || sizeOf(out.shape) === 0) return out;
  const step = columns + 1;
  shaderOf('diagonal', { dtype }, (form) => ({
    label: 'diagonal',
    params: { count: 'u32', first: 'u32', step: 'u32', base: 'u32', one: 'u32' } as const,
    buffers: { ioY: 'array<u32>' },
    dtypes: { ioY: form.dtype },
    // Of two halves in a word at most one is on the diagonal: the other is 0.
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let at = (p.first + i) * p.step - p.base;
  ${form.dtype === 'f16' ? 'ioY[at / 2u] = p.one << (16u * (at % 2u));' : 'ioY[at] = p.one;'}
}`,
  })).launch(
    gpu,
    { ioY: windowed(out, count, (piece) => [piece.start * step, (piece.count - 1) * step + 1]) },
    (piece, base) => ({ count: piece.count, first: piece.start, step, base: base['ioY']!, one }),
    (piece) => flatGroups(piece.count),
  );
  return out;
}
