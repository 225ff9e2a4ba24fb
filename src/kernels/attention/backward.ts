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
import { workgroup } from './emit-workgroup.js';
import { type AttentionForm, type AttentionKernels, type GradientOperands, passOf } from './form.js';
import { forwardFamily } from './forward.js';
import { launchTiles } from './launch.js';
import type { AttentionSize } from './layout.js';

export type GradientVariant = Variant<AttentionForm, AttentionSize, GradientOperands>;

/** delta[t,h] = Σ_d out[t,h,d]·dOut[t,h,d]. */
const deltaShader = ({ dtype }: AttentionForm) =>
  shaderOf('attentionDelta', { dtype }, ({ dtype }) => ({
    label: 'attentionDelta',
    params: { count: 'u32', d4: 'u32' } as const,
    buffers: { O: vec4Type(dtype), DO: vec4Type(dtype), outD: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let base = i * p.d4;
  var sum = 0.0;
  for (var e = 0u; e < p.d4; e++) { sum += dot(${load4(dtype, 'O', 'base + e')}, ${load4(dtype, 'DO', 'base + e')}); }
  outD[i] = sum;
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
    }),
    run(gpu: Gpu, form, { tokens, hidden }, { qkv, sequences, dropout, out, logSumExp, dOut, dqkv }) {
      const heads = hidden / form.headDim;
      const delta = Tensor.empty(gpu, [tokens, heads]);
      deltaShader(form).launch(
        gpu,
        { O: byRows(out), DO: byRows(dOut), outD: byRows(delta) },
        ({ count }) => ({ count: count * heads, d4: form.headDim / 4 }),
        ({ count }) => flatGroups(count * heads),
      );
      launchTiles(
        gpu,
        { reads: kernels.reads, form, sequences, heads, dropout },
        (['dq', 'dkv'] as const).map((part) => passOf(kernels, gpu.capabilities, form, part)),
        {
          QKV: { tensor: qkv, parts: 3, use: 'source' },
          DO: { tensor: dOut, parts: 1, use: 'source' },
          L: { tensor: logSumExp, parts: 1, use: 'read' },
          delta: { tensor: delta, parts: 1, use: 'read' },
          outD: { tensor: dqkv, parts: 3, use: 'write' },
        },
      );
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
