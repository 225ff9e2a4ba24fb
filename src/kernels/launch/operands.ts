/**
 * How operands of a kernel are cut where one binding cannot see them whole, or where one grid cannot have all their
 * workgroups: which pieces, so that any adapter can bind at their starts. There is one rule for all kernels, here.
 */
import { MachineError, ShapeError } from '../../errors.js';
import type { Binding, Gpu, RowTexture } from '../../gpu/gpu.js';
import { formatBytes } from '../../gpu/memory.js';
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

/** An operand of a launch, made by `byRows`, `flat` or `whole`. */
export type Operand = { readonly cut: Cut } | { readonly whole: Tensor | Binding | RowTexture };

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

/** What a kernel binds of an operand for a piece. */
export function partOf(operand: Operand, piece: Piece): Tensor | Binding | RowTexture {
  if (!('cut' in operand)) return operand.whole;
  const { tensor, width, start, size, beyond } = operand.cut;
  if (piece.first && piece.last && start === 0 && size + beyond === tensor.size) return tensor;
  const from = Math.min(piece.start * width, size);
  const count = Math.min(piece.count * width, size - from);
  // Of nothing too something is bound, of which nothing is read.
  return tensor.bindingRange(count + beyond === 0 ? 0 : start + from, count + beyond);
}

const ONE: Piece = { start: 0, count: 1, first: true, last: true };

function greatestDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

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
  const { maxBindingSize, bindingAlignment } = gpu.capabilities;
  const room = Math.floor(maxBindingSize / BINDING_GRANULE) * BINDING_GRANULE;
  let units = -1;
  let least = 1;
  let most = Number.POSITIVE_INFINITY;
  let [named, tightest] = ['', ''];
  for (const name in operands) {
    const operand = operands[name]!;
    if (!('cut' in operand)) continue;
    const { cut } = operand;
    if (units >= 0 && cut.units !== units)
      throw new ShapeError(label, `${named} has ${units} rows or values to walk, ${name} has ${cut.units}`);
    if (units < 0) [units, named] = [cut.units, name];
    const element = bytesPerElement[cut.tensor.dtype];
    const bytes = cut.width * element;
    if (bytes === 0) continue;
    const step = bindingAlignment / greatestDivisor(bytes, bindingAlignment);
    least = (least * step) / greatestDivisor(least, step);
    const fitting = Math.floor((room - cut.beyond * element) / bytes);
    if (fitting < most) [most, tightest] = [fitting, name];
  }
  if (units < 0) return [ONE];
  const all: Piece = { start: 0, count: units, first: true, last: true };
  if (units <= most && fits(all)) return [all];
  let step = Math.floor(Math.min(most, units) / least) * least;
  if (step === 0 && units > most) throw tooWide(label, gpu, tightest, operands[tightest]!, least);
  while (step > least && !fits({ start: 0, count: step, first: true, last: false }))
    step = Math.max(least, Math.floor(step / 2 / least) * least);
  if (step === 0 || step >= units) return [all];
  const pieces: Piece[] = [];
  for (let start = 0; start < units; start += step)
    pieces.push({
      start,
      count: Math.min(step, units - start),
      first: start === 0,
      last: start + step >= units,
    });
  return pieces;
}

function tooWide(label: string, gpu: Gpu, name: string, operand: Operand, least: number): Error {
  const { tensor, unit, width, beyond } = (operand as { cut: Cut }).cut;
  const bytes = (least * width + beyond) * bytesPerElement[tensor.dtype];
  return new MachineError(
    `${label}: ${least} ${unit} of ${name} ${formatShape(tensor.shape)} ${tensor.dtype} take ${formatBytes(bytes)}, more than the ` +
      `${formatBytes(gpu.capabilities.maxBindingSize)} that this adapter can bind; use smaller batches or lengths`,
  );
}

/**
 * Elements [start, start+count) of a tensor for a kernel that finds its own way in them: `base` is the element that
 * the binding begins at, at or before `start`, where the adapter can bind. Everything, from 0, where that fits.
 */
export function windowOf(
  tensor: Tensor,
  start: number,
  count: number,
): { readonly operand: Operand; readonly base: number } {
  const { maxBindingSize, bindingAlignment } = tensor.gpu.capabilities;
  if (tensor.bytes <= maxBindingSize) return { operand: whole(tensor), base: 0 };
  const step = bindingAlignment / bytesPerElement[tensor.dtype];
  const base = Math.floor(start / step) * step;
  return { operand: whole(tensor.bindingRange(base, start + count - base)), base };
}
