/**
 * Where a download is put together: a private folder beside its final place, renamed when complete, and the commands that
 * fill it.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { MachineError } from '../errors.js';
import { syncFolder } from '../files/atomic.js';
import { makeFolder } from '../files/make-folder.js';
import { cacheFolder, requirePrivateFolders } from '../gpu/driver-cache.js';

const STALE_AFTER_MS = 3_600_000;

/** @returns standard output. @throws MachineError with the line in which the command says why it failed. */
export async function command(
  file: string,
  args: string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(file, args, { env, maxBuffer: 64 << 20 });
    return stdout;
  } catch (error) {
    const { stderr = '', message, code } = error as Error & { stderr?: string; code?: string | number };
    const lines = stderr.split('\n').filter((line) => line.trim());
    const reason =
      code === 'ENOENT'
        ? 'not installed'
        : (lines.find((line) => /^E:|ERR/.test(line)) ?? lines[0] ?? message);
    // Of `env --chdir FOLDER COMMAND …` the command is what failed.
    const [name = '', first = ''] = file === 'env' ? args.slice(2) : [path.basename(file), ...args];
    throw new MachineError(`${name} ${first}: ${reason.trim()}`);
  }
}

/** A private folder beside the drivers, so that renaming from it and to it is one step. */
export function makeWorkspace(): string {
  requirePrivateFolders();
  const parent = path.join(cacheFolder(), 'vulkan');
  makeFolder(parent, 0o700);
  removeStale(parent, '.unpacking-');
  return mkdtempSync(path.join(parent, '.unpacking-'));
}

/** Renames, if it is there. */
export function takeAway(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Removes the folders whose names begin so and which killed processes left. */
export function removeStale(parent: string, prefix: string): void {
  for (const entry of readdirSync(parent)) {
    if (!entry.startsWith(prefix)) continue;
    const folder = path.join(parent, entry);
    try {
      if (Date.now() - statSync(folder).mtimeMs > STALE_AFTER_MS)
        rmSync(folder, { recursive: true, force: true });
    } catch {
      // Another process removed it first.
    }
  }
}

/** Before the folder is renamed into place: nobody else's to write, and on the disk whatever happens next. */
export function makeLasting(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) {
      makeLasting(file);
      continue;
    }
    chmodSync(file, 0o600);
    const descriptor = openSync(file, 'r+');
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
  syncFolder(folder);
}
