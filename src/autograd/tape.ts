/**
 * Reverse-mode differentiation. Each op computes its result with kernels and calls `record` with one gradient
 * closure per input; `backward` walks the nodes from the loss down. A gradient that nobody needs is never
 * computed, and what backward has used is freed as it goes.
 */
import { ShapeError } from '../errors.js';
import { seedOf } from '../kernels/make.js';
import { binary, cast } from '../kernels/pointwise.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { floats, signature } from '../tensor/operands.js';
import { isRecording, noteUnrecorded, scope } from '../tensor/scope.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { type GradientSink, type TapeNode, Tensor } from '../tensor/tensor.js';
import { DenseGradient } from './gradients.js';
import { Leaf } from './leaves.js';

/**
 * dL/d(input) of dL/d(output). With a `sink` (the input is a leaf, and this is its own) it may add to that itself and
 * return undefined; returning undefined otherwise means that there is nothing to pass on.
 */
export type Gradient = (dy: Tensor, sink: GradientSink | undefined) => Tensor | undefined;

/**
 * For what several gradients of a node begin with: `compute` of dL/d(output), once in a backward, by whichever asks first,
 * and anew in the next one, which a graph that is retained may see.
 */
export function sharedGradient<T>(compute: (dy: Tensor) => T): (dy: Tensor) => T {
  let last: { readonly dy: Tensor; readonly value: T } | undefined;
  return (dy) => {
    // Every backward hands out a handle of its own.
    if (last?.dy !== dy) last = { dy, value: compute(dy) };
    return last.value;
  };
}

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
  /** Results of this node that ask for their gradient (`retainGrad`). */
  readonly retaining = new Set<Tensor>();

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

/** The seed of `backward`, and whether the graph can be used again. */
export interface BackwardOptions {
  /** dL/d(root), of its shape and dtype; by default ones, and then the root must be a scalar. */
  readonly seed?: Tensor | undefined;
  /** Keeps what gradients need, so that the graph can be gone through again; it is freed with the tensors that lead to it. */
  readonly retainGraph?: boolean | undefined;
}

const BACKWARD_OPTIONS = new OptionNames<BackwardOptions>({ seed: 'any', retainGraph: 'boolean' });

/**
 * Gives dL/d(leaf) to the sink (`grad`) of every leaf that `requiresGrad`, where L = Σ seed ∘ root (seed defaults to ones, and
 * root to a scalar). The second operand is a seed, or options. The graph is used up, unless it is retained: a second call on
 * it throws.
 */
export function backward(root: Tensor, seed?: Tensor | BackwardOptions): void {
  if (!(root instanceof Tensor))
    throw new ShapeError('backward', `root must be a tensor, found ${show(root)}`);
  const { seed: given, retainGraph } =
    seed instanceof Tensor
      ? { seed }
      : BACKWARD_OPTIONS.read('backward', seed === undefined ? {} : seed, 'a seed, or options,');
  if (!given && root.size !== 1)
    throw new ShapeError('backward', 'needs a scalar, as sum() and mean() give, or a seed', { root });
  scope(() => void propagate([[root, given ?? seedOf(root)]], [], { retainGraph }));
}

/** The same for L = Σ seed ∘ root over several roots, each with its seed, in one pass. */
export function backwardAll(roots: readonly (readonly [root: Tensor, seed: Tensor])[]): void {
  propagate(roots, []);
}

/**
 * Asks for the gradient of what an op computed: after `backward` it is in `grad`, which otherwise leaves alone have. Returns
 * the tensor. On a leaf that requires a gradient it changes nothing.
 * @throws ShapeError when no gradient can reach the tensor.
 */
export function retainGrad(x: Tensor): Tensor {
  if (!(x instanceof Tensor)) throw new ShapeError('retainGrad', `x must be a tensor, found ${show(x)}`);
  if (!wantsGradient(x))
    throw new ShapeError('retainGrad', 'not on the tape: no gradient will reach it', { x });
  if (x.node) {
    x.role ??= new Leaf(x, new DenseGradient(x));
    (x.node as Node).retaining.add(x);
  }
  return x;
}

const BACKWARD = signature(
  'backward',
  { root: floats('...'), seed: floats('...') },
  { sameDType: ['root', 'seed'] },
);

/** Whether the graph of `propagate` can be used again, and whether sinks get anything. */
export interface PropagateOptions {
  /** The graph is not freed, and can be gone back through again. Default false. */
  readonly retainGraph?: boolean | undefined;
  /** No sink gets anything: what leads to none of `wanted` is not gone through, and can be later. */
  readonly only?: boolean | undefined;
}

/** A backward that is going on; what it computes again on its way (`checkpoint`) is a part of it. */
interface Walk {
  /** Those that it gives to. */
  readonly sinks: Set<GradientSink>;
  readonly only: boolean;
  /** Tensors whose gradients the caller wants, and what takes them. */
  readonly wanted: ReadonlySet<Tensor>;
  readonly collect: (tensor: Tensor, part: Tensor) => void;
}

let walking: Walk | undefined;

const PROPAGATE_OPTIONS = new OptionNames<PropagateOptions>({ retainGraph: 'boolean', only: 'boolean' });

/**
 * Propagates the seeds down to leaves. Tensors in `wanted`, leaves or not, get their gradient returned (undefined: none
 * reaches them; the caller disposes of it); of all other leaves their sinks get it, unless `only` those are asked for.
 */
export function propagate(
  roots: readonly (readonly [root: Tensor, seed: Tensor])[],
  wanted: readonly Tensor[],
  options: PropagateOptions = {},
): (Tensor | undefined)[] {
  const { retainGraph = false, only = false } = PROPAGATE_OPTIONS.read('propagate', options);
  const lists: readonly unknown[] = [roots, wanted, ...(Array.isArray(roots) ? (roots as unknown[]) : [])];
  if (!lists.every((each) => Array.isArray(each)))
    throw new ShapeError('propagate', 'needs a list of roots, each with its seed, and a list of tensors');
  const before = walking;
  // Gradients that are asked for while a backward goes on, by a gradient of somebody's own, are no part of it.
  const outer = only ? undefined : before;
  const sinks = outer?.sinks ?? new Set<GradientSink>();
  const found = new Map<Tensor, Tensor>();
  const own = new Set(wanted);
  walking = {
    sinks,
    only: outer?.only ?? only,
    wanted: outer ? new Set([...own, ...outer.wanted]) : own,
    collect(tensor, part) {
      if (own.has(tensor)) addTo(found, tensor, part);
      else outer!.collect(tensor, part);
    },
  };
  let done = false;
  try {
    walk(walking, roots, retainGraph);
    // Only now: what backward itself needed is free.
    if (!outer) for (const sink of sinks) sink.settle();
    done = true;
    return wanted.map((tensor) => found.get(tensor));
  } finally {
    walking = before;
    if (!done) for (const gradient of found.values()) gradient.dispose();
  }
}

function walk(
  { sinks, only, wanted, collect }: Walk,
  roots: readonly (readonly [root: Tensor, seed: Tensor])[],
  retainGraph: boolean,
): void {
  const starts: Node[] = [];
  for (const [root, seed] of roots) {
    BACKWARD.check({ root, seed });
    if (!root.node)
      throw new ShapeError(
        'backward',
        'nothing on the tape leads to this tensor: no operand required a gradient, or under noGrad, or all were detached, or gradients themselves, which are of first order',
        { root },
      );
    starts.push(root.node as Node);
  }
  const wantedOf = new Map<Node, Tensor[]>();
  for (const tensor of wanted)
    if (tensor.node)
      wantedOf.set(tensor.node as Node, [...(wantedOf.get(tensor.node as Node) ?? []), tensor]);
  // Inputs are older than outputs, so descending ids are a topological order.
  const nodes = reachable(starts);
  const leading = only ? leadingTo(nodes, wanted) : undefined;
  const leads = ({ node, leaf }: Edge): boolean => {
    // An effect leads wherever its own graph does.
    if (!leading || (!node && !leaf)) return true;
    return node ? leading.has(node) || wantedOf.has(node) : wanted.has(leaf!);
  };
  const runs = leading ? nodes.filter((node) => leading.has(node)) : nodes;
  const used = runs.find((node) => node.used);
  if (used)
    throw new ShapeError(
      'backward',
      `the graph at "${used.name}" was already used up (retainGraph keeps it for another backward)`,
    );
  for (const node of runs) node.checkVersions();
  const gradients = new Map<Node, Tensor>();
  try {
    scope(() => {
      for (const [n, [, seed]] of roots.entries()) addTo(gradients, starts[n]!, apart(seed, nodes));
    });
    for (const node of nodes) {
      const dy = gradients.get(node);
      if (dy) {
        for (const tensor of wantedOf.get(node) ?? []) collect(tensor, dy);
        if (!only)
          for (const tensor of node.retaining) {
            const sink = tensor.isDisposed ? undefined : tensor.role?.gradient;
            sink?.add(dy);
          }
      }
      if (!leading || leading.has(node)) {
        node.used = !retainGraph;
        if (dy)
          scope(() => {
            // Again, since a gradient may have been added to a tensor that was used.
            node.checkVersions();
            for (const edge of node.edges) {
              if (!leads(edge)) continue;
              const { node: parent, leaf, gradient } = edge;
              const own = leaf && !wanted.has(leaf) ? leaf : undefined;
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
              if (parent) addTo(gradients, parent, part);
              else if (sink) sink.add(part);
              else if (leaf) collect(leaf, part);
            }
          });
        if (!retainGraph) node.freeSaved();
      }
      dy?.dispose();
      gradients.delete(node);
    }
  } finally {
    // Where it ended early, and what reached a node that leads to nothing that is wanted.
    for (const gradient of gradients.values()) gradient.dispose();
  }
}

/** Adds a part to what has come for this so far; what is in the map outlives scopes. */
function addTo<K>(gradients: Map<K, Tensor>, to: K, part: Tensor): void {
  const sofar = gradients.get(to);
  const sum = sofar ? addGradients(sofar, part) : part.detach();
  sofar?.dispose();
  gradients.set(to, sum.keep());
}

/** Of `nodes`, outputs before inputs, those from which a wanted tensor is reached, or an effect is run. */
function leadingTo(nodes: readonly Node[], wanted: ReadonlySet<Tensor>): Set<Node> {
  const inner = new Set([...wanted].map(({ node }) => node as Node | undefined));
  const leading = new Set<Node>();
  for (const node of [...nodes].reverse())
    if (
      node.edges.some(({ node: parent, leaf }) =>
        parent ? leading.has(parent) || inner.has(parent) : !leaf || wanted.has(leaf),
      )
    )
      leading.add(node);
  return leading;
}

/** The seed, or a copy where it lies in a buffer that gradients are added to: it may be a gradient itself. */
function apart(seed: Tensor, nodes: readonly Node[]): Tensor {
  const shared = nodes.some(({ edges, retaining }) =>
    [...edges.flatMap(({ leaf }) => leaf ?? []), ...retaining].some(({ role }) =>
      role?.gradient?.into?.sharesStorage(seed),
    ),
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
