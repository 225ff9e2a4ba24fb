/**
 * MPI for tests: what this machine has, else Debian's packages of Open MPI and MPICH with all that they depend on, unpacked
 * into the cache folder. Nothing of the system changes and no rights are needed: an environment leads the launcher, its
 * helpers and the library to the unpacked files.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MachineError } from '../errors.js';
import { syncFolder } from '../files/atomic.js';
import { isJsonObject, readJsonObject } from '../files/json.js';
import { makeFolder } from '../files/make-folder.js';
import { cacheFolder, requirePrivateFolders } from '../gpu/driver-cache.js';
import { parseDependencies, parsePrintUris, privateApt } from './apt.js';
import { choosePackages } from './driver-download.js';
import { command, makeWorkspace, takeAway } from './workspace.js';

export const mpiNames = ['Open MPI', 'MPICH'] as const;
export type MpiName = (typeof mpiNames)[number];

export interface MpiInstallation {
  readonly name: MpiName;
  /** The version that its launcher tells, or the package that it comes from. */
  readonly version: string;
  readonly mpirun: string;
  /** On top of that of this process. */
  readonly env: Readonly<Record<string, string>>;
}

interface Kind {
  readonly packages: readonly string[];
  /** By the names under which distributions install it; `mpirun` belongs to whichever came last. */
  readonly launchers: readonly string[];
  readonly says: RegExp;
  readonly folder: string;
  readonly library: string;
  readonly unpacked: string;
}

const KINDS: Record<MpiName, Kind> = {
  'Open MPI': {
    packages: ['openmpi-bin'],
    launchers: ['mpirun.openmpi', 'mpirun'],
    says: /\(?(?:Open MPI|OpenRTE)\)? *v?(\d[\w.]*)/i,
    folder: 'openmpi',
    library: 'libmpi.so.40',
    unpacked: 'orterun',
  },
  MPICH: {
    packages: ['mpich'],
    launchers: ['mpirun.mpich', 'mpiexec.hydra', 'mpirun'],
    says: /HYDRA[\s\S]*?Version: *(\d[\w.]*)/,
    folder: 'mpich',
    library: 'libmpich.so.12',
    unpacked: 'mpiexec.hydra',
  },
};

/** The words between the launcher and the program. Ranks may be more than cores, and none is bound to one of them. */
export function launchWords({ name }: Pick<MpiInstallation, 'name'>, ranks: number): string[] {
  if (name === 'MPICH') return ['-n', String(ranks)];
  const root = process.getuid?.() === 0 ? ['--allow-run-as-root'] : [];
  return [...root, '--oversubscribe', '--bind-to', 'none', '-np', String(ranks)];
}

/** The system's own, else the one that was unpacked before; undefined where there is neither. */
export function findMpi(name: MpiName): MpiInstallation | undefined {
  return systemMpi(name) ?? unpackedMpi(name);
}

function systemMpi(name: MpiName): MpiInstallation | undefined {
  for (const mpirun of KINDS[name].launchers) {
    const { status, stdout } = spawnSync(mpirun, ['--version'], { encoding: 'utf8' });
    const version = status === 0 ? KINDS[name].says.exec(stdout)?.[1] : undefined;
    if (version) return { name, version, mpirun, env: {} };
  }
  return undefined;
}

const folderOf = (name: MpiName): string =>
  path.join(cacheFolder(), 'mpi', `${KINDS[name].folder}-${process.arch}`);

function unpackedMpi(name: MpiName): MpiInstallation | undefined {
  const folder = folderOf(name);
  const { unpacked, library } = KINDS[name];
  const bin = path.join(folder, 'usr', 'bin');
  const mpirun = path.join(bin, unpacked);
  try {
    requirePrivateFolders();
    const { format, packages } = readJsonObject(path.join(folder, 'versions.json'));
    const [own] = Array.isArray(packages) ? packages.filter(isJsonObject) : [];
    const lib = libraryFolder(folder, library);
    if (format !== 1 || !own || !lib || !existsSync(mpirun)) return undefined;
    return {
      name,
      version: `${own['name']} ${own['version']}`,
      mpirun,
      env: {
        PATH: `${bin}:${process.env['PATH'] ?? ''}`,
        LD_LIBRARY_PATH: [lib, path.join(folder, 'lib', path.basename(lib))]
          .concat(process.env['LD_LIBRARY_PATH'] ?? [])
          .join(':'),
        ...(name === 'Open MPI' ? prefixes(folder, lib) : {}),
      },
    };
  } catch {
    return undefined;
  }
}

/** Open MPI, and PMIx in it, look for plugins and help texts where they were built to be. */
function prefixes(folder: string, lib: string): Record<string, string> {
  return {
    OPAL_PREFIX: path.join(folder, 'usr'),
    PMIX_PREFIX: path.join(lib, 'pmix2'),
    PMIX_INSTALL_PREFIX: path.join(lib, 'pmix2'),
    // Plugins for hardware whose libraries are not there stay unused; nobody needs a line about each.
    OMPI_MCA_mca_base_component_show_load_errors: '0',
    PMIX_MCA_mca_base_component_show_load_errors: '0',
    PMIX_MCA_pcompress_base_silence_warning: '1',
  };
}

/** `usr/lib/x86_64-linux-gnu` and the like. */
function libraryFolder(folder: string, library: string): string | undefined {
  const lib = path.join(folder, 'usr', 'lib');
  return readdirSync(lib)
    .map((name) => path.join(lib, name))
    .find((each) => existsSync(path.join(each, library)));
}

/** Why packages cannot be unpacked on this machine, as far as that is known without trying. */
export function noMpiReason(): string | undefined {
  if (process.platform !== 'linux') return `needs Linux, and this is ${process.platform}`;
  const path = (process.env['PATH'] ?? '').split(':');
  for (const tool of ['apt-get', 'apt-cache', 'apt-config', 'dpkg-deb'])
    if (!path.some((folder) => existsSync(`${folder}/${tool}`))) return `needs ${tool}`;
  return undefined;
}

/**
 * Downloads and unpacks the packages.
 * @throws MachineError that says which step failed; InputError when the cache folder is not this user's alone.
 */
export async function fetchMpi(name: MpiName): Promise<MpiInstallation> {
  const { packages: roots, library, unpacked } = KINDS[name];
  const reason = noMpiReason();
  if (reason) throw new MachineError(`${name}: ${reason}`);
  const workspace = makeWorkspace();
  try {
    const apt = await privateApt(workspace, { unlocked: true });
    const wanted = parsePrintUris(await apt('apt-get', ['install', '--yes', '--print-uris', ...roots]));
    const narrow = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'];
    const dependencies = parseDependencies(
      await apt('apt-cache', ['depends', '--recurse', ...narrow.map((each) => `--no-${each}`), ...roots]),
    );
    const packages = choosePackages(wanted, dependencies, roots).sort(
      (a, b) => Number(roots.includes(b.name)) - Number(roots.includes(a.name)),
    );
    await apt('apt-get', ['download', ...packages.map((each) => `${each.name}=${each.version}`)]);
    const complete = path.join(workspace, 'complete');
    mkdirSync(complete, { mode: 0o700 });
    for (const archive of readdirSync(workspace).filter((file) => file.endsWith('.deb')))
      await command('dpkg-deb', ['--extract', path.join(workspace, archive), complete]);
    rmSync(path.join(complete, 'usr', 'share', 'doc'), { recursive: true, force: true });
    for (const [required, found] of [
      [unpacked, existsSync(path.join(complete, 'usr', 'bin', unpacked))],
      [library, libraryFolder(complete, library) !== undefined],
    ] as const)
      if (!found) throw new MachineError(`${roots.join(', ')}: no package has ${required}`);
    const content = { format: 1, packages };
    writeFileSync(path.join(complete, 'versions.json'), `${JSON.stringify(content, null, 2)}\n`);
    const target = folderOf(name);
    makeFolder(path.dirname(target), 0o700);
    takeAway(target, path.join(workspace, 'replaced'));
    renameSync(complete, target);
    syncFolder(path.dirname(target));
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
  const installation = unpackedMpi(name);
  if (!installation) throw new MachineError(`${folderOf(name)}: is not complete`);
  return installation;
}
