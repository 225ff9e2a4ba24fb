/**
 * Where a model is: a folder, or a name of the hub, whose snapshot in the cache of Hugging Face's tools is a folder
 * too, fetched if it is not there.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { PositionedFile } from '../files/positioned.js';
import { interruptedSave } from '../files/publish.js';
import { systemReason } from '../files/reason.js';
import { CacheEntry } from '../hub/cache-entry.js';
import { HubUnreachable } from '../hub/connection.js';
import { type DownloadOptions, fetchModel, isHubName } from '../hub/download.js';
import { printable } from '../show.js';
import { encoderFolder } from '../tokenizer/folder.js';
import { CONFIG_FILE } from './model-folder.js';

/**
 * The folder of a model: `model` itself when it is there, else, for `org/name`, what `fetchModel` gives. `where` begins
 * messages: the flag that the model was given by.
 * @throws InputError, MachineError.
 */
export async function resolveModelFolder(
  model: string,
  options: DownloadOptions = {},
  where = '',
): Promise<string> {
  const begin = where === '' ? '' : `${where}: `;
  if (PositionedFile.exists(model)) {
    requireModelFolder(model, begin);
    if (options.revision)
      options.report?.note(
        `--revision: ${printable(model)} is a folder, which has no revisions; it has no effect`,
      );
    return model;
  }
  if (!isHubName(model))
    throw new InputError(
      `${begin}${printable(model)}: no such folder, and no name of the hub, which would be org/name${meantName(model)}`,
    );
  try {
    return await fetchModel(model, options);
  } catch (error) {
    // A mistyped folder of a folder is a name of the hub too.
    if (error instanceof HubUnreachable)
      throw new HubUnreachable(
        `${begin}${printable(model)}: no such folder here; asked the hub: ${error.message}`,
      );
    throw error;
  }
}

/** Behind what is no name of the hub: the name in an address of its pages, or the one without a slash behind it. */
function meantName(given: string): string {
  const name = given.replace(/^https?:\/\/[^/]+\//, '').replace(/\/+$/, '');
  const meant = name.toLowerCase() === 'bge-m3' ? 'BAAI/bge-m3' : name;
  return meant !== given && isHubName(meant) ? `: did you mean ${printable(meant)}?` : '';
}

/** @throws InputError that says what the folder is instead, when it is none that holds a model; `where` begins it. */
export function requireModelFolder(folder: string, where = ''): void {
  const fail = (problem: string) => new InputError(`${where}${printable(folder)}: ${problem}`);
  let stat: fs.Stats;
  try {
    stat = fs.statSync(folder);
  } catch (error) {
    const dangling = (error as NodeJS.ErrnoException).code === 'ENOENT' && PositionedFile.exists(folder);
    throw fail(
      `expected a model folder, found ${dangling ? 'a link to something that does not exist' : systemReason(error)}`,
    );
  }
  if (!stat.isDirectory()) throw fail('expected a model folder, found a file; give the folder that it is in');
  if (PositionedFile.exists(path.join(encoderFolder(folder), CONFIG_FILE))) return;
  const save = interruptedSave(folder);
  if (save !== undefined)
    throw fail(
      `a save into this folder was interrupted or is under way; the next run with it as --output_dir completes it, ` +
        `or move the files in ${save} here, config.json last`,
    );
  const snapshots = path.join(folder, 'snapshots');
  if (fs.existsSync(snapshots)) {
    const snapshot = CacheEntry.at(folder)?.cached('main', true) ?? path.join(snapshots, 'COMMIT');
    throw fail(`expected a model folder, found an entry of a cache; give ${printable(snapshot)}`);
  }
  throw fail(`expected a model folder, found no ${CONFIG_FILE} in it`);
}
