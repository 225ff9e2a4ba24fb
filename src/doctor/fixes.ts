/**
 * Commands by system: which systems there are, which one a machine is, and how software that several problems want is
 * installed on each. What is wrong and which fix it needs is in problems.ts.
 */
import { backportsWithMesa } from '../setup/debian-releases.js';
import type { GpuVendor, SystemFacts } from './facts.js';

export const systems = ['debian', 'fedora', 'arch', 'macos', 'windows'] as const;
export type SystemName = (typeof systems)[number];

export const systemTitles: Record<SystemName, string> = {
  debian: 'Debian, Ubuntu',
  fedora: 'Fedora',
  arch: 'Arch',
  macos: 'macOS',
  windows: 'Windows',
};

/** Commands for a shell of each system, one after the other; a system that cannot have the problem has none. */
export type Commands = Readonly<Partial<Record<SystemName, readonly string[]>>>;

const FAMILIES: readonly (readonly [system: SystemName, ids: readonly string[]])[] = [
  ['debian', ['debian', 'ubuntu']],
  ['fedora', ['fedora', 'rhel', 'centos']],
  ['arch', ['arch']],
];

/** Undefined: a Linux that is none of these, whose user knows how its package manager is called. */
export function systemOf(
  system: Pick<SystemFacts, 'platform' | 'distributions'> | undefined,
): SystemName | undefined {
  if (!system) return undefined;
  if (system.platform === 'darwin') return 'macos';
  if (system.platform === 'win32') return 'windows';
  for (const id of system.distributions)
    for (const [name, ids] of FAMILIES) if (ids.includes(id)) return name;
  return undefined;
}

const LINUX = ['debian', 'fedora', 'arch'] as const;

/** The same words in the shell of every Linux. */
export const onLinux = (...commands: string[]): Commands =>
  Object.fromEntries(LINUX.map((system) => [system, commands]));

/** The same in the shells of Linux and macOS. */
export const onUnix = (...commands: string[]): Commands => ({ ...onLinux(...commands), macos: commands });

/** The same everywhere: of Node's own programs. */
export const everywhere = (...commands: string[]): Commands => ({
  ...onUnix(...commands),
  windows: commands,
});

/** Packages that distributions have. */
export const packages = (debian: string, fedora: string, arch: string): Commands => ({
  debian: [`sudo apt install -y ${debian}`],
  fedora: [`sudo dnf install -y ${fedora}`],
  arch: [`sudo pacman -S --needed ${arch}`],
});

/** What a release says of itself, by which its packages are known. */
export type Release = Pick<SystemFacts, 'distributions' | 'codename'>;

/** The suite of apt that has a Mesa for Dawn, where it is not the release's own. */
export const mesaSuite = (system: Release | undefined): string | undefined =>
  system && backportsWithMesa(system.distributions[0], system.codename);

/** Packages of Mesa: those of backports where the release's own are too old for Dawn. */
export function mesaPackages(
  system: Release | undefined,
  debian: string,
  fedora: string,
  arch: string,
): Commands {
  const suite = mesaSuite(system);
  return packages(suite ? `-t ${suite} ${debian}` : debian, fedora, arch);
}

export const installNode: Commands = {
  debian: ['sudo npm install -g n', 'sudo n lts'],
  fedora: ['sudo dnf install -y nodejs22'],
  arch: ['sudo pacman -S --needed nodejs-lts-jod npm'],
  macos: ['brew install node@22', 'brew link --overwrite node@22'],
  windows: ['winget install OpenJS.NodeJS.LTS'],
};

export const installMpi: Commands = {
  ...packages('openmpi-bin', 'openmpi', 'openmpi'),
  macos: ['brew install open-mpi'],
};

/** The driver of a GPU, with its Vulkan part. */
export function installDriver(vendor: GpuVendor, system: Release | undefined): Commands {
  if (vendor === 'NVIDIA')
    return {
      debian: system?.distributions.includes('ubuntu')
        ? ['sudo ubuntu-drivers install', 'sudo reboot']
        : ['sudo apt install -y nvidia-driver nvidia-vulkan-icd', 'sudo reboot'],
      fedora: ['sudo dnf install -y akmod-nvidia', 'sudo reboot'],
      arch: ['sudo pacman -S --needed nvidia nvidia-utils', 'sudo reboot'],
      windows: ['start ms-settings:windowsupdate'],
    };
  const arch = { AMD: 'vulkan-radeon', Intel: 'vulkan-intel', other: 'mesa' }[vendor];
  return {
    ...mesaPackages(system, 'mesa-vulkan-drivers', 'mesa-vulkan-drivers', arch),
    macos: ['softwareupdate --install --all'],
    windows: ['start ms-settings:windowsupdate'],
  };
}

/** lavapipe: Debian's into the cache folder, elsewhere that of the system. */
export const installLavapipe: Commands = {
  ...packages('mesa-vulkan-drivers', 'mesa-vulkan-drivers', 'vulkan-swrast'),
  debian: ['npx dawntune setup --driver lavapipe'],
};

/** Debian's Vulkan loader and lavapipe into the cache folder, without root; elsewhere those of the system. */
export const installLoader: Commands = {
  ...packages(
    'libvulkan1 mesa-vulkan-drivers',
    'vulkan-loader mesa-vulkan-drivers',
    'vulkan-icd-loader vulkan-swrast',
  ),
  debian: ['npx dawntune setup'],
};

/** A driver that runs on the processor, in the cache folder: for tests and demos. Elsewhere drivers come with the system. */
export const setUpSoftware: Commands = onLinux('npx dawntune setup');
