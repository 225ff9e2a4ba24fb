/**
 * Where gradients arrive: one sink a leaf, which takes every gradient that reaches it, by whatever op. `DenseGradient`
 * is a parameter's slot in a flat buffer, `RowGradients` a table's rows, `LooseGradient` the `grad` of any other leaf.
 */
import { ShapeError } from '../errors.js';
import { floatDType } from '../kernels/launch/formats.js';
import { addInPlace, binary, cast } from '../kernels/pointwise.js';
import { segmentSumRows } from '../kernels/rows/gather.js';
import { RowIndex } from '../tensor/row-index.js';
import { scope } from '../tensor/scope.js';
import { formatShape, sizeOf } from '../tensor/shape.js';
import { type GradientSink, Tensor } from '../tensor/tensor.js';

/** Gradient of some rows of a table: `values` [rows.length, C], `rows` distinct and ascending. */
export interface RowGradient {
  readonly rows: Uint32Array;
  readonly values: Tensor;
}

/** Pieces that are collected before they are merged: left apart, they would add up to all tokens of a step. */
const MOST_PIECES = 8;

/** The sink of any leaf. */
export function sinkOf(leaf: Tensor): GradientSink {
  return leaf.role?.gradient ?? new LooseGradient(leaf);
}

/** A slot in a buffer that holds the gradients of many parameters; zeros are no gradient. */
export class DenseGradient implements GradientSink {
  readonly byRows = false;

  constructor(readonly into: Tensor) {}

  add(part: Tensor): void {
    addTo(this.into, part);
  }

  addRows(rows: Uint32Array, values: Tensor): void {
    addRowsTo(this.into, rows, values);
  }

  dense(): Tensor {
    return this.into;
  }

  clear(): void {
    this.into.fillZero();
  }

  dispose(): void {
    this.into.dispose();
  }
}

/**
 * Of a [V,C] table. Gathers give rows, which are collected in pieces; any other op gives all of it (tied embeddings:
 * a product with the table), after which everything is added to one dense tensor.
 */
export class RowGradients implements GradientSink {
  private pieces: RowGradient[] = [];
  into: Tensor | undefined;

  constructor(private readonly table: Tensor) {}

  get byRows(): boolean {
    return this.into === undefined;
  }

  /** Parts that are held apart. */
  get count(): number {
    return this.pieces.length + (this.into ? 1 : 0);
  }

  add(part: Tensor): void {
    if (this.into) addTo(this.into, part);
    else this.into = copied(this.table, part);
  }

  addRows(rows: Uint32Array, values: Tensor): void {
    const { table } = this;
    const ascending = rows.every((row, i) => (i === 0 || row > rows[i - 1]!) && row < table.rows);
    if (!ascending || values.dtype !== 'f32' || values.rows !== rows.length || values.cols !== table.cols)
      throw new ShapeError(
        'addRows',
        `needs a row of values for each of ${rows.length} distinct, ascending rows`,
        {
          table,
          values,
        },
      );
    this.pieces.push({ rows, values });
    if (this.pieces.length >= MOST_PIECES) this.merge();
  }

  /** Everything as one piece: all rows of the table, once a dense gradient is among it. Undefined without any. */
  merge(): RowGradient | undefined {
    const { into, table } = this;
    if (into) {
      for (const { rows, values } of this.pieces.splice(0)) addRowsTo(into, rows, values);
      return { rows: Uint32Array.from({ length: table.rows }, (_, i) => i), values: into };
    }
    if (this.pieces.length > 1) {
      const rows = Uint32Array.from(new Set(this.pieces.flatMap((piece) => [...piece.rows]))).sort();
      const at = new Map(Array.from(rows, (row, i) => [row, i]));
      const values = Tensor.zeros(table.gpu, [rows.length, table.cols], 'f32', 'gradients').keep();
      for (const piece of this.pieces)
        addRowsTo(
          values,
          piece.rows.map((row) => at.get(row)!),
          piece.values,
        );
      this.pieces = [{ rows, values }];
    }
    return this.pieces[0];
  }

  /** Rows become a dense tensor of the table's shape, and stay so until they are cleared. */
  dense(): Tensor | undefined {
    if (!this.into && this.pieces.length > 0)
      this.into = Tensor.zeros(this.table.gpu, this.table.shape, 'f32', 'gradients').keep();
    this.merge();
    return this.into;
  }

  clear(): void {
    for (const { values } of this.pieces.splice(0)) values.dispose();
    this.into?.dispose();
    this.into = undefined;
  }

  dispose(): void {
    this.clear();
  }
}

/** Of a leaf that no model owns: its `grad`, made when the first gradient arrives, in the leaf's number format. */
class LooseGradient implements GradientSink {
  readonly byRows = false;

  constructor(private readonly leaf: Tensor) {}

  get into(): Tensor | undefined {
    return this.leaf.grad;
  }

  add(part: Tensor): void {
    if (this.leaf.grad) addTo(this.leaf.grad, part);
    else this.leaf.grad = copied(this.leaf, part);
  }

  addRows(rows: Uint32Array, values: Tensor): void {
    this.leaf.grad ??= Tensor.zeros(this.leaf.gpu, this.leaf.shape, this.leaf.dtype, 'gradients').keep();
    addRowsTo(this.leaf.grad, rows, values);
  }

  dense(): Tensor | undefined {
    return this.leaf.grad;
  }

  clear(): void {
    this.leaf.zeroGrad();
  }

  dispose(): void {
    this.leaf.zeroGrad();
  }
}

/** In the format of what it is added to; an op of the tape that gives another number of values is at fault. */
function fitting(leaf: Tensor, part: Tensor): Tensor {
  if (part.size !== sizeOf(leaf.shape))
    throw new ShapeError(
      'backward',
      `a gradient of ${part.size} values for a leaf of ${formatShape(leaf.shape)}`,
      {
        leaf,
        gradient: part,
      },
    );
  return part.dtype === leaf.dtype ? part : cast(part, floatDType('backward', leaf));
}

/** A copy: the part may share storage with a gradient that others still read. */
function copied(leaf: Tensor, part: Tensor): Tensor {
  return scope(() => {
    const fits = fitting(leaf, part);
    const copy = Tensor.empty(leaf.gpu, leaf.shape, fits.dtype, 'gradients').keep();
    copy.copyUnrecorded(fits);
    return copy;
  });
}

function addTo(target: Tensor, part: Tensor): void {
  scope(() => {
    const fits = fitting(target, part);
    if (target.dtype !== 'f16' || target.size % 4 === 0) addInPlace(target, fits);
    // The kernel that adds in place takes halves in fours.
    else target.copyUnrecorded(binary('add', target.alias([target.size]), fits.alias([target.size])));
  });
}

/** Adds rows to a dense gradient and frees them. */
function addRowsTo(target: Tensor, rows: Uint32Array, values: Tensor): void {
  scope(() => {
    const index = new RowIndex(target.gpu, rows);
    segmentSumRows(values, index.segments(), target, true);
    index.dispose();
  });
  values.dispose();
}
