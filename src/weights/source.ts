/** Named weights to read, whatever file they are in. Which names a model needs and what they mean belongs to the model. */
import type { FileDType } from '../tensor/dtype.js';

/** Shape and number format of a stored tensor. */
export interface TensorInfo {
  /** Extents of its axes. */
  readonly shape: readonly number[];
  /** As it is stored. */
  readonly dtype: FileDType;
}

/** Where a tensor's bytes are in its file. */
export interface StoredBytes {
  /** Bytes of the tensor's own elements. */
  readonly of: number;
  /** Those of the storage that it lies in, which several tensors may share. */
  readonly position: number;
  /** Of the storage. */
  readonly length: number;
}

/** Consecutive elements of a tensor, row-major. */
export interface FloatPiece {
  /** Number of the first of them. */
  readonly offset: number;
  /** f32, whatever the file has. */
  readonly data: Float32Array;
}

/** Tensors by name, read when they are asked for: a safetensors file, a PyTorch file, a folder of shards. */
export interface WeightSource {
  /** Of all tensors, in the file's order. */
  names(): string[];
  /** Whether there is a tensor of this name, of whatever type. */
  has(name: string): boolean;
  /** @throws InputError naming the file when there is no such tensor; so do `read` and `stream`. */
  info(name: string): TensorInfo;
  /** All elements, row-major, as f32. @throws InputError when the tensor holds no floats. */
  read(name: string): Float32Array;
  /** The same in consecutive pieces of at most `maxElements`. */
  stream(name: string, maxElements: number): Iterable<FloatPiece>;
  /** Whether the tensor is there and of a type that is read here. */
  isReadable(name: string): boolean;
  /** Where its bytes are. @throws InputError naming the file when there is no such tensor. */
  bytesIn(name: string): StoredBytes;
  /** The file, for messages. */
  describe(): string;
  /** Closes the files; nothing can be read afterwards. */
  close(): void;
}
