/** Named weights to read, whatever file they are in. Which names a model needs and what they mean belongs to the model. */
import type { FileDType } from '../tensor/dtype.js';

export interface TensorInfo {
  readonly shape: readonly number[];
  readonly dtype: FileDType;
}

export interface WeightSource {
  names(): string[];
  has(name: string): boolean;
  /** @throws InputError naming the file when there is no such tensor; so do `read` and `stream`. */
  info(name: string): TensorInfo;
  /** All elements, row-major, as f32. @throws InputError when the tensor holds no floats. */
  read(name: string): Float32Array;
  /** The same in consecutive pieces of at most `maxElements`; `offset` is in elements. */
  stream(name: string, maxElements: number): Iterable<{ offset: number; data: Float32Array }>;
  /** The file, for messages. */
  describe(): string;
  close(): void;
}
