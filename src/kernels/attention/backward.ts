/**
 * The gradient of attention (FlashAttention-2, Dao 2023, algorithm 2): probabilities are computed again from the log-sum-exp,
 * in one kernel for dQ and one for dK and dV, no atomics. Here is how they are launched; how they are written is in
 * `emit-*.ts`.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { Tensor } from '../../tensor/tensor.js';
import { load4, vec4Type } from '../launch/formats.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { byRows } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import type { Family, Variant } from '../variants.js';
import {
  gradientCases,
  gradientCost,
  gradientTolerance,
  gradientTrial,
  probe,
  sizeClass,
  sizes,
} from './cases.js';
import { subgroupMatrix } from './emit-matrix.js';
import { subgroup8, subgroup8Storage } from './emit-subgroup8.js';
import { BIAS_TILE, biasGradient, workgroup } from './emit-workgroup.js';
import {
  type AttentionForm,
  type AttentionKernels,
  type GradientOperands,
  passOf,
  textureForm,
} from './form.js';
import { forwardFamily } from './forward.js';
import { copyHeads, launchTiles, layoutOf, type RowOperand, type RowOperands, sourcesOf } from './launch.js';
import type { AttentionSize } from './layout.js';
import type { Side } from './spans.js';

export type GradientVariant = Variant<AttentionForm, AttentionSize, GradientOperands>;

/** delta[t,h] = Σ_d out[t,h,d]·dOut[t,h,d]; where all are apart it is kept beside the log-sum-exp. */
const deltaShader = ({ dtype, apart }: AttentionForm) =>
  shaderOf('attentionDelta', { dtype, apart }, ({ dtype, apart }) => ({
    label: 'attentionDelta',
    params: { count: 'u32', d4: 'u32' } as const,
    buffers: {
      O: vec4Type(dtype),
      DO: vec4Type(dtype),
      ...(apart ? { L: 'array<f32>' } : {}),
      outD: apart ? 'array<vec2f>' : 'array<f32>',
    },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let base = i * p.d4;
  var sum = 0.0;
  for (var e = 0u; e < p.d4; e++) { sum += dot(${load4(dtype, 'O', 'base + e')}, ${load4(dtype, 'DO', 'base + e')}); }
  outD[i] = ${apart ? 'vec2f(L[i], sum)' : 'sum'};
}`,
  }));

function variantOf<Plan extends object>(kernels: AttentionKernels<Plan>): GradientVariant {
  return {
    name: kernels.name,
    why: kernels.why,
    ...(kernels.gpuOnly ? { gpuOnly: true } : {}),
    supports: kernels.supports,
    prior: (facts, form) => kernels.prior(facts, form, 'gradient'),
    shaders: (facts, form) => ({
      delta: deltaShader(form),
      dq: passOf(kernels, facts, form, 'dq').shader,
      dkv: passOf(kernels, facts, form, 'dkv').shader,
      ...(form.bias ? { dBias: shaderOf('attention.dBias', form, biasGradient) } : {}),
    }),
    run(gpu: Gpu, given, size, operands) {
      const form = textureForm(kernels, given, size);
      const { dropout, out, logSumExp, dOut } = operands;
      const layout = layoutOf(form, operands);
      const { heads } = layout.layout;
      // Apart, each is beside its log-sum-exp.
      const delta = Tensor.empty(gpu, [out.rows, (form.apart ? 2 : 1) * heads]);
      deltaShader(form).launch(
        gpu,
        {
          O: byRows(out),
          DO: byRows(dOut),
          ...(form.apart ? { L: byRows(logSumExp) } : {}),
          outD: byRows(delta),
        },
        ({ count }) => ({ count: count * heads, d4: form.headDim / 4 }),
        ({ count }) => flatGroups(count * heads),
      );
      const row = (tensor: Tensor, use: RowOperand['use'], side: Side, parts: RowOperand['parts'] = 1) => ({
        tensor,
        use,
        side,
        parts,
      });
      const read = {
        ...sourcesOf(operands),
        DO: row(dOut, 'source', 'queries'),
        ...(form.apart
          ? { stats: row(delta, 'read', 'queries') }
          : { L: row(logSumExp, 'read', 'queries'), delta: row(delta, 'read', 'queries') }),
      };
      const pass = (part: 'dq' | 'dkv', side: Side, ...written: string[]) => ({
        ...passOf(kernels, gpu.capabilities, form, part),
        side,
        operands: [...Object.keys(read), ...written],
      });
      const batch = { reads: kernels.reads, form, dropout, ...layout };
      if ('dqkv' in operands) {
        launchTiles(gpu, batch, [pass('dq', 'queries', 'outD'), pass('dkv', 'keys', 'outD')], {
          ...read,
          outD: row(operands.dqkv, 'write', 'queries', 3),
        });
      } else {
        const { dq, dk, dv, k } = operands;
        const both = form.bias && Tensor.zeros(gpu, [k.rows, 2 * k.cols], form.dtype, 'workspace');
        const written: RowOperands = both
          ? { outDKV: row(both, 'write', 'keys', 2) }
          : { outDK: row(dk, 'write', 'keys'), outDV: row(dv, 'write', 'keys') };
        launchTiles(
          gpu,
          batch,
          [pass('dq', 'queries', 'outDQ'), pass('dkv', 'keys', ...Object.keys(written))],
          { ...read, outDQ: row(dq, 'write', 'queries'), ...written },
        );
        if (operands.dBias)
          launchTiles(
            gpu,
            { ...batch, reads: 'buffers' },
            [
              {
                shader: shaderOf('attention.dBias', given, biasGradient),
                rowsPerTile: 1,
                side: 'queries',
                biasTile: BIAS_TILE,
              },
            ],
            { ...read, ioDBias: row(operands.dBias, 'bias', 'queries') },
          );
        if (both) {
          const rows = { base: 0, begin: 0, end: k.rows };
          copyHeads(both, dk, 1, rows, { first: 0, count: 1, of: 2 }, 'take');
          copyHeads(both, dv, 1, rows, { first: 1, count: 1, of: 2 }, 'take');
          both.dispose();
        }
      }
      delta.dispose();
    },
  };
}

export const gradientFamily: Family<AttentionForm, AttentionSize, GradientOperands> = {
  name: 'attentionGradient',
  summary: 'gradient of attention: dq, dk and dv of packed sequences',
  variants: [
    variantOf(workgroup),
    variantOf(subgroup8),
    variantOf(subgroup8Storage),
    variantOf(subgroupMatrix),
  ],
  sizeClass,
  probe,
  sizes,
  cases: gradientCases,
  cost: gradientCost,
  tolerance: gradientTolerance,
  trial: (gpu, form, size) =>
    gradientTrial(gpu, form, size, gradientFamily, (operands, forwardSize) =>
      forwardFamily.variants[0].run(gpu, form, forwardSize, operands),
    ),
};
