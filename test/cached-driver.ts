/** Copies of this machine's cached software driver, for tests that damage them. */
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { driverFolder, inspectDriver, type SoftwareDriverName } from '../src/gpu/driver-cache.js';

export const setupProgram = new URL('../scripts/setup.js', import.meta.url).pathname;

/** The driver to copy, or undefined where this machine has none in its cache. */
export const cachedDriver: SoftwareDriverName | undefined =
  process.platform === 'linux'
    ? (['lavapipe', 'swiftshader'] as const).find(
        (name) => inspectDriver(name)?.problem === undefined && inspectDriver(name),
      )
    : undefined;

export interface DriverCopy {
  /** For DAWNTUNE_CACHE. */
  readonly cache: string;
  readonly driver: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A cache folder of its own with a copy of the driver, and an environment without any other driver or download. */
export function copyDriver(name: SoftwareDriverName): DriverCopy {
  const cache = mkdtempSync(path.join(os.tmpdir(), 'dawntune-cache-'));
  const driver = path.join(cache, 'vulkan', path.basename(driverFolder(name)));
  mkdirSync(path.dirname(driver), { mode: 0o700 });
  cpSync(driverFolder(name), driver, { recursive: true });
  const { VK_ADD_DRIVER_FILES: _, VK_DRIVER_FILES: __, DAWNTUNE_SOFTWARE: ___, ...env } = process.env;
  return { cache, driver, env: { ...env, DAWNTUNE_CACHE: cache, PATH: '/nowhere' } };
}

/**
 * Programs that stand for apt's: what they "download" is a copy of the driver folder `good`. Returns a PATH.
 */
export function archiveOf(good: string, cache: string): string {
  const bin = path.join(cache, 'bin');
  mkdirSync(bin);
  const program = (name: string, body: string) =>
    writeFileSync(path.join(bin, name), `#!/bin/sh\nPATH=/usr/bin:/bin\n${body}\n`, { mode: 0o755 });
  program('apt-config', '');
  program(
    'env',
    `case "$*" in
*--print-uris*) echo "'http://m/m.deb' mesa-vulkan-drivers_1.0_amd64.deb 1 SHA256:00" ;;
*" apt-get download "*) : > "$2/mesa.deb" ;;
esac`,
  );
  program('dpkg-deb', `mkdir -p "$3" && cp -r '${good}/lib' '${good}/icd.json' "$3"`);
  return bin;
}
