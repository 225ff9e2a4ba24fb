/**
 * The gradient of attention (FlashAttention-2, Dao 2023, algorithm 2): probabilities are computed again from the log-sum-exp,
 * in one kernel for dQ and one for dK and dV, no atomics. Here is how they are launched; how they are written is in
 * `emit-*.ts`.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { Tensor } from '../../tensor/tensor.js';
import {
  FLAT_MAIN,
  type FloatDType,
  flatGrid,
  load4,
  type Shader,
  type ShaderDefinition,
  shaderOf,
  vec4Type,
} from '../launch.js';
import { type Family, formKey, type Variant } from '../variants.js';
import { gradientCases, gradientCost, gradientTolerance, gradientTrial, sizeClass } from './cases.js';
import { subgroup8 } from './emit-subgroup8.js';
import { workgroup } from './emit-workgroup.js';
import type { AttentionForm, AttentionKernels, GradientOperands } from './form.js';
import { forwardFamily } from './forward.js';
import { type AttentionSize, type PARAMS, parameters } from './layout.js';
import { withSources } from './sources.js';

export type GradientVariant = Variant<AttentionForm, AttentionSize, GradientOperands>;

const DELTA_PARAMS = { count: 'u32', tokens: 'u32', hidden4: 'u32', d4: 'u32' } as const;

/** delta[h,t] = Σ_d out[t,h,d]·dOut[t,h,d]. */
const delta = (dtype: FloatDType): ShaderDefinition<typeof DELTA_PARAMS> => ({
  label: 'attentionDelta',
  params: DELTA_PARAMS,
  buffers: { O: vec4Type(dtype), DO: vec4Type(dtype), outD: 'array<f32>' },
  body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let base = (i % p.tokens) * p.hidden4 + (i / p.tokens) * p.d4;
  var sum = 0.0;
  for (var e = 0u; e < p.d4; e++) { sum += dot(${load4(dtype, 'O', 'base + e')}, ${load4(dtype, 'DO', 'base + e')}); }
  outD[i] = sum;
}`,
});
const deltaShader = ({ dtype }: AttentionForm) => shaderOf(`attentionDelta.${dtype}`, () => delta(dtype));

function variantOf(kernels: AttentionKernels): GradientVariant {
  const shader = (part: 'dq' | 'dkv', form: AttentionForm): Shader<typeof PARAMS> =>
    shaderOf(`attention.${kernels.name}.${part}.${formKey(form)}`, () => kernels.parts[part](form));
  return {
    name: kernels.name,
    why: kernels.why,
    supports: kernels.supports,
    prior: (facts, form) => kernels.prior(facts, form, 'gradient'),
    shaders: (_, form) => ({
      delta: deltaShader(form),
      dq: shader('dq', form),
      dkv: shader('dkv', form),
    }),
    run(gpu: Gpu, form, size, { qkv, sequences, dropout, out, logSumExp, dOut, dqkv }) {
      const { tokens, hidden } = size;
      const heads = hidden / form.headDim;
      const params = parameters(size, form.headDim, dropout);
      const rowDelta = Tensor.empty(gpu, [heads, tokens]);
      deltaShader(form).run(
        gpu,
        [out, dOut, rowDelta],
        { count: heads * tokens, tokens, hidden4: hidden / 4, d4: form.headDim / 4 },
        flatGrid(heads * tokens),
      );
      withSources(kernels, [qkv, dOut], ([source, outer]) => {
        for (const part of ['dq', 'dkv'] as const) {
          const tiles = sequences.tiles(kernels.rowsPerTile(form, part));
          shader(part, form).run(gpu, [source!, tiles, outer!, logSumExp, rowDelta, dqkv], params, [
            tiles.rows,
            heads,
          ]);
        }
      });
      rowDelta.dispose();
    },
  };
}

export const gradientFamily: Family<AttentionForm, AttentionSize, GradientOperands> = {
  name: 'attentionGradient',
  summary: 'gradient of attention: dq, dk and dv of packed sequences',
  variants: [variantOf(workgroup), variantOf(subgroup8)],
  sizeClass,
  cases: gradientCases,
  cost: gradientCost,
  tolerance: gradientTolerance,
  trial: (gpu, form, size) =>
    gradientTrial(gpu, form, size, gradientFamily, (operands, forwardSize) =>
      forwardFamily.variants[0].run(gpu, form, forwardSize, operands),
    ),
};
