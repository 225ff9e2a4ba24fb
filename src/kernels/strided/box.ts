/**
 * What a strided copy moves: a box of elements, each of which lies somewhere in one tensor and comes to lie somewhere in
 * another. Here boxes are brought into their simplest form and cut into ones that a kernel can see; nothing is launched.
 */
import type { Tensor } from '../../tensor/tensor.js';
import { windowRoom } from '../launch/operands.js';

/** Where the elements of a box lie: i at `start` + Σ i[d]·`strides[d]`, in elements of the tensor. */
export interface Side {
  readonly start: number;
  readonly strides: readonly number[];
}

export interface Box {
  readonly dims: readonly number[];
  readonly from: Side;
  readonly to: Side;
}

/** Dimensions that a kernel counts in: as many as its parameters have room for. */
const MOST_DIMENSIONS = 4;

/**
 * The same box in as few dimensions as can be, the largest steps of the result first: extents of 1 are left out, what is
 * written backwards is walked the other way round, and dimensions that are one behind the other on both sides are one.
 */
export function simplified({ dims, from, to }: Box): Box {
  let [readStart, writeStart] = [from.start, to.start];
  const axes: { extent: number; read: number; write: number }[] = [];
  for (const [d, extent] of dims.entries()) {
    if (extent === 1) continue;
    let [read, write] = [from.strides[d]!, to.strides[d]!];
    if (write < 0) {
      readStart += (extent - 1) * read;
      writeStart += (extent - 1) * write;
      [read, write] = [-read, -write];
    }
    axes.push({ extent, read, write });
  }
  axes.sort((a, b) => b.write - a.write);
  const merged: typeof axes = [];
  for (const axis of axes) {
    const outer = merged.at(-1);
    if (outer && outer.write === axis.extent * axis.write && outer.read === axis.extent * axis.read)
      merged[merged.length - 1] = { ...axis, extent: outer.extent * axis.extent };
    else merged.push(axis);
  }
  return {
    dims: merged.map(({ extent }) => extent),
    from: { start: readStart, strides: merged.map(({ read }) => read) },
    to: { start: writeStart, strides: merged.map(({ write }) => write) },
  };
}

/** Whether a simplified box is elements one behind the other on both sides. */
export const isRun = ({ dims, from, to }: Box): boolean =>
  dims.length === 0 || (dims.length === 1 && from.strides[0] === 1 && to.strides[0] === 1);

/** The elements of a tensor from the first to the last that a box touches there, those between included. */
export function rangeOf(dims: readonly number[], { start, strides }: Side): [first: number, count: number] {
  let [first, last] = [start, start];
  for (const [d, extent] of dims.entries()) {
    const step = (extent - 1) * strides[d]!;
    if (step < 0) first += step;
    else last += step;
  }
  return [first, last - first + 1];
}

/** The part of a box whose index in dimension d is in [begin, end). */
function part({ dims, from, to }: Box, d: number, begin: number, end: number): Box {
  const moved = ({ start, strides }: Side): Side => ({ start: start + begin * strides[d]!, strides });
  return {
    dims: dims.map((extent, i) => (i === d ? end - begin : extent)),
    from: moved(from),
    to: moved(to),
  };
}

const indexOfLargest = (values: readonly number[]): number => values.indexOf(Math.max(...values));

/**
 * Boxes of at most `MOST_DIMENSIONS` and `items` elements that together are this one, of which a binding shows each on
 * either side. Every element is in one box: where a side spans too much, the dimension that spans most of it is halved.
 */
export function cut(box: Box, from: Tensor, to: Tensor, items: number): Box[] {
  const room = (tensor: Tensor) =>
    tensor.bytes <= tensor.gpu.capabilities.maxBindingSize ? Number.POSITIVE_INFINITY : windowRoom(tensor);
  const rooms = [room(from), room(to)] as const;
  const boxes: Box[] = [];
  const add = (next: Box): void => {
    const { dims, from, to } = next;
    const split = (d: number, parts: number): void => {
      // By eights, so that what begins at whole vec4s still does.
      const extent = dims[d]!;
      const even = Math.ceil(extent / parts);
      const step = even > 8 ? Math.ceil(even / 8) * 8 : even;
      for (let at = 0; at < extent; at += step)
        add(simplified(part(next, d, at, Math.min(extent, at + step))));
    };
    const spans = ({ strides }: Side) => dims.map((extent, d) => (extent - 1) * Math.abs(strides[d]!));
    if (rangeOf(dims, from)[1] > rooms[0]) split(indexOfLargest(spans(from)), 2);
    else if (rangeOf(dims, to)[1] > rooms[1]) split(indexOfLargest(spans(to)), 2);
    else if (dims.length > MOST_DIMENSIONS) {
      const least = dims.indexOf(Math.min(...dims));
      split(least, dims[least]!);
    } else if (dims.reduce((a, b) => a * b, 1) > items) split(indexOfLargest(dims), 2);
    else boxes.push(next);
  };
  add(simplified(box));
  return boxes;
}
