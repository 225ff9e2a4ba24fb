/**
 * Elementwise kernels of two operands, casts, sums in place and constants; those of one operand are in
 * elements.ts, all formulas in formulas.ts. f16 tensors are computed in f32 and rounded once, when written.
 */
import { ShapeError } from '../errors.js';
import { show } from '../show.js';
import { floats, signature } from '../tensor/operands.js';
import { broadcastShapes, type Shape, sameShape, sizeOf, stridesOf } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { elementary } from './elementary.js';
import { eachOf, elementMain, fours, groupsOfFours } from './elements.js';
import { type BinaryName, binaryFormulas, byName, readsOperand } from './formulas.js';
import { type FloatDType, floatDType, load4, store4, unitFor, unitOf, vec4Type } from './launch/formats.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { flat, type Operand, type Piece, type Range, windowed } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

export { unary, unaryGradient } from './elements.js';
export * from './formulas.js';

const CAST = signature('cast', { x: floats('...') });

/** x in another number format; x itself (another handle) when it is in that already. @throws ShapeError. */
export function cast(x: Tensor, dtype: FloatDType): Tensor {
  CAST.check({ x });
  if (dtype !== 'f32' && dtype !== 'f16')
    throw new ShapeError('cast', `to ${show(dtype)}, which is no float`, { x });
  if (x.dtype === dtype) return x.detach();
  const y = Tensor.empty(x.gpu, x.shape, dtype);
  castInto(x, y);
  return y;
}

/** target = the first of source's values, in the target's number format. Shapes do not matter. */
export function castInto(source: Tensor, target: Tensor): void {
  const to = floatDType('cast', target);
  const form = { from: floatDType('cast', source), to, each: eachOf(source.gpu, to, target.size) };
  shaderOf('cast', form, ({ from, to, each }) => ({
    label: 'cast',
    params: { count: 'u32' } as const,
    buffers: { X: vec4Type(from), outY: vec4Type(to) },
    body: elementMain(each, store4(to, 'outY', 'i', load4(from, 'X', 'i'))),
  })).launch(
    source.gpu,
    { X: flat(source, { count: target.size }), outY: flat(target) },
    (piece) => ({ count: fours(piece) }),
    groupsOfFours,
  );
}

/** One dimension list that both operands' strides fit, merged to at most four dimensions. */
function broadcastPlan(
  op: string,
  shape: Shape,
  [a, b]: readonly [Tensor, Tensor],
): { dims: number[]; strides: number[][] } {
  const rank = shape.length;
  const operands = [a.shape, b.shape];
  const strides = operands.map((operand) => {
    const own = stridesOf(operand);
    return shape.map((_, i) => {
      const j = i - (rank - operand.length);
      return j < 0 || operand[j] === 1 ? 0 : own[j]!;
    });
  });
  const dims: number[] = [];
  const merged: number[][] = operands.map(() => []);
  for (let i = rank - 1; i >= 0; i--) {
    const extent = shape[i]!;
    if (extent === 1) continue;
    const fits = dims.length > 0 && strides.every((stride, o) => stride[i] === merged[o]![0]! * dims[0]!);
    if (fits) dims[0] = dims[0]! * extent;
    else {
      dims.unshift(extent);
      strides.forEach((stride, o) => {
        merged[o]!.unshift(stride[i]!);
      });
    }
  }
  if (dims.length > 4) throw new ShapeError(op, 'broadcasting needs more than four dimensions', { a, b });
  while (dims.length < 4) {
    dims.unshift(1);
    for (const stride of merged) stride.unshift(0);
  }
  return { dims, strides: merged };
}

/** The elements of an operand of these strides that elements [start, start+count) of the result read, as one range. */
function broadcastRange(dims: readonly number[], strides: readonly number[], { start, count }: Piece): Range {
  if (count === 0) return [0, 0];
  let [first, last] = [0, 0];
  let block = sizeOf(dims);
  let [from, to] = [start, start + count - 1];
  let apart = false;
  for (const [i, extent] of dims.entries()) {
    block /= extent;
    const [low, high] = [Math.floor(from / block), Math.floor(to / block)];
    // Once the two differ, all of the dimensions within is read.
    first += apart ? 0 : low * strides[i]!;
    last += (apart ? extent - 1 : high) * strides[i]!;
    apart ||= low !== high;
    from -= low * block;
    to -= high * block;
  }
  return [first, last - first + 1];
}

const BROADCAST_PARAMS = {
  first: 'u32',
  count: 'u32',
  d1: 'u32',
  d2: 'u32',
  d3: 'u32',
  a0: 'u32',
  a1: 'u32',
  a2: 'u32',
  a3: 'u32',
  b0: 'u32',
  b1: 'u32',
  b2: 'u32',
  b3: 'u32',
  baseA: 'u32',
  baseB: 'u32',
  base: 'u32',
} as const;

/** Which formula of a binary op: its value, or the gradient towards an operand. */
type BinaryPart = 'value' | 'towards a' | 'towards b';

const formulaOf = (name: BinaryName, part: BinaryPart): string => {
  const { forward, gradients } = binaryFormulas[name];
  return part === 'value' ? forward : gradients[part === 'towards a' ? 0 : 1];
};

const PARTS: readonly BinaryPart[] = ['value', 'towards a', 'towards b'];

/** What each formula reads: bindings that it does not would vanish from an automatic layout, so they are not declared. */
const READS = byName(
  binaryFormulas,
  (name) =>
    Object.fromEntries(
      PARTS.map((part) => [
        part,
        (['a', 'b', 'dy'] as const).filter((operand) => readsOperand(formulaOf(name, part), operand)),
      ]),
    ) as Record<BinaryPart, ('a' | 'b' | 'dy')[]>,
);

const labelOf = (name: BinaryName, part: BinaryPart): string => (part === 'value' ? name : `${name}Gradient`);

function runBinary(
  name: BinaryName,
  part: BinaryPart,
  shape: Shape,
  tensors: { readonly a: Tensor; readonly b: Tensor; readonly dy?: Tensor },
): Tensor {
  const { a, b, dy } = tensors;
  const { gpu } = a;
  const dtype = floatDType(name, dy ?? a);
  const same = sameShape(a.shape, shape) && sameShape(b.shape, shape);
  const plan = same ? undefined : broadcastPlan(labelOf(name, part), shape, [a, b]);
  const out = Tensor.empty(gpu, shape, dtype);
  const size = sizeOf(shape);
  if (size === 0) return out;
  const reads = READS[name][part];
  if (!plan) {
    const shader = shaderOf('binary', { name, part, dtype, each: eachOf(gpu, dtype, size) }, (form) => {
      const formula = formulaOf(form.name, form.part);
      const type = vec4Type(form.dtype);
      const operands = READS[form.name][form.part];
      return {
        label: labelOf(form.name, form.part),
        params: { count: 'u32' } as const,
        buffers: {
          ...Object.fromEntries(operands.map((operand) => [`in_${operand}`, type])),
          outY: type,
        },
        body: `${elementary('vec4f')}
${elementMain(
  form.each,
  `${operands.map((operand) => `let ${operand} = ${load4(form.dtype, `in_${operand}`, 'i')};`).join(' ')}
  ${store4(form.dtype, 'outY', 'i', formula)}`,
)}`,
      };
    });
    const operands: Record<string, Operand> = { outY: flat(out) };
    for (const operand of reads) operands[`in_${operand}`] = flat(tensors[operand]!);
    shader.launch(gpu, operands, (piece) => ({ count: fours(piece) }), groupsOfFours);
    return out;
  }
  const { dims } = plan;
  const [sa, sb] = plan.strides as [number[], number[]];
  const alike = (tensor: Tensor) => windowed(tensor, size, ({ start, count }) => [start, count]);
  const operands: Record<string, Operand> = { outY: alike(out) };
  for (const operand of reads)
    operands[`in_${operand}`] =
      operand === 'dy'
        ? alike(dy!)
        : windowed(tensors[operand], size, (piece) => broadcastRange(dims, operand === 'a' ? sa : sb, piece));
  shaderOf('binaryBroadcast', { name, part }, (form) => {
    const formula = formulaOf(form.name, form.part);
    const index = {
      a: 'x0 * p.a0 + x1 * p.a1 + x2 * p.a2 + x3 * p.a3 - p.baseA',
      b: 'x0 * p.b0 + x1 * p.b1 + x2 * p.b2 + x3 * p.b3 - p.baseB',
      dy: 'own - p.base',
    };
    const needed = READS[form.name][form.part];
    return {
      label: `${labelOf(form.name, form.part)}Broadcast`,
      params: BROADCAST_PARAMS,
      buffers: {
        ...Object.fromEntries(needed.map((operand) => [`in_${operand}`, 'array<f32>'])),
        outY: 'array<f32>',
      },
      body: `${elementary('f32')}
${FLAT_MAIN}
  if (i >= p.count) { return; }
  let own = p.first + i;
  let x3 = own % p.d3; let r3 = own / p.d3;
  let x2 = r3 % p.d2; let r2 = r3 / p.d2;
  let x1 = r2 % p.d1; let x0 = r2 / p.d1;
  ${needed.map((operand) => `let ${operand} = in_${operand}[${index[operand]}];`).join(' ')}
  outY[own - p.base] = ${formula};
}`,
    };
  }).launch(
    gpu,
    operands,
    ({ start, count }, base) => ({
      first: start,
      count,
      d1: dims[1]!,
      d2: dims[2]!,
      d3: dims[3]!,
      a0: sa[0]!,
      a1: sa[1]!,
      a2: sa[2]!,
      a3: sa[3]!,
      b0: sb[0]!,
      b1: sb[1]!,
      b2: sb[2]!,
      b3: sb[3]!,
      baseA: base['in_a'] ?? 0,
      baseB: base['in_b'] ?? 0,
      base: base['outY']!,
    }),
    ({ count }) => flatGroups(count),
  );
  return out;
}

const BINARY = byName(binaryFormulas, (name) =>
  signature(name, { a: floats('...a'), b: floats('...b') }, { sameDType: ['a', 'b'] }),
);

/**
 * NumPy broadcasting, of f32 and with at most four dimensions after those that can be seen as one are merged; of
 * f16 the shapes must be the same.
 * @throws ShapeError when the shapes do not broadcast.
 */
export function binary(name: BinaryName, a: Tensor, b: Tensor): Tensor {
  BINARY[name].check({ a, b });
  const shape = broadcastShapes(a.shape, b.shape);
  if (!shape) throw new ShapeError(name, 'shapes do not broadcast', { a, b });
  if (a.dtype === 'f16' && !sameShape(a.shape, b.shape))
    throw new ShapeError(name, 'f16 does not broadcast', { a, b });
  return runBinary(name, 'value', shape, { a, b });
}

/** Which operands the gradient towards operand `which` reads. */
export function gradientReads(name: BinaryName, which: 0 | 1): ('a' | 'b')[] {
  return READS[name][which === 0 ? 'towards a' : 'towards b'].filter((operand) => operand !== 'dy');
}

/** Gradient towards operand `which` (0 or 1), of the broadcast shape: still to be summed to the operand's own. */
export function binaryGradient(name: BinaryName, which: 0 | 1, a: Tensor, b: Tensor, dy: Tensor): Tensor {
  return runBinary(name, which === 0 ? 'towards a' : 'towards b', dy.shape, { a, b, dy });
}

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

/** A tensor of one value everywhere. */
export function full(like: Tensor, shape: Shape, value: number): Tensor {
  const out = Tensor.empty(like.gpu, shape);
  shaderOf('full', {}, () => ({
    label: 'full',
    params: { count: 'u32', value: 'f32' } as const,
    buffers: { outY: 'array<vec4f>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  outY[i] = vec4f(p.value);
}`,
  })).launch(like.gpu, { outY: flat(out) }, (piece) => ({ count: fours(piece), value }), groupsOfFours);
  return out;
}
