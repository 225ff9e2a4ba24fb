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
import { encoderFolder } from '../tokenizer/folder.js';
import {
  requireInRange,
  type SavedFormat,
  type WrittenTensor,
  writeWeights,
} from '../weights/saved-weights.js';
import { type TorchEntry, writeTorchFile } from '../weights/torch-file.js';

/** What is written into the folder of a model. */
export interface ModelFolderContents {
  /** config.json. */
  readonly config: JsonObject;
  /** Of the encoder, as weight files name them. */
  readonly tensors: readonly WrittenTensor[];
  /** Of the tensors and the heads. */
  readonly format?: SavedFormat;
  /** PyTorch files, by name. */
  readonly heads: ReadonlyMap<string, () => Promise<TorchEntry[]>>;
  /** Files whose bytes are known: the tokenizer's, the trainer's state. One in a folder of the folder has a slash. */
  readonly files: ReadonlyMap<string, string | Uint8Array>;
}

/** The name without which no reader takes a folder for a model. */
export const CONFIG_FILE = 'config.json';

/** Writes the files into an existing folder, each whole or not at all, config.json last. */
export async function writeModelFiles(folder: string, contents: ModelFolderContents): Promise<void> {
  await writeWeights(folder, contents.tensors, contents.format);
  const dtype = contents.format?.dtype ?? 'f32';
  for (const [name, entries] of contents.heads) {
    const head = await entries();
    for (const entry of head) requireInRange(`${name}: ${entry.name}`, entry.data, dtype);
    writeTorchFile(path.join(folder, name), head, { dtype });
  }
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
