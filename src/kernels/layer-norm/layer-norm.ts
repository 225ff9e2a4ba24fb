/**
 * LayerNorm over the last dimension (Ba, Kiros, Hinton 2016), with the residual added first:
 * s = x + residual, y = (s − mean)·rstd·γ + β. Backward needs s and the two statistics per row.
 *
 * Here are the families and their launch; the variants are in files of their own.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { f32, floats, notNegative, optional, signature } from '../../tensor/operands.js';
import { bytesPerElement, Tensor } from '../../tensor/tensor.js';
import { type FloatDType, floatDType } from '../launch/formats.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Case, type Family, formKey, runVariant, type SizeReader, variantOf } from '../variants.js';
import { affineColumns, affineWide } from './affine.js';
import {
  columnsOf,
  type LayerNormAffineOperands,
  type LayerNormForm,
  type LayerNormGradientForm,
  type LayerNormGradientOperands,
  type LayerNormOperands,
  type RowsSize,
  sizeClass,
} from './form.js';
import { layerNormGradientReference, layerNormReference, statistics } from './reference.js';
import { gradientRow, row } from './row.js';
import { gradientRows4, gradientRows4Texture, rows4Texture, rows8 } from './rows.js';

export { layerNormReference } from './reference.js';

/** Of results that are rounded to halves, and others. */
const tolerance = (...dtypes: readonly (FloatDType | 'none')[]) => (dtypes.includes('f16') ? 2e-3 : 2e-5);

const EPS = 1e-5;

const formName = (...dtypes: readonly string[]) => [...new Set(dtypes)].join('→');

function casesOf<Form extends object>(
  forms: readonly {
    readonly form: (columns: 1 | 4) => Form;
    readonly name: string;
    readonly whole: boolean;
  }[],
): Case<Form, RowsSize>[] {
  return forms.flatMap(({ form, name, whole }) =>
    (
      [
        [1, 4, 'check'],
        [9, 36, 'check'],
        [70, 128, 'check'],
        [3, 7, 'check'],
        [4096, 1024, 'bench'],
        [1728, 384, 'bench'],
      ] as const
    )
      // Rows that are no whole groups of four: of f32 only.
      .filter(([, cols]) => cols % 4 === 0 || !whole)
      .map(([rows, cols, use]) => ({
        name: `${rows}×${cols} ${name}`,
        form: form(columnsOf(cols)),
        size: { rows, cols },
        use,
      })),
  );
}

/** `--sizes` of the bench: rows × columns. */
function sizesOf<Form extends { readonly columns: 1 | 4 }>(
  forms: readonly {
    readonly form: (columns: 1 | 4) => Form;
    readonly name: string;
    readonly whole: boolean;
  }[],
): SizeReader<Form, RowsSize> {
  return {
    spelled: 'RxC',
    read([rows, cols, ...more], form) {
      if (!rows || !cols || more.length > 0) return undefined;
      const own = forms.find((each) => formKey(each.form(form.columns)) === formKey(form))!;
      if (own.whole && cols % 4 !== 0) return undefined;
      return { name: `${rows}×${cols} ${own.name}`, form: own.form(columnsOf(cols)), size: { rows, cols } };
    },
  };
}

// ---- forward ------------------------------------------------------------------------------------------------------

const FORMS = (
  [
    ['f32', 'none', 'f32'],
    ['f32', 'f32', 'f32'],
    ['f16', 'none', 'f16'],
    ['f16', 'f16', 'f16'],
    ['f16', 'f32', 'f32'],
  ] as const
).map(([from, residual, to]) => ({
  form: (columns: 1 | 4): LayerNormForm => ({ columns, from, residual, to }),
  name: `${formName(from, to)}${residual === 'none' ? '' : ` + ${residual}`}`,
  whole: [from, residual, to].includes('f16'),
}));

/** Forward: y, the sum with the residual, and the statistics. */
export const layerNormFamily: Family<LayerNormForm, RowsSize, LayerNormOperands> = {
  name: 'layerNorm',
  summary: 'LayerNorm over the last dimension, with the residual added first',
  variants: [row, rows8, rows4Texture],
  sizeClass,
  cases: casesOf(FORMS),
  sizes: sizesOf(FORMS),
  cost: ({ from, residual, to }, { rows, cols }) => ({
    flops: 8 * rows * cols,
    bytes:
      rows * cols * (bytesPerElement[from] + bytesPerElement[to]) +
      (residual === 'none' ? 0 : 2 * rows * cols * bytesPerElement[residual]) +
      8 * (rows + cols),
  }),
  tolerance: ({ to, residual }) => tolerance(to, residual),
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], form.from);
    const residual = form.residual === 'none' ? undefined : draws.floats([rows, cols], form.residual);
    const [gamma, beta] = [draws.floats([cols]), draws.floats([cols])];
    const y = draws.empty([rows, cols], form.to);
    const stats = draws.empty([rows, 2]);
    const sum = residual && draws.empty([rows, cols], form.residual as FloatDType);
    const added = residual ? Float64Array.from(x.values, (v, i) => v + residual.values[i]!) : x.values;
    const rowOf = (r: number) => added.subarray(r * cols, (r + 1) * cols);
    const operands = {
      x: x.tensor,
      residual: residual?.tensor,
      gamma: gamma.tensor,
      beta: beta.tensor,
      eps: EPS,
      y,
      sum,
      stats,
    };
    return trialOf(
      draws,
      [
        {
          output: y,
          parts: () =>
            probedRows(rows).map((r) => ({
              start: r * cols,
              values: layerNormReference(rowOf(r), gamma.values, beta.values, cols, EPS),
            })),
        },
        {
          output: stats,
          parts: () =>
            probedRows(rows).map((r) => {
              const { mean, rstd } = statistics(added, r * cols, cols, EPS);
              return { start: 2 * r, values: [mean, rstd] };
            }),
        },
        ...(sum
          ? [
              {
                output: sum,
                parts: () => probedRows(rows).map((r) => ({ start: r * cols, values: rowOf(r) })),
              },
            ]
          : []),
      ],
      (name) => variantOf(gpu, layerNormFamily, form, size, name).run(gpu, form, size, operands),
    );
  },
};

export interface LayerNormResult {
  y: Tensor;
  /** x + residual; x itself (another handle) without a residual. */
  sum: Tensor;
  /** [rows, 2]: mean, 1/√(var + ε). */
  stats: Tensor;
}

const LAYER_NORM = signature(
  'layerNorm',
  { x: floats('...', 'H'), gamma: f32('H'), beta: f32('H'), residual: optional(floats('...', 'H')) },
  { numbers: { eps: notNegative }, foursInF16: ['H'] },
);

/**
 * x, residual: [...,H], each f32 or f16; gamma, beta: [H] f32. y is of `dtype`, by default that of x. The sum, which
 * only backward reads, is of the residual's dtype; y comes from the sum as it was before that was rounded.
 */
export function layerNorm(
  x: Tensor,
  residual: Tensor | undefined,
  gamma: Tensor,
  beta: Tensor,
  eps: number,
  dtype: FloatDType = x.dtype === 'f16' ? 'f16' : 'f32',
): LayerNormResult {
  LAYER_NORM.check({ x, gamma, beta, residual }, { eps }, { result: dtype });
  const { gpu, rows, cols } = x;
  const form: LayerNormForm = {
    columns: columnsOf(cols),
    from: floatDType('layerNorm', x),
    residual: residual ? floatDType('layerNorm', residual) : 'none',
    to: dtype,
  };
  const y = Tensor.empty(gpu, x.shape, dtype);
  const sum = residual && Tensor.empty(gpu, x.shape, residual.dtype);
  const stats = Tensor.empty(gpu, [rows, 2]);
  const size = { rows, cols };
  runVariant(gpu, layerNormFamily, form, size, {
    x,
    residual,
    gamma,
    beta,
    eps,
    y,
    sum,
    stats,
  });
  return { y, sum: sum ?? x.detach(), stats };
}

// ---- gradient -----------------------------------------------------------------------------------------------------

const GRADIENT_FORMS = (
  [
    ['f32', 'f32'],
    ['f16', 'f16'],
    ['f32', 'f16'],
  ] as const
).map(([outer, own]) => ({
  form: (columns: 1 | 4): LayerNormGradientForm => ({ columns, outer, own }),
  name: formName(outer, own),
  whole: own === 'f16',
}));

/** What backward is given, drawn: the statistics are those of the sum. */
function drawGradient(gpu: Gpu, form: LayerNormGradientForm, { rows, cols }: RowsSize) {
  const draws = new Draws(gpu, rows + 2 * cols);
  const dy = draws.floats([rows, cols], form.outer);
  const sum = draws.floats([rows, cols], form.own);
  const gamma = draws.floats([cols]);
  const ofRows = Array.from({ length: rows }, (_, r) => statistics(sum.values, r * cols, cols, EPS));
  const stats = draws.kept(
    Tensor.from(gpu, Float32Array.from(ofRows.flatMap(({ mean, rstd }) => [mean, rstd])), [rows, 2]),
  );
  return { draws, dy, sum, gamma, ofRows, stats };
}

/** The gradient of the sum, which flows to x and to the residual alike. */
export const layerNormGradientFamily: Family<LayerNormGradientForm, RowsSize, LayerNormGradientOperands> = {
  name: 'layerNormGradient',
  summary: 'gradient of LayerNorm towards its input',
  variants: [gradientRow, gradientRows4, gradientRows4Texture],
  sizeClass,
  cases: casesOf(GRADIENT_FORMS),
  sizes: sizesOf(GRADIENT_FORMS),
  cost: ({ outer, own }, { rows, cols }) => ({
    flops: 14 * rows * cols,
    bytes: rows * cols * (bytesPerElement[outer] + 2 * bytesPerElement[own]) + 8 * rows + 4 * cols,
  }),
  tolerance: ({ own }) => tolerance(own),
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const { draws, dy, sum, gamma, ofRows, stats } = drawGradient(gpu, form, size);
    const ds = draws.empty([rows, cols], form.own);
    const operands = { dy: dy.tensor, sum: sum.tensor, stats, gamma: gamma.tensor, ds };
    return trialOf(
      draws,
      [
        {
          output: ds,
          parts: () =>
            probedRows(rows).map((r) => ({
              start: r * cols,
              values: layerNormGradientReference(
                dy.values,
                sum.values,
                gamma.values,
                r * cols,
                cols,
                ofRows[r]!,
              ),
            })),
        },
      ],
      (name) => variantOf(gpu, layerNormGradientFamily, form, size, name).run(gpu, form, size, operands),
    );
  },
};

/** ds = rstd·(γ∘dy − mean(γ∘dy) − x̂·mean(γ∘dy∘x̂)), of sum's dtype; flows to x and to the residual alike. */
export function layerNormGradient(dy: Tensor, sum: Tensor, stats: Tensor, gamma: Tensor): Tensor {
  const { gpu } = dy;
  const { form, size } = gradientForm(dy, sum);
  const ds = Tensor.empty(gpu, sum.shape, form.own);
  runVariant(gpu, layerNormGradientFamily, form, size, { dy, sum, stats, gamma, ds });
  return ds;
}

function gradientForm(dy: Tensor, sum: Tensor): { form: LayerNormGradientForm; size: RowsSize } {
  const { rows, cols } = sum;
  const [outer, own] = [floatDType('layerNorm', dy), floatDType('layerNorm', sum)];
  return { form: { columns: columnsOf(cols), outer, own }, size: { rows, cols } };
}

/** dγ and dβ. */
export const layerNormAffineFamily: Family<LayerNormGradientForm, RowsSize, LayerNormAffineOperands> = {
  name: 'layerNormAffine',
  summary: 'gradients of LayerNorm towards γ and β',
  variants: [affineColumns, affineWide],
  sizeClass,
  cases: casesOf(GRADIENT_FORMS),
  sizes: sizesOf(GRADIENT_FORMS),
  cost: ({ outer, own }, { rows, cols }) => ({
    flops: 5 * rows * cols,
    bytes: rows * cols * (bytesPerElement[outer] + bytesPerElement[own]) + 8 * (rows + cols),
  }),
  // The operands are halves as they are; the sums are f32.
  tolerance: () => tolerance('f32'),
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const { draws, dy, sum, ofRows, stats } = drawGradient(gpu, form, size);
    const [dGamma, dBeta] = [draws.empty([cols]), draws.empty([cols])];
    const sumOver = (term: (r: number, at: number) => number) => () => {
      const values = new Float64Array(cols);
      for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) values[c]! += term(r, r * cols + c);
      return [{ start: 0, values }];
    };
    const normal = (r: number, at: number) => (sum.values[at]! - ofRows[r]!.mean) * ofRows[r]!.rstd;
    const operands = { dy: dy.tensor, sum: sum.tensor, stats, dGamma, dBeta };
    return trialOf(
      draws,
      [
        { output: dGamma, parts: sumOver((r, at) => dy.values[at]! * normal(r, at)) },
        { output: dBeta, parts: sumOver((_, at) => dy.values[at]!) },
      ],
      (name) => variantOf(gpu, layerNormAffineFamily, form, size, name).run(gpu, form, size, operands),
    );
  },
};

/** dγ = Σ_rows dy∘x̂ and dβ = Σ_rows dy, f32. */
export function layerNormAffineGradient(
  dy: Tensor,
  sum: Tensor,
  stats: Tensor,
): { dGamma: Tensor; dBeta: Tensor } {
  const { gpu } = dy;
  const { form, size } = gradientForm(dy, sum);
  const [dGamma, dBeta] = [Tensor.empty(gpu, [size.cols]), Tensor.empty(gpu, [size.cols])];
  runVariant(gpu, layerNormAffineFamily, form, size, { dy, sum, stats, dGamma, dBeta });
  return { dGamma, dBeta };
}
