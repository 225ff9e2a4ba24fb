/**
 * `dawntune/kernels`: WGSL of one's own as operations with gradients.
 *
 * @packageDocumentation
 */

export type { Grid } from '../kernels/launch/grid.js';
export type { ParamType } from '../kernels/launch/shader.js';
export { bools, f16, f32, floats, i32, type OperandSpec, u32 } from '../tensor/operands.js';
export {
  defineKernel,
  type GradientFunction,
  type KernelDefinition,
  type KernelOperands,
  type KernelParams,
  type KernelResult,
  type KernelTensors,
  type OperandSpecs,
  type OwnKernel,
} from './define.js';
export { KernelError } from './errors.js';
export type { BodySource, GridSource, KernelSource } from './source.js';
