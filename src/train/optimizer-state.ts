/**
 * What a checkpoint holds of an optimiser: a few numbers, and its tensors under the names that weight files give the
 * parameters. Written and read in pieces: the moments of a model are twice its weights.
 */
import { sizeOfRanges } from '../autograd/buckets.js';
import { InputError } from '../errors.js';
import { isJsonObject } from '../files/json.js';
import { printable, show } from '../show.js';
import type { HostArray } from '../tensor/dtype.js';
import { formatShape, type Shape, sameShape, sizeOf } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorInfo } from '../weights/source.js';
import { bytesOf, type Communicator, floatsOf } from './ranks/communicator.js';

/** As JSON. */
export interface AdamWState {
  /** Updates done; steps that were skipped are none. */
  readonly updates: number;
}

/** A tensor to be saved. */
export interface StateTensor {
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: 'f32' | 'u32';
  /** `count` elements from `start` on, row-major; by default all. Each call is a readback of its own. */
  read(start?: number, count?: number): Promise<Float32Array | Uint32Array>;
}

/** Where saved tensors are read: a `SafetensorsFile` is one. */
export interface StateSource {
  names(): string[];
  info(name: string): TensorInfo;
  /** All f32 elements in consecutive pieces of at most `maxElements`; `offset` is in elements. */
  stream(name: string, maxElements: number): Iterable<{ offset: number; data: Float32Array }>;
  /** All elements as they are stored. */
  readRaw(name: string): HostArray;
  /** The file, for messages. */
  describe(): string;
}

/** Elements [start, start+count) of a tensor on the device; those of several stand for one that is saved. */
export interface Span {
  readonly tensor: Tensor;
  readonly start: number;
  readonly count: number;
}

/**
 * Where the elements of a saved tensor lie that ranks have parts of: those of [start, end) that a rank has, ascending. In
 * its spans they lie side by side, from element `first` on.
 */
export interface Placement {
  of(
    rank: number,
    elements: { readonly start: number; readonly end: number },
  ): { readonly first: number; readonly pieces: readonly { readonly start: number; readonly end: number }[] };
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

/** A saved tensor whose elements ranks have parts of. */
export interface DividedTensor {
  readonly name: string;
  readonly shape: Shape;
  /** What this rank has of it, where `placement` says. */
  readonly spans: readonly Span[];
  readonly placement: Placement;
}

/**
 * Divided tensors as rank 0 reads them, in any order and pieces, while the other ranks `answer`: each read asks all ranks
 * for what they have, and has zeros where none has anything.
 */
export class DividedReads {
  private readonly tensors: DividedTensor[] = [];
  private before: Promise<unknown> = Promise.resolve();
  private ended = false;

  constructor(private readonly communicator: Communicator) {}

  /** Adds one, on all ranks in the same order. Returns what rank 0 reads it by. */
  add(tensor: DividedTensor): StateTensor {
    const n = this.tensors.push(tensor) - 1;
    const { name, shape } = tensor;
    return {
      ...{ name, shape, dtype: 'f32' },
      // One after the other, whoever asks: the others answer so.
      read: (start = 0, count = sizeOf(shape) - start) => {
        const reading = this.before.then(() => this.ask(n, start, count));
        this.before = reading.catch(() => undefined);
        return reading;
      },
    };
  }

  /** On rank 0: the others need not answer any more. */
  async end(): Promise<void> {
    await this.before;
    this.ended = true;
    await this.communicator.broadcast(new Uint8Array(), 0);
  }

  /** On the others: gives what rank 0 reads, until it ends. */
  async answer(): Promise<void> {
    for (;;) {
      const asked = await this.communicator.broadcast(new Uint8Array(), 0);
      if (asked.length === 0) return;
      const [n, start, count] = new Float64Array(asked.slice().buffer) as unknown as [number, number, number];
      await this.give(n, start, count);
    }
  }

  private async ask(n: number, start: number, count: number): Promise<Float32Array> {
    const { communicator } = this;
    const tensor = this.tensors[n]!;
    if (this.ended) throw new RangeError(`${tensor.name} is read when no other rank answers any more`);
    await communicator.broadcast(bytesOf(Float64Array.of(n, start, count)), 0);
    const values = new Float32Array(count);
    for (const [rank, bytes] of (await this.give(n, start, count)).entries()) {
      const theirs = floatsOf(bytes);
      let at = 0;
      for (const piece of tensor.placement.of(rank, { start, end: start + count }).pieces) {
        const length = piece.end - piece.start;
        values.set(theirs.subarray(at, at + length), piece.start - start);
        at += length;
      }
    }
    return values;
  }

  /** What this rank has goes to rank 0. Returns what came here. */
  private async give(n: number, start: number, count: number): Promise<Uint8Array[]> {
    const { name, shape, spans, placement } = this.tensors[n]!;
    const { size, rank } = this.communicator;
    const { first, pieces } = placement.of(rank, { start, end: start + count });
    const own = bytesOf(
      (await savedSpans(name, shape, spans).read(first, sizeOfRanges(pieces))) as Float32Array,
    );
    const nothing = new Uint8Array();
    return this.communicator.exchange(
      Array.from({ length: size }, (_, other) => (other === 0 ? own : nothing)),
    );
  }
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

/** @throws InputError for what is no state of AdamW. */
export function requireState(state: unknown, where: string): AdamWState {
  const updates = isJsonObject(state) ? state['updates'] : undefined;
  if (typeof updates !== 'number' || !Number.isSafeInteger(updates) || updates < 0)
    throw new InputError(
      `${where}: expected "updates" of the optimiser to be an integer from 0, found ${show(updates)}`,
    );
  return { updates };
}

function fault(source: StateSource, name: string, expected: string, found: string): InputError {
  return new InputError(
    `${printable(source.describe())}: ${show(name)}: expected ${expected}, found ${found}`,
  );
}
