/**
 * Optimisers over parameters and tensors, learning-rate schedules, clipping, loss scaling.
 *
 * @packageDocumentation
 */

export type { Fields } from '../files/json-fields.js';
export type { MomentBlock } from '../kernels/adamw-rows.js';
export { Adam, type AdamSettings, AdamW } from './adam.js';
export {
  defaultLossScaling,
  type LossScaleEvent,
  LossScaler,
  type LossScalerState,
  type LossScaling,
} from './loss-scale.js';
export type { MomentLayout, MomentNames, Moments } from './moments.js';
export {
  type CommonSettings,
  clipGradNorm,
  type Given,
  type Group,
  type GroupOptions,
  type Member,
  Optimizer,
  type ScaledStepOptions,
  type StepGradient,
  type StepResult,
  type Trainable,
  type Update,
} from './optimizer.js';
export {
  constantSchedule,
  constantWithWarmupSchedule,
  cosineSchedule,
  linearSchedule,
  logWarmupSchedule,
  polynomialSchedule,
  type Schedule,
  type ScheduleSize,
  stepSchedule,
} from './schedules.js';
export { SGD, type SGDSettings } from './sgd.js';
export type { Span } from './state.js';
export type { TableMoments } from './table-moments.js';
