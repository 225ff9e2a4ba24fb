/**
 * Forward attention (FlashAttention-2, Dao 2023, algorithm 1): online softmax that keeps the log-sum-exp per query, never
 * a T×T matrix. Here is how its kernels are launched; how they are written is in `emit-*.ts`.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { type Shader, shaderOf } from '../launch.js';
import { type Family, formKey, type Variant } from '../variants.js';
import { forwardCases, forwardCost, forwardTolerance, forwardTrial, sizeClass } from './cases.js';
import { subgroup8 } from './emit-subgroup8.js';
import { workgroup } from './emit-workgroup.js';
import type { AttentionForm, AttentionKernels, ForwardOperands } from './form.js';
import { type AttentionSize, type PARAMS, parameters } from './layout.js';
import { withSources } from './sources.js';

export type ForwardVariant = Variant<AttentionForm, AttentionSize, ForwardOperands>;

function variantOf(kernels: AttentionKernels): ForwardVariant {
  const shader = (form: AttentionForm): Shader<typeof PARAMS> =>
    shaderOf(`attention.${kernels.name}.${formKey(form)}`, () => kernels.parts.forward(form));
  return {
    name: kernels.name,
    why: kernels.why,
    supports: kernels.supports,
    prior: (facts, form) => kernels.prior(facts, form, 'forward'),
    shaders: (_, form) => ({ forward: shader(form) }),
    run(gpu: Gpu, form, size, { qkv, sequences, dropout, out, logSumExp }) {
      const tiles = sequences.tiles(kernels.rowsPerTile(form, 'forward'));
      withSources(kernels, [qkv], ([source]) =>
        shader(form).run(gpu, [source!, tiles, out, logSumExp], parameters(size, form.headDim, dropout), [
          tiles.rows,
          size.hidden / form.headDim,
        ]),
      );
    },
  };
}

export const forwardFamily: Family<AttentionForm, AttentionSize, ForwardOperands> = {
  name: 'attention',
  summary: 'softmax(q·kᵀ/√d)·v of packed sequences',
  variants: [variantOf(workgroup), variantOf(subgroup8)],
  sizeClass,
  cases: forwardCases,
  cost: forwardCost,
  tolerance: forwardTolerance,
  trial: (gpu, form, size) => forwardTrial(gpu, form, size, forwardFamily),
};
