/**
 * Where a model is: a folder, or a snapshot that Hugging Face's tools already keep in their cache. Nothing is
 * downloaded here.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { InputError } from '../errors.js';
import { PositionedFile } from '../files/positioned.js';
import { interruptedSave } from '../files/publish.js';
import { systemReason } from '../files/reason.js';
import { printable } from '../show.js';
import { encoderFolder } from '../tokenizer/folder.js';
import { CONFIG_FILE } from './model-folder.js';

/** `model`: a folder or `org/name`. `cacheDir`: goes before HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME. @throws InputError. */
export function resolveModelFolder(model: string, cacheDir?: string | null, env = process.env): string {
  const flag = '--model_name_or_path';
  if (PositionedFile.exists(model)) {
    requireModelFolder(model, `${flag}: `);
    return model;
  }
  const home =
    env['HF_HOME'] ?? path.join(env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'huggingface');
  const caches = [...(cacheDir ? [cacheDir] : []), env['HF_HUB_CACHE'] ?? path.join(home, 'hub')];
  if (/^[\w.-]+\/[\w.-]+$/.test(model))
    for (const cache of caches) {
      const snapshot = cachedSnapshot(path.join(cache, `models--${model.replace('/', '--')}`));
      if (snapshot !== undefined) return snapshot;
    }
  throw new InputError(
    `${flag}: ${printable(model)}: no such folder, and no snapshot of it in ${caches.map(printable).join(', ')}; models are not downloaded yet, give a folder`,
  );
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
    const snapshot = cachedSnapshot(folder) ?? path.join(snapshots, 'REVISION');
    throw fail(`expected a model folder, found an entry of a cache; give ${printable(snapshot)}`);
  }
  throw fail(`expected a model folder, found no ${CONFIG_FILE} in it`);
}

/** The snapshot that `main` names, or the only one there is. */
function cachedSnapshot(entry: string): string | undefined {
  const snapshots = path.join(entry, 'snapshots');
  const complete = (revision: string) => PositionedFile.exists(path.join(snapshots, revision, CONFIG_FILE));
  try {
    const main = fs.readFileSync(path.join(entry, 'refs', 'main'), 'utf8').trim();
    if (main !== '' && main === path.basename(main) && complete(main)) return path.join(snapshots, main);
  } catch {
    // No such reference: a snapshot that was fetched by its revision has none.
  }
  try {
    const revisions = fs.readdirSync(snapshots).filter(complete);
    return revisions.length === 1 ? path.join(snapshots, revisions[0]!) : undefined;
  } catch {
    return undefined;
  }
}
