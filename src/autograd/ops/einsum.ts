/**
 * Sums of products over named axes: an equation is read here, and computed by what there is. Axes are put in order and taken
 * together, so that two operands are one matrix product with a batch, or an elementwise product where nothing is left to
 * multiply by rows.
 */
import { ShapeError } from '../../errors.js';
import { show } from '../../show.js';
import { floats, optional, signature } from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { sizeOf } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { bothInF32 } from './in-f32.js';
import { matmul } from './matmul.js';
import { mul } from './pointwise.js';
import { sum } from './reduce.js';
import { permute, reshape } from './shape.js';
import { slice } from './slices.js';

/** A tensor whose axes have names. */
interface Named {
  readonly x: Tensor;
  readonly axes: readonly string[];
}

const EINSUM = signature(
  'einsum',
  { a: floats('...a'), b: optional(floats('...b')) },
  { sameDType: ['a', 'b'] },
);

/**
 * Σ over the axes that the result lacks of the product of the operands, whose axes `equation` names by letters:
 * `einsum('bij,bjk->bik', a, b)`. Of one or two operands, f32 or f16, of one dtype; halves are summed in f32. Without `->`
 * the result has the letters that occur once, by alphabet, capitals first. `...` stands for the axes that have no letter, which
 * a result without it sums over. Axes of extent 1 broadcast, as in PyTorch. A letter twice in an operand means its diagonal.
 *
 * The operands are copied where their axes do not come as batch, rows, inner (or transposed), the result where it wants its
 * axes in another order.
 * @throws ShapeError for an equation that does not say what to do, or does not fit the operands.
 */
export function einsum(equation: string, a: Tensor, b?: Tensor, ...more: never[]): Tensor {
  EINSUM.check({ a, b });
  if (typeof equation !== 'string')
    throw new ShapeError('einsum', `needs an equation such as 'ij,jk->ik', found ${show(equation)}`, {
      a,
      b,
    });
  if (more.length > 0)
    throw new ShapeError('einsum', `takes one or two operands, found ${more.length + 2}`, { a, b });
  const tensors = b ? [a, b] : [a];
  const { inputs, output } = parse(equation, tensors, (problem) => {
    throw new ShapeError('einsum', `${show(equation)}: ${problem}`, { a, b });
  });
  return scope(() => {
    const [first, second] = inputs.map((axes, i) => diagonal({ x: tensors[i]!, axes }));
    if (second) return ofTwo(first!, second, output);
    const y = ordered(summed(first!, output), output);
    // Another handle, where nothing was to do.
    return y === a ? reshape(a, a.shape) : y;
  });
}

// ---- the equation ------------------------------------------------------------------------------------------------------

const DOTS = '...';

interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** Letters one by one; what `...` stands for as `.0`, `.1`, counted from the end. */
function parse(equation: string, tensors: readonly Tensor[], fail: (problem: string) => never): Equation {
  const [left, right, ...others] = equation.replaceAll(' ', '').split('->');
  if (others.length > 0) fail('-> stands there twice');
  const texts = left!.split(',');
  if (texts.length !== tensors.length) fail(`names ${texts.length} operands, found ${tensors.length}`);
  const letters = (text: string): { before: string[]; after: string[] | undefined } => {
    const [before, after, ...rest] = text.split(DOTS);
    const strange = /[^a-zA-Z]/.exec(`${before}${after ?? ''}`)?.[0];
    if (strange !== undefined) fail(`${show(strange)} is no letter`);
    if (rest.length > 0) fail('... stands twice in an operand or the result');
    return { before: [...before!], after: after === undefined ? undefined : [...after] };
  };
  const dots = (count: number) => Array.from({ length: count }, (_, i) => `.${count - 1 - i}`);
  let most = 0;
  const inputs = texts.map((text, i) => {
    const { before, after } = letters(text);
    const rank = tensors[i]!.shape.length;
    const spare = rank - before.length - (after?.length ?? 0);
    if (after ? spare < 0 : spare !== 0) fail(`${show(text)} names no tensor of ${rank} dimensions`);
    most = Math.max(most, after ? spare : 0);
    return [...before, ...(after ? [...dots(spare), ...after] : [])];
  });
  const extents = new Map<string, number>();
  inputs.forEach((axes, i) => {
    axes.forEach((axis, at) => {
      const extent = tensors[i]!.shape[at]!;
      const own = tensors[i]!.shape[axes.indexOf(axis)]!;
      if (own !== extent) fail(`the diagonal of ${axis} is of ${own} and ${extent}`);
      const known = extents.get(axis) ?? extent;
      if (known !== extent && known !== 1 && extent !== 1)
        fail(
          axis.startsWith('.')
            ? `what ... stands for does not broadcast: ${known} and ${extent}`
            : `${axis} is ${known} and ${extent}`,
        );
      extents.set(axis, known === 1 ? extent : known);
    });
  });
  if (right === undefined) {
    const all = inputs.flat();
    const once = all.filter((axis) => !axis.startsWith('.') && all.indexOf(axis) === all.lastIndexOf(axis));
    return { inputs, output: [...dots(most), ...once.sort()] };
  }
  const { before, after } = letters(right);
  const output = [...before, ...(after ? [...dots(most), ...after] : [])];
  for (const axis of output) {
    if (!extents.has(axis)) fail(`${axis} of the result is in no operand`);
    if (output.indexOf(axis) !== output.lastIndexOf(axis)) fail(`${axis} stands twice in the result`);
  }
  return { inputs, output };
}

// ---- operands ----------------------------------------------------------------------------------------------------------

/** Axes of one name as one, which walks along all of them: in the last two, every (n+1)th element. */
function diagonal({ x, axes }: Named): Named {
  const twice = axes.find((axis, i) => axes.indexOf(axis) !== i);
  if (twice === undefined) return { x, axes };
  const [first, second] = [axes.indexOf(twice), axes.indexOf(twice, axes.indexOf(twice) + 1)];
  const others = axes.flatMap((_, i) => (i === first || i === second ? [] : [i]));
  const n = x.shape[first]!;
  const last = permute(x, [...others, first, second]);
  const flat = reshape(last, [...others.map((i) => x.shape[i]!), n * n]);
  const picked = slice(flat, ...others.map(() => null), [0, null, n + 1]);
  return diagonal({ x: picked, axes: [...others.map((i) => axes[i]!), twice] });
}

/** With the axes of `order` alone, which it has, in that order. */
function ordered({ x, axes }: Named, order: readonly string[]): Tensor {
  return order.every((axis, i) => axes[i] === axis)
    ? x
    : permute(
        x,
        order.map((axis) => axes.indexOf(axis)),
      );
}

/** Summed over the axes that are not among those that are kept. */
function summed({ x, axes }: Named, kept: readonly string[]): Named {
  const gone = axes.flatMap((axis, i) => (kept.includes(axis) ? [] : [i]));
  return gone.length === 0
    ? { x, axes }
    : { x: sum(x, gone), axes: axes.filter((axis) => kept.includes(axis)) };
}

/** Without axes of extent 1 that are longer in the other operand. */
function unbroadcast({ x, axes }: Named, other: Named): Named {
  const stays = axes.map((axis, i) => {
    const at = other.axes.indexOf(axis);
    return at < 0 || x.shape[i] === other.x.shape[at] || x.shape[i] !== 1;
  });
  if (!stays.includes(false)) return { x, axes };
  return {
    x: reshape(
      x,
      x.shape.filter((_, i) => stays[i]),
    ),
    axes: axes.filter((_, i) => stays[i]),
  };
}

function ofTwo(first: Named, second: Named, output: readonly string[]): Tensor {
  const [whole, other] = [unbroadcast(first, second), unbroadcast(second, first)];
  const a = summed(whole, [...output, ...other.axes]);
  const b = summed(other, [...output, ...a.axes]);
  const shared = a.axes.filter((axis) => b.axes.includes(axis));
  const batch = output.filter((axis) => shared.includes(axis));
  const inner = shared.filter((axis) => !output.includes(axis));
  const rows = output.filter((axis) => a.axes.includes(axis) && !shared.includes(axis));
  const columns = output.filter((axis) => b.axes.includes(axis) && !shared.includes(axis));
  // The other way round the product has the result's order as it is.
  if (rows.length > 0 && columns.length > 0 && isOrder(output, [...batch, ...columns, ...rows]))
    return ofTwo(second, first, output);
  const extents = (names: readonly string[]) =>
    names.map((axis) => {
      const { x, axes } = a.axes.includes(axis) ? a : b;
      return x.shape[axes.indexOf(axis)]!;
    });
  const axes = [...batch, ...rows, ...columns];
  if (inner.length === 0 || rows.length + columns.length === 0) {
    const spread = (side: Named, own: readonly string[]) => {
      const order = [...axes, ...inner].filter((axis) => side.axes.includes(axis));
      const shape = [...batch, ...rows, ...columns, ...inner].map((axis) =>
        own.includes(axis) || shared.includes(axis) ? extents([axis])[0]! : 1,
      );
      return reshape(ordered(side, order), shape);
    };
    const x = bothInF32(spread(a, rows), spread(b, columns), (p, q) => {
      const products = mul(p, q);
      return inner.length === 0
        ? products
        : sum(
            products,
            inner.map((_, i) => axes.length + i),
          );
    });
    return ordered({ x, axes }, output);
  }
  const matrix = (side: Named, [before, after]: readonly [readonly string[], readonly string[]]) => {
    // Stored the other way round it need not be copied.
    const turned = isOrder(side.axes, [...batch, ...after, ...before]);
    const [down, across] = turned ? [after, before] : [before, after];
    const x = reshape(ordered(side, [...batch, ...down, ...across]), [
      ...(batch.length > 0 ? [sizeOf(extents(batch))] : []),
      sizeOf(extents(down)),
      sizeOf(extents(across)),
    ]);
    return { x, turned };
  };
  const [left, right] = [matrix(a, [rows, inner]), matrix(b, [inner, columns])];
  const product = matmul(left.x, right.x, { transA: left.turned, transB: right.turned });
  return ordered({ x: reshape(product, extents(axes)), axes }, output);
}

const isOrder = (axes: readonly string[], order: readonly string[]): boolean =>
  axes.length === order.length && order.every((axis, i) => axes[i] === axis);
