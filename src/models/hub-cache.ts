/**
 * Where a model is: a folder, or a snapshot that Hugging Face's tools already keep in their cache. Nothing is
 * downloaded here.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { InputError } from '../errors.js';

/** `model`: a folder or `org/name`. `cacheDir`: goes before HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME. */
export function resolveModelFolder(model: string, cacheDir?: string | null, env = process.env): string {
  if (fs.statSync(model, { throwIfNoEntry: false })?.isDirectory()) return model;
  const home =
    env['HF_HOME'] ?? path.join(env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'huggingface');
  const caches = [...(cacheDir ? [cacheDir] : []), env['HF_HUB_CACHE'] ?? path.join(home, 'hub')];
  if (/^[\w.-]+\/[\w.-]+$/.test(model))
    for (const cache of caches) {
      const root = path.join(cache, `models--${model.replace('/', '--')}`);
      try {
        const revision = fs.readFileSync(path.join(root, 'refs', 'main'), 'utf8').trim();
        const snapshot = path.join(root, 'snapshots', revision);
        if (fs.existsSync(path.join(snapshot, 'config.json'))) return snapshot;
      } catch {
        // Not in this cache: look in the next.
      }
    }
  throw new InputError(
    `--model_name_or_path: ${model}: no such folder, and no snapshot of it in ${caches.join(', ')}; models are not downloaded yet, give a folder`,
  );
}
