/**
 * Elements by index tensors on the device, u32 or i32. An index that is none of an axis, negative ones included, is known to
 * the device alone: it reads a NaN, of integers a 0, adds to nothing, and gets and gives no gradient.
 */
import { ShapeError } from '../../errors.js';
import type { Picks } from '../../kernels/indexed/layout.js';
import * as scatter from '../../kernels/indexed/scatter.js';
import * as kernels from '../../kernels/indexed/take.js';
import { filled } from '../../kernels/make.js';
import { cast } from '../../kernels/pointwise.js';
import { checkDType } from '../../tensor/host-data.js';
import { anyDType, integer, integers, numbers, signature, wholeNumber } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { formatShape, normalizeAxis } from '../../tensor/shape.js';
import { type DType, Tensor } from '../../tensor/tensor.js';
import { picksOf, selected, taken } from '../picks.js';
import { record } from '../tape.js';
import { slice } from './slices.js';

const GATHER = signature(
  'gather',
  { x: anyDType('...x'), index: integers('...') },
  { numbers: { axis: integer } },
);

/**
 * One element of a line along `axis` for every element of the index, PyTorch's `gather` and NumPy's `take_along_axis`:
 * y[i,j,k] = x[i, index[i,j,k], k] for axis 1. index: u32 or i32 with as many axes as x, along the others at most as long.
 * Returns the index's shape; x: any dtype.
 * @throws ShapeError.
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  GATHER.check({ x, index }, { axis });
  const at = normalizeAxis('gather', axis, x);
  const { shape } = index;
  if (shape.length !== x.shape.length || shape.some((extent, d) => d !== at && extent > x.shape[d]!))
    throw new ShapeError('gather', `the index must have x's axes, and be no longer along others than ${at}`, {
      x,
      index,
    });
  return scope(() => {
    const part = slice(x, ...shape.map((extent, d) => (d === at ? null : ([0, extent] as const))));
    return taken('gather', part, index, picksOf(part, at, index, 'elements'), shape);
  });
}

const INDEX_SELECT = signature(
  'indexSelect',
  { x: anyDType('...x'), index: integers('...') },
  { numbers: { axis: integer } },
);

/**
 * Rows (columns, …) of x along an axis in the order of a list, PyTorch's `index_select`; of an index with more axes those
 * stand where the axis was, as NumPy's `take`. index: u32 or i32; x: any dtype, of any size.
 * @throws ShapeError.
 */
export function indexSelect(x: Tensor, axis: number, index: Tensor): Tensor {
  INDEX_SELECT.check({ x, index }, { axis });
  const at = normalizeAxis('indexSelect', axis, x);
  return selected('indexSelect', x, at, index);
}

function added(op: string, x: Tensor, source: Tensor, index: Tensor, picks: Picks): Tensor {
  const y = scope(() => {
    const half = x.dtype === 'f16';
    const out = Tensor.empty(x.gpu, x.shape, half ? 'f32' : x.dtype);
    out.copyUnrecorded(half ? cast(x, 'f32') : x);
    scatter.scatterAdd({ source: half ? cast(source, 'f32') : source, index, out, picks, accumulate: true });
    return half ? cast(out, 'f16') : out;
  });
  const { shape } = source;
  return record(
    op,
    y,
    [],
    [
      [x, (dy) => dy],
      [source, (dy) => kernels.take(dy, index, picks, shape, 'zero'), [index]],
    ],
  );
}

const SCATTER_ADD = signature(
  'scatterAdd',
  { x: numbers('...x'), index: integers('...'), source: numbers('...') },
  { numbers: { axis: integer }, sameDType: ['x', 'source'] },
);

/**
 * x with every element of the source added at its place along `axis`, PyTorch's `scatter_add`, the opposite of `gather`:
 * y[i, index[i,j,k], k] = x[i, …, k] + Σ_j source[i,j,k] for axis 1, always in the order of j. index: u32 or i32, of the
 * source's shape, which is x's but along the axis. A sum of its own begins with `zeros`.
 * @throws ShapeError.
 */
export function scatterAdd(x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  SCATTER_ADD.check({ x, index, source }, { axis });
  const at = normalizeAxis('scatterAdd', axis, x);
  const { shape } = source;
  if (shape.length !== x.shape.length || shape.some((extent, d) => d !== at && extent !== x.shape[d]))
    throw new ShapeError('scatterAdd', `x and source may differ along axis ${at} alone`, {
      x,
      index,
      source,
    });
  return added('scatterAdd', x, source, index, picksOf(x, at, index, 'elements'));
}

const INDEX_ADD = signature(
  'indexAdd',
  { x: numbers('...x'), index: integers('n'), source: numbers('...source') },
  { numbers: { axis: integer }, sameDType: ['x', 'source'] },
);

/**
 * x with the rows (columns, …) of the source along an axis added to those that a list names, PyTorch's `index_add`, the
 * opposite of `indexSelect`, always in the order of the list. index: [n] u32 or i32; source: x's shape with n along the axis.
 * @throws ShapeError.
 */
export function indexAdd(x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  INDEX_ADD.check({ x, index, source }, { axis });
  const at = normalizeAxis('indexAdd', axis, x);
  const wanted = x.shape.map((extent, d) => (d === at ? index.size : extent));
  if (String(wanted) !== String(source.shape))
    throw new ShapeError('indexAdd', `the source must be ${formatShape(wanted)}`, { x, index, source });
  return added('indexAdd', x, source, index, picksOf(x, at, index, 'rows'));
}

const BINCOUNT = signature('bincount', { ids: integers('...') }, { numbers: { bins: wholeNumber() } });

/** How often each number from 0 to `bins` − 1 is among the ids, u32; others are not counted. No gradient. @throws ShapeError. */
export function bincount(ids: Tensor, bins: number): Tensor {
  BINCOUNT.check({ ids }, { bins });
  const { gpu, size } = ids;
  return scope(() => {
    const none = Tensor.zeros(gpu, [bins], 'u32');
    return scatterAdd(none, 0, ids.alias([size]).detach(), filled(gpu, [size], 1, 'u32'));
  });
}

const ONE_HOT = signature('oneHot', { ids: integers('...') }, { numbers: { classes: wholeNumber() } });

/**
 * [..., classes] of zeros with a one at each id; an id that is no class has zeros alone, as in JAX. ids: u32 or i32. No
 * gradient. @throws ShapeError.
 */
export function oneHot(ids: Tensor, classes: number, dtype: DType = 'f32'): Tensor {
  ONE_HOT.check({ ids }, { classes });
  checkDType(dtype, 'oneHot');
  return kernels.oneHot(ids, classes, dtype);
}
