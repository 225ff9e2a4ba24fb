/** What LayerNorm's kernels depend on and what they are given; below all of its variants. */

import type { Capabilities } from '../../gpu/capabilities.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type ColumnUnit, type FloatDType, unitFor } from '../launch/formats.js';

export interface LayerNormForm {
  /** Columns that are loaded together. */
  readonly columns: 1 | 4;
  /** Of x. */
  readonly from: FloatDType;
  /** Of the residual and the sum that is kept for backward. */
  readonly residual: 'none' | FloatDType;
  /** Of y. */
  readonly to: FloatDType;
}

export interface LayerNormOperands {
  readonly x: Tensor;
  /** With `sum`, or not at all. */
  readonly residual: Tensor | undefined;
  readonly gamma: Tensor;
  readonly beta: Tensor;
  readonly eps: number;
  readonly y: Tensor;
  readonly sum: Tensor | undefined;
  /** [rows, 2]: mean, 1/√(var + ε). */
  readonly stats: Tensor;
}

export interface LayerNormGradientForm {
  readonly columns: 1 | 4;
  /** Of dy. */
  readonly outer: FloatDType;
  /** Of the sum and its gradient. */
  readonly own: FloatDType;
}

export interface LayerNormGradientOperands {
  readonly dy: Tensor;
  readonly sum: Tensor;
  readonly stats: Tensor;
  readonly gamma: Tensor;
  /** Result. */
  readonly ds: Tensor;
}

export interface LayerNormAffineOperands {
  readonly dy: Tensor;
  readonly sum: Tensor;
  readonly stats: Tensor;
  /** Results, [cols]. */
  readonly dGamma: Tensor;
  readonly dBeta: Tensor;
}

export interface RowsSize {
  readonly rows: number;
  readonly cols: number;
}

export const columnsOf = (cols: number): 1 | 4 => (cols % 4 === 0 ? 4 : 1);

/** Load, store and type of `columns` columns at a time. */
export const unitOf = ({ columns }: { readonly columns: 1 | 4 }): ColumnUnit => unitFor('layerNorm', columns);

/** Whether 8 consecutive threads of a workgroup of 8 are lanes of one subgroup. */
export const hasSubgroup8 = (facts: Capabilities): boolean => facts.subgroupMinSize >= 8;

/** Rows differ little in cost, widths do: they decide how much of the time is loads of γ and β. */
export function sizeClass({ rows, cols }: RowsSize): string {
  return `${Math.ceil(Math.log2(Math.max(1, rows)))}·${cols}`;
}
