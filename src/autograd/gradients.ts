/**
 * Where gradients arrive: one sink a leaf, which takes every gradient that reaches it, by whatever op. `RowGradients`
 * holds the touched rows of a table, `DenseGradient` all values of any other leaf.
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
  /** Rows of the table, distinct and ascending. */
  readonly rows: Uint32Array;
  /** [rows.length, C] f32: the gradient of each. */
  readonly values: Tensor;
}

/** Pieces that are collected before they are merged: left apart, they would add up to all tokens of a step. */
const MOST_PIECES = 8;

/** A tensor of the leaf's shape, made when the first gradient arrives: its own, or a slot in a buffer of many. */
export class DenseGradient implements GradientSink {
  readonly byRows = false;
  private own: Tensor | undefined;
  private slot: Tensor | undefined;

  constructor(
    private readonly leaf: Tensor,
    /** Zeros are no gradient. The sink owns the tensor, which it asks for once. */
    private readonly makeSlot?: () => Tensor,
  ) {}

  get into(): Tensor | undefined {
    this.slot ??= this.makeSlot?.();
    return this.slot ?? this.own;
  }

  add(part: Tensor): void {
    const { into } = this;
    if (into) addTo(into, part);
    else this.own = copied(this.leaf, part);
  }

  addRows(rows: Uint32Array, values: Tensor): void {
    if (!this.into) this.own = zeros(this.leaf);
    addRowsTo(this.into!, rows, values);
    values.dispose();
  }

  settle(): void {}

  dense(): Tensor | undefined {
    return this.into;
  }

  /** A gradient of its own it then is; what it was before is not freed. */
  set(gradient: Tensor | undefined): void {
    if (this.makeSlot) copyInto(this, gradient);
    else this.own = gradient;
  }

  clear(): void {
    this.slot?.fillZero();
    this.own?.dispose();
    this.own = undefined;
  }

  dispose(): void {
    this.slot?.dispose();
    this.own?.dispose();
  }
}

/**
 * Of a [V,C] table. Gathers give rows, which are collected in pieces until backward ends; any other op gives all of it
 * (tied embeddings: a product with the table), after which everything is added to one dense tensor.
 */
export class RowGradients implements GradientSink {
  private readonly pieces: RowGradient[] = [];
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
    this.check('addRows', rows, values);
    this.pieces.push({ rows, values: values.keep() });
    if (this.pieces.length >= MOST_PIECES) this.settle();
  }

  /**
   * Of many micro-batches and chunks one piece is left, so that a table's gradient takes its distinct rows. Where there
   * is no memory for that, nothing is lost: what was not added yet is still there.
   */
  settle(): void {
    const { into, table, pieces } = this;
    if (!into) {
      if (pieces.length <= 1) return;
      const rows = pieces.map((piece) => piece.rows).reduce(union);
      const values = Tensor.zeros(table.gpu, [rows.length, table.cols], 'f32', 'gradients').keep();
      pieces.unshift({ rows, values });
    }
    const first = into ? 0 : 1;
    const [target, all] = into ? [into, undefined] : [pieces[0]!.values, pieces[0]!.rows];
    while (pieces.length > first) {
      const { rows, values } = pieces[first]!;
      addRowsTo(target, all ? placesIn(all, rows) : rows, values);
      pieces.splice(first, 1);
      values.dispose();
    }
  }

  /** Everything as one piece: all rows of the table, once a dense gradient is among it. Undefined without any. */
  merged(): RowGradient | undefined {
    this.settle();
    const { into, table } = this;
    return into
      ? { rows: Uint32Array.from({ length: table.rows }, (_, i) => i), values: into }
      : this.pieces[0];
  }

  /**
   * This instead of what there is; the sink owns `values` from here on.
   * @throws ShapeError when `rows` are not distinct, ascending rows of the table with a row of f32 values each.
   */
  replace({ rows, values }: RowGradient): void {
    this.check('replace', rows, values);
    this.drop(values);
    if (rows.length > 0) this.pieces.push({ rows, values: values.keep() });
    else values.dispose();
  }

  /** Rows become a dense tensor of the table's shape, and stay so until they are cleared. */
  dense(): Tensor | undefined {
    if (!this.into && this.pieces.length > 0) this.into = zeros(this.table);
    this.settle();
    return this.into;
  }

  set(gradient: Tensor | undefined): void {
    copyInto(this, gradient);
  }

  clear(): void {
    this.drop();
  }

  dispose(): void {
    this.drop();
  }

  private drop(except?: Tensor): void {
    const held = this.pieces.splice(0).map(({ values }) => values);
    if (this.into) held.push(this.into);
    this.into = undefined;
    for (const values of held) if (values !== except) values.dispose();
  }

  private check(op: string, rows: Uint32Array, values: Tensor): void {
    const { table } = this;
    const ascending = rows.every((row, i) => (i === 0 || row > rows[i - 1]!) && row < table.rows);
    if (!ascending || values.dtype !== 'f32' || values.rows !== rows.length || values.cols !== table.cols)
      throw new ShapeError(op, `needs a row of values for each of ${rows.length} distinct, ascending rows`, {
        table,
        values,
      });
  }
}

/** Of two ascending lists of distinct rows, one such list. */
function union(a: Uint32Array, b: Uint32Array): Uint32Array {
  const all = new Uint32Array(a.length + b.length);
  let count = 0;
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    const difference = a[i]! - b[j]!;
    all[count++] = difference <= 0 ? a[i]! : b[j]!;
    if (difference <= 0) i++;
    if (difference >= 0) j++;
  }
  const rest = i < a.length ? a.subarray(i) : b.subarray(j);
  all.set(rest, count);
  return all.slice(0, count + rest.length);
}

/** Where in ascending `all` each of the ascending `rows`, which are among them, is. */
function placesIn(all: Uint32Array, rows: Uint32Array): Uint32Array {
  let at = 0;
  return rows.map((row) => {
    while (all[at] !== row) at++;
    return at;
  });
}

function zeros(leaf: Tensor): Tensor {
  return Tensor.zeros(leaf.gpu, leaf.shape, leaf.dtype, 'gradients').keep();
}

/** A sink's gradient becomes a copy of this one, which may lie in the sink itself. */
function copyInto(sink: GradientSink, gradient: Tensor | undefined): void {
  if (gradient && gradient === sink.into) return;
  if (gradient && sink.into?.sharesStorage(gradient)) {
    // What is cleared may be what it is set to.
    const copy = Tensor.empty(gradient.gpu, gradient.shape, gradient.dtype, 'workspace');
    copy.copyUnrecorded(gradient);
    sink.clear();
    sink.add(copy);
    copy.dispose();
  } else {
    sink.clear();
    if (gradient) sink.add(gradient);
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

/** target[rows[i]] += values[i] */
function addRowsTo(target: Tensor, rows: Uint32Array, values: Tensor): void {
  const index = new RowIndex(target.gpu, rows);
  try {
    scope(() => segmentSumRows(values, index.segments(), target, true));
  } finally {
    index.dispose();
  }
}
