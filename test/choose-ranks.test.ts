/** Which adapter each rank gets, on machines that nobody here has; and whether ranks hold cards of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InputError, MachineError } from '../src/errors.js';
import { type AdapterIdentity, joinAdapters, type VisibleAdapter } from '../src/gpu/adapter-list.js';
import type { DeviceType, PhysicalDevice } from '../src/gpu/physical-devices.js';
import { adapterOfRank, chooseRanks, type RankRequest, ranksTogether } from '../src/ranks/choose-ranks.js';
import { type HeldAdapter, machineName, requireDistinct, sharedCard } from '../src/ranks/distinct.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';

/** A card by its name, kind and the number of its bus. */
type Card = readonly [name: string, type: DeviceType, bus?: number];

const machine = (...cards: Card[]): VisibleAdapter[] => {
  const devices = cards.map(
    ([name, type, bus]): PhysicalDevice => ({
      name,
      type,
      vendorId: 0,
      deviceId: 0,
      uuid: bus === undefined ? undefined : `uuid-${bus}`,
      driverUuid: undefined,
      pci: bus === undefined ? undefined : `0000:${bus.toString(16).padStart(2, '0')}:00.0`,
      memory: undefined,
    }),
  );
  return joinAdapters(
    cards.map(([name]) => ({ backend: 'vulkan', name })),
    devices,
  );
};

const H100 = 'NVIDIA H100 80GB HBM3';
const LLVMPIPE = 'llvmpipe (LLVM 15.0.6, 256 bits)';
const SWIFTSHADER = 'SwiftShader Device (Subzero)';
const lavapipe: Card = [LLVMPIPE, 'cpu'];
const swiftShader: Card = [SWIFTSHADER, 'cpu'];

const machines = {
  eightH100: machine(...Array.from({ length: 8 }, (_, i): Card => [H100, 'discrete', 0x10 + i]), lavapipe),
  twoKinds: machine(['NVIDIA RTX 4090', 'discrete', 1], ['AMD Radeon RX 7900 XTX', 'discrete', 2]),
  twoAndOne: machine([H100, 'discrete', 1], [H100, 'discrete', 2], ['AMD Radeon Graphics', 'integrated', 9]),
  integratedToo: machine(['NVIDIA RTX 4090', 'discrete', 1], ['Intel UHD 770', 'integrated', 0], lavapipe),
  oneCard: machine([H100, 'discrete', 1], lavapipe),
  lavapipe: machine(lavapipe),
  software: machine(swiftShader, lavapipe),
  nothing: machine(),
  nested: machine(['RTX 4090 D', 'discrete', 1], ['RTX 4090', 'discrete', 2]),
  twoDrivers: machine(
    ['AMD Radeon RX 7900 XTX (RADV NAVI31)', 'discrete', 3],
    ['AMD Radeon RX 7900 XTX', 'discrete', 3],
  ),
  mac: joinAdapters([{ backend: 'metal', name: 'Apple M3 Max' }], undefined),
  twoWithoutAddress: machine([H100, 'discrete'], [H100, 'discrete']),
} as const;

const prime = (bus: string) => `pci-0000_${bus}_00_0!`;

/** What is asked for on which machine, and who gets what: by name, with DRI_PRIME behind an @ for processes. */
const given: readonly (readonly [
  keyof typeof machines,
  RankRequest,
  'threads' | 'mpirun',
  readonly string[],
])[] = [
  ['eightH100', { ranks: 1 }, 'threads', [H100]],
  ['eightH100', { ranks: 2 }, 'mpirun', [`${H100}@${prime('10')}`, `${H100}@${prime('11')}`]],
  [
    'eightH100',
    { ranks: 8 },
    'mpirun',
    Array.from({ length: 8 }, (_, i) => `${H100}@${prime((0x10 + i).toString(16))}`),
  ],
  [
    'eightH100',
    { ranks: 2, adapter: 'H100' },
    'mpirun',
    [`${H100}@${prime('10')}`, `${H100}@${prime('11')}`],
  ],
  [
    'eightH100',
    { ranks: 2, adapters: ['0', 'H100'] },
    'mpirun',
    [`${H100}@${prime('10')}`, `${H100}@${prime('11')}`],
  ],
  // A software adapter beside GPUs only where it is named.
  ['eightH100', { ranks: 2, adapter: 'llvmpipe' }, 'threads', [LLVMPIPE, LLVMPIPE]],
  ['eightH100', { ranks: 2, adapters: ['0', '1'] }, 'threads', [H100, LLVMPIPE]],
  ['twoKinds', { ranks: 2 }, 'threads', ['NVIDIA RTX 4090', 'AMD Radeon RX 7900 XTX']],
  ['twoKinds', { ranks: 2, adapters: ['1', '0'] }, 'threads', ['AMD Radeon RX 7900 XTX', 'NVIDIA RTX 4090']],
  ['twoKinds', { ranks: 2, launcher: 'mpirun' }, 'mpirun', ['NVIDIA RTX 4090', 'AMD Radeon RX 7900 XTX']],
  // "4090" is no index of this machine, so it is a part of a name.
  ['twoKinds', { ranks: 1, adapters: ['4090'] }, 'threads', ['NVIDIA RTX 4090']],
  ['twoAndOne', { ranks: 2 }, 'mpirun', [`${H100}@${prime('01')}`, `${H100}@${prime('02')}`]],
  [
    'twoAndOne',
    { ranks: 3 },
    'mpirun',
    [`${H100}@${prime('01')}`, `${H100}@${prime('02')}`, 'AMD Radeon Graphics'],
  ],
  ['twoAndOne', { ranks: 2, adapters: ['H100', 'AMD'] }, 'threads', [H100, 'AMD Radeon Graphics']],
  ['integratedToo', { ranks: 1 }, 'threads', ['NVIDIA RTX 4090']],
  ['integratedToo', { ranks: 2 }, 'threads', ['NVIDIA RTX 4090', 'Intel UHD 770']],
  ['oneCard', { ranks: 2, adapters: ['H100', 'llvmpipe'] }, 'threads', [H100, LLVMPIPE]],
  ['lavapipe', { ranks: 2 }, 'threads', [LLVMPIPE, LLVMPIPE]],
  ['lavapipe', { ranks: 4, launcher: 'mpirun' }, 'mpirun', [LLVMPIPE, LLVMPIPE, LLVMPIPE, LLVMPIPE]],
  ['lavapipe', { ranks: 2, adapters: ['llvmpipe', '0'] }, 'threads', [LLVMPIPE, LLVMPIPE]],
  ['software', { ranks: 2 }, 'threads', [SWIFTSHADER, SWIFTSHADER]],
  // As many as cores, or four; more where each is named.
  ['lavapipe', { ranks: 4, cores: 1 }, 'threads', Array(4).fill(LLVMPIPE)],
  ['lavapipe', { ranks: 16, cores: 16 }, 'threads', Array(16).fill(LLVMPIPE)],
  ['lavapipe', { ranks: 5, cores: 2, adapters: Array(5).fill('0') }, 'threads', Array(5).fill(LLVMPIPE)],
  ['twoKinds', { ranks: 2, cores: 1 }, 'threads', ['NVIDIA RTX 4090', 'AMD Radeon RX 7900 XTX']],
  ['software', { ranks: 2, adapters: ['llvmpipe', 'SwiftShader'] }, 'threads', [LLVMPIPE, SWIFTSHADER]],
  // One card by two drivers: one rank, by either.
  ['twoDrivers', { ranks: 1 }, 'threads', ['AMD Radeon RX 7900 XTX (RADV NAVI31)']],
  ['mac', { ranks: 1 }, 'threads', ['Apple M3 Max']],
  // Its whole name is a part of the other's, which Dawn would take.
  ['nested', { ranks: 2 }, 'mpirun', ['RTX 4090 D', `RTX 4090@${prime('02')}`]],
];

test('ranks get adapters by these rules', () => {
  for (const [name, request, launcher, adapters] of given) {
    const found = chooseRanks(machines[name], request);
    assert.deepEqual(
      {
        launcher: found.launcher,
        adapters: found.adapters.map(({ name, environment: { DRI_PRIME } }) =>
          DRI_PRIME ? `${name}@${DRI_PRIME}` : name,
        ),
      },
      { launcher, adapters },
      `${name} ${JSON.stringify(request)}`,
    );
  }
});

test('what cannot be had is refused with what there is and what to do', () => {
  for (const [name, request, kind, message] of [
    ['nothing', { ranks: 2 }, MachineError, /no WebGPU adapter for the ranks: `dawntune doctor`/],
    [
      'oneCard',
      { ranks: 2 },
      MachineError,
      /2 ranks need as many GPUs.*sees 1 .*\(there are: 0 NVIDIA H100 80GB HBM3, 1 llvmpipe .* \(software\)\).*one card: DRI_PRIME=pci-/,
    ],
    [
      'eightH100',
      { ranks: 9 },
      MachineError,
      /9 ranks need as many GPUs.*sees 8 .*0 NVIDIA H100 80GB HBM3 \(8 cards\)/,
    ],
    ['twoKinds', { ranks: 2, adapter: 'AMD' }, MachineError, /sees 1 with "AMD" in its name/],
    ['twoDrivers', { ranks: 2 }, MachineError, /2 ranks need as many GPUs.*sees 1 /],
    ['twoDrivers', { ranks: 2, adapters: ['0', '1'] }, InputError, /are one GPU \(PCI 0000:03:00.0\)/],
    ['mac', { ranks: 2 }, MachineError, /sees 1 \(there are: 0 Apple M3 Max\)/],
    [
      'eightH100',
      { ranks: 2, launcher: 'threads' },
      MachineError,
      /--launcher threads.*another card comes first/,
    ],
    ['twoWithoutAddress', { ranks: 2 }, MachineError, /no PCI address.*one card/],
    [
      'oneCard',
      { ranks: 2, adapters: ['H100', 'H100'] },
      InputError,
      /there is 1 card of the name .*found it 2 times/,
    ],
    [
      'twoAndOne',
      { ranks: 3, adapters: ['0', '0', 'H100'] },
      InputError,
      /there are 2 cards .*found it 3 times/,
    ],
    [
      'twoKinds',
      { ranks: 2, adapters: ['0'] },
      InputError,
      /expected 2 adapters, one for each rank.*found 1/,
    ],
    [
      'twoKinds',
      { ranks: 1, adapters: ['0', '1'] },
      InputError,
      /expected 1 adapter, .*--nproc_per_node.*found 2/,
    ],
    [
      'twoKinds',
      { ranks: 2, adapters: ['0', '7'] },
      InputError,
      /found "7"; there are: 0 NVIDIA RTX 4090, 1 AMD/,
    ],
    ['twoKinds', { ranks: 2, adapters: ['0', 'amd'] }, InputError, /upper and lower case count.*found "amd"/],
    ['twoKinds', { ranks: 2, adapter: 'Arc' }, InputError, /found "Arc"; there are: 0 NVIDIA/],
    [
      'lavapipe',
      { ranks: 1000, cores: 2 },
      InputError,
      /^--nproc_per_node: expected at most 4 on the software adapter .*cores, of which there are 2, .*found 1000: .*--adapters with 0 once/,
    ],
    [
      'eightH100',
      { ranks: 17, cores: 16, adapter: 'llvmpipe', launcher: 'mpirun' },
      InputError,
      /expected at most 16 .*found 17: .*--adapters with 1 once/,
    ],
  ] as const)
    assert.throws(
      () => chooseRanks(machines[name], request as RankRequest),
      (error: Error) => error instanceof kind && message.test(error.message) && !error.message.includes('\n'),
      `${name} ${JSON.stringify(request)}`,
    );
});

test('a process of MPI takes the adapter of its place, or the only GPU that it is shown', () => {
  const request = { ranks: 2 };
  const own = (name: keyof typeof machines, more: Partial<RankRequest>, localRank: number) => {
    const { name: adapter, environment } = adapterOfRank(machines[name], { ...request, ...more }, localRank);
    return environment['DRI_PRIME'] ? `${adapter}@${environment['DRI_PRIME']}` : adapter;
  };
  assert.equal(own('eightH100', {}, 1), `${H100}@${prime('11')}`);
  assert.equal(own('twoKinds', {}, 1), 'AMD Radeon RX 7900 XTX');
  assert.equal(own('oneCard', {}, 1), H100);
  assert.equal(own('twoKinds', { adapter: 'AMD' }, 0), 'AMD Radeon RX 7900 XTX');
  assert.equal(own('lavapipe', {}, 1), LLVMPIPE);
  assert.equal(own('oneCard', { adapters: ['H100', 'llvmpipe'] }, 1), LLVMPIPE);
  assert.throws(() => own('oneCard', { adapters: ['0', '0'] }, 0), InputError);
  assert.throws(() => own('twoAndOne', { ranks: 4 }, 0), MachineError);
});

test('doctor says how many ranks there can be', () => {
  for (const [name, says] of [
    ['eightH100', /^up to 8: .*--nproc_per_node 8 starts a process for each, under mpirun$/],
    ['twoKinds', /^up to 2: .*a thread for each GPU$/],
    ['oneCard', /^1: there is one GPU$/],
    ['twoDrivers', /^1: there is one GPU$/],
    ['lavapipe', /^up to 8 on one software adapter/],
    ['twoWithoutAddress', /^1: the driver tells no PCI address/],
  ] as const)
    assert.match(ranksTogether(machines[name], 8), says);
});

// ---- cards of one's own --------------------------------------------------------------------------------------

const identity = (more: Partial<AdapterIdentity> = {}): AdapterIdentity => ({
  name: H100,
  software: false,
  uuid: undefined,
  pci: undefined,
  exact: true,
  ...more,
});
const held = (more: Partial<AdapterIdentity> = {}, host = 'a'): HeldAdapter => ({
  machine: host,
  identity: identity(more),
});

const software = { name: LLVMPIPE, software: true, uuid: 's' };

test('ranks of one machine hold GPUs of their own, or the run ends', () => {
  const apart: HeldAdapter[][] = [
    [held({ uuid: 'x' }), held({ uuid: 'y' })],
    [held({ pci: 'x' }), held({ pci: 'y' })],
    [held({ uuid: 'x', pci: 'x' }), held({ uuid: 'x', pci: 'x' }, 'b')],
    [held({ name: 'A', exact: true }), held({ name: 'B' })],
    [held(software), held(software), held({ uuid: 'x' })],
    [held({ uuid: 'x' }), held({ uuid: 'y' }), held({ uuid: 'x' }, 'b'), held({ uuid: 'y' }, 'b')],
  ];
  for (const each of apart) assert.equal(sharedCard(each), undefined, JSON.stringify(each));
  for (const [each, message] of [
    [[held({ uuid: 'x' }), held({ uuid: 'x' })], /^ranks 0 and 1 hold the same GPU .*UUID x.*one card/],
    [[held({ uuid: 'x', pci: 'p' }), held({ uuid: 'y', pci: 'p' })], /hold the same GPU .*PCI p/],
    [
      [held({ name: 'A', uuid: 'x', pci: 'p' }), held({ name: 'B', uuid: 'y', pci: 'p' })],
      /hold the same GPU/,
    ],
    [[held({ uuid: 'x', pci: 'p' }), held({ uuid: 'x', pci: 'q' })], /hold the same GPU/],
    [
      [held({ uuid: 'x' }), held({ uuid: 'y' }, 'b'), held({ uuid: 'z' }), held({ uuid: 'z' })],
      /^ranks 2 and 3 hold the same GPU/,
    ],
    [[held(), held()], /^ranks 0 and 1 cannot be shown .*neither UUID nor PCI/],
    [[held({ uuid: 'x', exact: false }), held({ uuid: 'y', exact: false })], /sees several of that name/],
    [[held({ uuid: 'x' }), { machine: 'a' }], /cannot be shown to hold different GPUs/],
  ] as const)
    assert.match(sharedCard(each) ?? 'apart', message, JSON.stringify(each));
});

test('all ranks are told alike that two of them share a GPU', async () => {
  const said = async (buses: readonly string[]) => {
    const ranks = new EmulatedRanks(buses.length);
    const outcomes = await Promise.allSettled(
      buses.map((pci, rank) => requireDistinct(ranks.rank(rank), identity({ pci }), 'here')),
    );
    return outcomes.map((outcome) =>
      outcome.status === 'fulfilled' ? undefined : (outcome.reason as Error).message,
    );
  };
  assert.deepEqual(await said(['x', 'y', 'z']), [undefined, undefined, undefined]);
  const messages = await said(['x', 'y', 'x']);
  assert.match(messages[0]!, /^ranks 0 and 2 hold the same GPU/);
  assert.deepEqual(new Set(messages), new Set([messages[0]]));
  assert.match(machineName(), /./);
});
