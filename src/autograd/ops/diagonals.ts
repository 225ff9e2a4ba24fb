/** Diagonals of matrices, as slices of their elements in a row: of every dtype, with gradients for floats. */
import { anyDType, integer, numbers, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { sum } from './reduce.js';
import { pad, reshape } from './shape.js';
import { slice } from './slices.js';

const DIAGONAL = signature(
  'diagonal',
  { x: anyDType('...', 'rows', 'cols') },
  { numbers: { offset: integer } },
);

/** The diagonal of the last two axes, which become one: number `offset`, 1 being the one above the main one. A copy. @throws ShapeError. */
export function diagonal(x: Tensor, offset = 0): Tensor {
  DIAGONAL.check({ x }, { offset });
  const batch = x.shape.slice(0, -2);
  const [rows, cols] = x.shape.slice(-2) as [number, number];
  const count = Math.max(0, Math.min(rows - Math.max(0, -offset), cols - Math.max(0, offset)));
  const start = count === 0 ? 0 : offset < 0 ? -offset * cols : offset;
  const stop = count === 0 ? 0 : start + (count - 1) * (cols + 1) + 1;
  return scope(() =>
    slice(reshape(x, [...batch, rows * cols]), ...batch.map(() => null), [start, stop, cols + 1]),
  );
}

const DIAG = signature('diag', { x: anyDType('n') }, { numbers: { offset: integer } });

/** The matrix of zeros with x on diagonal number `offset`; x: [n]. Of a matrix `diagonal` takes it out. A copy. @throws ShapeError. */
export function diag(x: Tensor, offset = 0): Tensor {
  DIAG.check({ x }, { offset });
  const n = x.size;
  const [down, across] = [Math.max(0, -offset), Math.max(0, offset)];
  return scope(() => {
    // In rows of n + 1 the diagonal is a column.
    const rows = reshape(pad(reshape(x, [n, 1]), [null, [0, n]]), [n * (n + 1)]);
    const square = reshape(slice(rows, [0, n * n]), [n, n]);
    const beside = [
      [down, across],
      [across, down],
    ] as const;
    return offset === 0 ? square : pad(square, beside);
  });
}

const TRACE = signature('trace', { x: numbers('...', 'rows', 'cols') });

/** Σ of the main diagonal of the last two axes. @throws ShapeError. */
export function trace(x: Tensor): Tensor {
  TRACE.check({ x });
  return scope(() => sum(diagonal(x), -1));
}
