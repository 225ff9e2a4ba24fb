/**
 * Tensors larger than what one binding can see are worked on in ranges: which ranges, so that any adapter can bind
 * at their starts.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Elements [start, start+count) of a flat tensor in pieces that fit a binding, in f32 or narrower; pieces begin at
 * multiples of 128 elements, where any adapter can bind.
 */
export function flatRanges(tensor: Tensor, start: number, count: number): { start: number; count: number }[] {
  // A tensor that fits is one piece, whatever its size: what follows it need not begin at any boundary.
  const whole = count * 4 <= tensor.gpu.capabilities.maxBindingSize;
  const step = whole ? Math.max(1, count) : Math.floor(tensor.gpu.capabilities.maxBindingSize / 512) * 128;
  const ranges: { start: number; count: number }[] = [];
  for (let at = start; at < start + count; at += step)
    ranges.push({ start: at, count: Math.min(step, start + count - at) });
  return ranges;
}

/** Rows of `cols` f32 that one binding can see, in steps whose offsets any adapter can bind. */
export function rowsPerBinding(cols: number, maxBindingSize: number): number {
  return Math.max(64, Math.floor(maxBindingSize / (cols * 4) / 64) * 64);
}

/** [start, count] row ranges of a table that each fit one binding, with room for `spare` more rows (of 64s). */
export function rowRanges(table: Tensor, spare = 0): { start: number; count: number }[] {
  const step = Math.max(64, rowsPerBinding(table.cols, table.gpu.capabilities.maxBindingSize) - spare);
  const ranges: { start: number; count: number }[] = [];
  for (let start = 0; start < table.rows; start += step)
    ranges.push({ start, count: Math.min(step, table.rows - start) });
  return ranges;
}

/**
 * Row ranges of tensors that are walked together, so that each one's part fits a binding. `rowBytes`: of a row of
 * the widest. Ranges begin at multiples of 64 rows: with rows of whole groups of 4 halves, any adapter binds there.
 */
export function rowPieces(gpu: Gpu, rows: number, rowBytes: number): { start: number; count: number }[] {
  const most = gpu.capabilities.maxBindingSize;
  if (rows * rowBytes <= most) return [{ start: 0, count: rows }];
  const step = Math.max(64, Math.floor(most / rowBytes / 64) * 64);
  const ranges: { start: number; count: number }[] = [];
  for (let start = 0; start < rows; start += step)
    ranges.push({ start, count: Math.min(step, rows - start) });
  return ranges;
}
