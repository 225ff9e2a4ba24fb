/**
 * What can be told of the machine without native code: system, processor, memory, folders, and what of graphics there is
 * outside of any driver. Runs in the command's own process, on any system, so nothing here may load Dawn or koffi.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { makeFolder } from '../files/make-folder.js';
import { systemReason } from '../files/reason.js';
import { memoryLimit } from '../gpu/machine-memory.js';
import type {
  FolderFacts,
  GpuVendor,
  GraphicsFacts,
  MemoryFacts,
  ProcessorFacts,
  SystemFacts,
} from './facts.js';

/** The text of a file; undefined where it cannot be read. */
function textOf(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder).sort();
  } catch {
    return [];
  }
}

// ---- system --------------------------------------------------------------------------------------------------

/** `ID`, `ID_LIKE`, the codename and the name of /etc/os-release. */
export function parseOsRelease(text: string): Pick<SystemFacts, 'distributions' | 'codename' | 'name'> {
  const value = (key: string) =>
    new RegExp(`^${key}=(?:"(.*)"|'(.*)'|(.*))$`, 'm')
      .exec(text)
      ?.slice(1)
      .find((each) => each !== undefined);
  const ids = [value('ID'), ...(value('ID_LIKE')?.split(/\s+/) ?? [])].filter(
    (id) => id !== undefined && id !== '',
  );
  return {
    distributions: ids as string[],
    codename: value('VERSION_CODENAME') || null,
    name: value('PRETTY_NAME') ?? value('NAME') ?? 'Linux',
  };
}

const APPLE_OR_WINDOWS: Record<string, string> = { darwin: 'macOS', win32: 'Windows' };

export function systemFacts(): SystemFacts {
  const linux = process.platform === 'linux';
  const release = linux ? (textOf('/etc/os-release') ?? textOf('/usr/lib/os-release')) : undefined;
  const { distributions, codename, name } = release
    ? parseOsRelease(release)
    : {
        distributions: [],
        codename: null,
        name: `${APPLE_OR_WINDOWS[process.platform] ?? process.platform} ${os.release()}`,
      };
  return {
    platform: process.platform,
    arch: process.arch,
    release: os.release(),
    distributions,
    codename,
    name,
    libc: linux ? libc() : null,
    wsl: linux ? wslOf(os.release(), process.env['WSL_DISTRO_NAME']) : null,
    container: linux ? container() : null,
  };
}

/** Of the C library that Node runs on. */
function libc(): string | null {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const version = report.header?.glibcVersionRuntime;
  if (version) return `glibc ${version}`;
  return namesIn('/lib').some((file) => file.startsWith('ld-musl-')) ? 'musl' : null;
}

/** `5.15.167.4-microsoft-standard-WSL2` and `4.4.0-19041-Microsoft` name their makers. */
export function wslOf(release: string, distribution: string | undefined): 1 | 2 | null {
  if (/microsoft-standard|WSL2/i.test(release)) return 2;
  if (/microsoft/i.test(release)) return 1;
  return distribution === undefined ? null : 2;
}

function container(): string | null {
  if (fs.existsSync('/.dockerenv')) return 'docker';
  if (fs.existsSync('/run/.containerenv')) return 'podman';
  if (process.env['KUBERNETES_SERVICE_HOST']) return 'kubernetes';
  return process.env['container'] || null;
}

// ---- processor and memory ------------------------------------------------------------------------------------

/** `150000 100000` of cpu.max: processors' worth of time; null for `max`. */
export function quotaOf(text: string | undefined): number | null {
  const [quota, period] = (text ?? '').trim().split(/\s+/).map(Number);
  return quota! > 0 && period! > 0 ? quota! / period! : null;
}

export function processorFacts(): ProcessorFacts {
  const [first] = os.cpus();
  const info = process.platform === 'linux' ? (textOf('/proc/cpuinfo') ?? '') : '';
  const flags = /^flags\s*:(.*)$/m.exec(info)?.[1]?.split(' ') ?? [];
  const megahertz = Number(/^cpu MHz\s*:\s*([\d.]+)/m.exec(info)?.[1]) || first?.speed || 0;
  return {
    model: first?.model.trim() || process.arch,
    cores: os.availableParallelism(),
    quota: process.platform === 'linux' ? quotaOf(textOf('/sys/fs/cgroup/cpu.max')) : null,
    megahertz: megahertz > 0 ? Math.round(megahertz) : null,
    vectors: flags.includes('avx512vl')
      ? 'AVX-512'
      : flags.includes('avx2')
        ? 'AVX2'
        : process.arch === 'arm64'
          ? 'NEON'
          : null,
  };
}

export function memoryFacts(): MemoryFacts {
  return {
    total: os.totalmem(),
    free: os.freemem(),
    limit: memoryLimit() ?? null,
    shared: process.platform === 'linux' ? (spaceOf('/dev/shm')?.total ?? null) : null,
  };
}

// ---- folders -------------------------------------------------------------------------------------------------

function spaceOf(folder: string): { total: number; free: number } | undefined {
  try {
    const { blocks, bavail, bsize } = fs.statfsSync(folder);
    return { total: blocks * bsize, free: bavail * bsize };
  } catch {
    return undefined;
  }
}

/** Whether something can be written there is found out by writing; a folder that is missing is made, and taken away. */
export function folderFacts(folder: string): FolderFacts {
  let there = folder;
  while (!fs.existsSync(there) && there !== path.dirname(there)) there = path.dirname(there);
  const free = spaceOf(there)?.free ?? null;
  const probe = path.join(there, `.dawntune-${randomUUID()}`);
  let unwritable: string | null = null;
  try {
    // In the folder itself, or in the nearest one above it that there is, where it would be made.
    makeFolder(probe, 0o700);
    fs.rmdirSync(probe);
  } catch (error) {
    unwritable = systemReason(error);
  }
  return { folder, unwritable, free };
}

// ---- graphics ------------------------------------------------------------------------------------------------

const VENDORS: Record<string, GpuVendor> = { '0x10de': 'NVIDIA', '0x1002': 'AMD', '0x8086': 'Intel' };

/** Variables by which somebody chooses drivers, devices and adapters. */
const VARIABLES = [
  'VK_DRIVER_FILES',
  'VK_ICD_FILENAMES',
  'VK_LOADER_DRIVERS_DISABLE',
  'VK_LOADER_DRIVERS_SELECT',
  'DRI_PRIME',
  'DAWNTUNE_SOFTWARE',
  'DAWNTUNE_ADAPTER',
] as const;

const ICD_FOLDERS = ['/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/usr/share/vulkan/icd.d'];

/** Undefined where the system is not Linux: elsewhere drivers come with the system. */
export function graphicsFacts(): GraphicsFacts {
  const variables = VARIABLES.flatMap((name) => {
    const value = process.env[name];
    return value ? [[name, value] as const] : [];
  });
  const linux = process.platform === 'linux';
  return {
    cards: linux ? pciCards() : [],
    devices: linux ? deviceFiles() : [],
    drivers: linux
      ? ICD_FOLDERS.flatMap((folder) =>
          namesIn(folder)
            .filter((name) => name.endsWith('.json'))
            .map((name) => path.join(folder, name)),
        )
      : [],
    variables: Object.fromEntries(variables),
    runtimeFolder: linux ? runtimeFolder() : null,
  };
}

/** Display controllers of classes 0x0300 (VGA) and 0x0302 (3D). */
function pciCards(): GraphicsFacts['cards'] {
  const root = '/sys/bus/pci/devices';
  return namesIn(root).flatMap((pci) => {
    const of = (name: string) => textOf(path.join(root, pci, name))?.trim() ?? '';
    if (!/^0x030[02]/.test(of('class'))) return [];
    let module: string | null = null;
    try {
      module = path.basename(fs.readlinkSync(path.join(root, pci, 'driver')));
    } catch {
      // No module drives it.
    }
    return [{ pci, vendor: VENDORS[of('vendor')] ?? 'other', module }];
  });
}

function deviceFiles(): GraphicsFacts['devices'] {
  const files = [
    ...namesIn('/dev/dri')
      .filter((name) => /^renderD\d+$/.test(name))
      .map((name) => `/dev/dri/${name}`),
    ...namesIn('/dev')
      .filter((name) => /^(nvidia\d+|nvidiactl|dxg)$/.test(name))
      .map((name) => `/dev/${name}`),
  ];
  const groups = textOf('/etc/group') ?? '';
  return files.map((file) => {
    let refused: string | null = null;
    let group: string | null = null;
    try {
      const gid = String(fs.statSync(file).gid);
      group =
        groups
          .split('\n')
          .find((line) => line.split(':')[2] === gid)
          ?.split(':')[0] ?? gid;
      fs.accessSync(file, fs.constants.R_OK | fs.constants.W_OK);
    } catch (error) {
      refused = systemReason(error);
    }
    return { file, refused, group };
  });
}

/** Where it is not set, this program sets it to the folder for temporary files. */
function runtimeFolder(): GraphicsFacts['runtimeFolder'] {
  const folder = process.env['XDG_RUNTIME_DIR'];
  if (!folder) return null;
  let problem: string | null = null;
  try {
    const stat = fs.statSync(folder);
    if (!stat.isDirectory()) problem = 'is no folder';
    else fs.accessSync(folder, fs.constants.W_OK);
  } catch (error) {
    problem = systemReason(error);
  }
  return { folder, problem };
}

// ---- Dawn ----------------------------------------------------------------------------------------------------

/** Version and library of the package `webgpu` for this platform, without loading it. @throws where it is not installed. */
export function dawnPackage(): { version: string; binary: string | null } {
  const manifest = createRequire(import.meta.url).resolve('webgpu/package.json');
  const { version } = JSON.parse(fs.readFileSync(manifest, 'utf8')) as { version: string };
  const platform = `${process.platform}-${process.platform === 'darwin' ? 'universal' : process.arch}`;
  const folder = path.join(path.dirname(manifest), 'dist', platform);
  const binary = namesIn(folder).find((name) => name.endsWith('.node'));
  return { version, binary: binary === undefined ? null : path.join(folder, binary) };
}
