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
  unary('scale', (x) => ops.scale(x, 1.7), 'x[0] * 1.7'),
  unary('shift', (x) => ops.shift(x, -0.4), 'x[0] - 0.4'),
  binary('add', ops.add, 'x[0] + x[1]'),
  binary('sub', ops.sub, 'x[0] - x[1]'),
  binary('mul', ops.mul, 'x[0] * x[1]'),
  binary('div', ops.div, 'x[0] / x[1]', { second: [0.5, 2] }),
  binary('maximum', ops.maximum, 'torch.maximum(x[0], x[1])', { apart: BETWEEN }),
];

export const reductionRows: readonly GraphRow[] = [
  reduction('sum', ops.sum, "x[0].sum(a['axes'], keepdim=a['keep'])"),
  reduction('mean', ops.mean, "x[0].mean(a['axes'], keepdim=a['keep'])"),
  reduction('max', ops.max, "x[0].amax(a['axes'], keepdim=a['keep'])", { apart: gaps('x[0].flatten()') }),
  reduction('min', ops.min, "x[0].amin(a['axes'], keepdim=a['keep'])", { apart: gaps('x[0].flatten()') }),
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
  {
    name: 'softmax',
    draw: (draw) => ({ x: [draw.ranked(1)] }),
    ours: ([x]) => ops.softmax(x!),
    torch: 'x[0].softmax(-1)',
  },
  {
    name: 'logSoftmax',
    draw: (draw) => ({ x: [draw.ranked(1)] }),
    ours: ([x]) => ops.logSoftmax(x!),
    torch: 'x[0].log_softmax(-1)',
  },
];

export const graphRows: readonly GraphRow[] = [
  ...elementwiseRows,
  ...reductionRows,
  ...shapeRows,
  ...productRows,
];
