/** Ops that only rename or move rows. */
import { ShapeError } from '../../errors.js';
import { anyDType, signature, wholeNumber } from '../../tensor/operands.js';
import type { Shape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { rangeOf } from '../ranges.js';
import { record } from '../tape.js';

const RESHAPE = signature('reshape', { x: anyDType('...') });

/** Same elements, another shape; free. @throws ShapeError when their number differs. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  RESHAPE.check({ x });
  const own = x.shape;
  return record('reshape', x.alias(shape, 'reshape'), [], [[x, (dy) => dy.alias(own)]]);
}

const SLICE_ROWS = signature(
  'sliceRows',
  { x: anyDType('rows', '...') },
  { numbers: { start: wholeNumber(), end: wholeNumber() } },
);

/** Rows [start, end) of the first dimension: a view where the adapter can bind it, else a copy. */
export function sliceRows(x: Tensor, start: number, end: number): Tensor {
  SLICE_ROWS.check({ x }, { start, end });
  const rows = x.shape[0]!;
  if (start > end || end > rows) throw new ShapeError('sliceRows', `no rows ${start} to ${end}`, { x });
  const width = rows === 0 ? 0 : x.size / rows;
  const shape = [end - start, ...x.shape.slice(1)];
  const y = rangeOf(x, start * width, shape);
  const own = x.shape;
  return record(
    'sliceRows',
    y,
    [],
    [
      [
        x,
        (dy) => {
          const dx = Tensor.zeros(dy.gpu, own, dy.dtype);
          dx.copyUnrecorded(dy, start * width);
          return dx;
        },
      ],
    ],
  );
}
