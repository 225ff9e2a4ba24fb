/** Ops of lists of tensors: functions alone, no methods. */
import { ShapeError } from '../../errors.js';
import { readStrided, writeStrided } from '../../kernels/strided/strided.js';
import { anyDType, requireBeside, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { formatShape, normalizeAxis, stridesOf } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

const JOINED = {
  concat: signature(
    'concat',
    { first: anyDType('...'), other: anyDType('...others') },
    { sameDType: ['first', 'other'] },
  ),
  stack: signature(
    'stack',
    { first: anyDType('...'), other: anyDType('...') },
    { sameDType: ['first', 'other'] },
  ),
};

function firstOf(op: 'concat' | 'stack', tensors: readonly Tensor[]): Tensor {
  requireBeside(op, 'tensors', 'a list', tensors, 'length');
  const first = tensors[0];
  if (!first) throw new ShapeError(op, 'needs at least one tensor');
  for (const other of tensors) JOINED[op].check({ first, other });
  return first;
}

/** Side by side along an axis of `shape`, `extents` of it each. */
function joined(
  op: string,
  tensors: readonly Tensor[],
  shape: readonly number[],
  axis: number,
  extents: readonly number[],
): Tensor {
  const y = Tensor.empty(tensors[0]!.gpu, shape, tensors[0]!.dtype);
  const strides = stridesOf(shape);
  let at = 0;
  const inputs = tensors.map((tensor, i) => {
    const side = { start: at * strides[axis]!, strides };
    at += extents[i]!;
    const own = tensor.shape;
    const part = shape.map((extent, d) => (d === axis ? extents[i]! : extent));
    scope(() => writeStrided(tensor.alias(part), y, side));
    return [tensor, (dy: Tensor) => readStrided(dy, part, side).alias(own)] as const;
  });
  return record(op, y, [], inputs);
}

/**
 * Tensors one behind the other along an axis (negative: from the end), of one dtype and equal in all other extents. A copy.
 * @throws ShapeError.
 */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  const first = firstOf('concat', tensors);
  const at = normalizeAxis('concat', axis, first);
  for (const other of tensors)
    if (
      other.shape.length !== first.shape.length ||
      other.shape.some((extent, d) => d !== at && extent !== first.shape[d])
    )
      throw new ShapeError(
        'concat',
        `dimensions differ: ${formatShape(first.shape)} and ${formatShape(other.shape)}, of which only axis ${at} may`,
        { first, other },
      );
  const extents = tensors.map(({ shape }) => shape[at]!);
  const whole = extents.reduce((a, b) => a + b, 0);
  return joined(
    'concat',
    tensors,
    first.shape.map((extent, d) => (d === at ? whole : extent)),
    at,
    extents,
  );
}

/** Tensors of one shape and dtype along a new axis of the result (negative: from its end). A copy. @throws ShapeError. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  const first = firstOf('stack', tensors);
  const { shape, dtype } = first;
  const at = normalizeAxis('stack', axis, { shape: [...shape, 1], dtype });
  const whole = [...shape.slice(0, at), tensors.length, ...shape.slice(at)];
  return joined(
    'stack',
    tensors,
    whole,
    at,
    tensors.map(() => 1),
  );
}
