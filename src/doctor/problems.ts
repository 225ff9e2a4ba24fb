/**
 * What is wrong with a machine, from the facts alone: one rule a problem, with what a person can do about it on each
 * system. The rules are a table, in the order in which problems are told: what stops everything stands first.
 */

import {
  type AdapterFacts,
  CACHED,
  crashed,
  type Facts,
  foundOf,
  type GpuVendor,
  type GraphicsFacts,
  type SystemFacts,
} from './facts.js';
import {
  type Commands,
  everywhere,
  installDriver,
  installMpi,
  installNode,
  onLinux,
  onUnix,
  packages,
  setUpSoftware,
} from './fixes.js';
import { expectedOf } from './machine-classes.js';
import { formatSize } from './sizes.js';

/** `stops`: nothing trains before it is mended; `limits`: it trains, and slower or less than the machine could. */
export type Level = 'stops' | 'limits';

export interface Problem {
  readonly id: ProblemId;
  readonly level: Level;
  /** What is wrong, in a sentence. */
  readonly what: string;
  /** What to do, in a sentence. */
  readonly fix: string;
  readonly commands: Commands;
}

type Found = Omit<Problem, 'id'>;

export const problemIds = [
  'node-too-old',
  'no-dawn-for-platform',
  'musl',
  'dawn-does-not-load',
  'drivers-chosen-by-hand',
  'looking-fails',
  'driver-crashes',
  'no-vulkan-loader',
  'no-device-permission',
  'wsl',
  'device-not-taken',
  'no-gpu-driver',
  'no-adapter',
  'only-software',
  'adapter-does-not-open',
  'kernel-wrong',
  'kernels-fail',
  'kernel-slow',
  'no-f16',
  'too-little-memory',
  'processor-quota',
  'cache-not-writable',
  'cache-disk-full',
  'models-not-writable',
  'runtime-folder',
  'small-shared-memory',
  'no-mpi',
] as const;
export type ProblemId = (typeof problemIds)[number];

/** The facts with what several rules ask for. */
interface Seen {
  readonly facts: Facts;
  readonly system: SystemFacts | undefined;
  readonly graphics: GraphicsFacts | undefined;
  /** Undefined where listing them failed. */
  readonly adapters: readonly AdapterFacts[] | undefined;
  /** Of those, GPUs. */
  readonly gpus: number;
  /** Dawn itself works, so that adapters mean something. */
  readonly dawn: boolean;
}

function seenIn(facts: Facts): Seen {
  const adapters = foundOf(facts.adapters)?.adapters;
  const dawn = foundOf(facts.dawn);
  return {
    facts,
    system: foundOf(facts.system),
    graphics: foundOf(facts.graphics),
    adapters,
    gpus: adapters?.filter(({ software }) => !software).length ?? 0,
    dawn: dawn !== undefined && dawn.binary !== null && dawn.problem === null,
  };
}

/** Where there is an adapter that computes on the processor, what keeps a GPU away stops nothing. */
const levelOf = ({ adapters }: Seen): Level => (adapters && adapters.length > 0 ? 'limits' : 'stops');

const stops = (what: string, fix: string, commands: Commands = {}): Found => ({
  level: 'stops',
  what,
  fix,
  commands,
});
const limits = (what: string, fix: string, commands: Commands = {}): Found => ({
  level: 'limits',
  what,
  fix,
  commands,
});

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

const rules: { readonly [Id in ProblemId]: (seen: Seen) => Found | null } = {
  'node-too-old': ({ facts: { node } }) =>
    older(node.version, node.least)
      ? stops(
          `Node ${node.version} is too old: ${node.least} or newer is needed`,
          'install a newer Node',
          installNode,
        )
      : null,

  'no-dawn-for-platform': ({ facts, system }) =>
    foundOf(facts.dawn)?.binary === null
      ? stops(
          `Dawn has no library for ${system?.platform ?? process.platform} on ${system?.arch ?? process.arch}`,
          'use Linux or Windows on x64 or arm64, or macOS; where it is one of those, install the packages anew',
          everywhere('npm install --force webgpu'),
        )
      : null,

  musl: ({ system }) =>
    system?.libc === 'musl'
      ? stops(
          `${system.name} has musl as its C library, and Dawn’s library is built for glibc`,
          'use an image or a system with glibc',
          everywhere('docker run --rm -it -v "$PWD:/work" -w /work node:22-bookworm npx dawntune doctor'),
        )
      : null,

  'dawn-does-not-load': ({ facts, system }) => {
    const failed = 'failed' in facts.dawn ? facts.dawn.failed : facts.dawn.found.problem;
    if (failed === null || system?.libc === 'musl' || foundOf(facts.dawn)?.binary === null) return null;
    const old = /GLIBC(XX)?_[\d.]+/.exec(failed);
    return old
      ? stops(
          `Dawn’s library asks for ${old[0]}, which this system has not: ${failed}`,
          'use a newer release of the system, or an image of one',
          everywhere('docker run --rm -it -v "$PWD:/work" -w /work node:22-bookworm npx dawntune doctor'),
        )
      : stops(
          `Dawn does not load: ${failed}`,
          'install the packages anew; what a message names as missing comes from the system’s own packages',
          everywhere('npm install --force webgpu'),
        );
  },

  'drivers-chosen-by-hand': (seen) => {
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
  },

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
            'install it, and a driver',
            packages(
              'libvulkan1 mesa-vulkan-drivers',
              'vulkan-loader mesa-vulkan-drivers',
              'vulkan-icd-loader vulkan-swrast',
            ),
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
        'install its driver with the Vulkan part',
        installDriver(vendor, system),
      ),
      level: levelOf(seen),
    };
  },

  'no-adapter': (seen) => {
    if (!seen.dawn || seen.adapters === undefined || seen.adapters.length > 0) return null;
    // Set-up leaves alone what was chosen by hand.
    if (rules['drivers-chosen-by-hand'](seen)) return null;
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
      chosen.software ? onLinux('npx dawntune setup --driver lavapipe') : {},
    );
  },

  'too-little-memory': ({ facts }) => {
    const fit = foundOf(facts.fit);
    if (!fit || fit.ways.length === 0 || fit.ways.some(({ fits }) => fits !== false)) return null;
    const least = Math.min(...fit.ways.map(({ bytes }) => bytes));
    const { of, bytes } = fit.memory;
    const limit = foundOf(facts.memory)?.limit;
    const what = `bge-m3 takes at least ${formatSize(least)} for ${fit.step}, and the ${of} has ${bytes === null ? 'less' : formatSize(bytes)} for it`;
    if (of === 'machine' && limit != null && limit < foundOf(facts.memory)!.total)
      return limits(
        `${what}, as this container may have ${formatSize(limit)}`,
        'give the container more',
        onUnix(`docker run --memory ${Math.ceil((least * 1.2) / 2 ** 30)}g …`),
      );
    return limits(
      what,
      'train with shorter texts and smaller batches, which --dry_run weighs, or a smaller model such as multilingual-e5-small',
      everywhere(
        `npx dawntune finetune --dry_run --fp16 --gradient_checkpointing --sub_batch_size 1 --query_max_len 64 --passage_max_len 128 --model_name_or_path MODEL --train_data ROWS --output_dir OUTPUT`,
      ),
    );
  },

  'processor-quota': ({ facts }) => {
    const processor = foundOf(facts.processor);
    if (!processor || processor.quota === null || processor.quota >= processor.cores) return null;
    if (!(foundOf(facts.chosen)?.software ?? false)) return null;
    return limits(
      `this container may use ${Number(processor.quota.toPrecision(2))} of ${processor.cores} processors, and the software adapter starts a thread for each`,
      'give it more, or keep it to as many',
      onLinux(`docker run --cpuset-cpus 0-${Math.max(0, Math.floor(processor.quota) - 1)} …`),
    );
  },

  'cache-not-writable': ({ facts }) => {
    if ('failed' in facts.folders)
      return limits(
        facts.folders.failed,
        'give the cache a folder',
        setVariable('DAWNTUNE_CACHE', 'dawntune-cache'),
      );
    const { folder, unwritable } = facts.folders.found.cache;
    if (unwritable === null) return null;
    return limits(
      `the cache folder ${folder} cannot be written (${unwritable}): software drivers and what tuning finds are not kept`,
      'make it yours, or give another',
      {
        ...onUnix(`sudo mkdir -p "${folder}" && sudo chown -R "$USER" "${folder}"`),
        windows: setVariable('DAWNTUNE_CACHE', 'dawntune-cache').windows!,
      },
    );
  },

  'cache-disk-full': ({ facts }) => {
    const folders = foundOf(facts.folders);
    if (!folders) return null;
    const wanted = { cache: 0.5e9, models: 3e9 };
    const full = (['cache', 'models'] as const).filter(
      (name) => folders[name].free !== null && folders[name].free! < wanted[name],
    );
    if (full.length === 0) return null;
    return limits(
      full
        .map(
          (name) =>
            `the disk of ${folders[name].folder} has ${formatSize(folders[name].free!)} free, ${name === 'models' ? 'and bge-m3 takes 2.3 GB there' : 'and a software driver takes 0.2 GB there'}`,
        )
        .join('; '),
      'make room, or give folders on another disk',
      full.includes('models')
        ? setVariable('HF_HOME', 'huggingface')
        : setVariable('DAWNTUNE_CACHE', 'dawntune-cache'),
    );
  },

  'models-not-writable': ({ facts }) => {
    const models = foundOf(facts.folders)?.models;
    if (!models || models.unwritable === null) return null;
    return limits(
      `the folder of downloaded models ${models.folder} cannot be written (${models.unwritable})`,
      'give another, or name a folder with the model in --model_name_or_path',
      setVariable('HF_HOME', 'huggingface'),
    );
  },

  'runtime-folder': ({ graphics }) => {
    const folder = graphics?.runtimeFolder;
    if (!folder || folder.problem === null) return null;
    return limits(
      `XDG_RUNTIME_DIR is ${folder.folder}, which cannot be used (${folder.problem}): Mesa complains, and drivers of its kind may fail`,
      'make it, or unset the variable',
      onLinux(`mkdir -p -m 700 "${folder.folder}" || unset XDG_RUNTIME_DIR`),
    );
  },

  'small-shared-memory': ({ facts, system, gpus }) => {
    const shared = foundOf(facts.memory)?.shared;
    if (shared == null || shared >= 2 ** 28) return null;
    if (gpus < 2 && (foundOf(facts.mpi)?.launchers.length ?? 0) === 0) return null;
    return limits(
      `/dev/shm has ${formatSize(shared)}: ranks of one machine exchange gradients through it under MPI`,
      'make it larger',
      onLinux(system?.container ? 'docker run --shm-size 2g …' : 'sudo mount -o remount,size=2G /dev/shm'),
    );
  },

  'no-mpi': ({ facts, gpus, adapters }) => {
    const mpi = foundOf(facts.mpi);
    if (!mpi || gpus < 2) return null;
    const names = new Set(adapters!.filter(({ software }) => !software).map(({ name }) => name));
    // Cards of differing names are threads of one process.
    if (names.size === gpus || (mpi.launchers.length > 0 && mpi.library)) return null;
    return limits(
      mpi.launchers.length === 0
        ? `there are ${gpus} GPUs, of which several have one name, and no mpirun to start a process for each`
        : 'there is an mpirun, and the library that belongs to it is not found',
      mpi.launchers.length === 0 ? 'install MPI' : 'install its library, or name it in DAWNTUNE_MPI_LIBRARY',
      installMpi,
    );
  },
};

/** In the order of the table. */
export function problemsOf(facts: Facts): Problem[] {
  const seen = seenIn(facts);
  return problemIds.flatMap((id) => {
    const found = rules[id](seen);
    return found ? [{ id, ...found }] : [];
  });
}

/** Whether a run can begin here. */
export const canTrain = (problems: readonly Problem[]): boolean =>
  problems.every(({ level }) => level !== 'stops');

// ---- words ---------------------------------------------------------------------------------------------------

/** By the numbers of two versions. */
export function older(version: string, least: string): boolean {
  const parts = (text: string) => text.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0);
  const [a, b] = [parts(version), parts(least)];
  for (let i = 0; i < 3; i++) if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0);
  return false;
}

/** To a folder of the user's, wherever there is room. */
const setVariable = (name: string, folder: string): Commands => ({
  ...onUnix(`export ${name}=/path/with/room/${folder}`),
  windows: [`setx ${name} D:\\${folder}`],
});
