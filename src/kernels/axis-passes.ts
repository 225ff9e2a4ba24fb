/**
 * How a tensor is reduced along axes, whatever the reduction: which neighbours go together, and the passes along one axis.
 * Fixed order makes results reproducible to the bit, and short chains keep f32 rounding small.
 */
import { type Shape, sizeOf } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { windowRoom } from './launch/operands.js';

/** How a tensor is seen, as [outer, length, inner]; the middle axis is reduced. */
export interface ReducedAxis {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** A run of axes that are reduced together, and the extents that are left after it. */
interface AxisStep {
  readonly axis: ReducedAxis;
  readonly extents: Shape;
}

/** What reduces `axes`, from the last run of neighbours to the first; one step, along an axis of one, without any. */
export function axisSteps(shape: Shape, axes: readonly number[]): AxisStep[] {
  const extents = [...shape];
  const steps: AxisStep[] = [];
  for (let end = shape.length; end > 0; ) {
    let begin = end;
    while (begin > 0 && axes.includes(begin - 1)) begin--;
    const length = sizeOf(extents.slice(begin, end));
    if (begin < end && length !== 1) {
      const axis = { outer: sizeOf(extents.slice(0, begin)), length, inner: sizeOf(extents.slice(end)) };
      extents.splice(begin, end - begin);
      steps.push({ axis, extents: [...extents] });
    }
    end = begin === end ? end - 1 : begin;
  }
  if (steps.length === 0) steps.push({ axis: { outer: 1, length: 1, inner: sizeOf(shape) }, extents });
  return steps;
}

/** Rows of a result: those of x in `pieces` of `piece` values, a row of the result each. */
export interface RowPieces {
  /** Of the result. */
  readonly rows: number;
  /** Values of a row of x. */
  readonly length: number;
  readonly piece: number;
  readonly pieces: number;
}

/** Rows of x that are reduced to one of the result; the last chunk may have fewer or none. */
export interface RowChunks {
  readonly chunk: number;
  readonly chunks: number;
}

/** The kernels of a reduction. `Part`: what it is computed from and to. `last`: it makes the result. */
export interface AxisKernels<Part> {
  /** inner = 1: the values of a row lie side by side. */
  rows(from: Part, to: Part, pieces: RowPieces, last: boolean): void;
  columns(from: Part, to: Part, axis: ReducedAxis, chunks: RowChunks, last: boolean): void;
  /** Where one binding cannot see two rows: row after row joins the result. */
  wide(from: Part, to: Part, axis: ReducedAxis): void;
  /** A tensor of the values, of which all others of a part have the shape. */
  values(part: Part): Tensor;
  /** For results of parts. */
  partial(extents: Shape): Part;
  dispose(part: Part): void;
}

/** Values of a row that are reduced at once; of a longer row pieces are, and then their results. */
export const LONGEST_ROW = 4096;
const ROW_PIECE = 1024;

/** Rows whose columns one thread walks down. */
export const CHUNK = 128;

/** Values of a row that are reduced at once, at most `wanted`, so that one binding sees them. */
export const longestRow = (x: Tensor, wanted: number): number =>
  Math.min(wanted, 2 ** Math.floor(Math.log2(windowRoom(x))));

/** Rows reduce across lanes; columns are walked by one thread each, in chunks of rows whose results are reduced again. */
export function alongAxis<Part>(kernels: AxisKernels<Part>, from: Part, to: Part, axis: ReducedAxis): void {
  const { outer, length, inner } = axis;
  if (outer * inner === 0) return;
  const x = kernels.values(from);
  const inParts = (parts: number, first: (partial: Part) => void) => {
    const partial = kernels.partial([outer, parts, inner]);
    first(partial);
    alongAxis(kernels, partial, to, { outer, length: parts, inner });
    kernels.dispose(partial);
  };
  if (inner === 1) {
    if (length <= longestRow(x, LONGEST_ROW)) {
      kernels.rows(from, to, { rows: outer, length, piece: length, pieces: 1 }, true);
      return;
    }
    // A long row would be one workgroup's chain: cut it into pieces, as often as it takes, and reduce those.
    const piece = longestRow(x, ROW_PIECE);
    const pieces = Math.ceil(length / piece);
    inParts(pieces, (partial) =>
      kernels.rows(from, partial, { rows: outer * pieces, length, piece, pieces }, false),
    );
    return;
  }
  // Results of parts are of 4 bytes, whatever x is.
  const rowsSeen = Math.floor(windowRoom(kernels.values(to), inner) / inner);
  if (rowsSeen < Math.min(2, length)) {
    kernels.wide(from, to, axis);
    return;
  }
  const chunk = Math.min(CHUNK, Math.max(1, rowsSeen));
  const chunks = Math.max(1, Math.ceil(length / chunk));
  if (chunks === 1) kernels.columns(from, to, axis, { chunk: Math.max(1, length), chunks }, true);
  else inParts(chunks, (partial) => kernels.columns(from, partial, axis, { chunk, chunks }, false));
}
