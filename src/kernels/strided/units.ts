/** A box of elements in the units that a thread moves: of words where elements lie together, else of halves. */

import { sizeOf } from '../../tensor/shape.js';
import type { DType } from '../../tensor/tensor.js';
import type { Box, Side } from './box.js';

/**
 * What a thread moves. `words4`, `words1`: so many words at once, where those lie together on both sides. `words16`, `words8`:
 * four by four elements of 4 or of 2 bytes, of which rows lie together where they are read and columns where they are
 * written, as in a transposition. Of halves that do not fill words: `pairs`, a word of the result from two places; `halves`,
 * half a word, of which the other half may be another thread's.
 */
export type Unit = 'words4' | 'words1' | 'words16' | 'words8' | 'pairs' | 'halves';

/** A box in units: its extents, and its steps in elements of what the buffers are arrays of. */
export interface Units {
  readonly unit: Unit;
  /** Numbers of an element of the buffers. */
  readonly width: number;
  readonly dims: readonly number[];
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** Within a unit, from one row that is read, and one column that is written, to the next. */
  readonly stepX: number;
  readonly stepY: number;
}

/** Whether `width` elements of a box always lie together, and begin at multiples of that on both sides. */
function fillsWords({ dims, from, to }: Box, width: number): boolean {
  const last = dims.length - 1;
  const fits = ({ start, strides }: Side): boolean =>
    start % width === 0 && strides.every((stride, d) => (d === last ? stride === 1 : stride % width === 0));
  return width === 1 || (dims[last]! % width === 0 && fits(from) && fits(to));
}

function inWords({ dims, from, to }: Box, unit: Unit, width: number): Units {
  const last = dims.length - 1;
  const inUnits = ({ strides }: Side) => strides.map((stride, d) => (d === last ? stride : stride / width));
  return {
    unit,
    width,
    dims: dims.map((extent, d) => (d === last ? extent / width : extent)),
    from: inUnits(from),
    to: inUnits(to),
    stepX: 0,
    stepY: 0,
  };
}

/**
 * In blocks, where one dimension is read one behind the other and another written so, and all begins at whole fours. Threads
 * side by side read side by side, which on CPUs is faster than to write so.
 */
function inBlocks({ dims, from, to }: Box, unit: Unit): Units | undefined {
  const last = dims.length - 1;
  const along = from.strides.findIndex((stride, d) => stride === 1 && d !== last);
  if (along < 0 || to.strides[last] !== 1 || from.start % 4 !== 0 || to.start % 4 !== 0) return undefined;
  const fours = (values: readonly number[], without: number) =>
    values.every((value, d) => d === without || value % 4 === 0);
  if (dims[along]! % 4 !== 0 || dims[last]! % 4 !== 0) return undefined;
  if (!fours(from.strides, along) || !fours(to.strides, last)) return undefined;
  const order = [...dims.keys()].filter((d) => d !== along).concat(along);
  return {
    unit,
    width: 4,
    dims: order.map((d) => (d === along || d === last ? dims[d]! / 4 : dims[d]!)),
    from: order.map((d) => (d === along ? 1 : from.strides[d]! / (d === last ? 1 : 4))),
    to: order.map((d) => (d === last ? 1 : to.strides[d]! / (d === along ? 1 : 4))),
    stepX: from.strides[last]! / 4,
    stepY: to.strides[along]! / 4,
  };
}

/** Whether two neighbours of a box share a word of the result, of `size` elements, which no others do. */
function fillsPairs({ dims, to: { start, strides } }: Box, size: number): boolean {
  const last = dims.length - 1;
  if (start % 2 !== 0 || strides[last] !== 1) return false;
  if (dims[last]! % 2 === 0 && strides.every((stride, d) => d === last || stride % 2 === 0)) return true;
  // All of it in its order: what follows the last is room.
  return start === 0 && sizeOf(dims) === size;
}

/** The largest units of a box that is no run. `size`: elements of the tensor that is written. */
export function unitsOf(box: Box, dtype: DType, size: number): Units {
  const perWord = dtype === 'f16' ? 2 : 1;
  if (fillsWords(box, 4 * perWord)) return inWords(box, 'words4', 4 * perWord);
  const blocks = inBlocks(box, perWord === 1 ? 'words16' : 'words8');
  if (blocks) return blocks;
  if (fillsWords(box, perWord)) return inWords(box, 'words1', perWord);
  return inWords(box, fillsPairs(box, size) ? 'pairs' : 'halves', 1);
}

/** Four words behind one another as one unit, `stepX` and `stepY` apart; the last extent is in whole fours. */
export function byFours({ dims, from, to, ...units }: Units): Units {
  const last = dims.length - 1;
  const times = (values: readonly number[], factor: number) =>
    values.map((value, d) => (d === last ? value * factor : value));
  return {
    ...units,
    dims: times(dims, 1 / 4),
    from: times(from, 4),
    to: times(to, 4),
    stepX: from[last]!,
    stepY: to[last]!,
  };
}
