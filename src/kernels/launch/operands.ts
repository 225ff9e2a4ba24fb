/**
 * How operands of a kernel are cut where one binding cannot see them whole, or where one grid cannot have all their
 * workgroups: which pieces, so that any adapter can bind at their starts. There is one rule for all kernels, here.
 */

import { MachineError, ShapeError } from '../../errors.js';
import type { Binding, Gpu, RowTexture } from '../../gpu/gpu.js';
import { formatBytes } from '../../show.js';
import { formatShape } from '../../tensor/shape.js';
import { bytesPerElement, type Tensor } from '../../tensor/tensor.js';

/** Bound ranges are rounded up to whole vec4s, for which every allocation has the room. */
const BINDING_GRANULE = 16;

/** Units [start, start+count) of the operands that are cut: rows of `byRows`, elements of `flat`. */
export interface Piece {
  readonly start: number;
  readonly count: number;
  readonly first: boolean;
  readonly last: boolean;
}

/** A tensor as equal units side by side, of which the last may be shorter. */
interface Cut {
  readonly tensor: Tensor;
  /** What a unit is called in messages. */
  readonly unit: 'rows' | 'values';
  readonly units: number;
  /** Elements of a unit. */
  readonly width: number;
  /** Element that the first unit begins at. */
  readonly start: number;
  /** Elements of all units. */
  readonly size: number;
  /** Elements after its last unit that a piece sees too. */
  readonly beyond: number;
}

/** Elements of a tensor: where they begin, and how many. */
export type Range = readonly [start: number, count: number];

/** A tensor of which every piece sees some elements, wherever they begin. */
interface Windowed {
  readonly tensor: Tensor;
  readonly units: number;
  readonly of: (piece: Piece) => Range;
}

/** An operand of a launch, made by `byRows`, `flat`, `windowed` or `whole`. */
export type Operand =
  | { readonly cut: Cut }
  | { readonly window: Windowed }
  | { readonly whole: Tensor | Binding | RowTexture };

/**
 * Cut by rows. `rows`: how many equal parts the tensor has, by default all extents but the last; a vector with a
 * value a row is `byRows(norms, { rows })`. `each`: rows of it to one row of the others (the last may have fewer).
 * `beyond`: rows after its last that a piece sees too.
 */
export function byRows(
  tensor: Tensor,
  { rows = tensor.rows, each = 1, beyond = 0 }: { rows?: number; each?: number; beyond?: number } = {},
): Operand {
  const cols = rows === 0 ? 0 : tensor.size / rows;
  if (!Number.isInteger(cols))
    throw new ShapeError('byRows', `${formatShape(tensor.shape)} has no ${rows} equal rows`, { tensor });
  return cutOf(tensor, 'rows', 0, rows, cols, each, beyond);
}

/**
 * Cut by elements, of `count` of them from `start` on. `each`: elements of it to one element of the others (the last
 * may have fewer). `beyond`: elements after its last that a piece sees too, as bounds of segments need.
 */
export function flat(
  tensor: Tensor,
  {
    start = 0,
    beyond = 0,
    count = tensor.size - start - beyond,
    each = 1,
  }: { start?: number; count?: number; each?: number; beyond?: number } = {},
): Operand {
  return cutOf(tensor, 'values', start, count, 1, each, beyond);
}

/**
 * Neither cut alike nor seen whole: for `units` of the other operands a piece sees the elements that `of` tells, as one
 * range. It is bound from an element at or before that on, which the kernel must take off: the launcher tells it.
 */
export function windowed(tensor: Tensor, units: number, of: (piece: Piece) => Range): Operand {
  return { window: { tensor, units, of } };
}

/** Not cut: every piece sees all of it, which must fit one binding. */
export function whole(operand: Tensor | Binding | RowTexture): Operand {
  return { whole: operand };
}

function cutOf(
  tensor: Tensor,
  unit: 'rows' | 'values',
  start: number,
  count: number,
  width: number,
  each: number,
  beyond: number,
): Operand {
  if (count < 0 || start + (count + beyond) * width > tensor.size)
    throw new ShapeError('launch', `no ${count} ${unit} from value ${start} on`, { tensor });
  return {
    cut: {
      tensor,
      unit,
      units: Math.ceil(count / each),
      width: each * width,
      start,
      size: count * width,
      beyond: beyond * width,
    },
  };
}

/** What a kernel binds of an operand for a piece, and the element of the tensor that this begins at. */
export function partOf(
  operand: Operand,
  piece: Piece,
): { readonly part: Tensor | Binding | RowTexture; readonly base: number } {
  if ('whole' in operand) return { part: operand.whole, base: 0 };
  if ('window' in operand) {
    const { tensor, of } = operand.window;
    const [start, count] = of(piece);
    const { base, size } = seenOf(tensor, start, count);
    return { part: size === tensor.size ? tensor : tensor.bindingRange(base, size), base };
  }
  const { tensor, width, start, size, beyond } = operand.cut;
  if (piece.first && piece.last && start === 0 && size + beyond === tensor.size)
    return { part: tensor, base: 0 };
  const from = Math.min(piece.start * width, size);
  const count = Math.min(piece.count * width, size - from) + beyond;
  // Of nothing too something is bound, of which nothing is read.
  const base = count === 0 ? 0 : start + from;
  return { part: tensor.bindingRange(base, count), base };
}

/** Part of an operand, for kernels that are launched once for every part. */
export interface Part extends Piece {
  readonly operand: Operand;
}

/** An operand that is cut, in parts that each fit a binding: for kernels that look in it by index. */
export function partsOf(label: string, gpu: Gpu, operand: Operand): readonly Part[] {
  return piecesOf(label, gpu, { operand }).map((piece) => ({
    ...piece,
    operand: whole(partOf(operand, piece).part),
  }));
}

/**
 * Elements [start, start+count) of a tensor for kernels that find their own way in them, as `windowed` shows them: `base` is
 * the element that the binding begins at.
 */
export function windowOf(
  tensor: Tensor,
  start: number,
  count: number,
): { readonly operand: Operand; readonly base: number } {
  const { base, size } = seenOf(tensor, start, count);
  return { operand: whole(size === tensor.size ? tensor : tensor.bindingRange(base, size)), base };
}

/** Elements of a tensor that a window can show, wherever it begins among the multiples of `step`. */
export function windowRoom(tensor: Tensor, step = 1): number {
  const width = bytesPerElement[tensor.dtype];
  const alignment = alignmentOf(tensor.gpu);
  const ahead = (step * width) % alignment === 0 ? 0 : alignment;
  const room = Math.floor(tensor.gpu.capabilities.maxBindingSize / BINDING_GRANULE) * BINDING_GRANULE;
  return Math.floor((room - ahead) / width);
}

/** The elements that are bound so that [start, start+count) are seen: all of them where that fits. */
function seenOf(tensor: Tensor, start: number, count: number): { base: number; size: number } {
  const { maxBindingSize } = tensor.gpu.capabilities;
  if (tensor.bytes <= maxBindingSize) return { base: 0, size: tensor.size };
  const step = alignmentOf(tensor.gpu) / bytesPerElement[tensor.dtype];
  const base = count === 0 ? 0 : Math.floor(start / step) * step;
  return { base, size: count === 0 ? 0 : start + count - base };
}

/** Whether rows of a tensor can be cut by `byRows` at all: as many as end where an adapter can bind fit one binding. */
export function fitsByRows(tensor: Tensor): boolean {
  const { maxBindingSize } = tensor.gpu.capabilities;
  if (tensor.bytes <= maxBindingSize) return true;
  const bytes = tensor.cols * bytesPerElement[tensor.dtype];
  const alignment = alignmentOf(tensor.gpu);
  return (bytes * alignment) / greatestDivisor(bytes, alignment) <= maxBindingSize;
}

/** Bytes: pieces and windows begin at multiples of it, so that they begin with whole vec4s too. */
const alignmentOf = (gpu: Gpu): number => Math.max(gpu.capabilities.bindingAlignment, BINDING_GRANULE);

const ONE: Piece = { start: 0, count: 1, first: true, last: true };

function greatestDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** Bytes of a range as it is bound. */
const boundBytes = (tensor: Tensor, count: number): number =>
  Math.ceil((count * bytesPerElement[tensor.dtype]) / BINDING_GRANULE) * BINDING_GRANULE;

/**
 * The pieces that all cut operands are walked in together: one where everything fits; else as many units as fit, in
 * multiples at which every operand's start can be bound. `fits` may ask for fewer, as grids do. Without an operand
 * that is cut: one piece of one unit.
 * @throws ShapeError when operands have different numbers of units, MachineError when the least piece does not fit.
 */
export function piecesOf(
  label: string,
  gpu: Gpu,
  operands: Readonly<Record<string, Operand>>,
  fits: (piece: Piece) => boolean = () => true,
): readonly Piece[] {
  const { maxBindingSize } = gpu.capabilities;
  const alignment = alignmentOf(gpu);
  let units = -1;
  let least = 1;
  let most = Number.POSITIVE_INFINITY;
  let named = '';
  const windows: [name: string, window: Windowed][] = [];
  for (const name in operands) {
    const operand = operands[name]!;
    if ('whole' in operand) continue;
    const own = 'cut' in operand ? operand.cut.units : operand.window.units;
    if (units >= 0 && own !== units)
      throw new ShapeError(label, `${named} has ${units} rows or values to walk, ${name} has ${own}`);
    [units, named] = [own, name];
    if ('window' in operand) {
      windows.push([name, operand.window]);
      continue;
    }
    const { cut } = operand;
    const element = bytesPerElement[cut.tensor.dtype];
    const bytes = cut.width * element;
    if (bytes === 0) continue;
    const step = alignment / greatestDivisor(bytes, alignment);
    least = (least * step) / greatestDivisor(least, step);
    // A binding's size is rounded up to whole vec4s.
    const room = Math.floor(maxBindingSize / BINDING_GRANULE) * BINDING_GRANULE;
    most = Math.min(most, Math.floor((room - cut.beyond * element) / bytes));
  }
  if (units < 0) return [ONE];
  const seen = (piece: Piece) =>
    windows.every(([, { tensor, of }]) => {
      const [start, count] = of(piece);
      return boundBytes(tensor, seenOf(tensor, start, count).size) <= maxBindingSize;
    });
  const pieceOf = (start: number, count: number): Piece => ({
    start,
    count,
    first: start === 0,
    last: start + count >= units,
  });
  const all = pieceOf(0, units);
  if (units <= most && fits(all) && seen(all)) return [all];
  if (least > most && units > most) throw tooWide(label, gpu, operands, pieceOf(0, Math.min(least, units)));
  let step = Math.max(least, Math.floor(Math.min(most, units) / least) * least);
  while (step > least && !fits(pieceOf(0, step)))
    step = Math.max(least, Math.floor(step / 2 / least) * least);
  const pieces: Piece[] = [];
  const add = (start: number, count: number): void => {
    const piece = pieceOf(start, count);
    if (seen(piece)) {
      pieces.push(piece);
      return;
    }
    if (count <= least) throw tooWide(label, gpu, operands, piece);
    const half = Math.ceil(count / 2 / least) * least;
    add(start, half);
    add(start + half, count - half);
  };
  for (let start = 0; start < units; start += step) add(start, Math.min(step, units - start));
  return pieces;
}

function tooWide(
  label: string,
  gpu: Gpu,
  operands: Readonly<Record<string, Operand>>,
  piece: Piece,
): MachineError {
  const { maxBindingSize } = gpu.capabilities;
  const found: string[] = [];
  for (const name in operands) {
    const operand = operands[name]!;
    if ('whole' in operand) continue;
    const { tensor } = 'cut' in operand ? operand.cut : operand.window;
    const count =
      'cut' in operand
        ? piece.count * operand.cut.width + operand.cut.beyond
        : seenOf(tensor, ...operand.window.of(piece)).size;
    const bytes = boundBytes(tensor, count);
    if (bytes > maxBindingSize)
      found.push(`${formatBytes(bytes)} of ${name} ${formatShape(tensor.shape)} ${tensor.dtype}`);
  }
  return new MachineError(
    `${label}: ${found.join(' and ')} must be seen at once, and this adapter can bind ${formatBytes(maxBindingSize)}; use smaller batches or lengths`,
  );
}
