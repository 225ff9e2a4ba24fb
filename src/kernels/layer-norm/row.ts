/**
 * `row`: one workgroup a row, three passes over it: mean, deviations from it, result. Right on every adapter and for every
 * row; the other variants must agree with it.
 */
import { elementary } from '../elementary.js';
import { byRows, whole } from '../launch/operands.js';
import { rowMain, rowReductionOf } from '../launch/rows.js';
import { shaderOf } from '../launch/shader.js';
import type { Variant } from '../variants.js';
import {
  type LayerNormForm,
  type LayerNormGradientForm,
  type LayerNormGradientOperands,
  type LayerNormOperands,
  type RowsSize,
  unitOf,
} from './form.js';

const reduction = rowReductionOf('workgroup64');

function forwardShader(form: LayerNormForm) {
  return shaderOf('layerNorm.row', form, ({ columns, from, residual, to }) => {
    const unit = unitOf({ columns });
    const other = residual === 'none' ? undefined : residual;
    const terms = other
      ? `(${unit.load(from, 'X', 'at')} + ${unit.load(other, 'R', 'at')})`
      : unit.load(from, 'X', 'at');
    // An f32 sum is read back; a rounded one is not what y comes from.
    const value = other === 'f32' ? unit.load('f32', 'outS', 'at') : terms;
    return {
      label: 'layerNorm',
      params: { rows: 'u32', cols: 'u32', units: 'u32', eps: 'f32' } as const,
      buffers: {
        X: unit.type(from),
        gamma: unit.type('f32'),
        beta: unit.type('f32'),
        outY: unit.type(to),
        outStats: 'array<vec2f>',
        ...(other ? { R: unit.type(other), outS: unit.type(other) } : {}),
      },
      body: `${elementary('f32')}${reduction.prelude}${rowMain(reduction, 'p.rows')}
  var part = 0.0;
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let v = ${terms};
    ${other ? unit.store(other, 'outS', 'at', 'v') : ''}
    part += ${unit.total('v')};
  }
  var mean = rowSum(part, lane) / f32(p.cols);
  // A second pass over the differences: one pass of sums of squares would cancel for rows far from zero.
  part = 0.0;
  var rest = 0.0;
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let d = ${value} - mean;
    part += ${unit.total('d * d')};
    rest += ${unit.total('d')};
  }
  var variance = rowSum(part, lane) / f32(p.cols);
  // Far from zero the mean's own rounding shows beside the deviation: a row of equal values would not become β.
  let shift = rowSum(rest, lane) / f32(p.cols);
  if (shift * shift > 1e-12 * variance) {
    mean += shift;
    variance = max(0.0, variance - shift * shift);
  }
  // 1/√∞ is 0, which would make zeros of a row whose squares overflow.
  variance += p.eps;
  let rstd = select(inverseSqrt(variance), nanOf(variance), bitcast<u32>(variance) >= 0x7f800000u);
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    ${unit.store(to, 'outY', 'at', `(${value} - mean) * rstd * gamma[c] + beta[c]`)}
  }
  if (lane == 0u) { outStats[row] = vec2f(mean, rstd); }
}`,
    };
  });
}

export const row: Variant<LayerNormForm, RowsSize, LayerNormOperands> = {
  name: 'row',
  why: 'a workgroup a row, three passes, sums in workgroup memory: right everywhere',
  supports: () => true,
  prior: () => 0,
  shaders: (_, form) => ({ forward: forwardShader(form) }),
  run(gpu, form, { rows, cols }, { x, residual, gamma, beta, eps, y, sum, stats }) {
    forwardShader(form).launch(
      gpu,
      {
        X: byRows(x, { rows }),
        gamma: whole(gamma),
        beta: whole(beta),
        outY: byRows(y, { rows }),
        outStats: byRows(stats, { rows }),
        ...(residual && sum ? { R: byRows(residual, { rows }), outS: byRows(sum, { rows }) } : {}),
      },
      ({ count }) => ({ rows: count, cols, units: cols / form.columns, eps }),
      ({ count }) => count,
    );
  },
};

function gradientShader(form: LayerNormGradientForm) {
  return shaderOf('layerNormGradient.row', form, ({ columns, outer, own }) => {
    const unit = unitOf({ columns });
    return {
      label: 'layerNormGradient',
      params: { rows: 'u32', cols: 'u32', units: 'u32' } as const,
      buffers: {
        DY: unit.type(outer),
        S: unit.type(own),
        stats: 'array<vec2f>',
        gamma: unit.type('f32'),
        outS: unit.type(own),
      },
      body: `${reduction.prelude}${rowMain(reduction, 'p.rows')}
  let mean = stats[row].x;
  let rstd = stats[row].y;
  var a = 0.0;
  var b = 0.0;
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let g = ${unit.load(outer, 'DY', 'at')} * gamma[c];
    a += ${unit.total('g')};
    b += ${unit.total(`g * (${unit.load(own, 'S', 'at')} - mean)`)};
  }
  let meanG = rowSum(a, lane) / f32(p.cols);
  let meanGx = rowSum(b, lane) * rstd / f32(p.cols);
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let g = ${unit.load(outer, 'DY', 'at')} * gamma[c];
    ${unit.store(own, 'outS', 'at', `rstd * (g - meanG - (${unit.load(own, 'S', 'at')} - mean) * rstd * meanGx)`)}
  }
}`,
    };
  });
}

export const gradientRow: Variant<LayerNormGradientForm, RowsSize, LayerNormGradientOperands> = {
  name: 'row',
  why: 'a workgroup a row, two passes, sums in workgroup memory: right everywhere',
  supports: () => true,
  prior: () => 0,
  shaders: (_, form) => ({ gradient: gradientShader(form) }),
  run(gpu, form, { rows, cols }, { dy, sum, stats, gamma, ds }) {
    gradientShader(form).launch(
      gpu,
      {
        DY: byRows(dy, { rows }),
        S: byRows(sum, { rows }),
        stats: byRows(stats, { rows }),
        gamma: whole(gamma),
        outS: byRows(ds, { rows }),
      },
      ({ count }) => ({ rows: count, cols, units: cols / form.columns }),
      ({ count }) => count,
    );
  },
};
