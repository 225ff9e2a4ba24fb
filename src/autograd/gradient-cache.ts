/**
 * Gradient caching (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup"): a loss over
 * the representations of a whole batch, with a graph of one chunk of it at a time. Everything is encoded without a graph, the
 * loss gives gradients on the representations, then one chunk after the other is encoded again with a graph that those
 * gradients seed. The gradient is that of the whole batch.
 */
import { ShapeError } from '../errors.js';
import { seedOf } from '../kernels/make.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { adopt, type Counter, noGrad, noteDraws, replay, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { concat } from './ops/joins.js';
import { sliceRows } from './ops/slices.js';
import { backwardAll, propagate } from './tape.js';

/** What `cachedBackward` takes beside its functions. */
export interface CachedBackwardOptions {
  /** Multiplies the gradients. Default 1. */
  readonly scale?: number | undefined;
}

const OPTIONS = new OptionNames<CachedBackwardOptions>({ scale: 'number' });

/**
 * Adds the gradient of `loss(representations)` to the leaves that `encode` uses; returns the loss, a scalar without a graph.
 * `encode` gives a chunk's representations, a tensor or a list of them, of a row (first dimension) for each of its items or more; it is
 * called twice for every chunk and must compute the same: what it draws from `RandomStreams`, as modules do for dropout, is
 * drawn again. `loss` is given them of all chunks, one after the other, and
 * returns a scalar, or a promise of it. Tensors of the loss's own (a temperature) get their gradients too.
 * @throws ShapeError when there are no chunks, when chunks give different numbers of tensors, for a loss that is no scalar.
 */
export async function cachedBackward<Chunk>(
  chunks: readonly Chunk[],
  encode: (chunk: Chunk) => Tensor | readonly Tensor[],
  loss: (...representations: Tensor[]) => Tensor | Promise<Tensor>,
  options: CachedBackwardOptions = {},
): Promise<Tensor> {
  const { scale = 1 } = OPTIONS.read('cachedBackward', options);
  const op = 'cachedBackward';
  if (!Array.isArray(chunks)) throw new ShapeError(op, `chunks must be a list, found ${show(chunks)}`);
  for (const [name, each] of Object.entries({ encode, loss }))
    if (typeof each !== 'function')
      throw new ShapeError(op, `${name} must be a function, found ${show(each)}`);
  if (chunks.length === 0) throw new ShapeError(op, 'needs at least one chunk');
  const encoded = (chunk: Chunk): readonly Tensor[] => {
    const result = encode(chunk);
    const list = result instanceof Tensor ? [result] : result;
    const wrong = Array.isArray(list) ? list.find((item) => !(item instanceof Tensor)) : list;
    if (wrong !== undefined) throw new ShapeError(op, `encode must give tensors, found ${show(wrong)}`);
    return list;
  };
  return scope(async () => {
    const draws = chunks.map(() => new Map<Counter, number>());
    const parts = chunks.map((chunk, n) => noteDraws(draws[n]!, () => scope(() => encoded(chunk))));
    const kinds = parts[0]!.length;
    if (parts.some((part) => part.length !== kinds))
      throw new ShapeError(op, 'chunks have different numbers of representations');
    const whole = noGrad(() =>
      Array.from({ length: kinds }, (_, kind) => concat(parts.map((part) => part[kind]!))),
    );
    for (const part of parts) for (const tensor of part) tensor.dispose();
    const found = await lossGradients(whole, async () => loss(...whole), scale);
    for (const tensor of whole) tensor.dispose();
    const begins = new Array<number>(kinds).fill(0);
    for (const [n, chunk] of chunks.entries()) {
      scope(() =>
        seedRows(
          replay(draws[n]!, () => encoded(chunk)).map((root, kind) => {
            const from = begins[kind]!;
            begins[kind] = from + root.shape[0]!;
            return { root, gradient: found.gradients[kind], from, to: begins[kind]! };
          }),
        ),
      );
    }
    return found.loss;
  });
}

/**
 * The loss of representations that have no graph, detached, and its gradient times `scale` on each of them; undefined where
 * none reaches. All belong to the caller's scope.
 */
export async function lossGradients(
  representations: readonly Tensor[],
  lossOf: () => Promise<Tensor>,
  scale: number,
): Promise<{ loss: Tensor; gradients: readonly (Tensor | undefined)[] }> {
  const { loss, gradients } = await scope(async () => {
    for (const leaf of representations) leaf.requiresGrad = true;
    const loss = await lossOf();
    if (!(loss instanceof Tensor) || loss.size !== 1)
      throw new ShapeError('backward', 'a loss must be a scalar', loss instanceof Tensor ? { loss } : {});
    const gradients = loss.node
      ? propagate([[loss, seedOf(loss, scale)]], representations)
      : representations.map(() => undefined);
    return { loss: loss.detach(), gradients };
  });
  for (const gradient of gradients) if (gradient) adopt(gradient);
  return { loss, gradients };
}

/** Goes backward from roots with a graph, each from rows [from, to) of the gradient of its kind, where there is one. */
export function seedRows(
  parts: readonly {
    readonly root: Tensor | undefined;
    readonly gradient: Tensor | undefined;
    readonly from: number;
    readonly to: number;
  }[],
): void {
  const roots: [root: Tensor, seed: Tensor][] = [];
  for (const { root, gradient, from, to } of parts)
    if (root?.node && gradient) roots.push([root, noGrad(() => sliceRows(gradient, from, to))]);
  if (roots.length > 0) backwardAll(roots);
}
