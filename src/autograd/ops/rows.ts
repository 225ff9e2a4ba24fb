/** Gathering rows, pooling, and row normalisation. */
import { ShapeError } from '../../errors.js';
import * as gather from '../../kernels/rows/gather.js';
import * as normalize from '../../kernels/rows/normalize.js';
import * as maxima from '../../kernels/rows/segment-max.js';
import * as means from '../../kernels/rows/segment-mean.js';
import { OptionNames } from '../../options.js';
import { show } from '../../show.js';
import { f32, floats, integers, requireBeside, signature } from '../../tensor/operands.js';
import type { PackedSequences } from '../../tensor/packed.js';
import type { RowIndex } from '../../tensor/row-index.js';
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import { selected } from '../picks.js';
import { record } from '../tape.js';

/** Rows that get no gradient. */
export interface GatherOptions {
  /**
   * This row is read, but gets no gradient from here: PyTorch's `padding_idx`, from −V on as there. What other ops
   * do with the row counts.
   */
  paddingIndex?: number | undefined;
}

const GATHER_OPTIONS = new OptionNames<GatherOptions>({ paddingIndex: 'number' });

/** Row numbers are known on the host, which compares them with the table. */
const GATHER_ROWS = signature('gatherRows', { table: f32('V', 'C') });

/**
 * out[i] = table[index[i]], PyTorch's `embedding`. table: [V,C] f32, of any size; index: row numbers from the host, or a u32
 * or i32 tensor of any shape, for which the table may be f16 too; those the device alone knows, and one that is no row gives
 * a row of NaN and gets no gradient. Returns [n,C], or [...index, C]. From numbers of the host a table that collects its
 * gradient by rows gets that of the touched rows only; any other gradient is dense.
 * @throws ShapeError when a row on the host or the padding row is not one of the table.
 */
export function gatherRows(table: Tensor, index: RowIndex | Tensor, options: GatherOptions = {}): Tensor {
  const { paddingIndex } = GATHER_OPTIONS.read('gatherRows', options);
  if (index instanceof Tensor) return gatherRowsAt(table, index, paddingIndex);
  requireBeside('gatherRows', 'index', 'a RowIndex or a tensor', index, 'values', 'gpu');
  GATHER_ROWS.check({ table }, {}, { gpu: index.gpu });
  const shape = table.shape;
  index.check('gatherRows', table);
  const padding = paddingRow(table, paddingIndex);
  return record(
    'gatherRows',
    gather.gatherRows(table, index.ids),
    [],
    [
      [
        table,
        (dy, sink) => {
          if (sink?.byRows) {
            const rows = index.unique(padding);
            if (rows.length === 0) return undefined;
            const values = Tensor.empty(dy.gpu, [rows.length, dy.cols], 'f32', 'gradients');
            gather.segmentSumRows(dy, index.compactSegments(padding), values, false);
            sink.addRows(rows, values);
            return undefined;
          }
          const into = sink?.into;
          const target = into ?? Tensor.zeros(dy.gpu, shape);
          gather.segmentSumRows(dy, index.segments(padding), target, true);
          return into ? undefined : target;
        },
      ],
    ],
  );
}

const GATHER_ROWS_AT = signature('gatherRows', { table: floats('V', 'C'), index: integers('...') });

function gatherRowsAt(table: Tensor, index: Tensor, paddingIndex: number | undefined): Tensor {
  GATHER_ROWS_AT.check({ table, index });
  const padding = paddingRow(table, paddingIndex);
  return selected('gatherRows', table, 0, index, padding);
}

/** Negative: counted from the end. */
function paddingRow(table: Tensor, paddingIndex: number | undefined): number | undefined {
  const rows = table.shape[0]!;
  if (paddingIndex === undefined) return undefined;
  if (!Number.isInteger(paddingIndex) || paddingIndex < -rows || paddingIndex >= rows)
    throw new ShapeError('gatherRows', `padding index ${show(paddingIndex)} of a table of ${rows} rows`, {
      table,
    });
  return paddingIndex < 0 ? rows + paddingIndex : paddingIndex;
}

/** The kernel sees the sequences' bounds only on the device. */
const SEGMENT_MEAN = signature('segmentMean', { x: f32('T', 'C') });

/** Mean of each sequence's rows. x: [T,C] → [S,C]. */
export function segmentMean(x: Tensor, sequences: PackedSequences): Tensor {
  requireBeside('segmentMean', 'sequences', 'a PackedSequences', sequences, 'tokens', 'gpu');
  SEGMENT_MEAN.check({ x }, {}, { extents: { T: [sequences.tokens, 'the sequences'] }, gpu: sequences.gpu });
  const { tokens } = sequences;
  return record(
    'segmentMean',
    means.segmentMean(x, sequences.cuSeqlens()),
    [],
    [[x, (dy) => means.segmentMeanGradient(dy, sequences.cuSeqlens(), tokens)]],
  );
}

/** x / max(‖x‖₂, eps) per row, as PyTorch's `normalize`. */
export function normalizeRows(x: Tensor, eps = 1e-12): Tensor {
  return scope(() => {
    const { y, norms } = normalize.normalizeRows(x, eps);
    return record(
      'normalizeRows',
      y,
      [y, norms],
      [[x, (dy) => normalize.normalizeRowsGradient(y, norms, dy, eps)]],
    );
  });
}

/** Largest value of each group of positions. x: [n]; groups list positions. The gradient goes to the first maximum. */
export function segmentMax(x: Tensor, order: Tensor, starts: Tensor): Tensor {
  return scope(() => {
    const { values, positions } = maxima.segmentMax(x, order, starts);
    const { size, shape } = x;
    return record(
      'segmentMax',
      values,
      [positions],
      [[x, (dy) => maxima.segmentMaxGradient(positions, dy, size).alias(shape)]],
    );
  });
}
