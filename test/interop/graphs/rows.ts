/**
 * The operations that random graphs are made of: for each how operands are drawn, what it is here, and what it is in
 * PyTorch, a Python expression of operands `x` and attributes `a`.
 */
import * as ops from '../../../src/autograd/index.js';
import type { Tensor } from '../../../src/tensor/tensor.js';
import type { Draw } from './draw.js';

export type Attributes = Readonly<Record<string, unknown>>;

export interface GraphRow {
  /** Name of the operation, or of what of it this row tries: `max of axes`. */
  readonly name: string;
  /** Operands and attributes; undefined where nothing that is there fits. */
  readonly draw: (draw: Draw) => { readonly x: readonly Tensor[]; readonly a?: Attributes } | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: attributes are what the row itself draws.
  readonly ours: (x: readonly Tensor[], a: any) => Tensor;
  readonly torch: string;
  /** Python: how far operands are from where the operation or its slope jumps, a tensor of distances. */
  readonly apart?: string;
}

/** Of one float, of any shape. */
const unary = (
  name: string,
  ours: (x: Tensor) => Tensor,
  torch: string,
  { from, apart }: { from?: [number, number]; apart?: string } = {},
): GraphRow => ({
  name,
  draw: (draw) => ({ x: [from ? draw.leaf(draw.shape(), from) : draw.any()] }),
  ours: ([x]) => ours(x!),
  torch,
  ...(apart === undefined ? {} : { apart }),
});

/** Of two floats that broadcast. */
const binary = (
  name: string,
  ours: (a: Tensor, b: Tensor) => Tensor,
  torch: string,
  { second, apart }: { second?: [number, number]; apart?: string } = {},
): GraphRow => ({
  name,
  draw: (draw) => {
    const a = draw.any();
    return { x: [a, draw.leaf(draw.broadcasting(a.shape), second)] };
  },
  ours: ([a, b]) => ours(a!, b!),
  torch,
  ...(apart === undefined ? {} : { apart }),
});

/** Over some axes, with or without keeping them. */
const reduction = (
  name: string,
  ours: (x: Tensor, axes: number[], keepDims: boolean) => Tensor,
  torch: string,
  { one = false, apart, least = 1 }: { one?: boolean; apart?: string; least?: number } = {},
): GraphRow => ({
  name,
  draw: (draw) => {
    const x = draw.ranked(1);
    const axes = one ? [draw.axis(x)] : draw.axes(x);
    const count = axes.reduce((product, axis) => product * x.shape.at(axis)!, 1);
    return count < least ? undefined : { x: [x], a: { axes, keep: draw.chance(0.5) } };
  },
  ours: ([x], { axes, keep }) => ours(x!, axes, keep),
  torch,
  ...(apart === undefined ? {} : { apart }),
});

const TO_WHOLE = '(x[0] - x[0].round()).abs()';
const TO_ZERO = 'x[0].abs()';
const BETWEEN = '(x[0] - x[1]).abs()';
/** Neighbours in order, along an axis that is the last of the expression. */
const gaps = (sorted: string) => `gaps(${sorted})`;

export const elementwiseRows: readonly GraphRow[] = [
  unary('neg', ops.neg, '-x[0]'),
  unary('exp', ops.exp, 'x[0].exp()'),
  unary('log', ops.log, 'x[0].log()', { from: [0.3, 3] }),
  unary('sqrt', ops.sqrt, 'x[0].sqrt()', { from: [0.3, 3] }),
  unary('square', ops.square, 'x[0].square()'),
  unary('reciprocal', ops.reciprocal, 'x[0].reciprocal()', { from: [0.5, 3] }),
  unary('tanh', ops.tanh, 'x[0].tanh()'),
  unary('sigmoid', ops.sigmoid, 'x[0].sigmoid()'),
  unary('relu', ops.relu, 'x[0].relu()', { apart: TO_ZERO }),
  unary('abs', ops.abs, 'x[0].abs()', { apart: TO_ZERO }),
  unary('gelu', ops.gelu, 'F.gelu(x[0])'),
  unary('geluTanh', ops.geluTanh, "F.gelu(x[0], approximate='tanh')"),
  unary('expm1', ops.expm1, 'x[0].expm1()'),
  unary('log2', ops.log2, 'x[0].log2()', { from: [0.3, 3] }),
  unary('log10', ops.log10, 'x[0].log10()', { from: [0.3, 3] }),
  unary('log1p', ops.log1p, 'x[0].log1p()', { from: [-0.6, 3] }),
  unary('rsqrt', ops.rsqrt, 'x[0].rsqrt()', { from: [0.3, 3] }),
  unary('sin', ops.sin, 'x[0].sin()'),
  unary('cos', ops.cos, 'x[0].cos()'),
  unary('tan', ops.tan, 'x[0].tan()', { from: [-1.2, 1.2] }),
  unary('exp2', ops.exp2, 'x[0].exp2()'),
  unary('asin', ops.asin, 'x[0].asin()', { from: [-0.9, 0.9] }),
  unary('acos', ops.acos, 'x[0].acos()', { from: [-0.9, 0.9] }),
  unary('atan', ops.atan, 'x[0].atan()'),
  unary('sinh', ops.sinh, 'x[0].sinh()'),
  unary('cosh', ops.cosh, 'x[0].cosh()'),
  unary('asinh', ops.asinh, 'x[0].asinh()'),
  unary('acosh', ops.acosh, 'x[0].acosh()', { from: [1.2, 3] }),
  unary('atanh', ops.atanh, 'x[0].atanh()', { from: [-0.8, 0.8] }),
  unary('logSigmoid', ops.logSigmoid, 'F.logsigmoid(x[0])'),
  unary('softsign', ops.softsign, 'F.softsign(x[0])'),
  unary('mish', ops.mish, 'F.mish(x[0])'),
  unary('hardsigmoid', ops.hardsigmoid, 'F.hardsigmoid(x[0])', { apart: '(x[0].abs() - 3).abs()' }),
  unary('hardswish', ops.hardswish, 'F.hardswish(x[0])', { apart: '(x[0].abs() - 3).abs()' }),
  unary('hardtanh', ops.hardtanh, 'F.hardtanh(x[0])', { apart: '(x[0].abs() - 1).abs()' }),
  unary('relu6', ops.relu6, 'F.relu6(x[0])', { apart: 'torch.minimum(x[0].abs(), (x[0] - 6).abs())' }),
  unary('selu', ops.selu, 'F.selu(x[0])', { apart: TO_ZERO }),
  unary('frac', ops.frac, 'x[0].frac()', { apart: TO_WHOLE }),
  unary('nanToNum', ops.nanToNum, 'x[0].nan_to_num()'),
  unary('isInf', ops.isInf, 'x[0].isinf()'),
  unary('erf', ops.erf, 'x[0].erf()'),
  unary('softplus', ops.softplus, 'F.softplus(x[0])'),
  unary('silu', ops.silu, 'F.silu(x[0])'),
  unary('leakyRelu', (x) => ops.leakyRelu(x, 0.1), 'F.leaky_relu(x[0], 0.1)', { apart: TO_ZERO }),
  unary('elu', (x) => ops.elu(x, 1.3), 'F.elu(x[0], 1.3)', { apart: TO_ZERO }),
  unary('sign', ops.sign, 'x[0].sign()', { apart: TO_ZERO }),
  unary('floor', ops.floor, 'x[0].floor()', { apart: TO_WHOLE }),
  unary('ceil', ops.ceil, 'x[0].ceil()', { apart: TO_WHOLE }),
  unary('round', ops.round, 'x[0].round()', {
    apart: '(TO - TO.round()).abs()'.replaceAll('TO', '(x[0] + 0.5)'),
  }),
  unary('trunc', ops.trunc, 'x[0].trunc()', { apart: TO_WHOLE }),
  unary('clamp', (x) => ops.clamp(x, { min: -0.7, max: 1.1 }), 'x[0].clamp(-0.7, 1.1)', {
    apart: 'torch.minimum((x[0] + 0.7).abs(), (x[0] - 1.1).abs())',
  }),
  unary('clamp from below', (x) => ops.clamp(x, { min: 0.2 }), 'x[0].clamp(min=0.2)', {
    apart: '(x[0] - 0.2).abs()',
  }),
  unary('add a number', (x) => ops.add(x, 1.5), 'x[0] + 1.5'),
  unary('number less', (x) => ops.sub(0.3, x), '0.3 - x[0]'),
  unary('number by', (x) => ops.div(2, x), '2 / x[0]', { from: [0.5, 2] }),
  unary('power of a number', (x) => ops.pow(x, 3), 'x[0] ** 3'),
  unary('number to a power', (x) => ops.pow(1.7, x), '1.7 ** x[0]'),
  unary('maximum with a number', (x) => ops.maximum(x, 0.1), 'x[0].clamp(min=0.1)', {
    apart: '(x[0] - 0.1).abs()',
  }),
  unary('isNan', ops.isNan, 'x[0].isnan()'),
  unary('isFinite', ops.isFinite, 'x[0].isfinite()'),
  unary('cast', (x) => ops.cast(ops.cast(x, 'i32'), 'f32'), 'x[0].trunc().detach()', { apart: TO_WHOLE }),
  unary('scale', (x) => ops.scale(x, 1.7), 'x[0] * 1.7'),
  unary('shift', (x) => ops.shift(x, -0.4), 'x[0] - 0.4'),
  binary('add', ops.add, 'x[0] + x[1]'),
  binary('sub', ops.sub, 'x[0] - x[1]'),
  binary('mul', ops.mul, 'x[0] * x[1]'),
  binary('div', ops.div, 'x[0] / x[1]', { second: [0.5, 2] }),
  binary('pow', (a, b) => ops.pow(ops.add(ops.square(a), 0.5), b), '(x[0].square() + 0.5) ** x[1]'),
  binary('remainder', ops.remainder, 'torch.remainder(x[0], x[1])', {
    second: [0.5, 2],
    apart: '(x[0] / x[1] - (x[0] / x[1]).round()).abs()',
  }),
  binary('fmod', ops.fmod, 'torch.fmod(x[0], x[1])', {
    second: [0.5, 2],
    apart: '(x[0] / x[1] - (x[0] / x[1]).round()).abs()',
  }),
  binary('floorDivide', ops.floorDivide, "torch.div(x[0], x[1], rounding_mode='floor')", {
    second: [0.5, 2],
    apart: '(x[0] / x[1] - (x[0] / x[1]).round()).abs()',
  }),
  binary('atan2', ops.atan2, 'torch.atan2(x[0], x[1])', { second: [0.5, 2] }),
  binary('hypot', ops.hypot, 'torch.hypot(x[0], x[1])', { second: [0.5, 2] }),
  binary('logAddExp', ops.logAddExp, 'torch.logaddexp(x[0], x[1])'),
  binary(
    'maskedFill',
    (a, b) => ops.maskedFill(b, ops.lt(a, b), -1.5),
    'torch.where(x[0] < x[1], -1.5, x[1])',
    { apart: BETWEEN },
  ),
  binary('lerp', (a, b) => ops.lerp(a, b, 0.7), 'torch.lerp(x[0], x[1], 0.7)'),
  binary('minimum', ops.minimum, 'torch.minimum(x[0], x[1])', { apart: BETWEEN }),
  ...(
    [
      ['eq', '=='],
      ['ne', '!='],
      ['lt', '<'],
      ['le', '<='],
      ['gt', '>'],
      ['ge', '>='],
    ] as const
  ).map(([name, sign]) => binary(name, ops[name], `x[0] ${sign} x[1]`, { apart: BETWEEN })),
  ...(
    [
      ['logicalAnd', '&'],
      ['logicalOr', '|'],
      ['logicalXor', '^'],
    ] as const
  ).map(([name, sign]) =>
    binary(name, (a, b) => ops[name](ops.gt(a, 0), ops.lt(a, b)), `(x[0] > 0) ${sign} (x[0] < x[1])`, {
      apart: 'torch.stack(torch.broadcast_tensors(x[0].abs(), (x[0] - x[1]).abs()))',
    }),
  ),
  unary('logicalNot', (x) => ops.logicalNot(ops.gt(x, 0)), '~(x[0] > 0)', { apart: TO_ZERO }),
  binary(
    'where',
    (a, b) => ops.where(ops.gt(a, b), a, ops.mul(b, 2)),
    'torch.where(x[0] > x[1], x[0], 2 * x[1])',
    {
      apart: BETWEEN,
    },
  ),
  binary(
    'where a number',
    (a, b) => ops.where(ops.lt(a, b), -1.5, b),
    'torch.where(x[0] < x[1], -1.5, x[1])',
    {
      apart: BETWEEN,
    },
  ),
  binary('maximum', ops.maximum, 'torch.maximum(x[0], x[1])', { apart: BETWEEN }),
];

export const reductionRows: readonly GraphRow[] = [
  reduction('prod', ops.prod, "prod(x[0], a['axes'], a['keep'])"),
  reduction(
    'variance',
    (x, axes, keep) => ops.variance(x, axes, keep),
    "x[0].var(a['axes'], keepdim=a['keep'])",
    {
      least: 2,
    },
  ),
  reduction(
    'std',
    (x, axes, keep) => ops.std(x, axes, keep, { correction: 0 }),
    "x[0].std(a['axes'], correction=0, keepdim=a['keep'])",
    { least: 2, apart: "x[0].std(a['axes'], correction=0)" },
  ),
  ...[1, 2, 3].map((p) =>
    reduction(
      `norm ${p}`,
      (x, axes, keep) => ops.norm(x, p, axes, keep),
      `torch.linalg.vector_norm(x[0], ${p}, a['axes'], keepdim=a['keep'])`,
      { apart: TO_ZERO },
    ),
  ),
  reduction('logSumExp', ops.logSumExp, "x[0].logsumexp(a['axes'], keepdim=a['keep'])"),
  reduction(
    'countNonzero',
    (x, axes) => ops.countNonzero(ops.gt(x, 0), axes),
    "(x[0] > 0).count_nonzero(a['axes'])",
    { apart: TO_ZERO },
  ),
  ...(['any', 'all'] as const).map((name) =>
    reduction(
      name,
      (x, axes, keep) => ops[name](ops.gt(x, 0.5), axes, keep),
      `(x[0] > 0.5).${name}(tuple(a['axes']), keepdim=a['keep'])`,
      { apart: '(x[0] - 0.5).abs()' },
    ),
  ),
  reduction('sum', ops.sum, "x[0].sum(a['axes'], keepdim=a['keep'])"),
  reduction('mean', ops.mean, "x[0].mean(a['axes'], keepdim=a['keep'])"),
  reduction('max', ops.max, "x[0].amax(a['axes'], keepdim=a['keep'])", { apart: gaps('x[0].flatten()') }),
  reduction('min', ops.min, "x[0].amin(a['axes'], keepdim=a['keep'])", { apart: gaps('x[0].flatten()') }),
];

/** Along one axis, which is the last in what PyTorch is told. */
const along = (
  name: string,
  ours: (x: Tensor, axis: number) => Tensor,
  torch: string,
  apart?: string,
): GraphRow => ({
  name,
  draw: (draw) => {
    const x = draw.ranked(1);
    return { x: [x], a: { axis: draw.axis(x) } };
  },
  ours: ([x], { axis }) => ours(x!, axis),
  torch,
  ...(apart === undefined ? {} : { apart }),
});

const ALONG = gaps("x[0].transpose(a['axis'], -1)");

export const orderRows: readonly GraphRow[] = [
  along('cumsum', (x, axis) => ops.cumsum(x, axis), "x[0].cumsum(a['axis'])"),
  along('argmax', ops.argmax, "x[0].argmax(a['axis'])", ALONG),
  along('argmin', ops.argmin, "x[0].argmin(a['axis'])", ALONG),
  along('sort', (x, axis) => ops.sort(x, { axis }).values, "x[0].sort(a['axis']).values", ALONG),
  along(
    'sort descending',
    (x, axis) => ops.sort(x, { axis, descending: true }).values,
    "x[0].sort(a['axis'], descending=True).values",
    ALONG,
  ),
  along('argsort', (x, axis) => ops.argsort(x, { axis }), "x[0].argsort(a['axis'])", ALONG),
  along(
    'topk',
    (x, axis) => ops.topk(x, Math.ceil(x.shape.at(axis)! / 2), { axis }).values,
    "x[0].topk(-(-x[0].shape[a['axis']] // 2), a['axis']).values",
    ALONG,
  ),
  along('median', ops.median, "x[0].median(a['axis']).values", ALONG),
  {
    name: 'bincount',
    draw: (draw) => ({ x: [draw.ids([1 + draw.below(30)], 7)] }),
    ours: ([ids]) => ops.bincount(ids!, 7),
    torch: 'torch.bincount(x[0], minlength=7)',
  },
  {
    name: 'gather',
    draw: (draw) => {
      const x = draw.ranked(1);
      const axis = draw.axis(x);
      const at = (axis + x.shape.length) % x.shape.length;
      const shape = x.shape.map((extent, n) => (n === at ? 1 + draw.below(30) : 1 + draw.below(extent)));
      return { x: [x, draw.ids(shape, x.shape[at]!)], a: { axis } };
    },
    ours: ([x, index], { axis }) => ops.gather(x!, axis, index!),
    torch: "x[0].gather(a['axis'], x[1])",
  },
  {
    name: 'indexSelect',
    draw: (draw) => {
      const x = draw.ranked(1);
      const axis = draw.axis(x);
      return { x: [x, draw.ids([1 + draw.below(30)], x.shape.at(axis)!)], a: { axis } };
    },
    ours: ([x, index], { axis }) => ops.indexSelect(x!, axis, index!),
    torch: "x[0].index_select(a['axis'], x[1])",
  },
  {
    name: 'gatherRows',
    draw: (draw) => {
      const table = draw.leaf([1 + draw.below(7), 1 + draw.below(6)]);
      return { x: [table, draw.ids([1 + draw.below(9)], table.shape[0]!)] };
    },
    ours: ([table, index]) => ops.gatherRows(table!, index!),
    torch: 'x[0][x[1]]',
  },
  {
    name: 'scatterAdd',
    draw: (draw) => {
      const x = draw.ranked(1);
      const axis = draw.axis(x);
      const at = (axis + x.shape.length) % x.shape.length;
      const shape = x.shape.map((extent, n) => (n === at ? 1 + draw.below(30) : extent));
      return { x: [x, draw.ids(shape, x.shape[at]!), draw.leaf(shape)], a: { axis } };
    },
    ours: ([x, index, source], { axis }) => ops.scatterAdd(x!, axis, index!, source!),
    torch: "x[0].scatter_add(a['axis'], x[1], x[2])",
  },
  {
    name: 'indexAdd',
    draw: (draw) => {
      const x = draw.ranked(1);
      const axis = draw.axis(x);
      const at = (axis + x.shape.length) % x.shape.length;
      const count = 1 + draw.below(30);
      const source = draw.leaf(x.shape.map((extent, n) => (n === at ? count : extent)));
      return { x: [x, draw.ids([count], x.shape[at]!), source], a: { axis } };
    },
    ours: ([x, index, source], { axis }) => ops.indexAdd(x!, axis, index!, source!),
    torch: "x[0].index_add(a['axis'], x[1], x[2])",
  },
  {
    name: 'oneHot',
    draw: (draw) => ({ x: [draw.ids(draw.shape(), 5)] }),
    ours: ([ids]) => ops.oneHot(ids!, 5),
    torch: 'F.one_hot(x[0], 5).to(dtype)',
  },
];

export const shapeRows: readonly GraphRow[] = [
  {
    name: 'reshape',
    draw: (draw) => {
      const x = draw.any();
      return { x: [x], a: { shape: draw.otherShape(x.size) } };
    },
    ours: ([x], { shape }) => ops.reshape(x!, shape),
    torch: "x[0].reshape(a['shape'])",
  },
  {
    name: 'flatten',
    draw: (draw) => {
      const x = draw.ranked(1);
      const [start, end] = [draw.below(x.shape.length), draw.below(x.shape.length)].sort((a, b) => a - b);
      return { x: [x], a: { start, end } };
    },
    ours: ([x], { start, end }) => ops.flatten(x!, start, end),
    torch: "x[0].flatten(a['start'], a['end'])",
  },
  {
    name: 'unsqueeze',
    draw: (draw) => {
      const x = draw.any();
      return x.shape.length > 4 ? undefined : { x: [x], a: { axis: draw.below(x.shape.length + 1) } };
    },
    ours: ([x], { axis }) => ops.unsqueeze(x!, axis),
    torch: "x[0].unsqueeze(a['axis'])",
  },
  {
    name: 'squeeze',
    draw: (draw) => ({ x: [draw.any()] }),
    ours: ([x]) => ops.squeeze(x!),
    torch: 'x[0].squeeze()',
  },
  {
    name: 'transpose',
    draw: (draw) => {
      const x = draw.ranked(2);
      return { x: [x], a: { a: draw.axis(x), b: draw.axis(x) } };
    },
    ours: ([x], { a, b }) => ops.transpose(x!, a, b),
    torch: "x[0].transpose(a['a'], a['b'])",
  },
  {
    name: 'permute',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x], a: { axes: draw.shuffled(x.shape.map((_, axis) => axis)) } };
    },
    ours: ([x], { axes }) => ops.permute(x!, axes),
    torch: "x[0].permute(a['axes'])",
  },
  {
    name: 'flip',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x], a: { axes: draw.axes(x) } };
    },
    ours: ([x], { axes }) => ops.flip(x!, axes),
    torch: "x[0].flip(a['axes'])",
  },
  {
    name: 'expand',
    draw: (draw) => {
      const x = draw.any();
      const shape = x.shape.map((extent) => (extent === 1 ? 1 + draw.below(4) : extent));
      if (draw.chance(0.5) && shape.length < 5) shape.unshift(1 + draw.below(3));
      return { x: [x], a: { shape } };
    },
    ours: ([x], { shape }) => ops.expand(x!, shape),
    torch: "x[0].expand(a['shape'])",
  },
  {
    name: 'tile',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x], a: { counts: x.shape.map(() => 1 + draw.below(2)) } };
    },
    ours: ([x], { counts }) => ops.tile(x!, counts),
    torch: "x[0].repeat(a['counts'])",
  },
  {
    name: 'repeatInterleave',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x], a: { count: 1 + draw.below(3), axis: draw.axis(x) } };
    },
    ours: ([x], { count, axis }) => ops.repeatInterleave(x!, count, axis),
    torch: "x[0].repeat_interleave(a['count'], a['axis'])",
  },
  {
    name: 'slice',
    draw: (draw) => {
      const x = draw.ranked(1);
      // Python slices of PyTorch have no negative steps: flips stand for them.
      const ranges = x.shape.map((extent) => {
        const [start, stop] = [draw.below(extent), 1 + draw.below(extent)].sort((a, b) => a - b);
        return draw.chance(0.3)
          ? draw.below(extent)
          : [start, Math.max(start! + 1, stop!), 1 + draw.below(2)];
      });
      return { x: [x], a: { ranges } };
    },
    ours: ([x], { ranges }) => ops.slice(x!, ...ranges),
    torch: "x[0][tuple(slice(*r) if isinstance(r, list) else r for r in a['ranges'])]",
  },
  {
    name: 'clone',
    draw: (draw) => ({ x: [draw.ranked(1)], a: {} }),
    ours: ([x]) => ops.clone(x!),
    torch: 'x[0].clone()',
  },
  {
    name: 'unfold',
    draw: (draw) => {
      const x = draw.ranked(1);
      const axis = draw.axis(x);
      const extent = x.shape[axis < 0 ? axis + x.shape.length : axis]!;
      return { x: [x], a: { axis, size: 1 + draw.below(extent), step: 1 + draw.below(3) } };
    },
    ours: ([x], { axis, size, step }) => ops.unfold(x!, axis, size, step),
    torch: "x[0].unfold(a['axis'], a['size'], a['step'])",
  },
  {
    name: 'roll',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x], a: { by: draw.below(7) - 3, axis: draw.axis(x) } };
    },
    ours: ([x], { by, axis }) => ops.roll(x!, by, axis),
    torch: "x[0].roll(a['by'], a['axis'])",
  },
  {
    name: 'diagonal',
    draw: (draw) => {
      const x = draw.ranked(2);
      return { x: [x], a: { offset: draw.below(x.cols) } };
    },
    ours: ([x], { offset }) => ops.diagonal(x!, offset),
    torch: "x[0].diagonal(a['offset'], -2, -1)",
  },
  {
    name: 'diag',
    draw: (draw) => ({ x: [draw.leaf([1 + draw.below(5)])], a: { offset: draw.below(5) - 2 } }),
    ours: ([x], { offset }) => ops.diag(x!, offset),
    torch: "torch.diag(x[0], a['offset'])",
  },
  {
    name: 'trace',
    draw: (draw) => ({ x: [draw.ranked(2)] }),
    ours: ([x]) => ops.trace(x!),
    torch: 'x[0].diagonal(0, -2, -1).sum(-1)',
  },
  ...(['tril', 'triu'] as const).map(
    (name): GraphRow => ({
      name,
      draw: (draw) => ({ x: [draw.ranked(2)], a: { diagonal: draw.below(5) - 2 } }),
      ours: ([x], { diagonal }) => ops[name](x!, diagonal),
      torch: `x[0].${name}(a['diagonal'])`,
    }),
  ),
  {
    name: 'sliceRows',
    draw: (draw) => {
      const x = draw.ranked(1);
      const start = draw.below(x.shape[0]!);
      return { x: [x], a: { start, end: start + 1 + draw.below(x.shape[0]! - start) } };
    },
    ours: ([x], { start, end }) => ops.sliceRows(x!, start, end),
    torch: "x[0][a['start']:a['end']]",
  },
  {
    name: 'pad',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x], a: { widths: x.shape.map(() => [draw.below(3), draw.below(3)]), value: 0.7 } };
    },
    ours: ([x], { widths, value }) => ops.pad(x!, widths, value),
    torch: "F.pad(x[0], [w for pair in reversed(a['widths']) for w in pair], value=a['value'])",
  },
  {
    name: 'chunk',
    draw: (draw) => {
      const x = draw.ranked(1);
      const axis = draw.axis(x);
      return { x: [x], a: { axis, count: 1 + draw.below(3) } };
    },
    ours: ([x], { count, axis }) => ops.chunk(x!, count, axis).at(-1)!,
    torch: "x[0].chunk(a['count'], a['axis'])[-1]",
  },
  {
    name: 'concat',
    draw: (draw) => {
      const first = draw.ranked(1);
      const axis = draw.axis(first);
      const others = Array.from({ length: 1 + draw.below(2) }, () =>
        draw.leaf(
          first.shape.map((extent, at) =>
            at === axis || at - first.shape.length === axis ? 1 + draw.below(4) : extent,
          ),
        ),
      );
      return { x: [first, ...others], a: { axis } };
    },
    ours: (x, { axis }) => ops.concat(x, axis),
    torch: "torch.cat(x, a['axis'])",
  },
  {
    name: 'stack',
    draw: (draw) => {
      const first = draw.any();
      if (first.shape.length > 4) return undefined;
      return { x: [first, draw.leaf(first.shape)], a: { axis: draw.below(first.shape.length + 1) } };
    },
    ours: (x, { axis }) => ops.stack(x, axis),
    torch: "torch.stack(x, a['axis'])",
  },
  {
    name: 'split',
    draw: (draw) => {
      const x = draw.ranked(1);
      const axis = draw.axis(x);
      return { x: [x], a: { axis, size: 1 + draw.below(x.shape.at(axis)!) } };
    },
    ours: ([x], { size, axis }) => ops.split(x!, size, axis)[0]!,
    torch: "x[0].split(a['size'], a['axis'])[0]",
  },
];

export const productRows: readonly GraphRow[] = [
  {
    name: 'matmul',
    draw: (draw) => {
      const x = draw.ranked(2);
      return { x: [x, draw.leaf([x.cols, 1 + draw.below(6)])] };
    },
    ours: ([x, y]) => ops.matmul(x!, y!),
    torch: 'x[0] @ x[1]',
  },
  {
    name: 'matmul of batches',
    draw: (draw) => {
      const x = draw.ranked(2);
      const [transA, transB, columns] = [draw.chance(0.5), draw.chance(0.5), 1 + draw.below(6)];
      const inner = x.shape.at(transA ? -2 : -1)!;
      const batch = draw.broadcasting(x.shape.slice(0, -2));
      const y = draw.leaf([...batch, ...(transB ? [columns, inner] : [inner, columns])]);
      return { x: [x, y], a: { transA, transB } };
    },
    ours: ([x, y], flags) => ops.matmul(x!, y!, flags),
    torch: "(x[0].mT if a['transA'] else x[0]) @ (x[1].mT if a['transB'] else x[1])",
  },
  {
    name: 'matmul of vectors',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x, draw.leaf([x.cols])] };
    },
    ours: ([x, y]) => ops.matmul(x!, y!),
    torch: 'x[0] @ x[1]',
  },
  {
    name: 'matmul of a vector and matrices',
    draw: (draw) => {
      const x = draw.ranked(2);
      return { x: [draw.leaf([x.shape.at(-2)!]), x] };
    },
    ours: ([x, y]) => ops.matmul(x!, y!),
    torch: 'x[0] @ x[1]',
  },
  {
    name: 'einsum of two',
    draw: (draw) => {
      const x = draw.ranked(1);
      const own = [...'ijklmnop'].slice(0, x.shape.length);
      const common = own.filter(() => draw.chance(0.5));
      const others = ['u', 'v'].slice(draw.below(3));
      const second = draw.shuffled([...common, ...others]);
      const extents = second.map((axis) =>
        draw.chance(0.15) ? 1 : (x.shape[own.indexOf(axis)] ?? 1 + draw.below(4)),
      );
      const output = draw.shuffled([...own, ...others].filter(() => draw.chance(0.6)));
      const equation = `${own.join('')},${second.join('')}->${output.join('')}`;
      return { x: [x, draw.leaf(extents)], a: { equation } };
    },
    ours: ([x, y], { equation }) => ops.einsum(equation, x!, y!),
    torch: "torch.einsum(a['equation'], x[0], x[1])",
  },
  {
    name: 'einsum of one, a diagonal, dots',
    draw: (draw) => {
      const n = 1 + draw.below(4);
      const x = draw.leaf([...draw.shape(), n, 1 + draw.below(3), n]);
      return { x: [x], a: { equation: draw.one(['...iji->ij...', '...iji', '...iji->j', '...iji->...']) } };
    },
    ours: ([x], { equation }) => ops.einsum(equation, x!),
    torch: "torch.einsum(a['equation'], x[0])",
  },
  {
    name: 'softCrossEntropy',
    draw: (draw) => {
      const shape = [1 + draw.below(5), 2 + draw.below(5)];
      return { x: [draw.leaf(shape), draw.leaf(shape, [0, 1])] };
    },
    ours: ([x, probabilities]) => ops.softCrossEntropy(x!, probabilities!),
    torch: '-(x[1] * x[0].log_softmax(-1)).sum(-1).mean()',
  },
  {
    name: 'outer',
    draw: (draw) => ({ x: [draw.leaf([1 + draw.below(6)]), draw.leaf([1 + draw.below(6)])] }),
    ours: ([x, y]) => ops.outer(x!, y!),
    torch: 'torch.outer(*x)',
  },
  {
    name: 'dot',
    draw: (draw) => {
      const x = draw.leaf([1 + draw.below(9)]);
      return { x: [x, draw.leaf(x.shape)] };
    },
    ours: ([x, y]) => ops.dot(x!, y!),
    torch: 'torch.dot(*x)',
  },
  {
    name: 'linearGelu',
    draw: (draw) => {
      const x = draw.ranked(1);
      const out = 1 + draw.below(6);
      return { x: [x, draw.leaf([out, x.cols]), draw.leaf([out])] };
    },
    ours: ([x, w, b]) => ops.linearGelu(x!, w!, b!),
    torch: 'F.gelu(F.linear(*x))',
  },
  {
    name: 'rmsNorm',
    draw: (draw) => {
      const x = draw.ranked(1);
      return { x: [x, draw.leaf([x.cols])] };
    },
    ours: ([x, g]) => ops.rmsNorm(x!, g!, 1e-2),
    torch: 'F.rms_norm(x[0], x[0].shape[-1:], x[1], 1e-2)',
  },
  {
    name: 'normalizeRows',
    draw: (draw) => ({ x: [draw.leaf([1 + draw.below(5), 1 + draw.below(6)])] }),
    ours: ([x]) => ops.normalizeRows(x!),
    torch: 'F.normalize(x[0], dim=-1)',
  },
  {
    name: 'crossEntropy',
    draw: (draw) => {
      const classes = 2 + draw.below(5);
      const x = draw.leaf([1 + draw.below(6), classes]);
      return { x: [x, draw.ids([x.rows], classes)] };
    },
    ours: ([x, targets]) => ops.crossEntropy(x!, targets!),
    torch: 'F.cross_entropy(*x)',
  },
  {
    name: 'linear',
    draw: (draw) => {
      const x = draw.ranked(1);
      const out = 1 + draw.below(6);
      return { x: [x, draw.leaf([out, x.cols]), draw.leaf([out])] };
    },
    ours: ([x, w, b]) => ops.linear(x!, w!, b!),
    torch: 'F.linear(*x)',
  },
  {
    name: 'layerNorm',
    draw: (draw) => {
      const x = draw.ranked(1);
      return x.cols < 3 ? undefined : { x: [x, draw.leaf([x.cols]), draw.leaf([x.cols])] };
    },
    ours: ([x, g, b]) => ops.layerNorm(x!, g!, b!, 1e-2),
    torch: 'F.layer_norm(x[0], x[0].shape[-1:], x[1], x[2], 1e-2)',
  },
  along('softmax', ops.softmax, "x[0].softmax(a['axis'])"),
  along('softmin', ops.softmin, "F.softmin(x[0], a['axis'])"),
  along('logSoftmax', ops.logSoftmax, "x[0].log_softmax(a['axis'])"),
];

/** [batch, heads, length, 4]; keys of their own length, a head for one query head or for two. */
const attentionRows: readonly GraphRow[] = [
  {
    name: 'scaledDotProductAttention',
    draw: (draw) => {
      const [batch, keyHeads, queries, keys] = [1, 1, 1, 1].map((least) => least + draw.below(3)) as [
        number,
        number,
        number,
        number,
      ];
      const heads = keyHeads * (1 + draw.below(2));
      const [k, v] = [draw.leaf([batch, keyHeads, keys, 4]), draw.leaf([batch, keyHeads, keys, 4])];
      const bias = draw.chance(0.5) ? [draw.leaf([draw.one([1, heads]), queries, keys])] : [];
      return {
        x: [draw.leaf([batch, heads, queries, 4]), k, v, ...bias],
        a: { causal: draw.chance(0.5), scale: draw.one([0.3, 1]) },
      };
    },
    ours: ([q, k, v, bias], { causal, scale }) =>
      ops.scaledDotProductAttention(q!, k!, v!, { causal, scale, ...(bias ? { bias } : {}) }),
    torch:
      "(lambda hide: F.scaled_dot_product_attention(*x[:3], attn_mask=hide if len(x) < 4 else x[3] + hide, scale=a['scale'], enable_gqa=True))(torch.full((x[0].shape[2], x[1].shape[2]), -torch.inf if a['causal'] else 0.0, dtype=dtype).triu(1))",
  },
  {
    name: 'rotary',
    draw: (draw) => ({
      x: [draw.leaf([1 + draw.below(3), 1 + draw.below(5), 2 * (1 + draw.below(4))])],
      a: { first: draw.below(50), interleaved: draw.chance(0.5) },
    }),
    ours: ([x], { first, interleaved }) => ops.rotary(x!, first, { interleaved }),
    torch:
      "(lambda p, d: (lambda c, s, e, o: torch.stack([e * c - o * s, e * s + o * c], -1 if a['interleaved'] else -2).reshape(x[0].shape))((p * d).cos(), (p * d).sin(), *((x[0][..., 0::2], x[0][..., 1::2]) if a['interleaved'] else x[0].chunk(2, -1))))(torch.arange(x[0].shape[-2], dtype=dtype)[:, None] + a['first'], 10000 ** (-torch.arange(0, x[0].shape[-1], 2, dtype=dtype) / x[0].shape[-1]))",
  },
  {
    name: 'swiglu',
    draw: (draw) => {
      const gate = draw.any();
      return { x: [gate, draw.leaf(gate.shape)] };
    },
    ours: ([gate, up]) => ops.swiglu(gate!, up!),
    torch: 'F.silu(x[0]) * x[1]',
  },
];

export const graphRows: readonly GraphRow[] = [
  ...elementwiseRows,
  ...reductionRows,
  ...orderRows,
  ...shapeRows,
  ...productRows,
  ...attentionRows,
];
