/** Tensors into a safetensors file, in pieces: of a model, of an optimiser, wherever they lie. */
import { type Shape, sizeOf } from '../tensor/shape.js';
import { SafetensorsWriter } from './safetensors.js';

/** A tensor to be saved. */
export interface StateTensor {
  /** As the file has it. */
  readonly name: string;
  /** Extents of its axes. */
  readonly shape: Shape;
  /** f32 values are rounded to f16 where that is it. */
  readonly dtype: 'f32' | 'f16' | 'u32';
  /** `count` elements from `start` on, row-major; by default all. Each call is a readback of its own. */
  read(start?: number, count?: number): Promise<Float32Array | Uint32Array>;
}

/** Elements of a tensor that are on the host at a time. */
const PIECE = 4 << 20;

/** Writes them all; where that fails there is no file. @throws InputError when the path cannot be written. */
export async function saveTensors(
  file: string,
  tensors: readonly StateTensor[],
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const writer = SafetensorsWriter.create(file, tensors, metadata);
  try {
    for (const tensor of tensors) {
      const count = sizeOf(tensor.shape);
      for (let start = 0; start < count; start += PIECE)
        writer.write(tensor.name, await tensor.read(start, Math.min(PIECE, count - start)));
    }
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
}
