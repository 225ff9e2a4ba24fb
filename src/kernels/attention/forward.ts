/**
 * Forward attention (FlashAttention-2, Dao 2023, algorithm 1): online softmax that keeps the log-sum-exp per query, never
 * a T×T matrix. Here is how its kernels are launched; how they are written is in `emit-*.ts`.
 */
import type { Gpu } from '../../gpu/gpu.js';
import type { Family, Variant } from '../variants.js';
import {
  forwardCases,
  forwardCost,
  forwardTolerance,
  forwardTrial,
  probe,
  sizeClass,
  sizes,
} from './cases.js';
import { subgroupMatrix } from './emit-matrix.js';
import { subgroup8, subgroup8Storage } from './emit-subgroup8.js';
import { workgroup } from './emit-workgroup.js';
import {
  type AttentionForm,
  type AttentionKernels,
  type ForwardOperands,
  passOf,
  textureForm,
} from './form.js';
import { launchTiles, layoutOf, sourcesOf } from './launch.js';
import type { AttentionSize } from './layout.js';

export type ForwardVariant = Variant<AttentionForm, AttentionSize, ForwardOperands>;

function variantOf<Plan extends object>(kernels: AttentionKernels<Plan>): ForwardVariant {
  return {
    name: kernels.name,
    why: kernels.why,
    ...(kernels.gpuOnly ? { gpuOnly: true } : {}),
    supports: kernels.supports,
    prior: (facts, form) => kernels.prior(facts, form, 'forward'),
    shaders: (facts, form) => ({ forward: passOf(kernels, facts, form, 'forward').shader }),
    run(gpu: Gpu, given, size, operands) {
      const form = textureForm(kernels, given, size);
      const { dropout, out, logSumExp } = operands;
      const pass = passOf(kernels, gpu.capabilities, form, 'forward');
      launchTiles(
        gpu,
        { reads: kernels.reads, form, dropout, ...layoutOf(form, operands) },
        [{ ...pass, side: 'queries' }],
        {
          ...sourcesOf(operands),
          outO: { tensor: out, parts: 1, use: 'write', side: 'queries' },
          outL: { tensor: logSumExp, parts: 1, use: 'write', side: 'queries' },
        },
      );
    },
  };
}

export const forwardFamily: Family<AttentionForm, AttentionSize, ForwardOperands> = {
  name: 'attention',
  summary: 'softmax(q·kᵀ/√d)·v of packed sequences',
  variants: [
    variantOf(workgroup),
    variantOf(subgroup8),
    variantOf(subgroup8Storage),
    variantOf(subgroupMatrix),
  ],
  sizeClass,
  probe,
  sizes,
  cases: forwardCases,
  cost: forwardCost,
  tolerance: forwardTolerance,
  trial: (gpu, form, size) => forwardTrial(gpu, form, size, forwardFamily),
};
