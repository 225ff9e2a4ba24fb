/**
 * `dawntune setup`: makes sure that this machine has something to compute on.
 *
 * Looks for an adapter in a fresh process; when there is none, fetches a software driver into the cache folder
 * (src/setup/driver-download.ts) and looks again. Standard output stays empty; one line on standard error tells. As a step before another command it is
 * quiet where there is nothing to do.
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { consoleReporter } from '../console/reporter.js';
import { InputError, MachineError } from '../errors.js';
import type { AdapterName } from '../gpu/adapter-list.js';
import {
  changedFile,
  driverFolder,
  identityOf,
  inspectDriver,
  type SoftwareDriverName,
} from '../gpu/driver-cache.js';
import { driversByHand, forgetVulkan, noAdapterError, requestedSoftware } from '../gpu/software-driver.js';
import { libraryError } from '../native-library.js';
import { printable, show } from '../show.js';
import { parseSetupArguments, softwareDrivers } from './arguments.js';
import { fetchDriver, installSystemWide, recordFiles, removeDriver } from './driver-download.js';

interface Probed {
  readonly adapters: AdapterName[];
  /** The signal that a damaged library ended the process with. */
  readonly crash?: string | undefined;
}

const CRASHES = new Set(['SIGBUS', 'SIGSEGV', 'SIGILL', 'SIGABRT', 'SIGFPE', 'SIGSYS', 'SIGTRAP']);

/** Adapters that a fresh process sees: a driver that crashes must not take this one along, and its chatter is dropped. */
async function probe(software?: SoftwareDriverName | 'none'): Promise<Probed> {
  const module = new URL('../gpu/adapter-list.js', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then((m) => m.listAdapters()).then((a) => console.log('\\n' + JSON.stringify(a)))`;
  const env = software ? { ...process.env, DAWNTUNE_SOFTWARE: software } : process.env;
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { env, timeout: 60_000 });
    return { adapters: JSON.parse(stdout.trim().split('\n').at(-1) ?? '[]') as AdapterName[] };
  } catch (error) {
    const { signal } = error as { signal?: string };
    return { adapters: [], crash: signal && CRASHES.has(signal) ? signal : undefined };
  }
}

/** How a driver of the cache is: `damaged` where its bytes are not what was installed, or end the process. */
type State =
  | 'absent'
  | { readonly adapter: AdapterName }
  | { readonly problem: string; readonly damaged: boolean };

/**
 * Looks, reads every byte, and tries it in a process of its own.
 * @throws MachineError when others may have written there: then it is not ours to replace.
 */
async function stateOf(name: SoftwareDriverName): Promise<State> {
  const cached = inspectDriver(name);
  if (!cached) return 'absent';
  if (cached.problem !== undefined) {
    if (cached.unsafe) throw new MachineError(cached.problem);
    return { problem: cached.problem, damaged: true };
  }
  const folder = driverFolder(name);
  try {
    const changed = changedFile(folder, cached.manifest);
    if (changed) return { problem: `${path.join(folder, changed)}: not what was installed`, damaged: true };
  } catch (error) {
    return { problem: (error as Error).message, damaged: false };
  }
  const { adapters, crash } = await probe(name);
  const [adapter] = adapters;
  if (!adapter)
    return crash
      ? { problem: `${folder}: ends the process with ${crash}`, damaged: true }
      : { problem: `${folder}: Dawn finds no adapter with it`, damaged: false };
  try {
    recordFiles(folder, cached.manifest);
  } catch {
    // A cache that cannot be written serves as it is.
  }
  return { adapter };
}

/** @throws MachineError that says what is wrong with the driver and why it is still there. */
function remove(name: SoftwareDriverName, folder: string | undefined, problem: string): void {
  try {
    removeDriver(name, folder);
  } catch (error) {
    throw new MachineError(`${problem}; ${(error as Error).message}`);
  }
}

/** Which driver `ensureDriver` installs, and who is told. */
export interface EnsureDriverOptions {
  /** This software driver and no other; by default whatever serves, and lavapipe before SwiftShader where none does. */
  readonly driver?: SoftwareDriverName | undefined;
  /** Installs lavapipe for the whole machine with apt, as root, instead of into the cache folder. */
  readonly system?: boolean | undefined;
  /** Is told, in a line for people, what was done. */
  readonly note?: ((line: string) => void) | undefined;
  /** Is told, in a line for people, what is about to take long. */
  readonly progress?: ((line: string) => void) | undefined;
}

/** What `ensureDriver` found or did. */
export interface EnsuredDriver {
  /** Name of the adapter that there is now. */
  readonly adapter: string;
  /** Version of the driver that was installed; undefined: nothing had to be. */
  readonly installed: string | undefined;
  /** Drivers that were taken out of the cache, since they did not work. */
  readonly removed: readonly SoftwareDriverName[];
}

/**
 * Makes sure that this machine has an adapter to compute on, as `dawntune setup` does: where there is none, downloads a
 * software driver into the cache folder, which is taken from then on, by `Gpu.open` in this process too. Takes a second
 * where there is one: it is looked for in a process of its own.
 * @throws MachineError that says what was tried when no driver can be had, or why Dawn does not load here; InputError for
 * a cache folder that others may write, or a `DAWNTUNE_SOFTWARE` that is no driver's name.
 */
export async function ensureDriver(options: EnsureDriverOptions = {}): Promise<EnsuredDriver> {
  const { driver: asked, system = false, note = () => {}, progress = () => {} } = options;
  if (asked !== undefined && !softwareDrivers.includes(asked))
    throw new InputError(
      `ensureDriver: driver must be ${softwareDrivers.join(' or ')}, found ${show(asked)}`,
    );
  const requested = requestedSoftware();
  const driver = asked ?? (requested === 'none' ? undefined : requested);
  // Where Dawn does not load, no driver would be found to work: nothing is downloaded.
  try {
    await import('webgpu');
  } catch (error) {
    throw libraryError(error) ?? error;
  }
  if (system) {
    await installSystemWide();
    const [adapter] = (await probe()).adapters;
    if (!adapter) throw noAdapterError();
    note(`installed lavapipe with apt; using ${adapter.name}`);
    forgetVulkan();
    return { adapter: adapter.name, installed: 'lavapipe of apt', removed: [] };
  }
  // Drivers chosen by hand, or none at all, stand: then the cache is not looked at.
  const byChoice = !driver && (driversByHand() !== undefined || requested === 'none');
  const candidates = byChoice || process.platform !== 'linux' ? [] : driver ? [driver] : softwareDrivers;
  const broken = new Map<SoftwareDriverName, string>();
  const removed: SoftwareDriverName[] = [];
  for (const name of candidates) {
    const folder = identityOf(driverFolder(name));
    const state = await stateOf(name);
    if (state === 'absent') continue;
    if ('adapter' in state) return { adapter: state.adapter.name, installed: undefined, removed };
    broken.set(name, state.problem);
    // Otherwise the next process would load it: its size may be right.
    if (!state.damaged) continue;
    remove(name, folder, state.problem);
    removed.push(name);
  }
  const [present] = !driver || candidates.length === 0 ? (await probe(driver)).adapters : [];
  if (present) {
    for (const [name, problem] of broken) note(`removed ${name} from the cache: ${printable(problem)}`);
    return { adapter: present.name, installed: undefined, removed: [...broken.keys()] };
  }
  if (candidates.length === 0) throw noAdapterError();

  const failures: string[] = [];
  for (const name of candidates) {
    const started = Date.now();
    const problem = broken.get(name);
    const reason = problem ? `the driver in the cache did not work (${printable(problem)})` : undefined;
    progress(`${reason ?? 'no Vulkan adapter'}; fetching ${name} into ${driverFolder(name)} …`);
    try {
      const manifest = await fetchDriver(name, problem !== undefined);
      const [adapter] = (await probe(name)).adapters;
      if (adapter) {
        const seconds = ((Date.now() - started) / 1000).toFixed(0);
        const tried = failures.length ? ` (${failures.join('; ')})` : '';
        const slow =
          name === 'swiftshader' && driver === undefined
            ? '; products take it dozens of times as long as lavapipe: `dawntune doctor` says how to get that'
            : '';
        note(
          `${reason ?? 'no Vulkan adapter was found'}, so ${manifest.version} was put into ${driverFolder(name)} in ${seconds} s; using ${adapter.name}${tried}${slow}`,
        );
        forgetVulkan();
        return { adapter: adapter.name, installed: manifest.version, removed };
      }
      failures.push(`${name}: fetched, but Dawn finds no adapter with it`);
    } catch (error) {
      failures.push(`${name}: ${printable((error as Error).message)}`);
    }
  }
  const before = [...broken.values()].map((problem) => `; ${printable(problem)}`).join('');
  throw new MachineError(
    `no Vulkan adapter, and no software one could be set up: ${failures.join('; ')}${before}; install a GPU driver`,
  );
}

export interface SetupOptions {
  /** Say nothing where there is nothing to do. */
  readonly quiet?: boolean;
}

/**
 * The command.
 * @returns the exit code.
 * @throws InputError for unknown arguments; MachineError when no driver can be had.
 */
export async function setup(args: readonly string[], { quiet = false }: SetupOptions = {}): Promise<number> {
  const { system, driver, progress: mode } = parseSetupArguments(args);
  const report = consoleReporter({ mode });
  let told = quiet;
  const say = (line: string) => report.note(`dawntune setup: ${line}`);
  const note = (line: string) => {
    told = true;
    say(line);
  };
  try {
    const progress = process.stderr.isTTY ? say : undefined;
    const { adapter } = await ensureDriver({ system, driver: driver ?? undefined, note, progress });
    if (!told) say(`nothing to do: adapter ${printable(adapter)}`);
  } finally {
    report.end();
  }
  return 0;
}
