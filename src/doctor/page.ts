/** Doctor's page for people: a row a fact, and at its end the problems with what mends them on this machine. */
import { printable } from '../show.js';
import {
  type AdapterFacts,
  type CheckedKernel,
  type ChosenFacts,
  type Facts,
  type FolderFacts,
  foundOf,
  type Probed,
} from './facts.js';
import { type Commands, installMpi, type SystemName, systemOf, systems, systemTitles } from './fixes.js';
import { expectedOf } from './machine-classes.js';
import type { Problem } from './rules/rule.js';
import { formatSize } from './sizes.js';

const WIDTH = 14;

type Row = readonly [label: string, text: string];

/** The whole page, without a line end behind the last line. */
export function renderPage(version: string, facts: Facts, problems: readonly Problem[]): string {
  const rows = [
    ...systemRows(facts),
    ...adapterRows(facts),
    ...kernelRows(facts),
    ...fitRows(facts),
    ...([['verdict', verdict(facts, problems)]] as const),
  ];
  const lines = rows.map(([label, text]) => `${label.padEnd(WIDTH)}${printable(text)}`);
  return [`dawntune ${version}`, '', ...lines, ...problemLines(facts, problems)].join('\n');
}

/** A row of what was found, or of why nothing was. */
function rowsOf<T>(label: string, probed: Probed<T>, rows: (found: T) => Row[]): Row[] {
  return 'found' in probed ? rows(probed.found) : [[label, `not found out: ${probed.failed}`]];
}

// ---- machine -------------------------------------------------------------------------------------------------

function systemRows(facts: Facts): Row[] {
  const { node, dawn } = facts;
  const dawnWords =
    'failed' in dawn
      ? `Dawn: ${dawn.failed}`
      : `Dawn of webgpu ${dawn.found.version}${dawn.found.binary === null ? ' has no library for it' : dawn.found.problem === null ? '' : ' does not load'}`;
  return [
    ...rowsOf('system', facts.system, (system): Row[] => [
      [
        'system',
        [
          system.name,
          system.arch,
          ...(system.libc ? [system.libc] : []),
          ...(system.wsl ? [`WSL ${system.wsl}`] : []),
          ...(system.container ? [`in a container (${system.container})`] : []),
        ].join(', '),
      ],
    ]),
    ['programs', `Node ${node.version} (${node.least} or newer), ${dawnWords}`],
    ...rowsOf('processor', facts.processor, (processor): Row[] => [
      [
        'processor',
        `${processor.cores} × ${processor.model}${processor.vectors ? `, ${processor.vectors}` : ''}${processor.quota === null ? '' : `, time of ${Number(processor.quota.toPrecision(2))} in this container`}`,
      ],
    ]),
    ...rowsOf('memory', facts.memory, (memory): Row[] => [
      [
        'memory',
        [
          formatSize(memory.total),
          `${formatSize(memory.free)} free`,
          ...(memory.limit === null ? [] : [`this container may have ${formatSize(memory.limit)}`]),
          ...(memory.shared === null ? [] : [`/dev/shm ${formatSize(memory.shared)}`]),
        ].join(', '),
      ],
    ]),
    ...rowsOf('folders', facts.folders, ({ cache, models }): Row[] => [
      ['cache', folderWords(cache)],
      ['models', folderWords(models)],
    ]),
    ...rowsOf('MPI', facts.mpi, (mpi): Row[] => [['MPI', mpiWords(facts)(mpi)]]),
  ];
}

const folderWords = ({ folder, unwritable, free }: FolderFacts): string =>
  `${folder}: ${unwritable === null ? 'writable' : `not writable (${unwritable})`}${free === null ? '' : `, ${formatSize(free)} free`}`;

const mpiWords =
  (facts: Facts) =>
  ({
    launchers,
    library,
  }: {
    launchers: readonly { name: string; version: string }[];
    library: { file: string; version: string } | null;
  }): string => {
    const found = launchers.map(({ name, version }) => `mpirun of ${name} ${version}`);
    if (library) found.push(`${library.version} (${library.file})`);
    if (found.length > 0) return found.join(', ');
    const system = systemOf(foundOf(facts.system));
    const install = system ? installMpi[system]?.join('; ') : undefined;
    return `none; only several GPUs of one name or several machines need it${install ? `: ${install}` : ''}`;
  };

// ---- adapters ------------------------------------------------------------------------------------------------

/** In words, by Vulkan's kinds. */
const KINDS = {
  discrete: 'discrete GPU',
  integrated: 'integrated GPU',
  virtual: 'GPU of a virtual machine',
  cpu: 'on the processor',
  other: 'of another kind',
} as const;

/** Several cards of one name have its number: it is the name that `--adapters` picks. */
function adapterWords({ name, backend, kind, software, pci, uuid, memory }: AdapterFacts): string {
  const words = kind ? KINDS[kind] : software ? KINDS.cpu : undefined;
  return [
    `${name} (${backend})`,
    ...(words ? [words] : []),
    ...(memory === null ? [] : [`${formatSize(memory)}${software ? ' of the machine' : ''}`]),
    ...(pci ? [`PCI ${pci}`] : []),
    ...(uuid ? [`UUID ${uuid}`] : []),
  ].join(', ');
}

function adapterRows(facts: Facts): Row[] {
  const listed = rowsOf('adapters', facts.adapters, ({ drivers, adapters, ranks }): Row[] => [
    ['drivers', drivers],
    ...adapters.map((adapter): Row => [`adapter ${adapter.index}`, adapterWords(adapter)]),
    ...(adapters.length === 0 ? [['adapters', 'none'] as const] : [['ranks', ranks] as const]),
  ]);
  const chosen = foundOf(facts.chosen);
  return chosen ? [...listed, ...chosenRows(chosen)] : listed;
}

function chosenRows(chosen: ChosenFacts): Row[] {
  const { name, driver, f16, subgroups, matrixUnits, limits } = chosen;
  const size = (limit: string) => formatSize(limits[limit] ?? 0, 1024);
  const features = [
    f16 ? 'f16' : 'no f16 (halves are stored, and computed in f32)',
    subgroups
      ? `subgroups of ${subgroups[0] === subgroups[1] ? subgroups[0] : `${subgroups[0]} to ${subgroups[1]}`}`
      : 'no subgroups',
    matrixUnits.length === 0
      ? 'no matrix units'
      : `matrix units ${matrixUnits.map(({ M, N, K, componentType, resultComponentType }) => `${M}×${N}×${K} ${componentType} → ${resultComponentType}`).join(', ')}`,
  ];
  return [
    ['chosen', `${name}, ${driver}`],
    ['  features', features.join(', ')],
    [
      '  limits',
      `buffers of ${size('maxBufferSize')}, bindings of ${size('maxStorageBufferBindingSize')}, workgroups of ${limits['maxComputeInvocationsPerWorkgroup']} with ${size('maxComputeWorkgroupStorageSize')}`,
    ],
  ];
}

// ---- kernels and fit -----------------------------------------------------------------------------------------

function kernelRows(facts: Facts): Row[] {
  const chosen = foundOf(facts.chosen);
  if (!chosen) return [];
  return rowsOf('kernels', facts.kernels, (kernels) =>
    kernels.map((kernel, i): Row => [i === 0 ? 'kernels' : '', kernelWords(kernel, chosen, facts)]),
  );
}

function kernelWords(kernel: CheckedKernel, chosen: ChosenFacts, facts: Facts): string {
  const head = kernel.name.padEnd(19);
  if (kernel.problem !== null) return `${head}WRONG: ${kernel.problem} [${kernel.variant}]`;
  const expected = expectedOf(kernel, chosen, foundOf(facts.processor));
  const beside = expected
    ? `${expected.kind} ${Number(expected.rate.toPrecision(3)).toLocaleString('en')} (${expected.source})`
    : 'what such a machine should give is not known';
  return `${head}${`${kernel.rate!.toLocaleString('en')} ${kernel.unit}`.padStart(14)}, right; ${beside}`;
}

function fitRows(facts: Facts): Row[] {
  return rowsOf('bge-m3', facts.fit, ({ step, memory, ways }) => [
    [
      'bge-m3',
      `${step}, ${memory.bytes === null ? `of an ${memory.of} whose memory nobody tells:` : `where the ${memory.of} has ${formatSize(memory.bytes)} for it:`}`,
    ],
    ...ways.map(
      ({ flags, bytes, fits }): Row => [
        '',
        `${(flags || 'as it is (f32)').padEnd(52)}${formatSize(bytes).padStart(8)}${fits === null ? '' : fits ? '  fits' : '  too much'}`,
      ],
    ),
  ]);
}

// ---- the end -------------------------------------------------------------------------------------------------

function verdict(facts: Facts, problems: readonly Problem[]): string {
  const stopping = problems.flatMap(({ level }, i) => (level === 'stops' ? [i + 1] : []));
  if (stopping.length === 1) return `does not work: problem ${stopping[0]} below stops it`;
  if (stopping.length > 1)
    return `does not work: problems ${stopping.slice(0, -1).join(', ')} and ${stopping.at(-1)} below stop it`;
  return foundOf(facts.chosen)?.software
    ? 'works, on the processor: fit for tests and demos, slow for training'
    : 'works';
}

/** Of the machine's own system; of a Linux that is none of those, the commands of all of them. */
function commandLines(commands: Commands, own: SystemName | undefined): string[] {
  if (own !== undefined) return (commands[own] ?? []).map((line) => `   $ ${line}`);
  const linux = systems.filter((system) => system !== 'macos' && system !== 'windows' && commands[system]);
  const all = linux.map((system) => commands[system]!.join('; '));
  if (new Set(all).size === 1) return commands[linux[0]!]!.map((line) => `   $ ${line}`);
  return linux.map((system, i) => `   ${systemTitles[system]}: ${all[i]}`);
}

function problemLines(facts: Facts, problems: readonly Problem[]): string[] {
  if (problems.length === 0) return [];
  const own = systemOf(foundOf(facts.system));
  return [
    '',
    ...problems.flatMap(({ what, fix, commands }, i) => [
      `${i + 1}. ${printable(what)}`,
      `   ${printable(fix)}${commandLines(commands, own).length > 0 ? ':' : ''}`,
      ...commandLines(commands, own).map(printable),
    ]),
  ];
}
