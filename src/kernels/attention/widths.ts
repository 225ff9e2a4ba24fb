/**
 * Heads whose components do not come in fours. Kernels load four at a time, so they see such heads filled up with zeros,
 * which add nothing to any product; only the copies are wider, never what a caller has.
 */
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import type { FloatDType } from '../launch/formats.js';
import { readStrided, writeStrided } from '../strided/strided.js';

/** Components of a head as kernels see it: of halves whole eights, so that matrix units take them. */
export function kernelWidth(headDim: number, dtype: FloatDType): number {
  if (headDim % 4 === 0) return headDim;
  const unit = dtype === 'f16' ? 8 : 4;
  return Math.ceil(headDim / unit) * unit;
}

/** x [rows, heads·headDim] as [rows, heads·width]: a copy where these differ. */
export function widened(x: Tensor, headDim: number, width: number): Tensor {
  if (width === headDim) return x;
  return scope(() => {
    const heads = x.size / headDim;
    const out = Tensor.zeros(x.gpu, [x.rows, (x.cols / headDim) * width], x.dtype, 'workspace');
    writeStrided(x.alias([heads, headDim]), out, { start: 0, strides: [width, 1] });
    return out;
  });
}

/** x [rows, heads·width] as [rows, heads·headDim]: a copy where these differ. */
export function narrowed(x: Tensor, headDim: number, width: number): Tensor {
  if (width === headDim) return x;
  return scope(() => {
    const heads = x.size / width;
    const out = readStrided(x, [heads, headDim], { start: 0, strides: [width, 1] });
    return out.alias([x.rows, (x.cols / width) * headDim]);
  });
}
