/** What an optimiser holds of one tensor: how often it was updated, and its moments, dense or of a table's rows. */
import type { Shape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import type { StateTensor } from '../weights/save-tensors.js';
import { restoreSpans, type Span, type StateSource, savedRows, savedSpans, savedValues } from './state.js';
import { TableMoments } from './table-moments.js';

/** The rows that have moments, beside them in a file. */
const ROWS = 'rows';

/** As PyTorch's optimisers call them, and the least value that they have. */
export interface MomentNames {
  readonly [name: string]: number;
}

/** How moments are held: one of each for every element, or by rows, of AdamW's two. */
export interface MomentLayout {
  /** Names in files, and the least value that each may have. */
  readonly names: MomentNames;
  /** Moments are held of the rows alone that had a gradient. */
  readonly byRows: boolean;
}

/** What an optimiser keeps of one tensor: its moments, dense or by the rows that were touched. */
export class Moments {
  /** Updates of the tensor, skipped ones not among them. */
  steps = 0;
  private readonly dense = new Map<string, Tensor>();
  /** Undefined for what is held dense. */
  readonly table: TableMoments | undefined;

  /** Zeros. */
  constructor(
    private readonly tensor: Tensor,
    private readonly layout: MomentLayout,
  ) {
    if (layout.byRows) this.table = new TableMoments({ tensor });
    else
      try {
        for (const name of Object.keys(layout.names))
          this.dense.set(name, Tensor.zeros(tensor.gpu, [tensor.size], 'f32', 'optimizer').keep());
      } catch (error) {
        this.dispose();
        throw error;
      }
  }

  /** [elements of the tensor]; undefined when the layout has none of that name. */
  get(name: string): Tensor | undefined {
    return this.dense.get(name);
  }

  /** Under the tensor's name. */
  saved(name: string): StateTensor[] {
    const rows = this.table?.rows();
    return [
      ...(rows ? [savedValues(`${name}.${ROWS}`, rows)] : []),
      ...this.spans().map(([moment, spans]) => savedSpans(`${name}.${moment}`, this.shapeOf(rows), spans)),
    ];
  }

  /** What a source must have of a tensor that is laid out so. @throws InputError for rows that cannot be. */
  static wanted(
    name: string,
    tensor: Tensor,
    { names, byRows }: MomentLayout,
    source: StateSource,
  ): [name: string, { shape: Shape; dtype: StateTensor['dtype'] }][] {
    const rows = byRows ? savedRows(source, `${name}.${ROWS}`, tensor.rows).length : undefined;
    const shape = rows === undefined ? tensor.shape : [rows, tensor.cols];
    return [
      ...(rows === undefined ? [] : [[`${name}.${ROWS}`, { shape: [rows], dtype: 'u32' }] as const]),
      ...Object.keys(names).map((moment) => [`${name}.${moment}`, { shape, dtype: 'f32' }] as const),
    ] as [string, { shape: Shape; dtype: StateTensor['dtype'] }][];
  }

  /** Takes what was saved under `name`. @throws InputError for a value that no moment has. */
  restore(name: string, source: StateSource): void {
    this.table?.restart(savedRows(source, `${name}.${ROWS}`, this.tensor.rows));
    for (const [moment, spans] of this.spans()) {
      const least = this.layout.names[moment]!;
      restoreSpans(source, `${name}.${moment}`, spans, { least });
    }
  }

  /** Frees all of them. */
  dispose(): void {
    this.table?.dispose();
    for (const tensor of this.dense.values()) tensor.dispose();
    this.dense.clear();
  }

  private shapeOf(rows: Uint32Array | undefined): Shape {
    return rows ? [rows.length, this.tensor.cols] : this.tensor.shape;
  }

  private spans(): [name: string, spans: readonly Span[]][] {
    const [mean, square] = Object.keys(this.layout.names);
    if (this.table)
      return [
        [mean!, this.table.spans('moment1')],
        [square!, this.table.spans('moment2')],
      ];
    return [...this.dense].map(([name, tensor]) => [name, [{ tensor, start: 0, count: tensor.size }]]);
  }
}
