/**
 * Fetches a software Vulkan driver into the cache folder, touching nothing of the system.
 *
 * lavapipe (Mesa) comes from the machine's own Debian or Ubuntu archive: apt runs on private folders, so that no
 * system file changes and no rights are needed. SwiftShader comes out of an npm package. Either way the result is a
 * folder with the few shared objects that are needed and a manifest (software-driver.ts reads it), renamed into place
 * when complete.
 */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { InputError, MachineError } from '../errors.js';
import { syncFolder, writeFileAtomic } from '../files/atomic.js';
import { asJsonObject, parseJson } from '../files/json.js';
import { systemReason } from '../files/reason.js';
import {
  type DriverManifest,
  describeFiles,
  driverFolder,
  identityOf,
  readManifest,
  type SoftwareDriverName,
} from '../gpu/driver-cache.js';
import { neededLibraries } from '../gpu/elf.js';
import { progress } from '../progress.js';
import { printable } from '../show.js';
import { type PackageVersion, parseDependencies, parsePrintUris, privateApt } from './apt.js';
import { command, makeLasting, makeWorkspace, takeAway } from './workspace.js';

const SWIFTSHADER_PACKAGE = '@sparticuz/chromium@147.0.0';
const SWIFTSHADER_SHA256 = 'f957ea867313f9815b71dc2ed30cce301e01db4f3973fbdb31ffa5391b0ec45a';
export const DRIVER_PACKAGES = ['mesa-vulkan-drivers', 'libvulkan1'];

/**
 * Fetches a driver and puts it in place, unless another process was faster.
 * @param replace whether a driver that is already there (and does not work) makes way.
 * @throws MachineError that says which step failed; InputError when the cache folder is not this user's alone.
 */
export async function fetchDriver(name: SoftwareDriverName, replace: boolean): Promise<DriverManifest> {
  const work = { phase: 'install', unit: 'packages', subject: name } as const;
  const tell = (done: number, total?: number) => progress({ ...work, done, total });
  tell(0);
  const target = driverFolder(name);
  const parent = path.dirname(target);
  const workspace = makeWorkspace();
  const complete = path.join(workspace, 'complete');
  const broken = identityOf(target);
  mkdirSync(complete, { mode: 0o700 });
  try {
    const manifest = await (name === 'lavapipe' ? fetchLavapipe : fetchSwiftShader)(
      workspace,
      complete,
      tell,
    );
    // What is there now and was not before, another process has put in place meanwhile: as good as ours.
    const other = readManifest(target);
    if (other && (!replace || identityOf(target) !== broken)) return other;
    takeAway(target, path.join(workspace, 'replaced'));
    try {
      renameSync(complete, target);
    } catch (error) {
      const faster = readManifest(target);
      if (!faster) throw error;
      return faster;
    }
    syncFolder(parent);
    return manifest;
  } finally {
    progress({ ...work, done: 0, ended: true });
    rmSync(workspace, { recursive: true, force: true });
  }
}

/** Is told how many packages are unpacked, of how many. */
type Tell = (done: number, total: number) => void;

/**
 * Removes a driver that is known to be damaged, since what is loaded from it ends the process; unless another process
 * put a new one there since `identity` was taken. @throws MachineError when it cannot be removed.
 */
export function removeDriver(name: SoftwareDriverName, identity: string | undefined): void {
  if (identityOf(driverFolder(name)) !== identity) return;
  try {
    const workspace = makeWorkspace();
    takeAway(driverFolder(name), path.join(workspace, 'removed'));
    rmSync(workspace, { recursive: true, force: true });
  } catch (error) {
    throw new MachineError(`${printable(driverFolder(name))}: cannot be removed: ${systemReason(error)}`);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// lavapipe through apt

async function fetchLavapipe(workspace: string, complete: string, tell: Tell): Promise<DriverManifest> {
  const apt = await privateApt(workspace, { unlocked: true });
  const wanted = parsePrintUris(
    await apt('apt-get', ['install', '--yes', '--print-uris', ...DRIVER_PACKAGES]),
  );
  const dependencies = parseDependencies(
    await apt('apt-cache', [
      'depends',
      '--recurse',
      '--no-recommends',
      '--no-suggests',
      '--no-conflicts',
      '--no-breaks',
      '--no-replaces',
      '--no-enhances',
      ...DRIVER_PACKAGES,
    ]),
  );
  const packages = choosePackages(wanted, dependencies, DRIVER_PACKAGES);
  const driver = packages.find((entry) => entry.name === 'mesa-vulkan-drivers');
  // A package that is installed already is not in the list that apt would download.
  const names = packages.map((entry) => `${entry.name}=${entry.version}`);
  for (const required of DRIVER_PACKAGES)
    if (!packages.some((entry) => entry.name === required)) names.push(required);
  tell(0, names.length);
  await apt('apt-get', ['download', ...names]);
  const archives = readdirSync(workspace).filter((file) => file.endsWith('.deb'));
  const unpacked = path.join(workspace, 'unpacked');
  for (const [i, archive] of archives.entries()) {
    tell(i, archives.length);
    await command('dpkg-deb', ['--extract', path.join(workspace, archive), unpacked]);
  }
  return assemble({
    name: 'lavapipe',
    version: `mesa-vulkan-drivers ${driver?.version ?? ''}`.trim(),
    unpacked,
    complete,
    driverLibrary: 'libvulkan_lvp.so',
  });
}

/** Installs lavapipe for the whole machine; needs root. The machine's list of sources stays as it is. */
export async function installSystemWide(): Promise<void> {
  if (process.getuid?.() !== 0) throw new InputError('setup --system: needs root; run it with sudo');
  const workspace = makeWorkspace();
  try {
    const apt = await privateApt(workspace, {});
    await apt('apt-get', ['install', '--yes', ...DRIVER_PACKAGES]);
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

/** Needed by the packages' scripts or present with Node itself, never by the driver. */
const NOT_FOR_THE_DRIVER =
  /^(python3|libpython|libc6|libc-bin|libgcc-s1|gcc-\d+-base|libstdc\+\+6|debconf|dpkg)/;

/** Of what apt would download (also upgrades that only keep the system consistent), what the roots depend on. */
export function choosePackages(
  wanted: readonly PackageVersion[],
  dependencies: ReadonlyMap<string, readonly string[]>,
  roots: readonly string[],
): PackageVersion[] {
  const reached = new Set<string>();
  const visit = (name: string): void => {
    if (reached.has(name) || NOT_FOR_THE_DRIVER.test(name)) return;
    reached.add(name);
    for (const next of dependencies.get(name) ?? []) visit(next);
  };
  for (const root of roots) visit(root);
  return wanted.filter((entry) => reached.has(entry.name));
}

// ---------------------------------------------------------------------------------------------------------------------
// SwiftShader through npm

async function fetchSwiftShader(workspace: string, complete: string, tell: Tell): Promise<DriverManifest> {
  if (process.arch !== 'x64') throw new MachineError(`SwiftShader: no package for ${process.arch}`);
  tell(0, 1);
  const npm = process.env['npm_execpath'];
  const args = ['pack', SWIFTSHADER_PACKAGE, '--pack-destination', workspace, '--silent'];
  if (npm?.endsWith('.js')) await command(process.execPath, [npm, ...args]);
  else await command('npm', args);
  const archive = readdirSync(workspace).find((file) => file.endsWith('.tgz'));
  if (!archive) throw new MachineError(`npm pack: ${SWIFTSHADER_PACKAGE} left no archive`);
  await command('tar', [
    '-xzf',
    path.join(workspace, archive),
    '-C',
    workspace,
    'package/bin/swiftshader.tar.br',
  ]);
  const compressed = readFileSync(path.join(workspace, 'package/bin/swiftshader.tar.br'));
  const sum = createHash('sha256').update(compressed).digest('hex');
  if (sum !== SWIFTSHADER_SHA256)
    throw new MachineError(`${SWIFTSHADER_PACKAGE}: unexpected contents (SHA-256 ${sum})`);
  const plain = path.join(workspace, 'swiftshader.tar');
  writeFileSync(plain, brotliDecompressSync(compressed));
  const unpacked = path.join(workspace, 'unpacked');
  mkdirSync(unpacked);
  await command('tar', ['-xf', plain, '-C', unpacked]);
  return assemble({
    name: 'swiftshader',
    version: SWIFTSHADER_PACKAGE,
    unpacked,
    complete,
    driverLibrary: 'libvk_swiftshader.so',
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// From unpacked files to a driver folder

interface Unpacked {
  readonly name: SoftwareDriverName;
  readonly version: string;
  readonly unpacked: string;
  readonly complete: string;
  readonly driverLibrary: string;
}

/** Copies the driver, the Vulkan loader and those of their dependencies that were unpacked; writes icd and manifest. */
function assemble({ name, version, unpacked, complete, driverLibrary }: Unpacked): DriverManifest {
  const files = readdirSync(unpacked, { recursive: true, withFileTypes: true })
    .filter((entry) => (entry.isFile() || entry.isSymbolicLink()) && /\.so(\.|$)/.test(entry.name))
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
  const byName = new Map(files.map((file) => [path.basename(file), file]));
  for (const required of [driverLibrary, 'libvulkan.so.1'])
    if (!byName.has(required)) throw new MachineError(`${version}: has no ${required}`);
  const needs = (library: string) => {
    const file = byName.get(library);
    return file ? readNeeded(readFileSync(realpathSync(file))).filter((other) => byName.has(other)) : [];
  };
  const ordered = dependencyOrder([driverLibrary, 'libvulkan.so.1'], needs);
  mkdirSync(path.join(complete, 'lib'), { mode: 0o700 });
  for (const library of ordered)
    copyFileSync(realpathSync(byName.get(library) ?? ''), path.join(complete, 'lib', library));
  const description = [...findIcds(unpacked)].find((text) => text.includes(driverLibrary));
  if (!description) throw new MachineError(`${version}: has no driver description for ${driverLibrary}`);
  writeFileSync(path.join(complete, 'icd.json'), patchIcd(description, `./lib/${driverLibrary}`));
  const plain: DriverManifest = {
    format: 1,
    name,
    version,
    icd: 'icd.json',
    libraries: ordered.map((library) => `lib/${library}`),
  };
  const manifest = { ...plain, files: describeFiles(complete, plain) };
  writeFileSync(path.join(complete, 'manifest.json'), renderManifest(manifest));
  makeLasting(complete);
  return manifest;
}

/** Writes the sizes and sums of a driver that is seen to work into a manifest of an earlier version, which has none. */
export function recordFiles(folder: string, manifest: DriverManifest): void {
  if (manifest.files) return;
  const content = renderManifest({ ...manifest, files: describeFiles(folder, manifest) });
  writeFileAtomic(path.join(folder, 'manifest.json'), content);
}

const renderManifest = (manifest: DriverManifest): string => `${JSON.stringify(manifest, null, 2)}\n`;

/** SONAMEs that a shared object needs. @throws MachineError for what is none. */
export function readNeeded(library: Buffer): string[] {
  const needed = neededLibraries(library);
  if (!needed) throw new MachineError('not a 64-bit little-endian shared object, or cut off');
  return needed;
}

export function* findIcds(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile() && entry.name.endsWith('.json'))
      yield readFileSync(path.join(entry.parentPath ?? entry.path, entry.name), 'utf8');
}

/** The description with another library path; one that starts with `./` is relative to the description itself. */
export function patchIcd(description: string, libraryPath: string): string {
  const where = 'the driver description';
  const parsed = asJsonObject(parseJson(description, where), where);
  const driver = asJsonObject(parsed['ICD'], `${where}: ICD`);
  return `${JSON.stringify({ ...parsed, ICD: { ...driver, library_path: libraryPath } }, null, 2)}\n`;
}

/** Depth-first: every library after those it needs. */
export function dependencyOrder(
  roots: readonly string[],
  needs: (library: string) => readonly string[],
): string[] {
  const ordered: string[] = [];
  const seen = new Set<string>();
  const visit = (library: string): void => {
    if (seen.has(library)) return;
    seen.add(library);
    for (const needed of needs(library)) visit(needed);
    ordered.push(library);
  };
  for (const root of roots) visit(root);
  return ordered;
}
