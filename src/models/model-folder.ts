/**
 * The model folder that is written: one description of every file in it, filled from what is in memory. What a file
 * says of another (config.json of the weights) is made here from the same facts, never copied from the base's files.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import type { JsonObject } from '../files/json.js';
import { printable } from '../show.js';
import type { Shape } from '../tensor/shape.js';
import { encoderFolder } from '../tokenizer/folder.js';
import { SafetensorsWriter } from '../weights/safetensors.js';
import { type TorchEntry, writeTorchFile } from '../weights/torch-file.js';

export interface WrittenTensor {
  readonly name: string;
  readonly shape: Shape;
  /** All elements, row-major, in consecutive pieces. */
  readonly pieces: () => AsyncIterable<Float32Array> | Iterable<Float32Array>;
}

export interface ModelFolderContents {
  readonly config: JsonObject;
  /** For model.safetensors, float32. */
  readonly tensors: readonly WrittenTensor[];
  /** PyTorch files, by name. */
  readonly heads: ReadonlyMap<string, () => Promise<TorchEntry[]>>;
  /** Files whose bytes are known: the tokenizer's, the trainer's state. One in a folder of the folder has a slash. */
  readonly files: ReadonlyMap<string, string | Uint8Array>;
}

/** The name without which no reader takes a folder for a model. */
export const CONFIG_FILE = 'config.json';

/** Writes the files into an existing folder, each whole or not at all, config.json last. */
export async function writeModelFiles(folder: string, contents: ModelFolderContents): Promise<void> {
  const writer = SafetensorsWriter.create(
    path.join(folder, 'model.safetensors'),
    contents.tensors.map(({ name, shape }) => ({ name, dtype: 'f32', shape })),
  );
  try {
    for (const { name, pieces } of contents.tensors)
      for await (const piece of pieces()) writer.write(name, piece);
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
  for (const [name, entries] of contents.heads) writeTorchFile(path.join(folder, name), await entries());
  for (const [name, bytes] of contents.files) {
    if (name.includes('/')) fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileAtomic(path.join(folder, name), bytes);
  }
  writeFileAtomic(path.join(folder, CONFIG_FILE), `${JSON.stringify(contents.config, null, 2)}\n`);
}

/**
 * For readers of several files: that all of them were of one save. A save takes config.json away before it touches any
 * other file and puts a new one in its place after all of them, so where config.json is still the same file, nothing
 * else has changed. @returns what to call after the last file; it throws InputError when the folder changed meanwhile.
 */
export function watchFolder(folder: string): () => void {
  const identity = () => {
    const stat = fs.statSync(path.join(encoderFolder(folder), CONFIG_FILE), {
      bigint: true,
      throwIfNoEntry: false,
    });
    return stat && [stat.dev, stat.ino, stat.mtimeNs, stat.size].join(' ');
  };
  const before = identity();
  return () => {
    if (identity() !== before)
      throw new InputError(
        `${printable(folder)}: expected one model, found that its files changed while they were read; run again when nothing writes there`,
      );
  };
}
