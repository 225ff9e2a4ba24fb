/**
 * Sums along one axis, seen as [outer, reduced, inner]. Rows (inner = 1) reduce across lanes; columns
 * are walked by one thread each, in chunks of rows whose partial sums a second pass adds in fixed order. Fixed
 * order makes results reproducible to the bit, and short chains keep f32 rounding small.
 */
import { Tensor } from '../tensor/tensor.js';
import { CHUNK, columnSums, type SummedAxis } from './column-sums.js';
import { floatDType, unitFor, unitOf } from './launch/formats.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { windowed, windowRoom } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { longestRow, rowSums } from './row-reduction.js';

/** x seen as [outer, length, inner] → [outer, inner] f32 (returned with `shape`), times `scale`; f16 where inner > 1. */
export function sumAxis(x: Tensor, axis: SummedAxis, shape: readonly number[], scale = 1): Tensor {
  const out = Tensor.empty(x.gpu, shape);
  sumInto(x, out, axis, scale);
  return out;
}

/** Values of a row that are summed at once; of a longer row pieces are, and then their sums. */
const LONGEST_ROW = 4096;
const ROW_PIECE = 1024;

function sumInto(x: Tensor, out: Tensor, { outer, length, inner }: SummedAxis, scale: number): void {
  const { gpu } = x;
  if (outer * inner === 0) return;
  if (inner === 1) {
    if (length <= longestRow(x, LONGEST_ROW)) {
      rowSums(x, out, { rows: outer, length, piece: length, pieces: 1, scale });
      return;
    }
    // A long row would be one workgroup's chain: cut it into pieces, as often as it takes, and add those.
    const piece = longestRow(x, ROW_PIECE);
    const pieces = Math.ceil(length / piece);
    const partial = Tensor.empty(gpu, [outer, pieces]);
    rowSums(x, partial, { rows: outer * pieces, length, piece, pieces });
    sumInto(partial, out, { outer, length: pieces, inner }, scale);
    partial.dispose();
    return;
  }
  // Partial sums are f32, of whatever x is.
  const rowsSeen = Math.floor(windowRoom(out, inner) / inner);
  if (rowsSeen < Math.min(2, length)) {
    addWideRows(x, out, { outer, length, inner }, scale);
    return;
  }
  const chunk = Math.min(CHUNK, Math.max(1, rowsSeen));
  const chunks = Math.max(1, Math.ceil(length / chunk));
  if (chunks === 1) {
    columnSums(x, out, { outer, length, inner }, { chunk: Math.max(1, length), chunks, scale });
    return;
  }
  const partial = Tensor.empty(gpu, [outer, chunks, inner]);
  columnSums(x, partial, { outer, length, inner }, { chunk, chunks, scale: 1 });
  sumInto(partial, out, { outer, length: chunks, inner }, scale);
  partial.dispose();
}

/** Sum of squares of all elements, as partial sums [pieces]. */
export function squareSums(x: Tensor): Tensor {
  const piece = longestRow(x, LONGEST_ROW);
  const pieces = Math.max(1, Math.ceil(x.size / piece));
  const partial = Tensor.empty(x.gpu, [pieces]);
  rowSums(x, partial, { rows: pieces, length: x.size, piece, pieces, of: 'squares' });
  return partial;
}

/** Sums of squares of each row of x: [rows, pieces] partial sums, one piece unless rows are long. */
export function rowSquareSums(x: Tensor): Tensor {
  const { rows, cols: length } = x;
  const piece = longestRow(x, LONGEST_ROW);
  const pieces = Math.ceil(length / piece);
  const partial = Tensor.empty(x.gpu, [rows, pieces]);
  rowSums(x, partial, { rows: rows * pieces, length, piece, pieces, of: 'squares' });
  return partial;
}

/** Sums of columns where one binding cannot see two rows of x: rows are added one after the other, part by part. */
function addWideRows(x: Tensor, out: Tensor, { outer, length, inner }: SummedAxis, scale: number): void {
  const dtype = floatDType('sum', x);
  const { name, width } = unitFor('sum', inner, dtype);
  const shader = shaderOf('addWideRows', { dtype, unit: name }, (form) => {
    const { type, load } = unitOf(form.unit);
    return {
      label: 'addWideRows',
      params: { count: 'u32', baseX: 'u32', baseY: 'u32', first: 'u32', scale: 'f32' } as const,
      buffers: { X: type(form.dtype), ioY: type('f32') },
      body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  var sum = ${load(form.dtype, 'X', 'i + p.baseX')};
  if (p.first == 0u) { sum += ioY[i + p.baseY]; }
  ioY[i + p.baseY] = sum * p.scale;
}`,
    };
  });
  const units = inner / width;
  for (let o = 0; o < outer; o++)
    for (let row = 0; row < length; row++) {
      const ofX = (o * length + row) * inner;
      const ofY = o * inner;
      shader.launch(
        x.gpu,
        {
          X: windowed(x, units, ({ start, count }) => [ofX + start * width, count * width]),
          ioY: windowed(out, units, ({ start, count }) => [ofY + start * width, count * width]),
        },
        ({ start, count }, base) => ({
          count,
          baseX: (ofX - base['X']!) / width + start,
          baseY: (ofY - base['ioY']!) / width + start,
          first: row === 0 ? 1 : 0,
          scale: row === length - 1 ? scale : 1,
        }),
        ({ count }) => flatGroups(count),
      );
    }
}

/** Column sums of a [rows, cols] tensor: the gradient of a bias. */
export function columnSum(x: Tensor): Tensor {
  return sumAxis(x, { outer: 1, length: x.rows, inner: x.cols }, [x.cols]);
}
