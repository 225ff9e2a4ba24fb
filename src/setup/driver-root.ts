/**
 * Debian's current Mesa beside the system's: a small root folder in the cache, in which a process of this same Node runs.
 *
 * The driver of the suite `sid` needs a newer C library than most machines have, and a process has one C library only. So
 * the folder holds that library's own dynamic linker, which starts Node with the libraries of the folder before those of
 * the machine (ld.so(8), `--library-path`). Nothing of the system changes, no rights are needed, and addons built for the
 * machine's older C library run as they are. What is in the folder, and from which packages, stands in `versions.json`.
 */
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { syncFolder, writeFileAtomic } from '../files/atomic.js';
import { isJsonObject, readJsonObject } from '../files/json.js';
import { cacheFolder, requirePrivateFolders } from '../gpu/driver-cache.js';
import { machineRelease, type PackageVersion, parsePrintUris, privateApt } from './apt.js';
import { DRIVER_PACKAGES, dependencyOrder, findIcds, patchIcd, readNeeded } from './driver-download.js';
import { command, makeLasting, makeWorkspace, takeAway } from './workspace.js';

const SUITE = 'sid';
const DRIVER = 'libvulkan_lvp.so';

export interface DriverRoot {
  readonly folder: string;
  readonly suite: string;
  /** All that was unpacked, by name. */
  readonly packages: readonly PackageVersion[];
}

function driverRootFolder(): string {
  return path.join(cacheFolder(), 'vulkan', `debian-${SUITE}-${process.arch}`);
}

/** The folder in the cache; undefined where there is none, or one that an earlier version left unfinished or otherwise. */
export function readDriverRoot(folder = driverRootFolder()): DriverRoot | undefined {
  try {
    requirePrivateFolders();
    const { format, suite, packages } = readJsonObject(path.join(folder, 'versions.json'));
    if (format !== 1 || typeof suite !== 'string' || !Array.isArray(packages)) return undefined;
    const known = packages.flatMap((each): PackageVersion[] => {
      const { name, version } = isJsonObject(each) ? each : {};
      return typeof name === 'string' && typeof version === 'string' ? [{ name, version }] : [];
    });
    linkerOf(folder);
    accessSync(path.join(folder, 'lib', DRIVER), constants.R_OK);
    return { folder, suite, packages: known };
  } catch {
    return undefined;
  }
}

/** Why a root folder cannot be made on this machine, as far as that is known without trying; undefined where it may be. */
export function noDriverRootReason(): string | undefined {
  if (process.platform !== 'linux') return `needs Linux, and this is ${process.platform}`;
  const { ID: distribution = 'unknown' } = machineRelease();
  if (distribution !== 'debian') return `needs the apt sources of Debian, and this is ${distribution}`;
  const path = (process.env['PATH'] ?? '').split(':');
  for (const tool of ['apt-get', 'apt-config', 'dpkg-deb'])
    if (!path.some((folder) => existsSync(`${folder}/${tool}`))) return `needs ${tool}`;
  return undefined;
}

/**
 * Downloads the current packages and puts the folder in place of the one that is there.
 * @throws MachineError that says which step failed; InputError when the cache folder is not this user's alone.
 */
export async function fetchDriverRoot(): Promise<DriverRoot> {
  const reason = noDriverRootReason();
  if (reason) throw new MachineError(`Debian ${SUITE}'s Mesa: ${reason}`);
  const target = driverRootFolder();
  const workspace = makeWorkspace();
  const complete = path.join(workspace, 'complete');
  try {
    const apt = await privateApt(workspace, { unlocked: true, suite: SUITE });
    const packages = parsePrintUris(
      await apt('apt-get', ['install', '--yes', '--print-uris', ...DRIVER_PACKAGES]),
    );
    await apt('apt-get', ['download', ...packages.map(({ name, version }) => `${name}=${version}`)]);
    const unpacked = path.join(workspace, 'unpacked');
    for (const archive of readdirSync(workspace).filter((file) => file.endsWith('.deb')))
      await command('dpkg-deb', ['--extract', path.join(workspace, archive), unpacked]);
    assemble(unpacked, complete);
    const sorted = [...packages].sort((a, b) => (a.name < b.name ? -1 : 1));
    const content = { format: 1, suite: SUITE, packages: sorted };
    writeFileSync(path.join(complete, 'versions.json'), `${JSON.stringify(content, null, 2)}\n`);
    makeLasting(complete);
    chmodSync(linkerOf(complete), 0o700);
    takeAway(target, path.join(workspace, 'replaced'));
    renameSync(complete, target);
    syncFolder(path.dirname(target));
    return { folder: target, suite: SUITE, packages: sorted };
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

/** The dynamic linker, all of the C library, and of the rest what the driver, the loader and C++ need. */
function assemble(unpacked: string, complete: string): void {
  const byName = new Map<string, string>();
  for (const entry of readdirSync(unpacked, { recursive: true, withFileTypes: true }))
    if ((entry.isFile() || entry.isSymbolicLink()) && /\.so(\.[\w.]+)?$/.test(entry.name)) {
      const file = path.join(entry.parentPath ?? entry.path, entry.name);
      // Links to absolute names lead out of the unpacked packages; there is a relative one, or the file, beside them.
      if (realpathOf(file)?.startsWith(realpathSync(unpacked))) byName.set(entry.name, file);
    }
  const libc = byName.get('libc.so.6');
  if (!libc) throw new MachineError(`Debian ${SUITE}: libc6 has no libc.so.6`);
  // The C library loads parts of itself by name (nss, libgcc_s), and Node is linked with the empty ones that it once had.
  const parts = [...byName].filter(
    ([name, file]) => path.dirname(file) === path.dirname(libc) && C_LIBRARY.test(name),
  );
  const roots = [DRIVER, 'libvulkan.so.1', 'libstdc++.so.6', 'libgcc_s.so.1', ...parts.map(([name]) => name)];
  for (const required of roots)
    if (!byName.has(required)) throw new MachineError(`Debian ${SUITE}: no package has ${required}`);
  const needs = (library: string) =>
    readNeeded(readFileSync(realpathSync(byName.get(library)!))).filter((other) => byName.has(other));
  mkdirSync(path.join(complete, 'lib'), { recursive: true, mode: 0o700 });
  for (const library of dependencyOrder(roots, needs)) {
    const folder = LINKER.test(library) ? complete : path.join(complete, 'lib');
    copyFileSync(realpathSync(byName.get(library)!), path.join(folder, library));
  }
  if (!readdirSync(complete).some((file) => LINKER.test(file)))
    throw new MachineError(`Debian ${SUITE}: no package has the dynamic linker of its C library`);
  const description = [...findIcds(unpacked)].find((text) => text.includes(DRIVER));
  if (!description) throw new MachineError(`Debian ${SUITE}: no driver description for ${DRIVER}`);
  writeFileSync(path.join(complete, 'icd.json'), patchIcd(description, `./lib/${DRIVER}`));
}

const LINKER = /^ld-linux[\w-]*\.so\.\d+$/;
const C_LIBRARY =
  /^(ld-linux[\w-]*|lib(c|m|mvec|dl|pthread|rt|util|resolv|anl|nss_(files|dns|compat)))\.so\.\d+$/;

function realpathOf(file: string): string | undefined {
  try {
    return realpathSync(file);
  } catch {
    return undefined;
  }
}

function linkerOf(folder: string): string {
  const name = readdirSync(folder).find((file) => LINKER.test(file));
  if (!name) throw new InputError(`${folder}: has no dynamic linker`);
  return path.join(folder, name);
}

// ---- Node in it ----------------------------------------------------------------------------------------------

/**
 * Writes `bin/node` into the folder: this process's Node, on the folder's libraries and its driver alone.
 *
 * Node takes the linker for its own executable. A preloaded script names the wrapper instead, so that the children that a
 * test starts through `process.execPath` run in the folder too.
 * @returns the wrapper's path.
 */
export function writeNodeWrapper({ folder }: DriverRoot): string {
  const wrapper = path.join(folder, 'bin', 'node');
  // A process that runs in the folder already has the wrapper for its executable.
  if (process.execPath === wrapper) return wrapper;
  mkdirSync(path.dirname(wrapper), { recursive: true, mode: 0o700 });
  const preload = path.join(folder, 'bin', 'exec-path.cjs');
  writeFileAtomic(preload, `process.execPath = process.argv[0] = ${JSON.stringify(wrapper)};\n`);
  writeFileAtomic(
    wrapper,
    `#!/bin/sh
VK_DRIVER_FILES=${quoted(path.join(folder, 'icd.json'))}
DAWNTUNE_SOFTWARE=none
export VK_DRIVER_FILES DAWNTUNE_SOFTWARE
unset VK_ICD_FILENAMES VK_ADD_DRIVER_FILES
exec ${quoted(linkerOf(folder))} --library-path ${quoted(path.join(folder, 'lib'))} \\
  ${quoted(process.execPath)} --require ${quoted(preload)} "$@"
`,
  );
  chmodSync(wrapper, 0o700);
  return wrapper;
}

/** For sh(1). */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
