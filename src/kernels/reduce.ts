/** Reductions over any axes by the kernels of rows and columns: sums, products, any and all. */
import { Tensor } from '../tensor/tensor.js';
import {
  type AxisKernels,
  alongAxis,
  axisSteps,
  LONGEST_ROW,
  longestRow,
  type ReducedAxis,
} from './axis-passes.js';
import { reduceColumns } from './column-reduction.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { windowed } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { castInto } from './pointwise.js';
import {
  HALF_AT,
  type ReductionName,
  reducedDType,
  reductions,
  takenOf,
  valuesOf,
  widthOf,
} from './reductions.js';
import { reduceRows } from './row-reduction.js';

/** x seen as [outer, length, inner] → [outer, inner] f32 (returned with `shape`), times `scale`. */
export function sumAxis(x: Tensor, axis: ReducedAxis, shape: readonly number[], scale = 1): Tensor {
  const out = Tensor.empty(x.gpu, shape);
  reduceInto('sum', x, out, axis, scale);
  return out;
}

/**
 * x reduced over `axes`, returned with `shape`, in x's format (of bools counted: u32); sums of floats times `scale`. What
 * lies between reduced axes is kept, so each run of them is reduced on its own, in f32, and the last result is rounded.
 */
export function reduceAxes(
  of: ReductionName,
  x: Tensor,
  axes: readonly number[],
  shape: readonly number[],
  scale = 1,
): Tensor {
  const steps = axisSteps(x.shape, axes);
  let [result, name] = [x, of];
  for (const [i, { axis, extents }] of steps.entries()) {
    const last = i === steps.length - 1;
    const out = Tensor.empty(x.gpu, last ? shape : extents, reducedDType(name, result.dtype));
    reduceInto(name, result, out, axis, last ? scale : 1);
    if (result !== x) result.dispose();
    [result, name] = [out, reductions[of].again];
  }
  return x.dtype === 'f16' ? rounded(result) : result;
}

/** Of values in f32 the halves. The values are disposed of. */
export function rounded(values: Tensor): Tensor {
  const halves = Tensor.empty(values.gpu, values.shape, 'f16');
  castInto(values, halves);
  values.dispose();
  return halves;
}

function reduceInto(of: ReductionName, x: Tensor, out: Tensor, axis: ReducedAxis, scale: number): void {
  const nameOf = (from: Tensor) => (from === x ? of : reductions[of].again);
  const scaleOf = (last: boolean) => (last ? scale : 1);
  const kernels: AxisKernels<Tensor> = {
    rows: (from, to, pieces, last) => reduceRows(nameOf(from), from, to, pieces, scaleOf(last)),
    columns: (from, to, own, chunks, last) =>
      reduceColumns(nameOf(from), from, to, own, chunks, scaleOf(last)),
    wide: (from, to, own) => reduceWideRows(nameOf(from), from, to, own, scale),
    values: (part) => part,
    partial: (extents) => Tensor.empty(x.gpu, extents, out.dtype),
    dispose: (part) => part.dispose(),
  };
  alongAxis(kernels, x, out, axis);
}

/** Sum of squares of all elements, as partial sums [pieces]. */
export function squareSums(x: Tensor): Tensor {
  const piece = longestRow(x, LONGEST_ROW);
  const pieces = Math.max(1, Math.ceil(x.size / piece));
  const partial = Tensor.empty(x.gpu, [pieces]);
  reduceRows('squares', x, partial, { rows: pieces, length: x.size, piece, pieces });
  return partial;
}

/** Sums of squares of each row of x: [rows, pieces] partial sums, one piece unless rows are long. */
export function rowSquareSums(x: Tensor): Tensor {
  const { rows, cols: length } = x;
  const piece = longestRow(x, LONGEST_ROW);
  const pieces = Math.ceil(length / piece);
  const partial = Tensor.empty(x.gpu, [rows, pieces]);
  reduceRows('squares', x, partial, { rows: rows * pieces, length, piece, pieces });
  return partial;
}

/** Columns where one binding cannot see two rows of x: row after row joins the result, part by part. */
function reduceWideRows(
  of: ReductionName,
  x: Tensor,
  out: Tensor,
  { outer, length, inner }: ReducedAxis,
  scale: number,
): void {
  const width = widthOf(inner);
  const shader = shaderOf('reduceWideRows', { of, dtype: x.dtype, width }, (form) => {
    const { combine } = reductions[form.of];
    const own = valuesOf(form.dtype, form.width);
    const to = reducedDType(form.of, form.dtype);
    const { type } = valuesOf(to, form.width);
    return {
      label: `${form.of}OfWideRows`,
      params: { count: 'u32', baseX: 'u32', baseY: 'u32', first: 'u32', scale: 'f32' } as const,
      buffers: { X: own.buffer, ioY: `array<${type}>` },
      dtypes: { X: form.dtype, ioY: to },
      body: `${form.dtype === 'f16' && form.width === 1 ? HALF_AT : ''}${FLAT_MAIN}
  if (i >= p.count) { return; }
  var result = ${type}(${takenOf(form.of, own.load('X', 'i + p.baseX'))});
  if (p.first == 0u) { result ${combine}= ioY[i + p.baseY]; }
  ioY[i + p.baseY] = result${combine === '+' && to === 'f32' ? ' * p.scale' : ''};
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
