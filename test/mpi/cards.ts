/** Two cards of one name for tests, made of the cached lavapipe and card.c by the machine's C compiler. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { driverFolder, inspectDriver } from '../../src/gpu/driver-cache.js';
import { repositoryRoot } from '../repository.js';

export interface TestCard {
  /** The driver's description, for VK_DRIVER_FILES: the machine has the cards whose files are named there. */
  readonly file: string;
  readonly pci: string;
}

/** Why there can be none on this machine; undefined where `makeCards` can make them. */
export function noCardsReason(): string | undefined {
  if (process.platform !== 'linux') return `this is ${process.platform}`;
  const cached = inspectDriver('lavapipe');
  if (!cached || cached.problem !== undefined) return 'no lavapipe in the cache: `dawntune setup`';
  return spawnSync('cc', ['--version']).status === 0 ? undefined : 'no C compiler';
}

/** One for each number of a bus, in the folder. */
export function makeCards(folder: string, buses: readonly number[]): TestCard[] {
  const lavapipe = path.join(driverFolder('lavapipe'), 'lib', 'libvulkan_lvp.so');
  return buses.map((bus) => {
    const name = bus.toString(16).padStart(2, '0');
    const [copy, library, file] = ['copy.so', 'card.so', 'card.json'].map((end) =>
      path.join(folder, `${name}-${end}`),
    ) as [string, string, string];
    fs.copyFileSync(lavapipe, copy);
    const source = path.join(repositoryRoot, 'test', 'mpi', 'card.c');
    const words = ['-shared', '-fPIC', `-DBUS=${bus}`, `-DLAVAPIPE="${copy}"`, source, '-o', library, '-ldl'];
    const { status, stderr } = spawnSync('cc', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`cc: ${stderr}`);
    const icd = { file_format_version: '1.0.0', ICD: { library_path: library, api_version: '1.3.0' } };
    fs.writeFileSync(file, JSON.stringify(icd));
    return { file, pci: `0000:${name}:00.0` };
  });
}
