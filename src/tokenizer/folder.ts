/**
 * The files of a model folder that belong to its tokenizer, each read once: what is tokenised with and what is written
 * beside a trained model are the same bytes, whatever happens to the folder meanwhile.
 */
import path from 'node:path';
import { InputError } from '../errors.js';
import { requireInside } from '../files/inside.js';
import { isJsonObject, readJson } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import { printable } from '../show.js';

/** Everything that belongs to a tokenizer in a model folder; what of it exists is written along with a model. */
export const TOKENIZER_FILES: readonly string[] = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'sentencepiece.bpe.model',
  'spiece.model',
  'tokenizer.model',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
];

/** The list of a sentence-transformers model's parts. */
export const MODULES_FILE = 'modules.json';

/**
 * Where the encoder and its tokenizer are: in the model's folder or, as sentence-transformers had it before version 2,
 * in a folder of their own (`0_Transformer`), which modules.json then names. A modules.json that says something else is
 * left to who reads it for what it says. @throws InputError when that folder is a link to somewhere else.
 */
export function encoderFolder(folder: string): string {
  const file = path.join(folder, MODULES_FILE);
  if (!PositionedFile.exists(file)) return folder;
  let modules: unknown;
  try {
    requireInside(folder, file);
    modules = readJson(file);
  } catch (error) {
    if (error instanceof InputError) return folder;
    throw error;
  }
  const first: unknown = Array.isArray(modules) ? modules[0] : undefined;
  const inner = isJsonObject(first) ? first['path'] : undefined;
  if (typeof inner !== 'string' || !/^[\w.-]*\w[\w.-]*$/.test(inner)) return folder;
  const encoder = path.join(folder, inner);
  requireInside(folder, encoder);
  return PositionedFile.exists(path.join(encoder, 'config.json')) ? encoder : folder;
}

/** Bytes of one file. XLM-R's tokenizer.json, a quarter of a million pieces, has 17 MB. */
const LARGEST_FILE = 256 << 20;

/**
 * Name to bytes, in the order of the list above. @throws InputError for what is no regular file, too large, or a link
 * to somewhere outside the folder: what is read here is written into the output, which others may see.
 */
export function readTokenizerFiles(folder: string): ReadonlyMap<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const name of TOKENIZER_FILES) {
    const file = path.join(folder, name);
    if (!PositionedFile.exists(file)) continue;
    requireInside(folder, file);
    const source = PositionedFile.open(file);
    try {
      if (source.size > LARGEST_FILE)
        throw new InputError(
          `${printable(file)}: expected at most ${LARGEST_FILE >> 20} MiB, found ${Math.ceil(source.size / 2 ** 20)}`,
        );
      files.set(name, source.readBytes(0, source.size));
    } finally {
      source.close();
    }
  }
  return files;
}
