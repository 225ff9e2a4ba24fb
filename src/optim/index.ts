/** Optimisers over parameters and tensors, learning-rate schedules, clipping, loss scaling. */
export { Adam, type AdamSettings, AdamW } from './adam.js';
export {
  defaultLossScaling,
  type LossScaleEvent,
  LossScaler,
  type LossScalerState,
  type LossScaling,
} from './loss-scale.js';
export {
  type CommonSettings,
  clipGradNorm,
  type Given,
  type Group,
  type GroupOptions,
  Optimizer,
  type ScaledStepOptions,
  type StepResult,
  type Trainable,
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
