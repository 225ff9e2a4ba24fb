/**
 * RMSNorm over the last dimension (Zhang & Sennrich 2019): y = x·rstd·γ with rstd = 1/√(mean(x²) + ε), and its gradient
 * towards x: the family `rmsNorm`. γ's gradient is that of a LayerNorm whose mean is 0.
 */
import { f32, floats, notNegative, signature } from '../tensor/operands.js';
import { bytesPerElement, Tensor } from '../tensor/tensor.js';
import { type FloatDType, floatDType, type UnitName, unitFor, unitOf } from './launch/formats.js';
import { byRows, type Operand, whole } from './launch/operands.js';
import { type RowVariant, threadSum } from './launch/rows.js';
import {
  type RowKernel,
  type RowsSize,
  rowCases,
  rowShader,
  rowVariants,
  widthClass,
} from './row-variants.js';
import { Draws, probedRows, trialOf } from './trials.js';
import { type Family, runVariant, variantOf } from './variants.js';

interface RmsNormForm {
  readonly part: 'value' | 'gradient';
  readonly unit: UnitName;
  /** Of x, of y and of their gradients. */
  readonly dtype: FloatDType;
}

interface RmsNormOperands {
  readonly x: Tensor;
  readonly gamma: Tensor;
  /** Of the gradient. */
  readonly dy: Tensor | undefined;
  /** y or dx. */
  readonly out: Tensor;
  /** [rows, 2]: 0 and rstd, as LayerNorm's statistics. */
  readonly stats: Tensor;
  readonly eps: number;
}

const rmsNormShader = (form: RmsNormForm, reduction: RowVariant) =>
  rowShader('rmsNorm', form, reduction, ({ part, unit: name, dtype }) => {
    const unit = unitOf(name);
    const load = (buffer: string, c: string) => unit.load(dtype, buffer, `base + ${c}`);
    const sum = (of: (c: string) => string) =>
      threadSum('part', unit.value, ['lane', 'p.units', 'LANES'], of);
    const store = (value: string) =>
      `for (var c = lane; c < p.units; c += LANES) { ${unit.store(dtype, 'outY', 'base + c', value)} }`;
    const params = { rows: 'u32', cols: 'u32', units: 'u32', eps: 'f32' } as const;
    const type = unit.type(dtype);
    const kernel: RowKernel =
      part === 'value'
        ? {
            label: 'rmsNorm',
            buffers: { X: type, gamma: unit.type('f32'), outY: type, outStats: 'array<vec2f>' },
            body: `
  let base = row * p.units;
  ${sum((c) => `${load('X', c)} * ${load('X', c)}`)}
  let rstd = inverseSqrt(rowSum(${unit.total('part')}, lane) / f32(p.cols) + p.eps);
  ${store(`${load('X', 'c')} * rstd * gamma[c]`)}
  if (lane == 0u) { outStats[row] = vec2f(0.0, rstd); }`,
          }
        : {
            label: 'rmsNormGradient',
            buffers: { X: type, gamma: unit.type('f32'), DY: type, outY: type, stats: 'array<vec2f>' },
            body: `
  let base = row * p.units;
  let rstd = stats[row].y;
  ${sum((c) => `${load('DY', c)} * gamma[${c}] * ${load('X', c)}`)}
  let along = rowSum(${unit.total('part')}, lane) * rstd / f32(p.cols) * rstd;
  ${store(`rstd * (${load('DY', 'c')} * gamma[c] - ${load('X', 'c')} * along)`)}`,
          };
    return { ...kernel, params };
  });

const formName = ({ part, dtype }: RmsNormForm): string => `${part === 'value' ? '' : 'gradient '}${dtype}`;

const FORMS = (['f32', 'f16'] as const).flatMap((dtype) =>
  (['value', 'gradient'] as const).map((part): RmsNormForm => ({ part, unit: 'v4', dtype })),
);

export const rmsNormFamily: Family<RmsNormForm, RowsSize, RmsNormOperands> = {
  name: 'rmsNorm',
  summary: 'RMSNorm over the last dimension, and its gradient towards its input',
  variants: rowVariants(
    rmsNormShader,
    (shader, gpu, form, { rows, cols }: RowsSize, operands: RmsNormOperands) => {
      const { x, gamma, dy, out, stats, eps } = operands;
      const own: Record<string, Operand> =
        form.part === 'value'
          ? { outStats: byRows(stats, { rows }) }
          : { stats: byRows(stats, { rows }), DY: byRows(dy!, { rows }) };
      shader.launch(
        gpu,
        { X: byRows(x, { rows }), gamma: whole(gamma), outY: byRows(out, { rows }), ...own },
        ({ count }) => ({ rows: count, cols, units: cols / unitOf(form.unit).width, eps }),
        ({ count }) => count,
      );
    },
  ),
  formName,
  sizeClass: widthClass,
  ...rowCases<RmsNormForm>(FORMS, formName, {
    check: [
      [5, 12],
      [33, 260],
    ],
    bench: [[1728, 384]],
  }),
  cost: ({ part, dtype }, { rows, cols }) => ({
    flops: (part === 'value' ? 5 : 8) * rows * cols,
    bytes: rows * (bytesPerElement[dtype] * cols * (part === 'value' ? 2 : 3) + 8) + 4 * cols,
  }),
  tolerance: ({ dtype }) => (dtype === 'f16' ? 2e-3 : 2e-5),
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const eps = 1e-6;
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], form.dtype);
    const gamma = draws.floats([cols]);
    const rowOf = (r: number) => x.values.subarray(r * cols, (r + 1) * cols);
    const rstdOf = (r: number) => 1 / Math.sqrt(rowOf(r).reduce((sum, v) => sum + v * v, 0) / cols + eps);
    const out = draws.empty([rows, cols], form.dtype);
    const own = { x: x.tensor, gamma: gamma.tensor, out, eps };
    const run = (operands: RmsNormOperands) => (name: string | undefined) =>
      variantOf(gpu, rmsNormFamily, form, size, name).run(gpu, form, size, operands);
    const parts = (right: (r: number) => Float64Array) => () =>
      probedRows(rows).map((r) => ({ start: r * cols, values: right(r) }));
    if (form.part === 'value') {
      const stats = draws.empty([rows, 2]);
      const right = (r: number) => Float64Array.from(rowOf(r), (v, c) => v * rstdOf(r) * gamma.values[c]!);
      const ofStats = () => probedRows(rows).map((r) => ({ start: 2 * r, values: [0, rstdOf(r)] }));
      return trialOf(
        draws,
        [
          { output: out, parts: parts(right) },
          { output: stats, parts: ofStats },
        ],
        run({ ...own, dy: undefined, stats }),
      );
    }
    const dy = draws.floats([rows, cols], form.dtype);
    const known = Float32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? 0 : rstdOf((i - 1) / 2)));
    const stats = draws.from(known, [rows, 2]).tensor;
    const right = (r: number) => {
      const outer = Float64Array.from(rowOf(r), (_, c) => dy.values[r * cols + c]! * gamma.values[c]!);
      const along = outer.reduce((sum, v, c) => sum + v * rowOf(r)[c]!, 0) * (rstdOf(r) ** 2 / cols);
      return outer.map((v, c) => rstdOf(r) * (v - rowOf(r)[c]! * along));
    };
    return trialOf(draws, [{ output: out, parts: parts(right) }], run({ ...own, dy: dy.tensor, stats }));
  },
};

const RMS_NORM = signature(
  'rmsNorm',
  { x: floats('...', 'H'), gamma: f32('H') },
  { numbers: { eps: notNegative }, foursInF16: ['H'] },
);

function run(part: RmsNormForm['part'], operands: RmsNormOperands): void {
  const { x } = operands;
  const dtype = floatDType('rmsNorm', x);
  const { rows, cols } = x;
  const form: RmsNormForm = { part, unit: unitFor('rmsNorm', cols, dtype).name, dtype };
  runVariant(x.gpu, rmsNormFamily, form, { rows, cols }, operands);
}

/** x: [...,H] f32, or f16 in whole groups of 4; gamma: [H] f32. y of x's format, and its statistics. @throws ShapeError. */
export function rmsNorm(x: Tensor, gamma: Tensor, eps: number): { y: Tensor; stats: Tensor } {
  RMS_NORM.check({ x, gamma }, { eps });
  const y = Tensor.empty(x.gpu, x.shape, x.dtype);
  const stats = Tensor.empty(x.gpu, [x.rows, 2]);
  run('value', { x, gamma, dy: undefined, out: y, stats, eps });
  return { y, stats };
}

/** dx = rstd·(γ∘dy − x·rstd²·mean(γ∘dy∘x)). */
export function rmsNormGradient(dy: Tensor, x: Tensor, stats: Tensor, gamma: Tensor): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape, x.dtype);
  run('gradient', { x, gamma, dy, out: dx, stats, eps: 0 });
  return dx;
}
