/**
 * Weights as a model folder has them: `model.safetensors` or, above a size, shards with an index as transformers writes
 * them, in float32 or rounded to 16 bits. Of a tensor no more is in memory than the piece that is being written. Which
 * tensors there are is known by the model.
 */
import path from 'node:path';
import { MachineError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { show } from '../show.js';
import { fileDTypeBytes } from '../tensor/dtype.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import { SafetensorsWriter } from './safetensors.js';

/** Number formats that weights are saved in. */
export type SavedDType = 'f32' | 'f16' | 'bf16';

/** As `torch_dtype` in config.json and `--save_dtype` have it. */
export const torchNameOf: Readonly<Record<SavedDType, 'float32' | 'float16' | 'bfloat16'>> = {
  f32: 'float32',
  f16: 'float16',
  bf16: 'bfloat16',
};

/** How weights are written: number format and files. */
export interface SavedFormat {
  /** Default f32. f16 and bf16 are rounded to nearest, ties to even. */
  readonly dtype?: SavedDType;
  /** Above it a file begins anew; a larger tensor has one of its own. Default 5 GB, as in transformers. */
  readonly maxShardBytes?: number;
}

/** A tensor of a model that is to be written. */
export interface WrittenTensor {
  /** As the file has it. */
  readonly name: string;
  /** Extents of its axes. */
  readonly shape: Shape;
  /** All elements, row-major, in consecutive pieces. */
  readonly pieces: () => AsyncIterable<Float32Array> | Iterable<Float32Array>;
}

export const WEIGHTS_FILE = 'model.safetensors';
export const INDEX_FILE = `${WEIGHTS_FILE}.index.json`;
export const DEFAULT_SHARD_BYTES = 5e9;

const shardName = (number: number, of: number) =>
  `model-${String(number).padStart(5, '0')}-of-${String(of).padStart(5, '0')}.safetensors`;

/** Whether a file is a part of what `writeWeights` writes, of however many shards. */
export const isWeightsFile = (name: string): boolean =>
  name === WEIGHTS_FILE || name === INDEX_FILE || /^model-\d{5,}-of-\d{5,}\.safetensors$/.test(name);

/** A finite weight that would be infinite in the format that was asked for. */
export class FormatRangeError extends MachineError {}

/** The smallest float32 magnitudes that round to infinity: half a unit above the largest number of the format. */
const infiniteFrom = { f16: 65520, bf16: 2 ** 128 * (1 - 2 ** -9) } as const;

/**
 * PyTorch's conversion makes such a weight infinite without a word, and a model with it gives NaN; here it is an error.
 * Values that are not finite stay what they are. @throws FormatRangeError.
 */
export function requireInRange(name: string, data: Float32Array, dtype: SavedDType): void {
  if (dtype === 'f32') return;
  const limit = infiniteFrom[dtype];
  const outside = data.find((value) => Math.abs(value) >= limit && Number.isFinite(value));
  if (outside !== undefined)
    throw new FormatRangeError(
      `the weight ${show(name)} is ${outside}, beyond ${torchNameOf[dtype]}: save in float32${dtype === 'f16' ? ' or bfloat16' : ''}`,
    );
}

/**
 * Writes the tensors, in shards where they take more than one. @returns the names of the files, an index last.
 * @throws FormatRangeError, and what writing throws; files that were not whole are not there then.
 */
export async function writeWeights(
  folder: string,
  tensors: readonly WrittenTensor[],
  { dtype = 'f32', maxShardBytes = DEFAULT_SHARD_BYTES }: SavedFormat = {},
): Promise<string[]> {
  const shards = cutIntoShards(tensors, fileDTypeBytes(dtype), maxShardBytes);
  const whole = shards.length <= 1;
  const names = whole ? [WEIGHTS_FILE] : shards.map((_, i) => shardName(i + 1, shards.length));
  for (const [i, name] of names.entries()) await writeShard(path.join(folder, name), shards[i] ?? [], dtype);
  if (whole) return names;
  const weightMap = shards.flatMap((shard, i) => shard.map((tensor) => [tensor.name, names[i]!] as const));
  const parameters = tensors.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const index = {
    metadata: { total_parameters: parameters, total_size: parameters * fileDTypeBytes(dtype) },
    weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  writeFileAtomic(path.join(folder, INDEX_FILE), `${JSON.stringify(index, null, 2)}\n`);
  return [...names, INDEX_FILE];
}

/** In order, as `split_torch_state_dict_into_shards` of huggingface_hub: a tensor that is too large stands alone. */
function cutIntoShards(
  tensors: readonly WrittenTensor[],
  width: number,
  maxBytes: number,
): (readonly WrittenTensor[])[] {
  const shards: WrittenTensor[][] = [];
  let current: WrittenTensor[] = [];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = sizeOf(tensor.shape) * width;
    if (size > maxBytes) {
      shards.push([tensor]);
      continue;
    }
    if (bytes + size > maxBytes) {
      shards.push(current);
      current = [];
      bytes = 0;
    }
    current.push(tensor);
    bytes += size;
  }
  if (current.length > 0) shards.push(current);
  return shards;
}

async function writeShard(file: string, tensors: readonly WrittenTensor[], dtype: SavedDType): Promise<void> {
  const writer = SafetensorsWriter.create(
    file,
    tensors.map(({ name, shape }) => ({ name, dtype, shape })),
  );
  try {
    for (const { name, pieces } of tensors)
      for await (const piece of pieces()) {
        requireInRange(name, piece, dtype);
        writer.write(name, piece);
      }
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
}
