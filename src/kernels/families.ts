/** Every kernel family that has several variants or is measured: what the tuner, the bench and the tests go through. */
import { adamWFamily } from './adamw.js';
import { gradientFamily } from './attention/backward.js';
import { forwardFamily } from './attention/forward.js';
import { columnsFamily } from './column-sums.js';
import { elementsFamily } from './elements.js';
import { layerNormAffineFamily, layerNormFamily, layerNormGradientFamily } from './layer-norm/layer-norm.js';
import { matmulFamily } from './matmul/matmul.js';
import { maxSimFamily } from './maxsim/maxsim.js';
import { operationFamilies } from './operations.js';
import { copyFamily, fmaPeakFamily } from './peaks.js';
import { rowsFamily } from './row-reduction.js';
import { softmaxFamily } from './softmax.js';
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
  elementsFamily,
  columnsFamily,
  softmaxFamily,
  adamWFamily,
  ...operationFamilies,
  copyFamily,
  fmaPeakFamily,
];

/** By name. */
export const familyNamed = (name: string): AnyFamily | undefined =>
  families.find((family) => family.name === name);
