/** What all functions that make tensors take beside their own: number format, gradient, name. */
import { ShapeError } from '../errors.js';
import { Gpu } from '../gpu/gpu.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { checkDType } from '../tensor/host-data.js';
import type { DType, Tensor } from '../tensor/tensor.js';

/** Number format of a tensor that is made. */
export interface MakeOptions {
  /** Number format; by default that of the data, and f32 of numbers. */
  readonly dtype?: DType | undefined;
  /** Asks for a gradient: of floats only. */
  readonly requiresGrad?: boolean | undefined;
  /** A name for `gpu.tensors()` and for printing. */
  readonly label?: string | undefined;
}

/** @throws ShapeError for what is no device. */
export function requireGpu(op: string, gpu: unknown): asserts gpu is Gpu {
  if (!(gpu instanceof Gpu)) throw new ShapeError(op, `the first argument must be a Gpu, found ${show(gpu)}`);
}

/** Of what all factories take; those that take more spread it into theirs. */
export const MAKING = { dtype: 'string', requiresGrad: 'boolean', label: 'string' } as const;

const MAKE_OPTIONS = new OptionNames<MakeOptions>(MAKING);

/**
 * Checks what all factories take, before anything is allocated, and gives the dtype.
 * @throws ShapeError for what is no device, for options that there are not, and where integers should have gradients;
 * TypeError for a dtype that there is not.
 */
export function checkMaking<O extends MakeOptions>(
  op: string,
  gpu: Gpu,
  options: O,
  byDefault: DType,
  names: { read(op: string, given: O): MakeOptions } = MAKE_OPTIONS,
): DType {
  requireGpu(op, gpu);
  const { dtype = byDefault, requiresGrad } = names.read(op, options);
  checkDType(dtype, op);
  if (requiresGrad && dtype !== 'f32' && dtype !== 'f16')
    throw new ShapeError(op, `only floats have gradients, not ${dtype}`);
  return dtype;
}

/** Gives a new tensor what the options say of it. */
export function made(x: Tensor, { requiresGrad, label }: MakeOptions): Tensor {
  if (requiresGrad) x.requiresGrad = true;
  if (label !== undefined) x.label = label;
  return x;
}
