/**
 * Which files belong to a folder that someone gives as a model: those that lie in it. What is read there is written
 * into the output, which others may see, so a link must not bring in a file from elsewhere.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { printable } from '../show.js';
import { systemReason } from './reason.js';

/**
 * Links on the way to a file count as the file's own: a folder in the folder may be one. A link may lead to a file of
 * the same folder or, in a snapshot of Hugging Face's cache
 * (`models--org--name/snapshots/REVISION`), to the cache's `models--org--name/blobs`. A file that is not there is no
 * concern of this check. @throws InputError for a link that leads elsewhere.
 */
export function requireInside(folder: string, file: string): void {
  let target: string;
  let home: string;
  try {
    target = fs.realpathSync(file);
    home = fs.realpathSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return;
    throw new InputError(`${printable(file)}: cannot read: ${systemReason(error)}`);
  }
  const roots = [home];
  // The folder may be one within a snapshot: an encoder's or a module's own.
  for (let at = home; path.dirname(at) !== at; at = path.dirname(at)) {
    const model = path.dirname(path.dirname(at));
    if (path.basename(path.dirname(at)) === 'snapshots' && path.basename(model).startsWith('models--'))
      roots.push(path.join(model, 'blobs'));
  }
  if (!roots.some((root) => liesIn(root, target)))
    throw new InputError(
      `${printable(file)}: expected a file of this folder, found a link to ${printable(target)}`,
    );
}

/** Whether a file is below a folder, both as the system writes them; the folder may be a root (`/`, `M:\\`). */
export function liesIn(folder: string, file: string, system: path.PlatformPath = path): boolean {
  const inner = system.relative(folder, file);
  return inner !== '' && inner !== '..' && !inner.startsWith(`..${system.sep}`) && !system.isAbsolute(inner);
}
