/**
 * A tensor's values as text, as NumPy and PyTorch print them: brackets, columns of one width, and dots where there are many.
 * What is exported here are methods of tensors too.
 */

import { ShapeError } from '../errors.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import type { TensorArray } from './host-data.js';
import { readerOf } from './nested.js';
import { type Shape, sizeOf } from './shape.js';
import { type DType, Tensor } from './tensor.js';

/** How many values of a tensor are written, and with how many digits. */
export interface FormatOptions {
  /** Decimals of numbers; by default 4. */
  readonly precision?: number | undefined;
  /** Tensors of more values are shortened; by default 1000. */
  readonly threshold?: number | undefined;
  /** Values, or rows, that a shortened axis shows at either end; by default 3. */
  readonly edge?: number | undefined;
  /** Characters of a line; by default 80. */
  readonly width?: number | undefined;
}

const OPTIONS = new OptionNames<FormatOptions>({
  precision: 'number',
  threshold: 'number',
  edge: 'number',
  width: 'number',
});

/** How numbers of floats are written: all alike, as those that are shown want it. */
function floatWriter(values: readonly number[], precision: number): (value: number) => string {
  const finite = values.filter(Number.isFinite).map(Math.abs);
  const special = (write: (value: number) => string) => (value: number) =>
    Number.isFinite(value) ? write(value) : String(value);
  const sizes = finite.filter((value) => value > 0);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const exponents =
    sizes.length > 0 &&
    (most >= 1e8 ||
      (finite.some((value) => !Number.isInteger(value)) && (most / least > 1000 || least < 1e-4)));
  if (exponents) return special((value) => value.toExponential(precision));
  if (finite.every(Number.isInteger)) return special((value) => `${Object.is(value, -0) ? '-0' : value}.`);
  return special((value) => value.toFixed(precision));
}

/** Places along an axis that are shown; −1: dots for those in between. */
function shownOf(extent: number, edge: number, shorten: boolean): number[] {
  const all = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  if (!shorten || extent <= 2 * edge) return all(0, extent);
  return [...all(0, edge), -1, ...all(extent - edge, extent)];
}

/** `at`: the value at a place in row-major order, of those that are shown. */
function formatValues(
  dtype: DType,
  shape: Shape,
  at: (i: number) => number | boolean,
  { precision = 4, threshold = 1000, edge = 3, width = 80 }: FormatOptions,
): string {
  const shorten = sizeOf(shape) > threshold;
  const shown = shape.map((extent) => shownOf(extent, edge, shorten));
  const values: (number | boolean)[] = [];
  const collect = (start: number, axis: number): void => {
    if (axis === shape.length) values.push(at(start));
    else
      for (const i of shown[axis]!) if (i >= 0) collect(start + i * sizeOf(shape.slice(axis + 1)), axis + 1);
  };
  collect(0, 0);
  const floats = dtype === 'f32' || dtype === 'f16';
  const write = floats ? floatWriter(values as number[], precision) : String;
  const texts = (values as number[]).map(write);
  const columns = Math.max(0, ...texts.map((text) => text.length));
  let next = 0;
  const build = (axis: number): string => {
    if (axis === shape.length) return texts[next++]!.padStart(shape.length === 0 ? 0 : columns);
    const parts = shown[axis]!.map((i) => (i < 0 ? '...' : build(axis + 1)));
    const indent = ' '.repeat(axis + 1);
    if (axis < shape.length - 1) {
      const gap = '\n'.repeat(shape.length - 1 - axis);
      return `[${parts.join(`,${gap}${indent}`)}]`;
    }
    // As many to a line as fit, each line indented as deep as its first bracket.
    const perLine = Math.max(1, Math.floor((width - axis - 1) / (columns + 2)));
    const lines: string[] = [];
    for (let i = 0; i < parts.length; i += perLine) lines.push(parts.slice(i, i + perLine).join(', '));
    return `[${lines.join(`,\n${indent}`)}]`;
  };
  return build(0);
}

/** The values, and what place in row-major order each has: of a large tensor only its first and last rows are read. */
async function readShown(
  x: Tensor,
  { threshold = 1000, edge = 3 }: FormatOptions,
): Promise<(i: number) => number | boolean> {
  const rows = x.shape[0] ?? 1;
  const reader = (data: TensorArray) => readerOf(x.dtype, data);
  if (x.size <= threshold || rows <= 2 * edge) return reader(await x.toArray());
  const part = (x.size / rows) * edge;
  const ends = Tensor.empty(x.gpu, [2 * part], x.dtype, 'workspace');
  try {
    ends.copyUnrecorded(x, 0, 0, part);
    ends.copyUnrecorded(x, part, x.size - part, part);
    const read = reader(await ends.toArray());
    return (i) => read(i < part ? i : i - (x.size - 2 * part));
  } finally {
    ends.dispose();
  }
}

/**
 * Its values as text: nested brackets, numbers in columns; of more than `threshold` values only the first and last of
 * each axis. Waits for what computes them.
 */
export async function format(x: Tensor, options: FormatOptions = {}): Promise<string> {
  const op = 'format';
  if (!(x instanceof Tensor)) throw new ShapeError(op, `x must be a tensor, found ${show(x)}`);
  const { precision = 0, threshold = 0, edge = 1, width = 1 } = OPTIONS.read(op, options);
  const whole = (value: number, least: number) => Number.isInteger(value) && value >= least;
  if (!whole(precision, 0) || precision > 100)
    throw new ShapeError(op, `precision must be a whole number up to 100, found ${precision}`, { x });
  if (!whole(edge, 1)) throw new ShapeError(op, `edge must be a whole number above 0, found ${edge}`, { x });
  if (!(threshold >= 0 && width > 0))
    throw new ShapeError(op, 'threshold and width must be numbers of at least 0 and above it', { x });
  return formatValues(x.dtype, x.shape, await readShown(x, options), options);
}

/** Writes what it is, and its values, to the console. */
export async function print(x: Tensor, options: FormatOptions = {}): Promise<void> {
  const values = await format(x, options);
  console.log(`${x}\n${values}`);
}
