/**
 * Fetches a software Vulkan driver into the cache folder, touching nothing of the system.
 *
 * lavapipe (Mesa) comes from the machine's own Debian or Ubuntu archive: apt runs on private folders, so that no
 * system file changes and no rights are needed. SwiftShader comes out of an npm package. Either way the result is a
 * folder with the few shared objects that are needed and a manifest (software-driver.ts reads it), renamed into place
 * when complete.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompressSync } from 'node:zlib';
import { InputError, MachineError } from '../errors.js';
import { syncFolder, writeFileAtomic } from '../files/atomic.js';
import { asJsonObject, parseJson } from '../files/json.js';
import { makeFolder } from '../files/make-folder.js';
import { systemReason } from '../files/reason.js';
import {
  cacheFolder,
  type DriverManifest,
  describeFiles,
  driverFolder,
  identityOf,
  readManifest,
  requirePrivateFolders,
  type SoftwareDriverName,
} from '../gpu/driver-cache.js';
import { neededLibraries } from '../gpu/elf.js';
import { printable } from '../show.js';

const SWIFTSHADER_PACKAGE = '@sparticuz/chromium@147.0.0';
const SWIFTSHADER_SHA256 = 'f957ea867313f9815b71dc2ed30cce301e01db4f3973fbdb31ffa5391b0ec45a';
const DRIVER_PACKAGES = ['mesa-vulkan-drivers', 'libvulkan1'];
const STALE_AFTER_MS = 3_600_000;

async function command(file: string, args: string[], env: NodeJS.ProcessEnv = process.env): Promise<string> {
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
    throw new MachineError(`${path.basename(file)} ${args[0] ?? ''}: ${reason.trim()}`);
  }
}

/**
 * Fetches a driver and puts it in place, unless another process was faster.
 * @param replace whether a driver that is already there (and does not work) makes way.
 * @throws MachineError that says which step failed; InputError when the cache folder is not this user's alone.
 */
export async function fetchDriver(name: SoftwareDriverName, replace: boolean): Promise<DriverManifest> {
  const target = driverFolder(name);
  const parent = path.dirname(target);
  const workspace = makeWorkspace();
  const complete = path.join(workspace, 'complete');
  const broken = identityOf(target);
  mkdirSync(complete, { mode: 0o700 });
  try {
    const manifest = await (name === 'lavapipe' ? fetchLavapipe : fetchSwiftShader)(workspace, complete);
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
    rmSync(workspace, { recursive: true, force: true });
  }
}

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

/** A private folder beside the drivers, so that renaming from it and to it is one step. */
function makeWorkspace(): string {
  requirePrivateFolders();
  const parent = path.join(cacheFolder(), 'vulkan');
  makeFolder(parent, 0o700);
  removeStale(parent);
  return mkdtempSync(path.join(parent, '.unpacking-'));
}

/** Renames, if it is there. */
function takeAway(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Removes what killed processes left. */
function removeStale(parent: string): void {
  for (const entry of readdirSync(parent)) {
    if (!entry.startsWith('.unpacking-')) continue;
    const folder = path.join(parent, entry);
    try {
      if (Date.now() - statSync(folder).mtimeMs > STALE_AFTER_MS)
        rmSync(folder, { recursive: true, force: true });
    } catch {
      // Another process removed it first.
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// lavapipe through apt

async function fetchLavapipe(workspace: string, complete: string): Promise<DriverManifest> {
  const apt = await privateApt(workspace, true);
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
  await apt('apt-get', ['download', ...names]);
  const archives = readdirSync(workspace).filter((file) => file.endsWith('.deb'));
  const unpacked = path.join(workspace, 'unpacked');
  for (const archive of archives)
    await command('dpkg-deb', ['--extract', path.join(workspace, archive), unpacked]);
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
    const apt = await privateApt(workspace, false);
    await apt('apt-get', ['install', '--yes', ...DRIVER_PACKAGES]);
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

type Apt = (tool: 'apt-get' | 'apt-cache', args: string[]) => Promise<string>;

/** apt with folders of its own and the machine's sources, proxies and keys, updated; `unlocked` where nothing is installed. */
async function privateApt(workspace: string, unlocked: boolean): Promise<Apt> {
  const release = parseOsRelease(readFileSync('/etc/os-release', 'utf8'));
  const codename = release['VERSION_CODENAME'] ?? '';
  const backports =
    release['ID'] === 'debian' && release['VERSION_ID'] === '12' ? `${codename}-backports` : undefined;
  const files: SourceFile[] = [];
  for (const location of ['/etc/apt/sources.list', '/etc/apt/sources.list.d']) {
    if (!existsSync(location)) continue;
    const names = statSync(location).isDirectory()
      ? readdirSync(location).map((file) => path.join(location, file))
      : [location];
    for (const name of names) files.push({ name, text: readFileSync(name, 'utf8') });
  }
  const sources = privateSources(files, codename, backports);
  const listed = path.join(workspace, 'machine.sources');
  const configuration = path.join(workspace, 'apt.conf');
  writeFileSync(listed, sources);
  mkdirSync(path.join(workspace, 'lists', 'partial'), { recursive: true });
  mkdirSync(path.join(workspace, 'archives', 'partial'), { recursive: true });
  const settings: Record<string, string> = {
    'Dir::Etc::Parts': '/dev/null',
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::sourcelist': listed,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State::lists': path.join(workspace, 'lists'),
    'Dir::Cache': workspace,
    'Dir::Cache::archives': path.join(workspace, 'archives'),
    // The usual download user could not enter a private folder.
    'APT::Sandbox::User': process.getuid?.() === 0 ? 'root' : '',
    'APT::Install-Recommends': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
    ...(backports ? { 'APT::Default-Release': backports } : {}),
    ...(unlocked ? { 'Debug::NoLocking': '1' } : {}),
  };
  const machine = machineSettings(await command('apt-config', ['dump']));
  writeFileSync(
    configuration,
    [...Object.entries(settings).map(([key, value]) => `${key} "${value}";`), ...machine, ''].join('\n'),
  );
  const env = { ...process.env, APT_CONFIG: configuration, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const apt: Apt = (tool, args) =>
    // `apt-get download` writes into the working folder.
    command('env', ['--chdir', workspace, tool, ...args], env);
  await apt('apt-get', ['update']);
  return apt;
}

/** Lines of `apt-config dump` that say how this machine reaches its archive (proxies, timeouts, checks). */
export function machineSettings(dump: string): string[] {
  return dump
    .split('\n')
    .filter((line) => /^(Acquire::|APT::Architecture)/.test(line))
    .filter((line) => !/^Acquire::(Languages|IndexTargets|CompressionTypes|Changelogs)\b/.test(line))
    .filter((line) => !/ "";$/.test(line));
}

export interface SourceFile {
  readonly name: string;
  readonly text: string;
}

interface SourceEntry {
  readonly uris: string;
  readonly suites: string[];
  readonly components: string[];
  /** Further deb822 fields as they were, e.g. `Signed-By: …`. */
  readonly options: string[];
}

/**
 * The distribution's own entries of the machine's apt sources, as one deb822 text, with `backports` added where
 * `codename` itself comes from. Third-party archives are left out; so is all but `main`, to keep the download small.
 * @throws MachineError when no entry serves `codename`.
 */
export function privateSources(files: readonly SourceFile[], codename: string, backports?: string): string {
  const entries = files.flatMap(({ name, text }) => {
    if (name.endsWith('.sources')) return parseDeb822(text);
    return name.endsWith('.list') ? parseOneLine(text) : [];
  });
  const own = entries
    .map((entry) => ({
      ...entry,
      suites: entry.suites.filter((suite) => suite === codename || suite.startsWith(`${codename}-`)),
    }))
    .filter((entry) => entry.suites.length > 0 && entry.components.includes('main'));
  if (!codename || !own.some((entry) => entry.suites.includes(codename)))
    throw new MachineError(`apt: no source of the release "${codename}" among ${files.length} source files`);
  const known = own.some((entry) => entry.suites.includes(backports ?? ''));
  return own
    .map((entry) => {
      const suites = [...entry.suites];
      if (backports && !known && suites.includes(codename)) suites.push(backports);
      return [
        'Types: deb',
        `URIs: ${entry.uris}`,
        `Suites: ${suites.join(' ')}`,
        'Components: main',
        ...entry.options,
        '',
      ].join('\n');
    })
    .join('\n');
}

/** sources.list(5), deb822 style. */
function parseDeb822(text: string): SourceEntry[] {
  const uncommented = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');
  const entries: SourceEntry[] = [];
  for (const stanza of uncommented.split(/\n\s*\n/)) {
    const fields = new Map<string, string>();
    let last = '';
    for (const line of stanza.split('\n')) {
      const match = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
      if (match) {
        last = (match[1] ?? '').toLowerCase();
        fields.set(last, match[2] ?? '');
      } else if (/^\s+\S/.test(line)) {
        // Continuations keep their indentation: a Signed-By may hold a whole key.
        fields.set(last, `${fields.get(last) ?? ''}\n${line}`);
      }
    }
    const words = (key: string) => (fields.get(key) ?? '').split(/\s+/).filter(Boolean);
    if (!words('types').includes('deb') || fields.get('enabled')?.trim() === 'no') continue;
    const skipped = new Set(['types', 'uris', 'suites', 'components', 'enabled']);
    entries.push({
      uris: words('uris').join(' '),
      suites: words('suites'),
      components: words('components'),
      options: [...fields].filter(([key]) => !skipped.has(key)).map(([key, value]) => `${key}: ${value}`),
    });
  }
  return entries;
}

/** sources.list(5), one-line style: `deb [option=value …] uri suite component…`. */
function parseOneLine(text: string): SourceEntry[] {
  const entries: SourceEntry[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) continue;
    const options = (match[1] ?? '')
      .split(/\s+/)
      .filter(Boolean)
      .map((option) => {
        const [key = '', value = ''] = option.split(/=(.*)/s);
        return `${key === 'arch' ? 'architectures' : key}: ${value.replaceAll(',', ' ')}`;
      });
    entries.push({
      uris: match[2] ?? '',
      suites: [match[3] ?? ''],
      components: (match[4] ?? '').split(/\s+/).filter(Boolean),
      options,
    });
  }
  return entries;
}

export function parseOsRelease(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)].map((match) => [match[1], match[2]]),
  );
}

export interface PackageVersion {
  readonly name: string;
  readonly version: string;
}

/** What `apt-get install --print-uris` would download. */
export function parsePrintUris(output: string): PackageVersion[] {
  return [...output.matchAll(/^'[^']+' ([^_\s]+)_([^_\s]+)_[^_\s]+\.deb /gm)].map((match) => ({
    name: match[1] ?? '',
    // apt escapes the colon of an epoch in file names.
    version: decodeURIComponent(match[2] ?? ''),
  }));
}

/** The graph that `apt-cache depends --recurse` prints: package → what it depends on. */
export function parseDependencies(output: string): Map<string, string[]> {
  const graph = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of output.split('\n')) {
    const plain = (text: string) => text.replace(/[<>]/g, '').replace(/:\w+$/, '');
    const dependency = /^\s+\|?(?:Pre)?Depends: (\S+)/.exec(line) ?? /^\s{4,}(\S+)$/.exec(line);
    if (dependency) current.push(plain(dependency[1] ?? ''));
    else if (/^\S+$/.test(line)) {
      current = graph.get(plain(line)) ?? [];
      graph.set(plain(line), current);
    }
  }
  return graph;
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

async function fetchSwiftShader(workspace: string, complete: string): Promise<DriverManifest> {
  if (process.arch !== 'x64') throw new MachineError(`SwiftShader: no package for ${process.arch}`);
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

/** Before the folder is renamed into place: nobody else's to write, and on the disk whatever happens next. */
function makeLasting(folder: string): void {
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

/** SONAMEs that a shared object needs. @throws MachineError for what is none. */
export function readNeeded(library: Buffer): string[] {
  const needed = neededLibraries(library);
  if (!needed) throw new MachineError('not a 64-bit little-endian shared object, or cut off');
  return needed;
}

function* findIcds(folder: string): Generator<string> {
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
