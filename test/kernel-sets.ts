/** Sets of kernels that tests run with: those that hand values round in subgroups of 8, and those that work anywhere. */
import type { ForcedKernels } from '../src/gpu/choices.js';
import type { Gpu } from '../src/gpu/gpu.js';

export const subgroup8: ForcedKernels = {
  matmul: 'packed-texture-chain',
  attention: 'subgroup8',
  attentionGradient: 'subgroup8',
  maxSim: 'subgroup8',
  rows: 'subgroup8',
  layerNorm: 'rows8',
  layerNormGradient: 'rows4',
  layerNormAffine: 'wide',
  rmsNorm: 'subgroup8',
  pointwise: 'four',
  softmax: 'subgroup8-vec4',
  crossEntropy: 'subgroup8-vec4',
  softCrossEntropy: 'subgroup8-vec4',
  m3DistillationLoss: 'subgroup8',
  scoreGroups: 'subgroup8',
  gatherRows: 'lanes8-rows4',
  gatherRowsGradient: 'lanes8-units4',
  normalizeRows: 'subgroup8',
  maxRows: 'subgroup8',
  adamW: 'four',
  sumColumns: 'wide',
};

export const kernelSets: readonly ForcedKernels[] = [subgroup8, 'fallback'];

export const nameOf = (kernels: ForcedKernels): string => (kernels === 'fallback' ? 'fallback' : 'subgroup8');

/** Whether the device runs these kernels, and not others in their place. */
export const runs = (gpu: Gpu, kernels: ForcedKernels): boolean =>
  kernels === 'fallback' || gpu.capabilities.subgroupMinSize >= 8;
