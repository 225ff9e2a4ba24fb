/** Problems of drivers and adapters: why no GPU is seen, and whether what is seen computes as it should. */
import { isSwiftShader } from '../../gpu/software-name.js';
import { CACHED, crashed, foundOf, type GpuVendor } from '../facts.js';
import {
  everywhere,
  installDriver,
  installLavapipe,
  installLoader,
  mesaSuite,
  onLinux,
  onUnix,
  setUpSoftware,
  systemOf,
} from '../fixes.js';
import { expectedOf } from '../machine-classes.js';
import { levelOf, limits, type Rule, type Seen, stops } from './rule.js';

/** Vulkan drivers and adapters that somebody chose, which then hide others. */
const CHOOSING = [
  'VK_DRIVER_FILES',
  'VK_ICD_FILENAMES',
  'VK_LOADER_DRIVERS_SELECT',
  'VK_LOADER_DRIVERS_DISABLE',
  'DAWNTUNE_SOFTWARE',
];

/** `nvidia_icd.json` */
const fileName = (file: string): string => file.split('/').at(-1)!;

/** Kernel modules that hand a GPU to a virtual machine, and emulated displays, on which nothing computes. */
const NO_GPU = new Set([
  'vfio-pci',
  'bochs-drm',
  'cirrus',
  'ast',
  'mgag200',
  'vmwgfx',
  'qxl',
  'simpledrm',
  'hyperv_drm',
]);

function realCards({ graphics }: Seen): { vendor: GpuVendor; words: string; module: string | null }[] {
  return (graphics?.cards ?? [])
    .filter(({ vendor, module }) => vendor !== 'other' && !NO_GPU.has(module ?? ''))
    .map(({ vendor, pci, module }) => ({ vendor, module, words: `a GPU of ${vendor} (PCI ${pci})` }));
}

const refusedDevices = ({ graphics }: Seen) =>
  (graphics?.devices ?? []).filter(({ refused }) => refused !== null);

/** Drivers that somebody chose, of which none shows an adapter. */
const chosenByHand: Rule = (seen) => {
  if (!seen.dawn || seen.adapters === undefined || seen.adapters.length > 0) return null;
  const set = CHOOSING.filter((name) => seen.graphics?.variables[name] !== undefined);
  if (set.length === 0) return null;
  return stops(
    `no adapter is found where ${set.map((name) => `${name}=${seen.graphics!.variables[name]}`).join(' and ')} has drivers looked for`,
    `unset ${set.join(' and ')}, or correct ${set.length > 1 ? 'them' : 'it'}`,
    {
      ...onUnix(`unset ${set.join(' ')}`),
      windows: [`Remove-Item ${set.map((name) => `Env:${name}`).join(',')}`],
    },
  );
};

export const adapterRules = {
  'drivers-chosen-by-hand': chosenByHand,

  // A variable or a folder that is not what it should be, or a driver that hangs.
  'looking-fails': ({ facts: { adapters }, dawn, graphics }) => {
    if (!dawn || !('failed' in adapters) || crashed(adapters)) return null;
    const named = [...Object.keys(graphics?.variables ?? {}), 'DAWNTUNE_CACHE'].find((name) =>
      adapters.failed.includes(name),
    );
    return stops(
      `adapters cannot be looked for: ${adapters.failed}`,
      named ? `correct ${named}, or unset it` : 'mend what the message names, or update the driver',
      named
        ? { ...onUnix(`unset ${named}`), windows: [`Remove-Item Env:${named}`] }
        : onLinux('DAWNTUNE_SOFTWARE=lavapipe npx dawntune doctor'),
    );
  },

  'driver-crashes': (seen) => {
    const { facts, dawn, system, graphics } = seen;
    if (!dawn || !('failed' in facts.adapters) || !crashed(facts.adapters)) return null;
    const { crashing } = facts;
    const files = crashing.filter((each) => each !== CACHED);
    const names = files.map((file) => `*${fileName(file)}*`).join(',');
    const installed = graphics?.drivers.length
      ? `; the system’s drivers are ${graphics.drivers.join(', ')}`
      : '';
    const what = `looking for adapters failed: ${facts.adapters.failed}${crashing.length > 0 ? `, in ${crashing.join(' and ')}` : installed}`;
    if (crashing.length > 0 && files.length === 0)
      return stops(what, 'have set-up replace the driver in the cache', setUpSoftware);
    return stops(what, 'keep the driver that crashes away by its file’s name, and update it', {
      ...installDriver(realCards(seen)[0]?.vendor ?? 'other', system),
      ...onLinux(`VK_LOADER_DRIVERS_DISABLE="${names || '*NAME*'}" npx dawntune doctor`),
    });
  },

  'no-vulkan-loader': (seen) =>
    seen.dawn && foundOf(seen.facts.adapters)?.loader === false
      ? {
          ...stops(
            'there is no Vulkan loader (libvulkan.so.1), through which Dawn reaches drivers',
            systemOf(seen.system) === 'debian'
              ? 'let set-up put it and a software driver into the cache folder, without root; it finds the system’s drivers too'
              : 'install it, and a driver',
            installLoader,
          ),
          level: levelOf(seen),
        }
      : null,

  'no-device-permission': (seen) => {
    const refused = refusedDevices(seen);
    if (refused.length === 0 || seen.gpus > 0) return null;
    const groups = [
      ...new Set(refused.map(({ group }) => group).filter((group) => group !== null && group !== 'root')),
    ];
    const what = `this user may not open ${refused.map(({ file, refused: why }) => `${file} (${why})`).join(', ')}`;
    if (seen.system?.container)
      return {
        ...limits(
          `${what} in this container`,
          'start the container with the device and its group',
          onLinux(
            `docker run --device /dev/dri ${groups.map((group) => `--group-add ${group}`).join(' ')} …`,
          ),
        ),
        level: levelOf(seen),
      };
    return {
      ...limits(
        what,
        'become a member of the group that may, and log in again',
        onLinux(`sudo usermod -aG ${groups.length > 0 ? groups.join(',') : 'render,video'} "$USER"`),
      ),
      level: levelOf(seen),
    };
  },

  wsl: (seen) => {
    const { system, gpus } = seen;
    if (system?.wsl == null || gpus > 0) return null;
    return {
      ...limits(
        `this is version ${system.wsl} of the Windows Subsystem for Linux, where Vulkan sees no GPU`,
        'train in Windows itself, where Dawn uses Direct3D 12: in PowerShell',
        {
          ...onLinux('winget.exe install OpenJS.NodeJS.LTS', 'powershell.exe -Command "npx dawntune doctor"'),
          windows: ['winget install OpenJS.NodeJS.LTS', 'npx dawntune doctor'],
        },
      ),
      level: levelOf(seen),
    };
  },

  'device-not-taken': (seen) => {
    const names = foundOf(seen.facts.adapters)?.notTaken ?? [];
    if (names.length === 0) return null;
    return {
      ...limits(
        `Vulkan shows ${names.join(', ')}, and Dawn does not take ${names.length > 1 ? 'them' : 'it'}: its driver is too old for Dawn, or on Dawn’s list of drivers that compute wrong`,
        'update the driver; on Debian stable, from its backports',
        {
          debian: [
            'sudo apt install -y -t "$(. /etc/os-release; echo $VERSION_CODENAME)-backports" mesa-vulkan-drivers',
          ],
          fedora: ['sudo dnf upgrade -y --refresh mesa-vulkan-drivers'],
          arch: ['sudo pacman -Syu'],
        },
      ),
      level: levelOf(seen),
    };
  },

  'no-gpu-driver': (seen) => {
    const { dawn, adapters, gpus, system } = seen;
    if (!dawn || adapters === undefined || gpus > 0 || system?.wsl != null) return null;
    if (refusedDevices(seen).length > 0 || (foundOf(seen.facts.adapters)?.notTaken.length ?? 0) > 0)
      return null;
    const [card] = realCards(seen);
    const device = seen.graphics?.devices.find(({ file }) => /nvidia\d/.test(file));
    if (!card && !device) return null;
    const vendor = card?.vendor ?? 'NVIDIA';
    const words = card?.words ?? `a GPU of NVIDIA (${device!.file})`;
    if (system?.container && vendor === 'NVIDIA')
      return {
        ...limits(
          `the machine has ${words}, and this container not the Vulkan part of its driver`,
          'start the container with all capabilities of the driver, graphics among them',
          onLinux('docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all …'),
        ),
        level: levelOf(seen),
      };
    const hidden = !(seen.graphics?.devices ?? []).some(({ file }) => file.startsWith('/dev/dri/'));
    if (system?.container && hidden)
      return {
        ...limits(
          `the machine has ${words}, and this container not the file by which programs reach it`,
          'start the container with the device, and have the driver’s Vulkan part installed in it',
          onLinux('docker run --device /dev/dri …'),
        ),
        level: levelOf(seen),
      };
    return {
      ...limits(
        `the machine has ${words}${card?.module ? `, driven by ${card.module}` : ''}, and no Vulkan driver that shows it`,
        `install its driver with the Vulkan part${vendor !== 'NVIDIA' && mesaSuite(system) ? `, from ${mesaSuite(system)}, since the release’s own is too old for Dawn (apt’s sources have to name that suite)` : ''}`,
        installDriver(vendor, system),
      ),
      level: levelOf(seen),
    };
  },

  'no-adapter': (seen) => {
    if (!seen.dawn || seen.adapters === undefined || seen.adapters.length > 0) return null;
    // Set-up leaves alone what was chosen by hand. Whatever brings a loader brings a driver with it.
    if (chosenByHand(seen) || foundOf(seen.facts.adapters)?.loader === false) return null;
    const { system } = seen;
    if (system?.platform === 'linux')
      return stops(
        'there is no adapter to compute on',
        'let set-up put a software driver into the cache folder: it computes on the processor, for tests and demos',
        setUpSoftware,
      );
    return stops(
      'there is no adapter to compute on',
      system?.platform === 'darwin'
        ? 'Metal comes with macOS: in a virtual machine, give it the host’s graphics; else update the system'
        : 'update the graphics driver: Dawn wants Direct3D 12',
      { macos: ['softwareupdate --install --all'], windows: ['start ms-settings:windowsupdate'] },
    );
  },

  'only-software': (seen) => {
    const { adapters, gpus, system } = seen;
    if (!adapters || adapters.length === 0 || gpus > 0) return null;
    // What keeps a GPU away is told by itself.
    if (system?.wsl != null || realCards(seen).length > 0 || refusedDevices(seen).length > 0) return null;
    return limits(
      'there is no GPU here: what computes is the processor, fit for tests and demos, and slow for training',
      'nothing needs mending; to train in earnest, use a machine with a GPU',
    );
  },

  'slow-software': ({ facts }) => {
    const chosen = foundOf(facts.chosen);
    if (!chosen || !isSwiftShader(chosen.name)) return null;
    return limits(
      `${chosen.name} computes: products take it dozens of times as long as lavapipe, the other software driver`,
      'take lavapipe, which goes before it where both are there',
      installLavapipe,
    );
  },

  'adapter-does-not-open': ({ dawn, adapters, facts }) =>
    dawn && adapters && adapters.length > 0 && 'failed' in facts.chosen
      ? stops(
          `an adapter is listed and does not open: ${facts.chosen.failed}`,
          'take another adapter, or update the driver of this one',
          everywhere('npx dawntune doctor --adapter NAME'),
        )
      : null,

  'kernel-wrong': (seen) => {
    const wrong = (foundOf(seen.facts.kernels) ?? []).filter(({ problem }) => problem !== null);
    if (wrong.length === 0) return null;
    return stops(
      `this adapter computes wrong: ${wrong.map(({ name, variant, problem }) => `${name} [${variant}] ${problem}`).join('; ')}`,
      'update the driver, or take another adapter; what `bench kernels` says of others helps a report',
      { ...everywhere('npx dawntune bench kernels --filter "matmul|copy"') },
    );
  },

  'kernels-fail': ({ facts }) =>
    'found' in facts.chosen && 'failed' in facts.kernels
      ? stops(
          `the check of kernels failed: ${facts.kernels.failed}`,
          'update the driver, or take another adapter',
          everywhere('npx dawntune doctor --adapter NAME'),
        )
      : null,

  'kernel-slow': ({ facts }) => {
    const chosen = foundOf(facts.chosen);
    if (!chosen) return null;
    const slow = (foundOf(facts.kernels) ?? []).flatMap((kernel) => {
      const expected = expectedOf(kernel, chosen, foundOf(facts.processor));
      return expected && kernel.rate !== null && kernel.rate < expected.alarming * expected.rate
        ? [`${kernel.name} ${kernel.rate} of ${expected.kind} ${expected.rate.toFixed(0)} ${kernel.unit}`]
        : [];
    });
    if (slow.length === 0) return null;
    return limits(
      `kernels are far slower than on other machines of this kind: ${slow.join('; ')}`,
      chosen.software
        ? 'see what else computes here, and run doctor again when the machine is quiet'
        : 'see what else computes there, whether the GPU saves power, and whether another adapter is the fast one',
      chosen.software
        ? { ...onLinux('top -o %CPU'), macos: ['top -o cpu'], windows: ['taskmgr'] }
        : {
            ...onLinux('nvidia-smi'),
            macos: ['sudo powermetrics --samplers gpu_power -n 1'],
            windows: ['taskmgr'],
          },
    );
  },

  'no-f16': ({ facts }) => {
    const chosen = foundOf(facts.chosen);
    if (!chosen || chosen.f16) return null;
    return limits(
      `${chosen.name} has no shader-f16: --fp16 saves memory as it does elsewhere, and computes in f32`,
      chosen.software ? 'take lavapipe, which has it' : 'update the driver; older GPUs have none',
      chosen.software ? installLavapipe : {},
    );
  },
} satisfies Record<string, Rule>;
