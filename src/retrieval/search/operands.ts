/**
 * Vectors as the product sees them, so that the largest value of q·c (+ bias) is the best neighbour by the metric, and
 * neither overflows nor loses what tells neighbours apart:
 *   ip      q times a power of two of its own, which changes no order and keeps the products within f32
 *   cosine  both at length 1, lengths taken in float64, and a vector of zeros as it is; then the corpus less its centre,
 *           which takes the same off each score of a query, and leaves the digits by which near directions differ
 *   l2      q·c − ‖c‖²/2, both less the corpus's centre and times one power of two: distances stay what they are, and of
 *           vectors that are long and near each other the difference is what is left
 * Every vector is looked at here: one that is not finite is refused by its row.
 */
import { InputError } from '../../errors.js';
import type { VectorRows } from '../vectors/rows.js';
import { squaredLength } from './float64.js';
import type { Metric } from './neighbours.js';

/** Products of f32 vectors of up to 2^16 values with one of this length stay finite. */
const SAFE_LENGTH = 2 ** -8;
const LARGEST = 3.4028234663852886e38;

/** What vectors are moved and scaled by, of `cosine` and `l2`. */
export interface Frame {
  readonly centre: Float64Array;
  readonly scale: number;
}

export interface Operands {
  /** Values as they are uploaded; the given array itself where nothing is to change. */
  readonly values: Float32Array;
  /** [rows]: what is added to each product, of `l2`. */
  readonly bias: Float32Array | undefined;
}

const ROUNDING = 2 ** -24;

/**
 * How far a value of q·c (+ bias) computed in f32 may be from the score that it stands for, rounded to f32 as scores are: by
 * a sum in any order (Higham 2002, §3.1), and by what the operands were rounded by. `query` and `corpus`: lengths as the
 * product sees them, the corpus's the longest.
 */
export const errorOf = (metric: Metric, width: number, query: number, corpus: number): number =>
  (width + 8) * ROUNDING * (metric === 'l2' ? (query + corpus) ** 2 : query * corpus);

/** The longest row of the corpus as the product sees it, or a bound. `squared`: Σ x² of each row as it is. */
export function longestOf(squared: Float64Array, { bias }: Operands, frame: Frame | undefined): number {
  let most = 0;
  if (bias) for (const half of bias) most = Math.max(most, -2 * half);
  else if (frame) most = (1 + Math.sqrt(frame.centre.reduce((sum, x) => sum + x * x, 0))) ** 2;
  else for (const sum of squared) most = Math.max(most, sum);
  return Math.sqrt(most);
}

/** A power of two that brings `length` to at most `SAFE_LENGTH`; 1 for 0. */
const scaleFor = (length: number): number =>
  length > 0 ? 2 ** Math.min(1000, Math.floor(Math.log2(SAFE_LENGTH / length))) : 1;

/** Names the first value that is not finite, of a row that has one: finite f32 values have squares whose sum f64 holds. @throws InputError. */
function refuse(side: string, row: number, values: Float32Array, at: number, width: number): never {
  const c = values.subarray(at, at + width).findIndex((value) => !Number.isFinite(value));
  throw new InputError(
    `search: ${side} row ${row}, value ${c} is ${values[at + c]}; expected finite numbers (rows and values count from 0)`,
  );
}

/** Σ x² of each row. `first`: row number of the first, for messages. @throws InputError. */
export function checkedLengths(
  side: string,
  values: Float32Array,
  width: number,
  first: number,
): Float64Array {
  const lengths = new Float64Array(values.length / width);
  for (let r = 0; r < lengths.length; r++) {
    const squared = squaredLength(values, r * width, width);
    if (!(squared < Infinity)) refuse(side, first + r, values, r * width, width);
    lengths[r] = squared;
  }
  return lengths;
}

/** Rows of the corpus from which its centre is taken. */
const SAMPLE = 255;

/**
 * The frame of a search; none of `ip`. `step`: queries that are read at a time.
 * @throws InputError for a query that is not finite.
 */
export async function frameOf(
  metric: Metric,
  queries: VectorRows,
  corpus: VectorRows,
  step: number,
): Promise<Frame | undefined> {
  if (metric === 'ip') return undefined;
  const { width } = corpus;
  const sample = await corpus.read(0, Math.min(SAMPLE, corpus.count));
  const lengths = checkedLengths('corpus', sample, width, 0);
  const centre = centreOf(metric === 'cosine' ? scaledToUnit(sample, lengths) : sample, width);
  if (metric === 'cosine') return { centre, scale: 1 };
  let most = 0;
  const see = (side: Float32Array) => {
    for (let at = 0; at < side.length; at += width) {
      let squared = 0;
      for (let c = 0; c < width; c++) squared += (side[at + c]! - centre[c]!) ** 2;
      if (squared > most) most = squared;
    }
  };
  see(sample);
  for (let start = 0; start < queries.count; start += step) {
    const values = await queries.read(start, Math.min(queries.count, start + step));
    checkedLengths('query', values, width, start);
    see(values);
  }
  return { centre, scale: scaleFor(Math.sqrt(most)) };
}

/** The median of each value: one row far from the others moves a mean, and with it what is left of all others. */
function centreOf(rows: Float32Array, width: number): Float64Array {
  const count = rows.length / width;
  const column = new Float64Array(count);
  return Float64Array.from({ length: width }, (_, c) => {
    for (let r = 0; r < count; r++) column[r] = rows[r * width + c]!;
    return column.sort()[Math.floor(count / 2)]!;
  });
}

/** What brings a row of Σ x² = `squared` to length 1, and zeros to zeros. */
const unit = (squared: number): number => (squared > 0 ? 1 / Math.sqrt(squared) : 0);

/** Rows at length 1; `squared`: Σ x² of each. */
export const scaledToUnit = (values: Float32Array, squared: Float64Array): Float32Array =>
  scaledRows(values, squared, unit);

function scaledRows(
  values: Float32Array,
  squared: Float64Array,
  scaleOf: (squared: number) => number,
): Float32Array {
  const width = values.length / Math.max(1, squared.length);
  const scaled = new Float32Array(values.length);
  for (let r = 0; r < squared.length; r++) {
    const scale = scaleOf(squared[r]!);
    for (let i = r * width; i < (r + 1) * width; i++) scaled[i] = values[i]! * scale;
  }
  return scaled;
}

/** `squared`: Σ x² of each row. `frame`: that of the search. */
export function operandsOf(
  metric: Metric,
  side: 'query' | 'corpus',
  values: Float32Array,
  squared: Float64Array,
  frame: Frame | undefined,
): Operands {
  if (!frame || (metric === 'cosine' && side === 'query'))
    return {
      values:
        side === 'corpus'
          ? values
          : scaledRows(values, squared, frame ? unit : (sum) => scaleFor(Math.sqrt(sum))),
      bias: undefined,
    };
  const { centre, scale } = frame;
  const rows = squared.length;
  const width = centre.length;
  const moved = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    const at = r * width;
    const own = metric === 'cosine' ? unit(squared[r]!) : 1;
    for (let c = 0; c < width; c++) {
      // Rounded before it is moved, so that a multiple of a vector is the same vector of length 1.
      const value = (Math.fround(values[at + c]! * own) - centre[c]!) * scale;
      // What lies beyond f32 there is farther than all that does not, by its bias.
      moved[at + c] = value > LARGEST ? LARGEST : value < -LARGEST ? -LARGEST : value;
    }
  }
  if (metric === 'cosine' || side === 'query') return { values: moved, bias: undefined };
  const bias = Float32Array.from({ length: rows }, (_, r) => -squaredLength(moved, r * width, width) / 2);
  return { values: moved, bias };
}
