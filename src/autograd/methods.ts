/**
 * Operations as methods: every export of these modules, whose first operand is a tensor, is a method of it too. So an
 * operation is written once, as a function; what takes a list of tensors, or none, stays a function alone.
 */
import type { FormulaName } from '../kernels/formulas.js';
import * as compare from '../tensor/compare.js';
import * as format from '../tensor/format.js';
import { Tensor } from '../tensor/tensor.js';
import * as attention from './ops/attention.js';
import * as diagonals from './ops/diagonals.js';
import * as distances from './ops/distances.js';
import * as indexing from './ops/indexing.js';
import * as entropy from './ops/losses/cross-entropy.js';
import * as valueLosses from './ops/losses/elementwise.js';
import * as vectorLosses from './ops/losses/vectors.js';
import * as matmul from './ops/matmul.js';
import * as norms from './ops/norms.js';
import * as order from './ops/order.js';
import * as pointwise from './ops/pointwise.js';
import * as reduce from './ops/reduce.js';
import * as rows from './ops/rows.js';
import * as shape from './ops/shape.js';
import * as slices from './ops/slices.js';
import * as softmax from './ops/softmax.js';
import { backward, retainGrad } from './tape.js';

const methods = {
  ...attention,
  backward,
  retainGrad,
  ...diagonals,
  ...distances,
  ...indexing,
  ...norms,
  ...compare,
  ...format,
  ...entropy,
  ...valueLosses,
  ...vectorLosses,
  ...matmul,
  ...order,
  // A row of the formulas without a function would not compile here.
  ...(pointwise satisfies Record<FormulaName, unknown>),
  ...reduce,
  ...rows,
  ...shape,
  ...slices,
  ...softmax,
};

type Method<F> = F extends (x: Tensor, ...rest: infer Rest) => infer Result
  ? (...rest: Rest) => Result
  : never;

/** The methods that operations give to tensors; what each does stands at the function of its name. */
export type TensorMethods = { [Name in keyof typeof methods]: Method<(typeof methods)[Name]> };

declare module '../tensor/tensor.js' {
  interface Tensor extends TensorMethods {}
}

for (const [name, operation] of Object.entries(methods)) {
  if (name in Tensor.prototype) throw new Error(`${name} is a member of Tensor already`);
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: unknown[]): unknown {
      return (operation as (x: Tensor, ...rest: unknown[]) => unknown)(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
