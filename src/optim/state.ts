/**
 * What is saved of an optimiser: its tensors under the names that weight files give the parameters. Written and read in
 * pieces: the moments of a model are twice its weights.
 */
import { type ElementRange, sizeOfRanges } from '../autograd/buckets.js';
import { InputError } from '../errors.js';
import { printable, show } from '../show.js';
import type { HostArray } from '../tensor/dtype.js';
import { formatShape, type Shape, sameShape, sizeOf } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { StateTensor } from '../weights/save-tensors.js';
import type { FloatPiece, TensorInfo } from '../weights/source.js';

/** Where saved tensors are read: a `SafetensorsFile` is one. */
export interface StateSource {
  /** Of all its tensors. */
  names(): string[];
  /** @throws InputError naming the file when there is no such tensor. */
  info(name: string): TensorInfo;
  /** All f32 elements in consecutive pieces of at most `maxElements`. */
  stream(name: string, maxElements: number): Iterable<FloatPiece>;
  /** All elements as they are stored. */
  readRaw(name: string): HostArray;
  /** The file, for messages. */
  describe(): string;
}

/** Elements [start, start+count) of a tensor on the device; those of several stand for one that is saved. */
export interface Span {
  /** On the device. */
  readonly tensor: Tensor;
  /** The first element. */
  readonly start: number;
  /** How many elements. */
  readonly count: number;
}

/**
 * Where the elements of a saved tensor lie that ranks have parts of: those of [start, end) that a rank has, ascending. In
 * its spans they lie side by side, from element `first` on.
 */
export interface Placement {
  /** What of elements [start, end) rank `rank` has. */
  of(
    rank: number,
    elements: ElementRange,
  ): {
    /** Place, in the rank's spans, of the first of them. */
    readonly first: number;
    /** Which they are, ascending. */
    readonly pieces: readonly ElementRange[];
  };
}

/** One that this rank has whole. */
export const WHOLE: Placement = { of: (_, range) => ({ first: range.start, pieces: [range] }) };

/** Elements that are read back or uploaded at a time. */
const PIECE = 4 << 20;

/** A saved tensor whose elements are those of the spans, one after the other. */
export function savedSpans(name: string, shape: Shape, spans: readonly Span[]): StateTensor {
  return {
    name,
    shape,
    dtype: 'f32',
    async read(start = 0, count = sizeOf(shape) - start) {
      const values = new Float32Array(count);
      for (const [tensor, from, to, at] of overlaps(spans, start, count))
        for (let done = 0; done < to - from; done += PIECE) {
          const length = Math.min(PIECE, to - from - done);
          const range = { ...tensor.bindingRange(from + done, length), size: 4 * length };
          values.set(new Float32Array(await tensor.gpu.read(range)), at + done);
        }
      return values;
    },
  };
}

/** A saved tensor that the host has. */
export function savedValues(name: string, values: Uint32Array): StateTensor {
  return {
    name,
    shape: [values.length],
    dtype: 'u32',
    read: async (start = 0, count = values.length - start) => values.slice(start, start + count),
  };
}

/**
 * Fills the spans with what `placement` says that a rank has of a saved tensor.
 * @throws InputError for a value that is not finite, or is below `least`, whoever has it.
 */
export function restoreSpans(
  source: StateSource,
  name: string,
  spans: readonly Span[],
  { least = Number.NEGATIVE_INFINITY, placement = WHOLE, rank = 0 } = {},
): void {
  for (const { offset, data } of source.stream(name, PIECE)) {
    const wrong = data.findIndex((value) => !(Number.isFinite(value) && value >= least));
    if (wrong >= 0)
      throw fault(source, name, `a finite number${least === 0 ? ' from 0' : ''}`, `${data[wrong]}`);
    const { first, pieces } = placement.of(rank, { start: offset, end: offset + data.length });
    let own = data;
    if (placement !== WHOLE) {
      own = new Float32Array(sizeOfRanges(pieces));
      let filled = 0;
      for (const { start, end } of pieces) {
        own.set(data.subarray(start - offset, end - offset), filled);
        filled += end - start;
      }
    }
    for (const [tensor, from, to, at] of overlaps(spans, first, own.length))
      tensor.write(own.subarray(at, at + to - from), from);
  }
}

/** The parts of spans that hold elements [start, start+count) of all: [from, to) of a tensor, and where they go. */
function* overlaps(
  spans: readonly Span[],
  start: number,
  count: number,
): Generator<[tensor: Tensor, from: number, to: number, at: number]> {
  let before = 0;
  for (const { tensor, start: first, count: own } of spans) {
    const from = Math.max(start - before, 0);
    const to = Math.min(start + count - before, own);
    if (to > from) yield [tensor, first + from, first + to, before + from - start];
    before += own;
  }
}

/** @throws InputError when the source lacks a tensor, has one more, or one of another shape or dtype. */
export function requireTensors(
  source: StateSource,
  wanted: ReadonlyMap<string, { readonly shape: Shape; readonly dtype: StateTensor['dtype'] }>,
): void {
  const found = new Set(source.names());
  for (const [name, { shape, dtype }] of wanted) {
    if (!found.delete(name)) throw fault(source, name, `${dtype} ${formatShape(shape)}`, 'no such tensor');
    const info = source.info(name);
    if (info.dtype !== dtype || !sameShape(info.shape, shape))
      throw fault(source, name, `${dtype} ${formatShape(shape)}`, `${info.dtype} ${formatShape(info.shape)}`);
  }
  for (const name of found) throw fault(source, name, 'no such tensor: the model does not train it', 'one');
}

/** The rows of a table that have moments, in the order of their slots. @throws InputError when they cannot be. */
export function savedRows(source: StateSource, name: string, tableRows: number): Uint32Array {
  const info = source.names().includes(name) ? source.info(name) : undefined;
  if (info?.dtype !== 'u32' || info.shape.length !== 1)
    throw fault(
      source,
      name,
      'u32 [rows]',
      info ? `${info.dtype} ${formatShape(info.shape)}` : 'no such tensor',
    );
  const rows = source.readRaw(name) as Uint32Array;
  const seen = new Set<number>();
  for (const row of rows) {
    if (row >= tableRows) throw fault(source, name, `rows of a table of ${tableRows}`, `row ${row}`);
    if (seen.has(row)) throw fault(source, name, 'each row once', `row ${row} twice`);
    seen.add(row);
  }
  return rows;
}

function fault(source: StateSource, name: string, expected: string, found: string): InputError {
  return new InputError(
    `${printable(source.describe())}: ${show(name)}: expected ${expected}, found ${found}`,
  );
}
