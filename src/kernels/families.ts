/** Every kernel family that has several variants or is measured: what the tuner, the bench and the tests go through. */
import { adamWFamily } from './adamw.js';
import { gradientFamily } from './attention/backward.js';
import { forwardFamily } from './attention/forward.js';
import { columnsFamily } from './column-reduction.js';
import { dropoutFamily } from './dropout.js';
import { elementsFamily } from './elements.js';
import { maxFamily } from './extremes.js';
import { layerNormAffineFamily, layerNormFamily, layerNormGradientFamily } from './layer-norm/layer-norm.js';
import { matmulFamily } from './matmul/matmul.js';
import { maxSimFamily } from './maxsim/maxsim.js';
import { copyFamily, fmaPeakFamily } from './peaks.js';
import { rmsNormFamily } from './rms-norm.js';
import { rowsFamily } from './row-reduction.js';
import { gatherFamily, gatherGradientFamily } from './rows/gather.js';
import { normalizeFamily } from './rows/normalize.js';
import { segmentMaxFamily } from './rows/segment-max.js';
import { segmentMeanFamily } from './rows/segment-mean.js';
import { crossEntropyFamily, softCrossEntropyFamily } from './softmax/cross-entropy.js';
import { distillationFamily } from './softmax/distillation.js';
import { groupFamily } from './softmax/groups.js';
import { softmaxFamily } from './softmax/softmax.js';
import { sparseFamily } from './sparse.js';
import { stridedFamily } from './strided/kernel.js';
import { topKFamily } from './top-k/top-k.js';
import type { Family } from './variants.js';

// biome-ignore lint/suspicious/noExplicitAny: forms, sizes and operands differ from family to family
export type AnyFamily = Family<any, any, any>;

export const families: readonly AnyFamily[] = [
  matmulFamily,
  forwardFamily,
  gradientFamily,
  maxSimFamily,
  rowsFamily,
  layerNormFamily,
  layerNormGradientFamily,
  layerNormAffineFamily,
  rmsNormFamily,
  elementsFamily,
  columnsFamily,
  softmaxFamily,
  adamWFamily,
  crossEntropyFamily,
  softCrossEntropyFamily,
  distillationFamily,
  groupFamily,
  sparseFamily,
  gatherFamily,
  gatherGradientFamily,
  normalizeFamily,
  segmentMeanFamily,
  segmentMaxFamily,
  maxFamily,
  topKFamily,
  dropoutFamily,
  stridedFamily,
  copyFamily,
  fmaPeakFamily,
];

/** By name. */
export const familyNamed = (name: string): AnyFamily | undefined =>
  families.find((family) => family.name === name);
