/** What losses of values have in common: how many values become one, and in which format they are computed. */
import { ShapeError } from '../../../errors.js';
import { OptionNames } from '../../../options.js';
import { show } from '../../../show.js';
import type { Tensor } from '../../../tensor/tensor.js';
import { mean, sum } from '../reduce.js';

/** What a loss makes of its values. */
export type Reduction = 'mean' | 'sum' | 'none';

/** How the values of a loss become one. */
export interface LossOptions {
  /** Default `mean`. */
  reduction?: Reduction;
}

export const LOSS_OPTIONS = new OptionNames<LossOptions>({ reduction: 'string' });

/** @throws ShapeError naming the reductions that there are. */
export function checkReduction(
  op: string,
  reduction: string,
  operands: Readonly<Record<string, Tensor>>,
  allowed: readonly string[] = ['mean', 'sum', 'none'],
): void {
  if (!allowed.includes(reduction))
    throw new ShapeError(op, `reduction must be ${allowed.join(' or ')}, found ${show(reduction)}`, operands);
}

export const reduced = (values: Tensor, reduction: Reduction): Tensor =>
  reduction === 'mean' ? mean(values) : reduction === 'sum' ? sum(values) : values;
