/**
 * Gradients as values: of what is asked for, returned and not left in `grad`, as `torch.autograd.grad` and JAX's
 * `value_and_grad` give them. First-order: what is returned is not on the tape.
 */
import { ShapeError } from '../errors.js';
import { seedOf } from '../kernels/make.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { adopt, scope, withGrad } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { propagate } from './tape.js';

/** Seeds of the outputs, and whether the graph of `grad` can be used again. */
export interface GradOptions {
  /** dL/d(output), one for each output; by default ones, and then each output must be a scalar. */
  readonly seeds?: readonly Tensor[] | undefined;
  /** Keeps the graph for another pass. */
  readonly retainGraph?: boolean | undefined;
  /** PyTorch's: there is no second order here, so it can only be false. */
  readonly createGraph?: false | undefined;
}

const list = (op: string, name: string, value: Tensor | readonly Tensor[]): readonly Tensor[] => {
  const tensors = value instanceof Tensor ? [value] : value;
  if (!Array.isArray(tensors) || !tensors.every((tensor) => tensor instanceof Tensor))
    throw new ShapeError(op, `${name} must be a tensor or a list of tensors, found ${show(value)}`);
  return tensors;
};

const GRAD_OPTIONS = new OptionNames<GradOptions>({
  seeds: 'any',
  retainGraph: 'boolean',
  createGraph: 'boolean',
});

/** The leaves of `valueAndGrad`s whose functions are running: their gradients go through what those compute. */
const differentiated = new Set<Tensor>();

/** @throws ShapeError within the function of a `valueAndGrad`, for what it is computed from: its gradient would be cut off. */
function refuseSecondOrder(op: string, tensors: readonly Tensor[]): void {
  if (differentiated.size === 0) return;
  for (const input of tensors)
    if (input.node || differentiated.has(input))
      throw new ShapeError(
        op,
        'gradients are of first order: within the function of a valueAndGrad its gradient would flow through this one; detach() what it is taken of',
        { input },
      );
}

/** No two of them, and none of them and a seed, in the same memory: whoever writes one writes no other. */
function ownMemory(gradients: readonly Tensor[], seeds: readonly Tensor[] = []): Tensor[] {
  const own: Tensor[] = [];
  for (const gradient of gradients) {
    let given = gradient;
    if ([...own, ...seeds].some((other) => other.sharesStorage(gradient))) {
      given = Tensor.empty(gradient.gpu, gradient.shape, gradient.dtype, 'gradients');
      given.copyUnrecorded(gradient);
    } else adopt(gradient);
    own.push(given);
  }
  for (const gradient of gradients) if (!own.includes(gradient)) gradient.dispose();
  return own;
}

/**
 * dL/d(input) for each of the inputs, where L = Σ seed ∘ output over all outputs; each of its input's shape and dtype. Inputs
 * are leaves that require a gradient, or tensors computed on the way. `grad` of no tensor is touched, and nothing that
 * leads to none of the inputs is computed.
 * @throws ShapeError when an input is not on the tape, and when no output depends on it.
 */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): Tensor[] {
  const { seeds, retainGraph, createGraph } = GRAD_OPTIONS.read('grad', options);
  if (createGraph)
    throw new ShapeError(
      'grad',
      'gradients are of first order: what is returned is on no tape (createGraph)',
    );
  const roots = list('grad', 'outputs', outputs);
  const wanted = list('grad', 'inputs', inputs);
  if (seeds !== undefined) list('grad', 'seeds', seeds);
  if (seeds && seeds.length !== roots.length)
    throw new ShapeError('grad', `${seeds.length} seeds for ${roots.length} outputs`);
  for (const output of roots)
    if (!seeds && output.size !== 1)
      throw new ShapeError('grad', 'an output must be a scalar, or have a seed', { output });
  for (const input of wanted)
    if (!input.node && !input.requiresGrad)
      throw new ShapeError('grad', 'an input is not on the tape and requires no gradient', { input });
  refuseSecondOrder('grad', wanted);
  const found = scope(() =>
    propagate(
      roots.map((root, n) => [root, seeds?.[n] ?? seedOf(root)] as const),
      wanted,
      { retainGraph, only: true },
    ),
  );
  const unreached = wanted.find((_, n) => !found[n]);
  if (unreached) {
    for (const gradient of found) gradient?.dispose();
    throw new ShapeError('grad', 'no output depends on an input', { input: unreached });
  }
  return ownMemory(found as Tensor[], seeds);
}

/** A tensor, or arrays and plain objects of them. */
export type TensorTree = Tensor | readonly TensorTree[] | { readonly [name: string]: TensorTree };

/**
 * The function that computes `f` and its gradient with respect to its first operand, a tensor or a tree of tensors (f32 or
 * f16): `(parameters, ...rest) → [value, gradients]`. `f` is synchronous and returns a scalar; the gradients have the
 * structure of the first operand, zeros where `f` does not depend on a tensor. The tensors given need not require gradients, and
 * their `grad` is not touched. Under `noGrad` too: it has a graph of its own.
 * @throws ShapeError when `f` returns no scalar tensor, and within the function of another for what that one differentiates.
 */
export function valueAndGrad<T extends TensorTree, Rest extends unknown[]>(
  f: (parameters: T, ...rest: Rest) => Tensor,
): (parameters: T, ...rest: Rest) => [value: Tensor, gradients: T] {
  if (typeof f !== 'function') throw new ShapeError('valueAndGrad', `needs a function, found ${show(f)}`);
  return (parameters, ...rest) =>
    scope(() => {
      const leaves: Tensor[] = [];
      mapTree(parameters, (tensor) => {
        refuseSecondOrder('valueAndGrad', [tensor]);
        return tensor;
      });
      const own = mapTree(parameters, (tensor) => {
        const leaf = tensor.detach();
        leaf.requiresGrad = true;
        leaves.push(leaf);
        return leaf;
      });
      for (const leaf of leaves) differentiated.add(leaf);
      let result: Tensor;
      try {
        result = withGrad(() => f(own, ...rest));
      } finally {
        for (const leaf of leaves) differentiated.delete(leaf);
      }
      if (!(result instanceof Tensor) || result.size !== 1)
        throw new ShapeError(
          'valueAndGrad',
          `the function must return a scalar tensor, found ${result instanceof Tensor ? `[${result.shape}]` : show(result)}`,
        );
      const found = result.node
        ? propagate([[result, seedOf(result)]], leaves, { only: true })
        : leaves.map(() => undefined);
      const reached = ownMemory(found.filter((gradient) => gradient !== undefined));
      let [n, next] = [0, 0];
      const gradients = mapTree(parameters, (tensor) =>
        found[n++] ? reached[next++]! : Tensor.zeros(tensor.gpu, tensor.shape, tensor.dtype, 'gradients'),
      );
      return [result.detach(), gradients];
    });
}

/** The same structure, with what `each` makes of its tensors. */
function mapTree<T extends TensorTree>(tree: T, each: (tensor: Tensor) => Tensor): T {
  if (tree instanceof Tensor) return each(tree) as T;
  if (Array.isArray(tree)) return tree.map((item: TensorTree) => mapTree(item, each)) as unknown as T;
  if (typeof tree === 'object' && tree !== null && Object.getPrototypeOf(tree) === Object.prototype)
    return Object.fromEntries(
      Object.entries(tree).map(([name, item]) => [name, mapTree(item as TensorTree, each)]),
    ) as T;
  throw new ShapeError(
    'valueAndGrad',
    `parameters must be tensors, or arrays and plain objects of them, found ${show(tree)}`,
  );
}
