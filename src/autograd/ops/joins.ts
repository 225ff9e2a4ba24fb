/** Ops of lists of tensors: functions alone, no methods. */
import { ShapeError } from '../../errors.js';
import { anyDType, requireBeside, signature } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { rangeOf } from '../ranges.js';
import { record } from '../tape.js';

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
    return [tensor, (dy: Tensor) => rangeOf(dy, start, shape)] as const;
  });
  return record('concatRows', y, [], inputs);
}
