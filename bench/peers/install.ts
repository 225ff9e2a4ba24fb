/**
 * The libraries that dawntune is compared with, in a folder of the cache: exact versions, installed by npm when they are
 * first needed, never part of the project's own packages.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { MachineError } from '../../src/errors.js';
import { makeWritableFolder } from '../../src/files/make-folder.js';
import { cacheFolder } from '../../src/gpu/driver-cache.js';
import { removeStale } from '../../src/setup/workspace.js';

/** The versions whose headless use was tried. `@tensorflow/tfjs` brings the gradients, which its parts do not register. */
const PACKAGES = {
  '@jax-js/jax': '0.1.25',
  '@tensorflow/tfjs': '4.22.0',
  '@tensorflow/tfjs-backend-webgpu': '4.22.0',
  'onnxruntime-node': '1.30.0',
};

/** How the folders begin in which an installation is put together. */
const WORKSPACE = '.peers-';

const packageList = `${JSON.stringify({ private: true, dependencies: PACKAGES }, null, 2)}\n`;

export function peersFolder(): string {
  return path.join(cacheFolder(), 'peers');
}

function isInstalled(folder: string): boolean {
  try {
    return (
      readFileSync(path.join(folder, 'package.json'), 'utf8') === packageList &&
      Object.keys(PACKAGES).every((name) =>
        existsSync(path.join(folder, 'node_modules', name, 'package.json')),
      )
    );
  } catch {
    return false;
  }
}

/**
 * The folder with the libraries, installed if `install` and they are not there.
 * @throws MachineError that says what is missing, or why npm could not install it.
 */
export async function requirePeers(install: boolean, note: (line: string) => void): Promise<string> {
  const folder = peersFolder();
  if (isInstalled(folder)) return folder;
  const list = Object.entries(PACKAGES)
    .map(([name, version]) => `${name}@${version}`)
    .join(', ');
  if (!install)
    throw new MachineError(
      `peers: ${folder} does not have ${list}; run without --no_install to download them`,
    );
  note(`installing ${list} into ${folder} (600 MB) …`);
  makeWritableFolder(path.dirname(folder), 0o700);
  removeStale(path.dirname(folder), WORKSPACE);
  const workspace = mkdtempSync(path.join(path.dirname(folder), WORKSPACE));
  try {
    writeFileSync(path.join(workspace, 'package.json'), packageList);
    await npmInstall(workspace);
    rmSync(folder, { recursive: true, force: true });
    renameSync(workspace, folder);
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
  return folder;
}

async function npmInstall(folder: string): Promise<void> {
  const npm = process.env['npm_execpath'];
  // None needs its scripts: one of them would fetch libraries for CUDA.
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const [file, words] = npm?.endsWith('.js') ? [process.execPath, [npm, ...args]] : ['npm', args];
  try {
    await promisify(execFile)(file, words, { cwd: folder, maxBuffer: 64 << 20 });
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    const lines = stderr.split('\n').filter((line) => line.trim());
    throw new MachineError(
      `npm install: ${lines.find((line) => /ERR|error/.test(line)) ?? lines[0] ?? message}`,
    );
  }
}
