/**
 * Elementwise operations of one to three operands with NumPy broadcasting, casts and sums in place. What is
 * computed stands in formulas.ts, the kernels' texts in elementwise.ts.
 */
import { ShapeError } from '../errors.js';
import { show } from '../show.js';
import {
  anyDType,
  anyNumber,
  bools,
  floats,
  type NumberSpec,
  type OperandSpec,
  type Signature,
  signature,
  wholeNumber,
} from '../tensor/operands.js';
import { broadcastShapes, type Shape, sameShape } from '../tensor/shape.js';
import { bytesPerElement, type DType, Tensor } from '../tensor/tensor.js';
import { broadcastPlan, broadcastRange } from './broadcast.js';
import { elementary } from './elementary.js';
import { eachOf, runElements } from './elements.js';
import {
  type ElementPart,
  type ElementwiseForm,
  flatDefinition,
  type OperandKind,
  type Rank,
  type ReadName,
  readsOf,
  stretchedDefinition,
} from './elementwise.js';
import {
  type BinaryName,
  byName,
  type FormulaName,
  formulas,
  type OperandName,
  type UnaryName,
} from './formulas.js';
import { floatDType, load4, store4, unitFor, unitOf, vec4Type } from './launch/formats.js';
import { elementMain, FLAT_MAIN, flatGroups, fours, groupsOfFours } from './launch/grid.js';
import { flat, type Operand, whole, windowed } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

export * from './formulas.js';

const CAST = signature('cast', { x: anyDType('...') });

/**
 * x in another number format; x itself (another handle) when it is in that already. To floats: rounded to nearest. From
 * floats to integers: towards zero, what is beyond the format's range to its end, a NaN to 0. Between i32 and u32: the
 * same bits. To bool: whether it is not 0, as a NaN is. From bool: 0 or 1.
 * @throws ShapeError.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  CAST.check({ x });
  if (!Object.hasOwn(bytesPerElement, dtype))
    throw new ShapeError('cast', `to ${show(dtype)}, which is no format`, { x });
  if (x.dtype === dtype) return x.detach();
  const y = Tensor.empty(x.gpu, x.shape, dtype);
  castInto(x, y);
  return y;
}

const isFloat = (dtype: DType): boolean => dtype === 'f32' || dtype === 'f16';
const vectors = { i32: 'vec4i', u32: 'vec4u', f32: 'vec4f', f16: 'vec4f' } as const;

/** WGSL: `v` in another format, both as `load4` gives them. */
function converted(from: DType, to: DType): string {
  if (isFloat(from) && isFloat(to)) return 'v';
  if (to === 'bool') return isFloat(from) ? '!isZero(v)' : `v != ${vectors[from as 'i32']}()`;
  const vector = vectors[to];
  if (from === 'bool') return `select(${vector}(), ${vector}(1), v)`;
  if (to === 'i32' && isFloat(from))
    return 'select(select(select(vec4i(v), vec4i(2147483647), v >= vec4f(2147483648.0)), vec4i(-2147483648), v <= vec4f(-2147483648.0)), vec4i(), isNan(v))';
  if (to === 'u32' && isFloat(from))
    return 'select(select(vec4u(v), vec4u(4294967295u), v >= vec4f(4294967296.0)), vec4u(), isNan(v) | (v <= vec4f()))';
  return isFloat(to) ? 'vec4f(v)' : `bitcast<${vector}>(v)`;
}

/** target = the first of source's values, in the target's number format. Shapes do not matter. */
export function castInto(source: Tensor, target: Tensor): void {
  const each = eachOf(source.gpu, target.dtype, target.size);
  shaderOf('cast', { from: source.dtype, to: target.dtype, each }, ({ from, to, each }) => {
    const value = converted(from, to);
    const load = load4(from, 'X', 'i');
    return {
      label: 'cast',
      params: { count: 'u32' } as const,
      buffers: { X: vec4Type(from), outY: vec4Type(to) },
      dtypes: { X: from, outY: to },
      body: `${/isZero|isNan/.test(value) ? elementary('vec4f') : ''}${elementMain(
        each,
        value === 'v'
          ? store4(to, 'outY', 'i', load)
          : `let v = ${load};
  ${store4(to, 'outY', 'i', value)}`,
      )}`,
    };
  }).launch(
    source.gpu,
    { X: flat(source, { count: target.size }), outY: flat(target) },
    (piece) => ({ count: fours(piece) }),
    groupsOfFours,
  );
}

/** An operand of an operation of two or three: a tensor, or a number beside one. */
export type TensorOrNumber = Tensor | number;

/** What an operation was computed from, in the order of its formula's operands, and the numbers beside them. */
export interface ElementwiseOperands {
  readonly operands: readonly TensorOrNumber[];
  readonly numbers?: readonly number[] | undefined;
}

const ranges: Readonly<Record<'i32' | 'u32', NumberSpec>> = {
  i32: {
    what: 'a whole number of i32',
    allows: (value) => Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31,
  },
  u32: { ...wholeNumber(0, 2 ** 32), what: 'a whole number of u32' },
};

const dtypesOf = (name: FormulaName): OperandSpec => ({ ...anyDType('...'), dtypes: formulas[name].dtypes });

/** One for each set of operands that are numbers: a bit an operand. */
const signatures = byName(formulas, () => new Map<number, Signature<Record<string, OperandSpec>>>());

/** The format of an operation's operands; of two numbers beside a condition f32. */
const operandDType = (name: FormulaName, operands: readonly TensorOrNumber[]): DType => {
  const which = formulas[name].operands.findIndex(
    (operand, n) => operand !== 'condition' && operands[n] instanceof Tensor,
  );
  return which < 0 ? 'f32' : (operands[which] as Tensor).dtype;
};

/** @throws ShapeError. */
function check(name: FormulaName, { operands, numbers = [] }: ElementwiseOperands): DType {
  const row = formulas[name];
  const given = Object.fromEntries(row.operands.map((operand, n) => [operand, operands[n]]));
  const isNumber = (operand: OperandName): boolean =>
    row.operands.length > 1 && operand !== 'condition' && typeof given[operand] === 'number';
  const mask = row.operands.reduce((bits, operand, n) => bits | (isNumber(operand) ? 1 << n : 0), 0);
  let found = signatures[name].get(mask);
  if (!found) {
    // With nothing but numbers it is the first that must be a tensor.
    const named = row.operands.filter(
      (operand, n) => !isNumber(operand) || (n === 0 && mask === 2 ** row.operands.length - 1),
    );
    const specs = named.map((operand) => [
      operand,
      { ...(operand === 'condition' ? bools('...') : dtypesOf(name)), shape: [`...${operand}`] },
    ]);
    found = signature(name, Object.fromEntries(specs) as Record<string, OperandSpec>, {
      sameDType: named.filter((operand) => operand !== 'condition'),
      numbers: Object.fromEntries(row.numbers.map((number) => [number, anyNumber])),
    });
    signatures[name].set(mask, found);
  }
  const tensors = Object.fromEntries(
    Object.entries(given).filter(
      ([operand]) => !isNumber(operand as OperandName) || mask === 2 ** row.operands.length - 1,
    ),
  ) as Record<string, Tensor>;
  found.check(tensors, Object.fromEntries(row.numbers.map((number, n) => [number, numbers[n]!])));
  const dtype = operandDType(name, operands);
  for (const operand of row.operands) {
    if (!isNumber(operand) || dtype === 'f32' || dtype === 'f16') continue;
    const value = given[operand] as number;
    if (dtype === 'bool')
      throw new ShapeError(name, `${operand} must be a tensor beside bools, found ${show(value)}`, tensors);
    if (!ranges[dtype].allows(value))
      throw new ShapeError(name, `${operand} must be ${ranges[dtype].what}, found ${show(value)}`, tensors);
  }
  return dtype;
}

/** The shape that operands broadcast to. @throws ShapeError. */
function resultShape(name: FormulaName, operands: readonly TensorOrNumber[]): Shape {
  let shape: Shape | undefined;
  for (const operand of operands) {
    if (!(operand instanceof Tensor)) continue;
    const both: Shape | undefined = shape ? broadcastShapes(shape, operand.shape) : operand.shape;
    if (!both) {
      const tensors = formulas[name].operands.map((own, n) => [own, operands[n]] as const);
      const shown = tensors.filter((each): each is [OperandName, Tensor] => each[1] instanceof Tensor);
      throw new ShapeError(name, 'shapes do not broadcast', Object.fromEntries(shown));
    }
    shape = both;
  }
  return shape!;
}

/**
 * The operation of a row of formulas.ts, with NumPy broadcasting. A number takes the format of the tensors beside it.
 * @throws ShapeError when formats or shapes do not fit, or a number is none of an integer format.
 */
export function elementwise(name: FormulaName, given: ElementwiseOperands): Tensor {
  const dtype = check(name, given);
  const shape = resultShape(name, given.operands);
  const { gpu } = given.operands.find((operand) => operand instanceof Tensor)!;
  const out = Tensor.empty(gpu, shape, formulas[name].result ?? dtype);
  run({ op: name, part: 'value', dtype, out: out.dtype }, given, {}, out);
  return out;
}

/** What the gradient towards operand `which` reads: operands, `y`, `dy`. */
export const gradientReads = (name: FormulaName, which: number, dtype: DType): readonly ReadName[] =>
  readsOf(name, towards(name, which), dtype);

const towards = (name: FormulaName, which: number): ElementPart => {
  const operand = formulas[name].operands[which]!;
  return operand === 'x' ? 'gradient' : `towards ${operand as 'a' | 'b'}`;
};

/**
 * Gradient towards operand `which`, of the broadcast shape: where that is not the operand's own it is still to be summed,
 * and so is f32 even of f16. `y`: the result, where the gradient reads it.
 */
export function elementwiseGradient(
  name: FormulaName,
  which: number,
  given: ElementwiseOperands,
  dy: Tensor,
  y?: Tensor,
): Tensor {
  const { shape } = given.operands[which] as Tensor;
  const out = Tensor.empty(dy.gpu, dy.shape, sameShape(shape, dy.shape) ? dy.dtype : 'f32');
  run({ op: name, part: towards(name, which), dtype: dy.dtype, out: out.dtype }, given, { y, dy }, out);
  return out;
}

/** Writes `out`, by the kernel for operands of its shape where all have it. */
function run(
  form: Pick<ElementwiseForm, 'op' | 'part' | 'dtype' | 'out'>,
  { operands, numbers = [] }: ElementwiseOperands,
  results: { readonly y?: Tensor | undefined; readonly dy?: Tensor | undefined },
  out: Tensor,
): void {
  const row = formulas[form.op];
  const given: Partial<Record<ReadName, TensorOrNumber | undefined>> = { ...results };
  for (const [n, operand] of row.operands.entries()) given[operand] = operands[n]!;
  const beside = Object.fromEntries(row.numbers.map((number, n) => [number, numbers[n]!]));
  if (out.size === 0) return;
  const { gpu } = out;
  const { op, part, dtype } = form;
  if (row.operands[0] === 'x' && (form.out === 'f32' || form.out === 'f16')) {
    const floating = { op: op as UnaryName, part: part as 'value' | 'gradient', dtype: form.out };
    const tensors = given as { x: Tensor; y?: Tensor; dy?: Tensor };
    runElements(gpu, floating, { ...tensors, out, numbers: beside });
    return;
  }
  const reads = readsOf(op, part, dtype);
  const kinds: Partial<Record<OperandName, OperandKind>> = {};
  const launched: Record<string, Operand> = { outY: flat(out) };
  const parameters: Record<string, number> = beside;
  const stretched: [name: ReadName, tensor: Tensor][] = [];
  for (const name of reads) {
    const operand = given[name]!;
    if (typeof operand === 'number') {
      kinds[name as OperandName] = 'number';
      parameters[name] = operand;
    } else if (operand.size === out.size) launched[`in_${name}`] = flat(operand);
    else stretched.push([name, operand]);
  }
  const each = eachOf(gpu, out.dtype, out.size);
  if (stretched.length === 0) {
    shaderOf('elementwise', { ...form, ...kinds, each }, flatDefinition).launch(
      gpu,
      launched,
      (piece) => ({ count: fours(piece), ...parameters }),
      groupsOfFours,
    );
    return;
  }
  const { dims, masks } = broadcastPlan(
    out.shape,
    stretched.map(([, tensor]) => tensor.shape),
  );
  const inFours = (dims.at(-1) ?? 1) % 4 === 0;
  const rank: Rank = dims.length <= 2 ? 2 : dims.length <= 4 ? 4 : 'many';
  const inner = rank === 'many' ? dims.length - 1 : rank - 1;
  // From the last dimension on, and 1 where there are fewer.
  const extents = Array.from({ length: inner }, (_, k) => dims[dims.length - 1 - k] ?? 1);
  if (inFours) extents[0]! /= 4;
  const widths = stretched.map(([name, tensor], n) => {
    const hasLast = (masks[n]! & 1) === 1;
    kinds[name as OperandName] = inFours ? (hasLast ? 'fours' : 'single') : 'elements';
    launched[`in_${name}`] = windowed(tensor, out.size, (piece) => broadcastRange(dims, masks[n]!, piece));
    return inFours && hasLast ? 4 : 1;
  });
  const listed =
    rank === 'many' ? Tensor.from(gpu, Uint32Array.from(extents), [inner], 'u32', 'workspace') : undefined;
  if (listed) launched['extents'] = whole(listed);
  shaderOf('stretched', { ...form, ...kinds, each, rank }, stretchedDefinition).launch(
    gpu,
    launched,
    ({ start, count }, base) => ({
      first: inFours ? start / 4 : start,
      count: Math.ceil(count / 4),
      last: count - 1,
      ...parameters,
      ...Object.fromEntries(
        stretched.flatMap(([name], n) => [
          [`mask_${name}`, masks[n]!],
          [`base_${name}`, base[`in_${name}`]! / widths[n]!],
        ]),
      ),
      ...(listed ? { inner } : Object.fromEntries(extents.map((extent, k) => [`extent${k}`, extent]))),
    }),
    groupsOfFours,
  );
  listed?.dispose();
}

/** The gradient of a row of one operand that reads x, or nothing but dy. */
export const unaryGradient = (name: UnaryName, x: Tensor, dy: Tensor): Tensor =>
  elementwiseGradient(name, 0, { operands: [x] }, dy);

/** A row of one operand. @throws ShapeError. */
export const unary = (name: UnaryName, x: Tensor, ...numbers: number[]): Tensor =>
  elementwise(name, { operands: [x], numbers });

/** A row of two operands. @throws ShapeError. */
export const binary = (name: BinaryName, a: TensorOrNumber, b: TensorOrNumber): Tensor =>
  elementwise(name, { operands: [a, b] });

const ADD_IN_PLACE = signature(
  'addInPlace',
  { target: floats('...'), source: floats('...') },
  { sameDType: ['target', 'source'] },
);

/** target += source, elementwise, in place. @throws ShapeError. */
export function addInPlace(target: Tensor, source: Tensor): void {
  ADD_IN_PLACE.check({ target, source });
  // Exactly the elements: what follows a view in a flat buffer is not ours to touch.
  const dtype = floatDType('addInPlace', target);
  if (dtype === 'f16' && target.size % 4 !== 0)
    throw new ShapeError('addInPlace', 'f16 needs whole groups of 4 values', { target, source });
  const unit = unitFor('addInPlace', target.size, dtype);
  shaderOf('addInPlace', { unit: unit.name, dtype }, (form) => {
    const { type, load, store } = unitOf(form.unit);
    return {
      label: 'addInPlace',
      params: { count: 'u32' } as const,
      buffers: { ioY: type(form.dtype), X: type(form.dtype) },
      body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${store(form.dtype, 'ioY', 'i', `${load(form.dtype, 'ioY', 'i')} + ${load(form.dtype, 'X', 'i')}`)}
}`,
    };
  }).launch(
    target.gpu,
    { ioY: flat(target), X: flat(source) },
    ({ count }) => ({ count: count / unit.width }),
    ({ count }) => flatGroups(count / unit.width),
  );
}
