/** Problems of the machine around the adapter: memory, processors, folders, and what several ranks need. */
import { foundOf } from '../facts.js';
import { type Commands, everywhere, installMpi, onLinux, onUnix } from '../fixes.js';
import { formatSize } from '../sizes.js';
import { limits, type Rule } from './rule.js';

/** To a folder of the user's, wherever there is room. */
const setVariable = (name: string, folder: string): Commands => ({
  ...onUnix(`export ${name}=/path/with/room/${folder}`),
  windows: [`setx ${name} D:\\${folder}`],
});

export const machineRules = {
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
} satisfies Record<string, Rule>;
