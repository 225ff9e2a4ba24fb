/**
 * One record per differentiable op: how to run it and its float64 reference. The table drives the forward check,
 * the gradient check (finite differences of the float64 reference), odd shapes and the leak check.
 */
import { attentionCases } from './op-tables/attention.js';
import type { OpCase } from './op-tables/case.js';
import { elementwiseCases } from './op-tables/elementwise.js';
import { indexingCases } from './op-tables/indexing.js';
import { lossAndSoftmaxCases } from './op-tables/losses.js';
import { normCases } from './op-tables/norms.js';
import { productCases } from './op-tables/products.js';
import { reduceCases } from './op-tables/reduce.js';
import { rowCases } from './op-tables/rows.js';
import { textScoreCases } from './op-tables/scores.js';
import { shapeCases } from './op-tables/shape.js';

export { type OpCase, pending } from './op-tables/case.js';

export const opTable: OpCase[] = [
  ...elementwiseCases,
  ...reduceCases,
  ...productCases,
  ...normCases,
  ...attentionCases,
  ...rowCases,
  ...shapeCases,
  ...indexingCases,
  ...lossAndSoftmaxCases,
  ...textScoreCases,
];
