/**
 * `dawntune setup`: makes sure that this machine has something to compute on.
 *
 * Looks for an adapter in a fresh process; when there is none, fetches a software driver into the cache folder
 * (src/setup/driver-download.ts) and looks again. Standard output stays empty; one line on standard error tells.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { MachineError } from '../errors.js';
import {
  type AdapterName,
  driverFolder,
  driversByHand,
  noAdapterError,
  prepareVulkan,
  readManifest,
  requestedSoftware,
  type SoftwareDriverName,
} from '../gpu/software-driver.js';
import { parseSetupArguments, softwareDrivers } from './arguments.js';
import { fetchDriver, installSystemWide } from './driver-download.js';

/** Adapters that a fresh process sees: a driver that crashes must not take this one along, and its chatter is dropped. */
async function probe(software?: SoftwareDriverName): Promise<AdapterName[]> {
  const module = new URL('../gpu/software-driver.js', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then((m) => m.listAdapters()).then((a) => console.log('\\n' + JSON.stringify(a)))`;
  const env = software ? { ...process.env, DAWNTUNE_SOFTWARE: software } : process.env;
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { env, timeout: 60_000 });
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '[]') as AdapterName[];
  } catch {
    return [];
  }
}

function loads(driver: SoftwareDriverName): boolean {
  process.env['DAWNTUNE_SOFTWARE'] = driver;
  try {
    return prepareVulkan().driver === driver;
  } catch {
    return false;
  }
}

function say(line: string): void {
  process.stderr.write(`dawntune setup: ${line}\n`);
}

/**
 * @returns the exit code.
 * @throws InputError for unknown arguments; MachineError when no driver can be had.
 */
export async function setup(args: readonly string[]): Promise<number> {
  const { system, driver: asked } = parseSetupArguments(args);
  const requested = requestedSoftware();
  const driver = asked ?? (requested === 'none' ? undefined : requested);
  if (system) {
    await installSystemWide();
    const [adapter] = await probe();
    if (!adapter) throw noAdapterError();
    say(`installed lavapipe with apt; using ${adapter.name}`);
    return 0;
  }
  // A driver in the cache that loads was seen to work when it was put there.
  if (driver ? loads(driver) : prepareVulkan().driver !== 'system') return 0;
  const [present] = await probe(driver);
  if (present) return 0;
  if (process.platform !== 'linux' || (!driver && (driversByHand() || requestedSoftware() === 'none')))
    throw noAdapterError();

  const failures: string[] = [];
  for (const name of driver ? [driver] : softwareDrivers) {
    const started = Date.now();
    if (process.stderr.isTTY) say(`no Vulkan adapter; fetching ${name} into ${driverFolder(name)} …`);
    try {
      const manifest = await fetchDriver(name, readManifest(driverFolder(name)) !== undefined);
      const [adapter] = await probe(name);
      if (adapter) {
        const seconds = ((Date.now() - started) / 1000).toFixed(0);
        const tried = failures.length ? ` (${failures.join('; ')})` : '';
        say(
          `no Vulkan adapter was found, so ${manifest.version} was put into ${driverFolder(name)} in ${seconds} s; using ${adapter.name}${tried}`,
        );
        return 0;
      }
      failures.push(`${name}: fetched, but Dawn finds no adapter with it`);
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
    }
  }
  throw new MachineError(
    `no Vulkan adapter, and no software one could be set up: ${failures.join('; ')}; install a GPU driver`,
  );
}
