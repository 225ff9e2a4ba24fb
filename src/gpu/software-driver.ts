/**
 * Which Vulkan driver this process talks to.
 *
 * A machine with a GPU driver needs nothing from here. For one without, `dawntune setup` (src/setup/setup.ts) unpacks a
 * software driver into a cache folder; this file makes that driver visible to Dawn inside the running process: the
 * Vulkan loader finds it through an environment variable, and dynamic linking through libraries that are already
 * loaded. What a cached driver is, and whether it may be loaded, is in driver-cache.ts; fetching drivers does not belong
 * here (driver-download.ts), opening adapters neither (adapter.ts).
 */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { isMainThread } from 'node:worker_threads';
import koffi, { type LibraryHandle } from 'koffi';
import { InputError, MachineError } from '../errors.js';
import { homeFolder, requireHome } from '../files/home.js';
import { makeFolder } from '../files/make-folder.js';
import { show } from '../show.js';
import { cacheFolder, driverFolder, inspectDriver, type SoftwareDriverName } from './driver-cache.js';

export { cacheFolder, driverFolder, readManifest } from './driver-cache.js';

export interface VulkanEnvironment {
  /** `system`: whatever the machine itself offers. */
  readonly driver: 'system' | SoftwareDriverName;
  /** For people: where a driver was looked for and what was found, in one phrase. */
  readonly description: string;
}

/**
 * The software driver that `DAWNTUNE_SOFTWARE` asks for: a name, `none`, or undefined for "as needed".
 * @throws InputError for any other value.
 */
export function requestedSoftware(
  env: NodeJS.ProcessEnv = process.env,
): SoftwareDriverName | 'none' | undefined {
  const wanted = env['DAWNTUNE_SOFTWARE'];
  if (!wanted) return undefined;
  if (wanted === 'lavapipe' || wanted === 'swiftshader' || wanted === 'none') return wanted;
  throw new InputError(`DAWNTUNE_SOFTWARE: expected lavapipe, swiftshader or none, found ${show(wanted)}`);
}

/** In the order in which they are looked for. */
const SOFTWARE_DRIVERS: readonly SoftwareDriverName[] = ['lavapipe', 'swiftshader'];

// koffi closes a library when its handle is collected: these must live as long as the process.
const loadedLibraries: LibraryHandle[] = [];
let prepared: VulkanEnvironment | undefined;

/**
 * Makes a Vulkan driver reachable for Dawn in this process; call it before `create()` of `webgpu`. Cheap when repeated.
 *
 * A cached software driver is added to the machine's own drivers, so a GPU that is installed later wins
 * (the fastest adapter is asked for). `DAWNTUNE_SOFTWARE` names one to use alone.
 * @throws InputError when `DAWNTUNE_SOFTWARE` is not a known name; MachineError when it names one that is not there.
 */
export function prepareVulkan(): VulkanEnvironment {
  prepared ??= prepare();
  return prepared;
}

/** A driver was installed: it is looked for anew. */
export function forgetVulkan(): void {
  prepared = undefined;
}

function prepare(): VulkanEnvironment {
  if (process.platform !== 'linux')
    return { driver: 'system', description: `the drivers of ${process.platform}` };
  // Mesa complains on standard error when this is missing.
  if (!process.env['XDG_RUNTIME_DIR']) setEnvironment('XDG_RUNTIME_DIR', os.tmpdir());
  const requested = requestedSoftware();
  const candidates: SoftwareDriverName[] =
    requested === 'none' ? [] : requested ? [requested] : [...SOFTWARE_DRIVERS];
  const problems: string[] = [];
  for (const name of candidates) {
    const folder = driverFolder(name);
    const cached = inspectDriver(name);
    if (!cached) continue;
    if (cached.problem !== undefined) {
      problems.push(`${name} in the cache is not used (${cached.problem})`);
      continue;
    }
    const { manifest } = cached;
    try {
      // Later requests for the same SONAME (Dawn's for libvulkan.so.1, the driver's for libdrm.so.2) get these.
      for (const library of manifest.libraries) loadedLibraries.push(koffi.load(path.join(folder, library)));
    } catch (error) {
      problems.push(`${name} in ${folder} does not load (${(error as Error).message})`);
      continue;
    }
    keepShaderCache();
    const icd = path.join(folder, manifest.icd);
    // Alone when asked for by name, else beside the machine's own drivers; what the user set by hand stands.
    if (requested) setEnvironment('VK_DRIVER_FILES', icd);
    else if (driversByHand())
      return { driver: 'system', description: `only ${driversByHand()}, set by hand` };
    else {
      const others = (process.env['VK_ADD_DRIVER_FILES'] ?? '')
        .split(':')
        .filter((file) => file && file !== icd);
      setEnvironment('VK_ADD_DRIVER_FILES', [...others, icd].join(':'));
    }
    return { driver: name, description: `${name} (${manifest.version}) in ${folder}` };
  }
  if (requested && requested !== 'none')
    throw new MachineError(
      `DAWNTUNE_SOFTWARE asks for ${requested}: ${problems[0] ?? `nothing in ${driverFolder(requested)}`}; run \`npx dawntune setup --driver ${requested}\``,
    );
  return { driver: 'system', description: describeSystem(problems) };
}

/** The user's own choice of Vulkan drivers, which is left alone. */
export function driversByHand(env: NodeJS.ProcessEnv = process.env): string | undefined {
  for (const name of ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES']) if (env[name]) return `${name}=${env[name]}`;
  return undefined;
}

/** Cached drivers that would be used, were it not for `DAWNTUNE_SOFTWARE=none`. */
function hiddenDrivers(): SoftwareDriverName[] {
  if (requestedSoftware() !== 'none') return [];
  return SOFTWARE_DRIVERS.filter((name) => {
    const cached = inspectDriver(name);
    return cached !== undefined && cached.problem === undefined;
  });
}

/** What the machine itself has: looked at only when no cached driver is used. */
function describeSystem(problems: readonly string[]): string {
  const hidden = hiddenDrivers();
  const cached = hidden.length
    ? `${hidden.join(' and ')} in ${path.join(cacheFolder(), 'vulkan')} hidden by DAWNTUNE_SOFTWARE=none`
    : problems.length
      ? problems.join(' and ')
      : `no software driver in ${path.join(cacheFolder(), 'vulkan')}`;
  try {
    loadedLibraries.push(koffi.load('libvulkan.so.1'));
  } catch {
    return `no Vulkan loader libvulkan.so.1, ${cached}`;
  }
  const chosen = driversByHand();
  if (chosen) return `a Vulkan loader with ${chosen}, set by hand`;
  const drivers = systemDriverFiles().map((file) => path.basename(file, '.json'));
  return drivers.length
    ? `a Vulkan loader with the drivers ${drivers.join(', ')}, ${cached}`
    : `a Vulkan loader without drivers, ${cached}`;
}

/** Driver descriptions where the Vulkan loader looks for them. */
function systemDriverFiles(): string[] {
  const home = homeFolder();
  const inHome = (folder: string) => (home === undefined ? [] : [path.join(home, folder)]);
  const given = (name: string) => (process.env[name] ? [process.env[name]] : undefined);
  const roots = [
    ...(given('XDG_CONFIG_HOME') ?? inHome('.config')),
    ...(process.env['XDG_CONFIG_DIRS'] || '/etc/xdg').split(':'),
    '/etc',
    ...(given('XDG_DATA_HOME') ?? inHome('.local/share')),
    ...(process.env['XDG_DATA_DIRS'] || '/usr/local/share:/usr/share').split(':'),
  ];
  return roots.flatMap((root) => {
    const folder = path.join(root, 'vulkan', 'icd.d');
    try {
      return readdirSync(folder)
        .filter((file) => file.endsWith('.json'))
        .map((file) => path.join(folder, file));
    } catch {
      return [];
    }
  });
}

/** Mesa's compiled shaders survive the process (seconds per kernel); without a writable home they go to our cache. */
function keepShaderCache(): void {
  if (process.env['MESA_SHADER_CACHE_DIR'] || process.env['XDG_CACHE_HOME']) return;
  try {
    const home = requireHome('MESA_SHADER_CACHE_DIR');
    const usual = path.join(home, '.cache');
    accessSync(existsSync(usual) ? usual : home, constants.W_OK);
  } catch {
    try {
      const folder = path.join(cacheFolder(), 'shaders');
      makeFolder(folder, 0o700);
      setEnvironment('MESA_SHADER_CACHE_DIR', folder);
    } catch {
      // Nowhere to write: shaders are compiled anew in each process.
    }
  }
}

/**
 * Sets a variable where native code reads it; in a worker `process.env` is only a copy. What is so already is left
 * alone, because other threads may be reading: the first thread that looks at drivers sets what all of them need.
 */
function setEnvironment(name: string, value: string): void {
  process.env[name] = value;
  if (isMainThread) return;
  const libc = koffi.load(null);
  if (libc.func('const char *getenv(const char *name)')(name) === value) return;
  libc.func('int setenv(const char *name, const char *value, int overwrite)')(name, value, 1);
}

/** The error for a machine on which Dawn finds nothing to compute on. */
export function noAdapterError(): MachineError {
  const byHand = requestedSoftware() ? undefined : driversByHand();
  const advice = byHand
    ? `unset ${byHand.split('=')[0]} or correct it`
    : hiddenDrivers().length > 0
      ? 'install a GPU driver, or unset DAWNTUNE_SOFTWARE'
      : 'install a GPU driver, or run `npx dawntune setup` for a software one';
  return new MachineError(`no WebGPU adapter found (${prepareVulkan().description}); ${advice}`);
}
