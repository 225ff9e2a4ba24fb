/**
 * What the trials of the families over rows and elements share: drawn operands, and results
 * compared with float64 in parts. What is computed and what is right stands in the families.
 */
import type { Gpu } from '../gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../tensor/dtype.js';
import { CounterRandom } from '../tensor/random.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import type { FloatDType } from './launch/formats.js';
import type { Trial } from './variants.js';

export interface Drawn {
  /** As the device sees them: rounded where it holds halves. */
  readonly values: Float32Array;
  readonly tensor: Tensor;
}

/** Operands of a trial: uniform in ±0.5, the same for the same seed. All are disposed of together. */
export class Draws {
  readonly tensors: Tensor[] = [];
  private readonly random: CounterRandom;

  constructor(
    private readonly gpu: Gpu,
    seed: number,
  ) {
    this.random = new CounterRandom(seed, 0);
  }

  /** `shift` and `scale`: of the uniform numbers. */
  floats(shape: readonly number[], dtype: FloatDType = 'f32', shift = 0, scale = 1): Drawn {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const values = Float32Array.from({ length: size }, () => (this.random.uniform() - 0.5) * scale + shift);
    return this.from(values, shape, dtype);
  }

  from(values: Float32Array, shape: readonly number[], dtype: FloatDType = 'f32'): Drawn {
    if (dtype === 'f32') return { values, tensor: this.kept(Tensor.from(this.gpu, values, shape)) };
    const halves = f32ToF16(values);
    return { values: f16ToF32(halves), tensor: this.kept(Tensor.from(this.gpu, halves, shape, 'f16')) };
  }

  /** Whole numbers below `end`. */
  indices(count: number, end: number): { readonly values: Uint32Array; readonly tensor: Tensor } {
    const values = Uint32Array.from({ length: count }, () => Math.floor(this.random.uniform() * end));
    return { values, tensor: this.kept(Tensor.from(this.gpu, values, [count], 'u32')) };
  }

  empty(shape: readonly number[], dtype: FloatDType = 'f32'): Tensor {
    return this.kept(Tensor.empty(this.gpu, shape, dtype));
  }

  kept(tensor: Tensor): Tensor {
    this.tensors.push(tensor.keep());
    return tensor;
  }
}

/** Consecutive elements that an output must have from `start` on. */
export interface Part {
  readonly start: number;
  readonly values: ArrayLike<number>;
}

export interface Expected {
  readonly output: Tensor;
  /** Made when the error is asked for. */
  readonly parts: () => readonly Part[];
}

/** Of a result of any dtype. */
export const valuesOf = async (output: Tensor): Promise<Float32Array> =>
  output.dtype === 'f16' || output.dtype === 'f32'
    ? output.toFloat32()
    : Float32Array.from(await output.toArray());

/** A trial over drawn operands: `compute` writes all outputs that are expected. */
export function trialOf(
  draws: Draws,
  expected: readonly Expected[],
  compute: (variant: string | undefined) => void,
): Trial {
  return {
    outputs: expected.map(({ output }) => output),
    run: (variant) => scope(() => compute(variant)),
    async error() {
      let worst = 0;
      for (const { output, parts } of expected) {
        const got = await valuesOf(output);
        let top = 1e-6;
        let error = 0;
        for (const { start, values } of parts())
          for (let i = 0; i < values.length; i++) {
            top = Math.max(top, Math.abs(values[i]!));
            const off = Math.abs(got[start + i]! - values[i]!);
            // What is no number is as wrong as can be.
            error = Number.isNaN(off) ? Infinity : Math.max(error, off);
          }
        worst = Math.max(worst, error / top);
      }
      return worst;
    },
    dispose() {
      for (const tensor of draws.tensors) tensor.dispose();
    },
  };
}

/** First, last and some rows between, at most `most`. */
export function probedRows(rows: number, most = 5): number[] {
  const picked = Array.from({ length: Math.min(rows, most) }, (_, i) =>
    Math.floor((i * (rows - 1)) / Math.max(1, Math.min(rows, most) - 1)),
  );
  return [...new Set(picked)];
}
