/** Ops that only rename or move rows. */
import { ShapeError } from '../../errors.js';
import { anyDType, requireBeside, signature, wholeNumber } from '../../tensor/operands.js';
import type { Shape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
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
  const y = x.aliasAt(start * width, shape) ?? copySlice(x, start * width, shape);
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

function copySlice(x: Tensor, start: number, shape: Shape): Tensor {
  const y = Tensor.empty(x.gpu, shape, x.dtype);
  y.copyUnrecorded(x, 0, start, y.size);
  return y;
}

const CONCAT_ROWS = signature(
  'concatRows',
  { first: anyDType('rows', '...'), other: anyDType('others', '...') },
  { sameDType: ['first', 'other'] },
);

/** Stacks tensors along the first dimension. */
export function concatRows(tensors: readonly Tensor[]): Tensor {
  requireBeside('concatRows', 'tensors', 'a list', tensors, 'length');
  const first = tensors[0];
  if (!first) throw new ShapeError('concatRows', 'needs at least one tensor');
  for (const other of tensors) CONCAT_ROWS.check({ first, other });
  const rest = first.shape.slice(1);
  const y = Tensor.empty(
    first.gpu,
    [tensors.reduce((sum, tensor) => sum + tensor.shape[0]!, 0), ...rest],
    first.dtype,
  );
  let offset = 0;
  const inputs = tensors.map((tensor) => {
    const start = offset;
    y.copyUnrecorded(tensor, start);
    offset += tensor.size;
    const shape = tensor.shape;
    return [tensor, (dy: Tensor) => dy.aliasAt(start, shape) ?? copySlice(dy, start, shape)] as const;
  });
  return record('concatRows', y, [], inputs);
}
