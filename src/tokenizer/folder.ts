/**
 * The files of a model folder that belong to its tokenizer, each read once: what is tokenised with and what is written
 * beside a trained model are the same bytes, whatever happens to the folder meanwhile.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { PositionedFile } from '../files/positioned.js';
import { systemReason } from '../files/reason.js';
import { printable } from '../show.js';

/** Everything that belongs to a tokenizer in a model folder; what of it exists is written along with a model. */
const TOKENIZER_FILES = [
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

/**
 * A link may lead to a file of the same folder or, in a snapshot of Hugging Face's cache
 * (`models--org--name/snapshots/REVISION`), to the cache's `models--org--name/blobs`.
 */
function requireInside(folder: string, file: string): void {
  if (!fs.lstatSync(file).isSymbolicLink()) return;
  let target: string;
  try {
    target = fs.realpathSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // PositionedFile.open has the words for it.
    throw new InputError(`${printable(file)}: cannot read: ${systemReason(error)}`);
  }
  const home = fs.realpathSync(folder);
  const roots = [home];
  const snapshots = path.dirname(home);
  const model = path.dirname(snapshots);
  if (path.basename(snapshots) === 'snapshots' && path.basename(model).startsWith('models--'))
    roots.push(path.join(model, 'blobs'));
  if (!roots.some((root) => target.startsWith(root + path.sep)))
    throw new InputError(
      `${printable(file)}: expected a file of this folder, found a link to ${printable(target)}`,
    );
}
