/** Numbers that a model gave and that are none: what is told of them, and what can be done. */
import { MachineError } from '../errors.js';
import type { FloatDType } from '../kernels/launch/formats.js';

/** `what`: whose numbers, e.g. `the values of text 3 of the input are`. `precision`: what the model computes in. */
export const notFinite = (what: string, value: number, precision: FloatDType): MachineError =>
  precision === 'f16'
    ? new MachineError(`${what} not finite (${value}); without --fp16 the model computes in a wider range`)
    : new MachineError(
        `${what} not finite (${value}); this model leaves the range of float32: its weights are damaged, or its training went astray`,
      );
