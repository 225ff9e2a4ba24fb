/**
 * Nested lists of a tensor's values: what `tensor` takes apart, and what `toNested` and printing build. Nothing here
 * touches a device.
 */
import { ShapeError } from '../errors.js';
import { show } from '../show.js';
import { f16ToF32 } from './dtype.js';
import { type DType, type HostData, kindOf, type TensorArray } from './host-data.js';
import { type Shape, sizeOf } from './shape.js';

/** A number, a boolean, a typed array, or lists of them, all of the same lengths. */
export type NestedData = number | boolean | TensorArray | Float64Array | readonly NestedData[];

/** What `toNested` gives: numbers or booleans in lists as deep as the tensor has dimensions. */
export type NestedValues = number | boolean | NestedValues[];

type TypedData = TensorArray | Float64Array;

const isTyped = (value: unknown): value is TypedData =>
  ArrayBuffer.isView(value) && !(value instanceof DataView);

/** Lists in lists; a list that contains itself is deeper than any. */
const DEEPEST = 32;

const placeOf = (path: readonly number[]): string => `data${path.map((i) => `[${i}]`).join('')}`;

const formOf = (value: unknown): 'list' | 'typed' | 'value' =>
  Array.isArray(value) ? 'list' : isTyped(value) ? 'typed' : 'value';

const whatIs = (value: unknown): string =>
  Array.isArray(value)
    ? `a list of ${value.length}`
    : isTyped(value)
      ? `a ${kindOf(value)} of ${value.length}`
      : `a ${kindOf(value)}`;

/** The first list or value at each depth. */
function firstOnes(op: string, data: NestedData): NestedData[] {
  const firsts = [data];
  for (let at = data; Array.isArray(at) && at.length > 0; firsts.push(at)) {
    if (firsts.length > DEEPEST) throw new ShapeError(op, `lists nested deeper than ${DEEPEST}`);
    at = at[0] as NestedData;
  }
  return firsts;
}

/**
 * The values of nested lists in row-major order, and the shape that they have.
 * @throws ShapeError naming the place where lists are of another length, depth or kind than the first ones; TypeError
 * where something is neither number nor boolean.
 */
export function flatten(op: string, data: NestedData): { data: HostData; shape: number[] } {
  if (isTyped(data)) return { data, shape: [data.length] };
  const firsts = firstOnes(op, data);
  const shape = firsts.flatMap((first) => (typeof first === 'object' && first ? [first.length] : []));
  const values: (number | boolean)[] = [];
  const rows: TypedData[] = [];
  const path: number[] = [];
  const visit = (node: unknown): void => {
    const first = firsts[path.length];
    const form = formOf(node);
    const alike =
      form === formOf(first) &&
      (form === 'value' || (node as TypedData).length === (first as TypedData).length) &&
      (form !== 'typed' || kindOf(node) === kindOf(first));
    if (!alike)
      throw new ShapeError(
        op,
        `ragged: ${placeOf(path)} is ${whatIs(node)}, ${placeOf(path.map(() => 0))} is ${whatIs(first)}`,
      );
    if (form === 'typed') rows.push(node as TypedData);
    else if (form === 'value') {
      if (typeof node !== 'number' && typeof node !== 'boolean')
        throw new TypeError(`${op}: ${placeOf(path)} is ${show(node)}, neither a number nor a boolean`);
      values.push(node);
    }
    // By number, not by `forEach`, which leaves out holes.
    else
      for (let i = 0; i < (node as unknown[]).length; i++) {
        path.push(i);
        visit((node as unknown[])[i]);
        path.pop();
      }
  };
  visit(data);
  return { data: rows.length > 0 ? joined(rows) : (values as number[]), shape };
}

function joined(rows: readonly TypedData[]): HostData {
  const Kind = rows[0]!.constructor as new (length: number) => TypedData;
  const all = new Kind(rows.length * rows[0]!.length);
  for (const [i, row] of rows.entries()) (all as Float64Array).set(row, i * row.length);
  return all;
}

/** Where the value of a number stands in nested lists of this shape, as messages say it. */
export function placeIn(shape: Shape): (i: number) => string {
  return (i) => {
    const path: number[] = [];
    for (const extent of shape.toReversed()) {
      path.unshift(i % extent);
      i = Math.floor(i / extent);
    }
    return path.length === 0 ? '' : ` at ${placeOf(path)}`;
  };
}

/** Values as a host reads them: halves as numbers, bools as booleans. */
export function readerOf(dtype: DType, data: TensorArray): (i: number) => number | boolean {
  if (dtype === 'bool') return (i) => data[i] !== 0;
  const numbers = dtype === 'f16' ? f16ToF32(data as Uint16Array) : data;
  return (i) => numbers[i]!;
}

/** Row-major values as nested lists. */
export function nest(dtype: DType, data: TensorArray, shape: Shape): NestedValues {
  const value = readerOf(dtype, data);
  const build = (start: number, axis: number): NestedValues => {
    if (axis === shape.length) return value(start);
    const step = sizeOf(shape.slice(axis + 1));
    return Array.from({ length: shape[axis]! }, (_, i) => build(start + i * step, axis + 1));
  };
  return build(0, 0);
}
