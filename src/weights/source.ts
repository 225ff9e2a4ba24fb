/** Named weights to read, whatever file they are in. Which names a model needs and what they mean belongs to the model. */
import type { FileDType } from '../tensor/dtype.js';

/** Shape and number format of a stored tensor. */
export interface TensorInfo {
  readonly shape: readonly number[];
  readonly dtype: FileDType;
}

/** Where a tensor's bytes are in its file. */
export interface StoredBytes {
  /** Bytes of the tensor's own elements. */
  readonly of: number;
  /** Those of the storage that it lies in, which several tensors may share. */
  readonly position: number;
  readonly length: number;
}

/** Tensors by name, read when they are asked for: a safetensors file, a PyTorch file, a folder of shards. */
export interface WeightSource {
  names(): string[];
  has(name: string): boolean;
  /** @throws InputError naming the file when there is no such tensor; so do `read` and `stream`. */
  info(name: string): TensorInfo;
  /** All elements, row-major, as f32. @throws InputError when the tensor holds no floats. */
  read(name: string): Float32Array;
  /** The same in consecutive pieces of at most `maxElements`; `offset` is in elements. */
  stream(name: string, maxElements: number): Iterable<{ offset: number; data: Float32Array }>;
  /** Whether the tensor is there and of a type that is read here. */
  isReadable(name: string): boolean;
  bytesIn(name: string): StoredBytes;
  /** The file, for messages. */
  describe(): string;
  close(): void;
}
