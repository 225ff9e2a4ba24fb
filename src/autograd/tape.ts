/**
 * Reverse-mode differentiation. Each op computes its result with kernels and calls `record` with one gradient
 * closure per input; `backward` walks the nodes from the loss down. A gradient that nobody needs is never
 * computed, and what backward has used is freed as it goes.
 */
import { ShapeError } from '../errors.js';
import { binary, cast, full } from '../kernels/pointwise.js';
import { show } from '../show.js';
import { floats, signature } from '../tensor/operands.js';
import { isRecording, noteUnrecorded, scope } from '../tensor/scope.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { type GradientSink, type TapeNode, Tensor } from '../tensor/tensor.js';
import './leaves.js';

/**
 * dL/d(input) of dL/d(output). With a `sink` (the input is a leaf, and this is its own) it may add to that itself and
 * return undefined; returning undefined otherwise means that there is nothing to pass on.
 */
export type Gradient = (dy: Tensor, sink: GradientSink | undefined) => Tensor | undefined;

/** An input, its gradient, and the tensors that this gradient uses and the others do not. */
export type Input = readonly [tensor: Tensor, gradient: Gradient, uses?: readonly Tensor[]];

/** A tensor that gradients use, and the version of it that forward computed with. */
interface Use {
  readonly tensor: Tensor;
  readonly version: number;
}

const useOf = (tensor: Tensor): Use => ({ tensor, version: tensor.version.current });

/** Leads to another node or to a leaf; to neither, it is run for its effect on leaves that it knows of. */
interface Edge {
  readonly node: Node | undefined;
  readonly leaf: Tensor | undefined;
  readonly gradient: Gradient;
}

let nextId = 1;

class Node implements TapeNode {
  readonly id = nextId++;
  private references = 1;
  used = false;

  constructor(
    readonly name: string,
    readonly shape: readonly number[],
    readonly edges: readonly Edge[],
    /** Kept alive until backward has used them. */
    private saved: readonly Use[],
    /** Not kept alive: others own them. */
    private readonly watched: readonly Use[],
  ) {
    for (const { tensor } of saved) tensor.retainStorage();
    for (const edge of edges) edge.node?.retain();
  }

  retain(): void {
    this.references++;
  }

  release(): void {
    // An explicit stack: graphs can be deeper than the host's.
    const stack: Node[] = [this];
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (--node.references > 0) continue;
      node.freeSaved();
      for (const edge of node.edges) if (edge.node) stack.push(edge.node);
    }
  }

  /** @throws ShapeError when a tensor that the gradients use is not what forward computed with any more. */
  checkVersions(): void {
    for (const { tensor, version } of [...this.saved, ...this.watched])
      if (tensor.version.current !== version)
        throw new ShapeError(
          this.name,
          `backward needs a tensor that was modified in place after forward (at version ${tensor.version.current}, expected ${version}); write before forward or after backward`,
          { tensor },
        );
  }

  freeSaved(): void {
    for (const { tensor } of this.saved) tensor.releaseStorage();
    this.saved = [];
  }
}

/** Whether a gradient can reach something that wants it through `tensor`. */
export function wantsGradient(tensor: Tensor): boolean {
  return tensor.requiresGrad || tensor.node !== undefined;
}

/**
 * Puts `output` on the tape. `saved` and each input's own list name every tensor that the gradient closures use: the
 * tape keeps those alive until backward has used them, and backward refuses when one was modified in between.
 * `effect` runs before the closures, whether or not an input wants a gradient; `watched` are tensors that it uses
 * and that others keep alive.
 */
export function record(
  name: string,
  output: Tensor,
  saved: readonly Tensor[],
  inputs: readonly Input[],
  effect?: (dy: Tensor) => void,
  watched: readonly Tensor[] = [],
): Tensor {
  // Its memory may live on in a view or on the tape, but how it was computed is forgotten.
  const gone = inputs.find(([input]) => input.isDisposed)?.[0];
  if (gone) {
    output.dispose();
    throw new ShapeError(name, 'an operand was already disposed', { operand: gone });
  }
  if (!isRecording()) {
    noteUnrecorded(inputs.map(([input]) => input));
    return output;
  }
  const edges: Edge[] = [];
  const uses = new Set(saved);
  if (effect)
    edges.push({
      node: undefined,
      leaf: undefined,
      gradient: (dy) => {
        effect(dy);
        return undefined;
      },
    });
  for (const [input, gradient, own = []] of inputs) {
    if (!wantsGradient(input)) continue;
    for (const tensor of own) uses.add(tensor);
    edges.push({
      node: input.node as Node | undefined,
      leaf: input.node ? undefined : input,
      gradient,
    });
  }
  if (edges.length > 0)
    output.node = new Node(name, output.shape, edges, [...uses].map(useOf), watched.map(useOf));
  return output;
}

/**
 * Gives dL/d(leaf) to the sink (`grad`) of every leaf that `requiresGrad`, where L = Σ seed ∘ root (seed defaults to ones, and
 * root to a scalar). The graph is used up: a second call on it throws.
 */
export function backward(root: Tensor, seed?: Tensor): void {
  if (!(root instanceof Tensor))
    throw new ShapeError('backward', `root must be a tensor, found ${show(root)}`);
  if (!seed && root.size !== 1) throw new ShapeError('backward', 'needs a scalar, or a seed', { root });
  scope(() => backwardAll([[root, seed ?? full(root, root.shape, 1)]]));
}

/** The same for L = Σ seed ∘ root over several roots, each with its seed, in one pass. */
export function backwardAll(roots: readonly (readonly [root: Tensor, seed: Tensor])[]): void {
  propagate(roots, []);
}

const BACKWARD = signature(
  'backward',
  { root: floats('...'), seed: floats('...') },
  { sameDType: ['root', 'seed'] },
);

/** The sinks that the backward which is going on gives to, what it computes again (`checkpoint`) included. */
let reached: Set<GradientSink> | undefined;

/**
 * Propagates the seeds down to leaves. Leaves in `wanted` get their gradient returned (undefined: none reaches
 * them; the caller disposes of it), of all others their sinks get it.
 */
export function propagate(
  roots: readonly (readonly [root: Tensor, seed: Tensor])[],
  wanted: readonly Tensor[],
): (Tensor | undefined)[] {
  if (reached) return propagateInto(reached, roots, wanted);
  const sinks = new Set<GradientSink>();
  reached = sinks;
  try {
    const gradients = propagateInto(sinks, roots, wanted);
    try {
      // Only now: what backward itself needed is free.
      for (const sink of sinks) sink.settle();
    } catch (error) {
      for (const gradient of gradients) gradient?.dispose();
      throw error;
    }
    return gradients;
  } finally {
    reached = undefined;
  }
}

function propagateInto(
  sinks: Set<GradientSink>,
  roots: readonly (readonly [root: Tensor, seed: Tensor])[],
  wanted: readonly Tensor[],
): (Tensor | undefined)[] {
  const inner = wanted.find((tensor) => tensor.node);
  if (inner)
    throw new ShapeError('propagate', 'computed by an op: only of leaves is a gradient returned', {
      wanted: inner,
    });
  const starts: Node[] = [];
  for (const [root, seed] of roots) {
    BACKWARD.check({ root, seed });
    if (!root.node) throw new ShapeError('backward', 'nothing on the tape leads to this tensor', { root });
    starts.push(root.node as Node);
  }
  // Inputs are older than outputs, so descending ids are a topological order.
  const nodes = reachable(starts);
  const used = nodes.find((node) => node.used);
  if (used) throw new ShapeError('backward', `the graph at "${used.name}" was already used up`);
  for (const node of nodes) node.checkVersions();
  const gradients = new Map<Node | Tensor, Tensor>();
  const add = (to: Node | Tensor, part: Tensor) => {
    const sofar = gradients.get(to);
    const sum = sofar ? addGradients(sofar, part) : part.detach();
    sofar?.dispose();
    gradients.set(to, sum.keep());
  };
  const returned = new Set(wanted);
  let done = false;
  try {
    scope(() => {
      for (const [n, [, seed]] of roots.entries()) add(starts[n]!, apart(seed, nodes));
    });
    for (const node of nodes) {
      const dy = gradients.get(node);
      node.used = true;
      if (dy)
        scope(() => {
          // Again, since a gradient may have been added to a tensor that was used.
          node.checkVersions();
          for (const { node: parent, leaf, gradient } of node.edges) {
            const own = leaf && !returned.has(leaf) ? leaf : undefined;
            // Frozen since it was recorded, or given up: nobody would find its gradient.
            if (own && (!own.requiresGrad || own.isDisposed)) continue;
            const sink = own?.role?.gradient;
            if (sink) sinks.add(sink);
            const part = gradient(dy, sink);
            if (!part) continue;
            const { shape } = (parent ?? leaf)!;
            if (!sameShape(part.shape, shape))
              throw new ShapeError(
                node.name,
                `the gradient of an input ${formatShape(shape)} must be of its shape`,
                { gradient: part },
              );
            if (sink) sink.add(part);
            else if (parent ?? leaf) add((parent ?? leaf)!, part);
          }
        });
      dy?.dispose();
      gradients.delete(node);
      node.freeSaved();
    }
    done = true;
    return wanted.map((leaf) => gradients.get(leaf));
  } finally {
    if (!done) for (const gradient of gradients.values()) gradient.dispose();
  }
}

/** The seed, or a copy where it lies in a buffer that gradients are added to: it may be a gradient itself. */
function apart(seed: Tensor, nodes: readonly Node[]): Tensor {
  const shared = nodes.some(({ edges }) =>
    edges.some(({ leaf }) => leaf?.role?.gradient?.into?.sharesStorage(seed)),
  );
  if (!shared) return seed;
  const copy = Tensor.empty(seed.gpu, seed.shape, seed.dtype, 'gradients');
  copy.copyUnrecorded(seed);
  return copy;
}

/** Ops that mix formats may hand one input gradients of either. */
function addGradients(a: Tensor, b: Tensor): Tensor {
  return a.dtype === b.dtype ? binary('add', a, b) : binary('add', cast(a, 'f32'), cast(b, 'f32'));
}

function reachable(starts: readonly Node[]): Node[] {
  const seen = new Set<Node>(starts);
  const stack = [...starts];
  while (stack.length > 0)
    for (const { node } of stack.pop()!.edges)
      if (node && !seen.has(node)) {
        seen.add(node);
        stack.push(node);
      }
  return [...seen].sort((a, b) => b.id - a.id);
}
