/**
 * Software drivers in the cache folder: where they lie, what their manifests say, and whether they may be loaded. The
 * libraries run inside this process, so a damaged one ends it and a foreign one owns it: `inspectDriver` looks at
 * names, sizes and owners before anything is loaded. Fetching drivers does not belong here (src/setup), loading them
 * neither (software-driver.ts).
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { requireHome } from '../files/home.js';
import { isJsonObject, type JsonObject, readJsonObject } from '../files/json.js';
import { systemReason } from '../files/reason.js';
import { printable, show } from '../show.js';
import { ELF_HEAD, elfBytes, elfSegments } from './elf.js';

/** Software drivers that set-up can install. */
export type SoftwareDriverName = 'lavapipe' | 'swiftshader';

/** What `manifest.json` in a cached driver's folder says; all paths are relative to that folder. */
export interface DriverManifest {
  readonly format: 1;
  readonly name: SoftwareDriverName;
  /** For people, e.g. `mesa-vulkan-drivers 25.0.7-2`. */
  readonly version: string;
  /** The Vulkan loader's description of the driver. */
  readonly icd: string;
  /** Shared objects to load, each after those it depends on. */
  readonly libraries: readonly string[];
  /** Of the description and the libraries, as they were installed. Folders of earlier versions have none. */
  readonly files?: Readonly<Record<string, DriverFile>>;
}

export interface DriverFile {
  readonly bytes: number;
  readonly sha256: string;
}

/** `$DAWNTUNE_CACHE`, else `dawntune` in the user's cache folder. @throws InputError when the user has none. */
export function cacheFolder(env: Readonly<Record<string, string | undefined>> = process.env): string {
  if (env['DAWNTUNE_CACHE']) return path.resolve(env['DAWNTUNE_CACHE']);
  return path.join(env['XDG_CACHE_HOME'] || path.join(requireHome('DAWNTUNE_CACHE'), '.cache'), 'dawntune');
}

/** Where a software driver for this architecture lies, or would lie. */
export function driverFolder(name: SoftwareDriverName): string {
  return path.join(cacheFolder(), 'vulkan', `${name}-${process.arch}`);
}

// ---- the manifest --------------------------------------------------------------------------------------------

const MANIFEST_BYTES = 1 << 20;
const MOST_LIBRARIES = 100;

/** A file of the driver's folder or of its `lib`: what else a path can lead to is not the driver's. */
function plainName(value: unknown): value is string {
  return typeof value === 'string' && /^(lib\/)?\w[\w.+~-]*$/.test(value);
}

/** @throws InputError that names the file and what is wrong with it. */
function parseManifest(file: string): DriverManifest {
  const object = readJsonObject(file, { maxBytes: MANIFEST_BYTES });
  const require = (holds: boolean, name: string, expected: string): void => {
    if (!holds)
      throw new InputError(
        `${printable(file)}: the manifest's ${name}: expected ${expected}, found ${show(object[name])}`,
      );
  };
  const { format, name, version, icd, libraries, files } = object;
  require(format === 1, 'format', '1');
  require(name === 'lavapipe' || name === 'swiftshader', 'name', 'lavapipe or swiftshader');
  require(typeof version === 'string', 'version', 'a text');
  require(plainName(icd), 'icd', 'a plain file name');
  require(Array.isArray(libraries) &&
    libraries.length > 0 &&
    libraries.length <= MOST_LIBRARIES &&
    libraries.every(plainName), 'libraries', `1 to ${MOST_LIBRARIES} plain file names`);
  const names = [icd, ...(libraries as string[])] as string[];
  require(files === undefined ||
    (isJsonObject(files) &&
      names.every((each) => isDriverFile(files[each]))), 'files', 'the bytes and sha256 of each file');
  return {
    format: 1,
    name: name as SoftwareDriverName,
    version: version as string,
    icd: icd as string,
    libraries: libraries as string[],
    ...(files === undefined ? {} : { files: files as Record<string, DriverFile> }),
  };
}

function isDriverFile(value: unknown): boolean {
  return (
    isJsonObject(value) &&
    Number.isSafeInteger(value['bytes']) &&
    typeof value['sha256'] === 'string' &&
    /^[0-9a-f]{64}$/.test(value['sha256'])
  );
}

const filesOf = (manifest: DriverManifest): string[] => [manifest.icd, ...manifest.libraries];

/** The manifest of a cached driver; undefined unless the driver is there with all its files, of the sizes recorded. */
export function readManifest(folder: string): DriverManifest | undefined {
  try {
    const manifest = parseManifest(path.join(folder, 'manifest.json'));
    for (const file of filesOf(manifest)) requireSize(folder, file, manifest);
    return manifest;
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/** @throws InputError for what is missing, no regular file, or of another size than when it was installed. */
function requireSize(folder: string, file: string, { files }: DriverManifest): fs.Stats {
  const whole = path.join(folder, file);
  const stat = statOf(whole, true);
  if (!stat) throw new InputError(`${printable(whole)}: is missing`);
  if (!stat.isFile()) throw new InputError(`${printable(whole)}: expected a regular file`);
  const bytes = files?.[file]?.bytes;
  if (bytes !== undefined && stat.size !== bytes)
    throw new InputError(
      `${printable(whole)}: expected ${bytes} bytes as it was installed, found ${stat.size}`,
    );
  return stat;
}

/** Undefined where there is nothing. @throws InputError when the system does not say. */
function statOf(file: string, links = false): fs.Stats | undefined {
  try {
    return links ? fs.lstatSync(file) : fs.statSync(file);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new InputError(`${printable(file)}: cannot read: ${systemReason(error)}`);
  }
}

/** Device and number of a folder, by which it is told from another of the same name; undefined where there is none. */
export function identityOf(folder: string): string | undefined {
  const stat = statOf(folder, true);
  return stat && `${stat.dev}:${stat.ino}`;
}

// ---- whether it may be loaded --------------------------------------------------------------------------------

/** A driver that may be loaded, or why not; `unsafe` where others could have put it there, so that nothing in it counts. */
export type CachedDriver =
  | { readonly manifest: DriverManifest; readonly problem?: undefined }
  | { readonly problem: string; readonly unsafe: boolean };

/**
 * Looks at a driver of the cache without loading it, in well under a millisecond a library. Undefined where there is
 * none. Bytes that changed within a file are not seen: `changedFile` reads them all.
 */
export function inspectDriver(name: SoftwareDriverName): CachedDriver | undefined {
  const folder = driverFolder(name);
  let unsafe = true;
  try {
    if (!statOf(folder, true)) return undefined;
    requirePrivateFolders();
    requirePrivate(folder, statOf(folder));
    unsafe = false;
    const manifest = parseManifest(path.join(folder, 'manifest.json'));
    if (manifest.name !== name)
      throw new InputError(`${printable(folder)}: expected a driver called ${name}, found ${manifest.name}`);
    for (const file of filesOf(manifest)) {
      const stat = requireSize(folder, file, manifest);
      unsafe = true;
      requirePrivate(path.join(folder, file), stat);
      unsafe = false;
    }
    requireDescription(folder, manifest);
    for (const library of manifest.libraries) requireWhole(path.join(folder, library));
    return { manifest };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { problem: error.message, unsafe };
  }
}

/**
 * The folders above the drivers must be this user's, or the system's, and nobody else's to write: who can write there
 * can put any library into this process. @throws InputError that names the folder.
 */
export function requirePrivateFolders(): void {
  for (const folder of [cacheFolder(), path.join(cacheFolder(), 'vulkan')])
    requirePrivate(folder, statOf(folder));
}

function requirePrivate(file: string, stat: fs.Stats | undefined): void {
  const user = process.getuid?.();
  if (!stat || user === undefined) return;
  if (stat.uid !== user && stat.uid !== 0)
    throw new InputError(
      `${printable(file)}: belongs to user ${stat.uid}, and this is user ${user}; remove it, or set DAWNTUNE_CACHE to a folder of your own`,
    );
  // In a folder with the sticky bit others can add entries, which the check of those finds, but not exchange ours.
  if ((stat.mode & 0o022) !== 0 && !(stat.isDirectory() && (stat.mode & 0o1000) !== 0))
    throw new InputError(
      `${printable(file)}: others may write there (mode ${(stat.mode & 0o7777).toString(8)}); remove it if you do not know what is in it, else \`chmod go-w\``,
    );
}

/** The Vulkan loader opens the library that the description names. */
function requireDescription(folder: string, manifest: DriverManifest): void {
  const file = path.join(folder, manifest.icd);
  const { ICD: driver } = readJsonObject(file, { maxBytes: MANIFEST_BYTES });
  const library: unknown = isJsonObject(driver) ? (driver as JsonObject)['library_path'] : undefined;
  const known = manifest.libraries.map((each) => `./${each}`);
  if (typeof library !== 'string' || !known.includes(library))
    throw new InputError(
      `${printable(file)}: ICD.library_path: expected one of ${known.join(', ')}, found ${show(library)}`,
    );
}

/** A library that was cut off would end the process when it is loaded. */
function requireWhole(file: string): void {
  let descriptor = -1;
  try {
    descriptor = fs.openSync(file, 'r');
    const head = Buffer.alloc(ELF_HEAD);
    const segments = elfSegments(head.subarray(0, fs.readSync(descriptor, head, 0, ELF_HEAD, 0)));
    if (!segments) throw new InputError(`${printable(file)}: expected a 64-bit shared object`);
    const [bytes, size] = [elfBytes(segments), fs.fstatSync(descriptor).size];
    if (bytes > size)
      throw new InputError(
        `${printable(file)}: expected a whole library of at least ${bytes} bytes, found ${size}`,
      );
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${printable(file)}: cannot read: ${systemReason(error)}`);
  } finally {
    if (descriptor >= 0) fs.closeSync(descriptor);
  }
}

// ---- its bytes -----------------------------------------------------------------------------------------------

/** Sizes and sums of all files of the driver, to be recorded in its manifest. @throws InputError when one cannot be read. */
export function describeFiles(folder: string, manifest: DriverManifest): Record<string, DriverFile> {
  return Object.fromEntries(
    filesOf(manifest).map((file) => {
      const bytes = readWhole(path.join(folder, file));
      return [file, { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }];
    }),
  );
}

function readWhole(file: string): Buffer {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    throw new InputError(`${printable(file)}: cannot read: ${systemReason(error)}`);
  }
}

/** The first file whose bytes are not those that were installed; undefined too where nothing was recorded. */
export function changedFile(folder: string, manifest: DriverManifest): string | undefined {
  if (!manifest.files) return undefined;
  const found = describeFiles(folder, manifest);
  return filesOf(manifest).find((file) => found[file]!.sha256 !== manifest.files![file]!.sha256);
}
