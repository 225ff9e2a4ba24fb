/** Sums of products over named axes in float64, by going through all of them: what matmul and einsum are held to. */
import { stridesOf } from '../src/tensor/shape.js';

export interface NamedOperand {
  readonly values: ArrayLike<number>;
  readonly shape: readonly number[];
  /** Of each axis; a name may stand there twice. */
  readonly axes: readonly string[];
}

/**
 * The sum of the product of the operands over all axes that `output` lacks and, with `seed`, the gradients of Σ seed·result.
 * Extents of 1 broadcast.
 */
export function namedSums(
  operands: readonly NamedOperand[],
  output: readonly string[],
  seed?: ArrayLike<number>,
): { readonly value: Float64Array; readonly shape: number[]; readonly gradients: Float64Array[] } {
  const extents = new Map<string, number>();
  for (const { axes, shape } of operands)
    axes.forEach((axis, i) => {
      extents.set(axis, Math.max(extents.get(axis) ?? 0, shape[i]!));
      if (shape[i] === 0) extents.set(axis, 0);
    });
  const names = [...extents.keys()];
  const all = [...extents.values()];
  // Elements of an operand to one step of each name.
  const steps = (axes: readonly string[], shape: readonly number[]) => {
    const strides = stridesOf(shape);
    return names.map((name) =>
      axes.reduce((sum, axis, i) => sum + (axis === name && shape[i] !== 1 ? strides[i]! : 0), 0),
    );
  };
  const shape = output.map((axis) => extents.get(axis)!);
  const ofOutput = steps(output, shape);
  const ofOperands = operands.map((operand) => steps(operand.axes, operand.shape));
  const value = new Float64Array(shape.reduce((a, b) => a * b, 1));
  const gradients = operands.map(({ values }) => new Float64Array(values.length));
  const at = names.map(() => 0);
  const place = (own: readonly number[]) => own.reduce((sum, step, i) => sum + step * at[i]!, 0);
  if (all.includes(0)) return { value, shape, gradients };
  for (;;) {
    const places = ofOperands.map(place);
    const to = place(ofOutput);
    const factors = places.map((from, i) => operands[i]!.values[from]!);
    value[to]! += factors.reduce((a, b) => a * b, 1);
    if (seed)
      places.forEach((from, i) => {
        gradients[i]![from]! += factors.reduce((a, b, n) => (n === i ? a : a * b), seed[to]!);
      });
    let last = names.length - 1;
    while (last >= 0 && ++at[last]! === all[last]) at[last--] = 0;
    if (last < 0) return { value, shape, gradients };
  }
}
