/** Doctor: which problems follow from which facts, and with which commands they are mended; probes that crash; the real thing. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { type LogEntry, silentReporter } from '../src/console/reporter.js';
import { probeInChild } from '../src/doctor/children.js';
import type { DoctorReport } from '../src/doctor/doctor.js';
import {
  type AdaptersFacts,
  CACHED,
  type CheckedKernel,
  type ChosenFacts,
  crashed,
  type Facts,
} from '../src/doctor/facts.js';
import { type SystemName, systemOf, systems } from '../src/doctor/fixes.js';
import { cards, expectedOf } from '../src/doctor/machine-classes.js';
import { renderPage } from '../src/doctor/page.js';
import { planWay } from '../src/doctor/probes/fit.js';
import { canTrain, type ProblemId, problemIds, problemsOf } from '../src/doctor/problems.js';
import { folderFacts, parseOsRelease, quotaOf, wslOf } from '../src/doctor/system.js';
import { InputError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { readEncoderConfig } from '../src/models/config.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { older, requireNode } from '../src/version.js';
import { gpus, healthy, llvmpipe, machine, noCard, onProcessor, withoutAdapter } from './doctor-machines.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-doctor-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const on = (...distributions: string[]) => ({ system: { distributions } });
const inContainer = { system: { container: 'docker' } };
const slowH100 = machine({ kernels: { found: [{ ...foundKernels()[0]!, rate: 500 }] } });

function foundKernels() {
  assert.ok('found' in healthy.kernels);
  return healthy.kernels.found;
}

/** What stands in the fix of the problem that the row is about, on the machine's own system. */
type Row = readonly [name: string, facts: Facts, problems: readonly ProblemId[], commands: RegExp | null];

const rows: readonly Row[] = [
  ['a machine that lacks nothing', healthy, [], null],
  [
    'an old Node',
    machine({ node: { version: '18.19.0', least: '20.15' } }),
    ['node-too-old'],
    /^sudo npm install -g n\nsudo n lts$/,
  ],
  [
    'an old Node on Windows',
    machine(
      { node: { version: '20.9.0', least: '20.15' } },
      { system: { platform: 'win32', distributions: [] } },
    ),
    ['node-too-old'],
    /^winget install/,
  ],
  [
    'a platform without Dawn',
    machine({ dawn: { binary: null } }, { system: { arch: 'riscv64' } }, withoutAdapter, {
      adapters: { failed: 'Dawn does not load' },
    }),
    ['no-dawn-for-platform'],
    /npm install --force webgpu/,
  ],
  [
    'Alpine',
    machine(
      on('alpine'),
      { system: { libc: 'musl', name: 'Alpine Linux' } },
      { dawn: { problem: 'Error loading shared library ld-linux-x86-64.so.2' } },
      withoutAdapter,
      { adapters: { failed: 'Dawn does not load' } },
    ),
    ['musl'],
    null,
  ],
  [
    'an old glibc',
    machine({ dawn: { problem: "/lib/libm.so.6: version `GLIBC_2.35' not found" } }, withoutAdapter, {
      adapters: { failed: 'Dawn does not load' },
    }),
    ['dawn-does-not-load'],
    /bookworm/,
  ],
  [
    'no package webgpu',
    machine({ dawn: { failed: "Cannot find module 'webgpu/package.json'" } }, withoutAdapter, {
      adapters: { failed: 'Dawn does not load' },
    }),
    ['dawn-does-not-load'],
    /npm install --force webgpu/,
  ],
  [
    'drivers chosen that are not there',
    machine(noCard, withoutAdapter, {
      graphics: { variables: { VK_DRIVER_FILES: '/no.json' }, cards: [], devices: [] },
    }),
    ['drivers-chosen-by-hand'],
    /^unset VK_DRIVER_FILES$/,
  ],
  [
    'a variable that names no driver',
    machine(withoutAdapter, {
      adapters: { failed: 'DAWNTUNE_SOFTWARE: expected lavapipe, swiftshader or none, found "x"' },
      graphics: { variables: { DAWNTUNE_SOFTWARE: 'x' } },
    }),
    ['looking-fails'],
    /^unset DAWNTUNE_SOFTWARE$/,
  ],
  [
    'a driver that hangs',
    machine(withoutAdapter, { adapters: { failed: 'the probe gave no answer in 60 s' } }),
    ['looking-fails'],
    /DAWNTUNE_SOFTWARE=lavapipe/,
  ],
  [
    'a driver that crashes',
    machine(withoutAdapter, {
      adapters: { failed: 'the probe crashed with SIGSEGV' },
      crashing: ['/usr/share/vulkan/icd.d/nvidia_icd.json'],
    }),
    ['driver-crashes'],
    /VK_LOADER_DRIVERS_DISABLE="\*nvidia_icd.json\*"/,
  ],
  [
    'the cached driver crashes',
    machine(withoutAdapter, { adapters: { failed: 'the probe crashed with SIGBUS' }, crashing: [CACHED] }),
    ['driver-crashes'],
    /dawntune setup/,
  ],
  [
    'no loader and no card',
    machine(noCard, withoutAdapter, { adapters: { adapters: [], loader: false } }),
    ['no-vulkan-loader'],
    /^npx dawntune setup$/,
  ],
  [
    'no loader and no card on Fedora',
    machine(noCard, withoutAdapter, on('fedora'), { adapters: { adapters: [], loader: false } }),
    ['no-vulkan-loader'],
    /^sudo dnf install -y vulkan-loader mesa-vulkan-drivers$/,
  ],
  [
    'no permission',
    machine(on('arch'), withoutAdapter, {
      graphics: { devices: [{ file: '/dev/dri/renderD128', refused: 'permission denied', group: 'render' }] },
    }),
    ['no-device-permission', 'no-adapter'],
    /^sudo usermod -aG render "\$USER"$/,
  ],
  [
    'no permission in a container, with a software driver',
    machine(inContainer, onProcessor, {
      graphics: { devices: [{ file: '/dev/dri/renderD128', refused: 'permission denied', group: '105' }] },
    }),
    ['no-device-permission'],
    /--device \/dev\/dri --group-add 105/,
  ],
  ['WSL 2', machine(noCard, onProcessor, { system: { wsl: 2 } }), ['wsl'], /powershell/],
  [
    'WSL 1 without a driver',
    machine(noCard, withoutAdapter, { system: { wsl: 1 } }),
    ['wsl', 'no-adapter'],
    /powershell/,
  ],
  [
    'a device that Dawn does not take',
    machine(onProcessor, { adapters: { adapters: [llvmpipe], notTaken: ['Intel HD Graphics 4000'] } }),
    ['device-not-taken'],
    /-backports" mesa-vulkan-drivers$/,
  ],
  [
    'a Radeon without a driver under Fedora',
    machine(on('fedora'), withoutAdapter, {
      graphics: { cards: [{ pci: '0000:03:00.0', vendor: 'AMD', module: 'amdgpu' }], devices: [] },
    }),
    ['no-gpu-driver', 'no-adapter'],
    /^sudo dnf install -y mesa-vulkan-drivers$/,
  ],
  [
    'a GeForce under Ubuntu, computing on the processor',
    machine(on('ubuntu', 'debian'), onProcessor, {
      graphics: { cards: [{ pci: '0000:01:00.0', vendor: 'NVIDIA', module: 'nouveau' }] },
    }),
    ['no-gpu-driver'],
    /^sudo ubuntu-drivers install/,
  ],
  [
    'an Arc under Arch',
    machine(on('arch'), onProcessor, {
      graphics: { cards: [{ pci: '0000:01:00.0', vendor: 'Intel', module: 'xe' }] },
    }),
    ['no-gpu-driver'],
    /vulkan-intel/,
  ],
  [
    'a container without the graphics of NVIDIA’s driver',
    machine(inContainer, onProcessor),
    ['no-gpu-driver'],
    /NVIDIA_DRIVER_CAPABILITIES=all/,
  ],
  [
    'a Radeon that a container does not see',
    machine(inContainer, onProcessor, {
      graphics: { cards: [{ pci: '0000:03:00.0', vendor: 'AMD', module: 'amdgpu' }], devices: [] },
    }),
    ['no-gpu-driver'],
    /--device \/dev\/dri/,
  ],
  ['nothing to compute on', machine(noCard, withoutAdapter), ['no-adapter'], /^npx dawntune setup$/],
  [
    'a virtual Mac',
    machine(noCard, withoutAdapter, { system: { platform: 'darwin', distributions: [], libc: null } }),
    ['no-adapter'],
    /softwareupdate/,
  ],
  [
    'a virtual display is no GPU',
    machine(onProcessor, {
      graphics: { cards: [{ pci: '0000:00:02.0', vendor: 'other', module: 'bochs-drm' }], devices: [] },
    }),
    ['only-software'],
    null,
  ],
  ['lavapipe alone', machine(noCard, onProcessor), ['only-software'], null],
  [
    'an adapter that does not open',
    machine({
      chosen: { failed: 'the probe crashed with SIGSEGV' },
      kernels: { failed: 'no adapter was opened' },
    }),
    ['adapter-does-not-open'],
    /--adapter NAME/,
  ],
  [
    'a wrong product',
    machine({
      kernels: {
        found: [{ ...foundKernels()[0]!, problem: 'is wrong by 1e-1 where 0.0001 is allowed', rate: null }],
      },
    }),
    ['kernel-wrong'],
    /bench kernels/,
  ],
  [
    'a check that ends the process',
    machine({ kernels: { failed: 'the probe crashed with SIGSEGV' } }),
    ['kernels-fail'],
    /--adapter NAME/,
  ],
  ['an H100 at a hundredth of its rate', slowH100, ['kernel-slow'], /nvidia-smi/],
  ['a GPU without halves', machine({ chosen: { f16: false } }), ['no-f16'], null],
  [
    'SwiftShader',
    machine(noCard, onProcessor, {
      chosen: { ...llvmpipe, name: 'SwiftShader Device (Subzero)', f16: false },
    }),
    ['only-software', 'slow-software', 'no-f16'],
    /--driver lavapipe/,
  ],
  [
    'SwiftShader on Fedora',
    machine(noCard, onProcessor, on('fedora'), {
      chosen: { ...llvmpipe, name: 'SwiftShader Device (Subzero)' },
    }),
    ['only-software', 'slow-software'],
    /^sudo dnf install -y mesa-vulkan-drivers$/,
  ],
  [
    'a small GPU',
    machine({
      fit: {
        memory: { of: 'adapter', bytes: 4e9 },
        ways: [
          { flags: '--fp16', bytes: 8e9, hostBytes: 1e9, modelBytes: 2e9, checkpointBytes: 7e9, fits: false },
        ],
      },
    }),
    ['too-little-memory'],
    /--dry_run/,
  ],
  [
    'a small container',
    machine(noCard, onProcessor, {
      memory: { limit: 4e9 },
      fit: {
        memory: { of: 'machine', bytes: 3.6e9 },
        ways: [
          { flags: '--fp16', bytes: 8e9, hostBytes: 1e9, modelBytes: 2e9, checkpointBytes: 7e9, fits: false },
        ],
      },
    }),
    ['only-software', 'too-little-memory'],
    /docker run --memory 9g/,
  ],
  [
    'memory that nobody tells',
    machine({
      fit: {
        ways: [{ flags: '', bytes: 8e9, hostBytes: 1e9, modelBytes: 2e9, checkpointBytes: 7e9, fits: null }],
      },
    }),
    [],
    null,
  ],
  [
    'time of two processors',
    machine(noCard, onProcessor, { processor: { quota: 2 } }),
    ['only-software', 'processor-quota'],
    /--cpuset-cpus 0-1/,
  ],
  [
    'a cache that belongs to root',
    machine({ folders: { cache: { folder: '/srv/cache', unwritable: 'permission denied', free: 1e12 } } }),
    ['cache-not-writable'],
    /chown -R "\$USER" "\/srv\/cache"/,
  ],
  [
    'no home',
    machine({ folders: { failed: 'DAWNTUNE_CACHE: expected a folder, as this user has no home folder' } }),
    ['cache-not-writable'],
    /^export DAWNTUNE_CACHE=/,
  ],
  [
    'a full disk',
    machine({ folders: { models: { folder: '/m', unwritable: null, free: 1e8 } } }),
    ['cache-disk-full'],
    /^export HF_HOME=/,
  ],
  [
    'a read-only folder of models',
    machine({
      folders: { models: { folder: '/m', unwritable: 'the file system is read-only', free: 1e12 } },
    }),
    ['models-not-writable'],
    /^export HF_HOME=/,
  ],
  [
    'a runtime folder that is gone',
    machine({ graphics: { runtimeFolder: { folder: '/run/user/7', problem: 'no such file or folder' } } }),
    ['runtime-folder'],
    /mkdir -p -m 700 "\/run\/user\/7"/,
  ],
  [
    'the /dev/shm of a container',
    machine(inContainer, { memory: { shared: 64e6 } }),
    ['small-shared-memory'],
    /--shm-size/,
  ],
  [
    'two cards of one name without MPI',
    machine({ adapters: { adapters: gpus('H100', 'H100') }, mpi: { launchers: [], library: null } }),
    ['no-mpi'],
    /^sudo apt install -y openmpi-bin$/,
  ],
  [
    'two cards of two names need no MPI',
    machine({ adapters: { adapters: gpus('A', 'B') }, mpi: { launchers: [], library: null } }),
    [],
    null,
  ],
];

const systemIn = (facts: Facts): SystemName | undefined =>
  systemOf('found' in facts.system ? facts.system.found : undefined);

test('problems follow from facts, each with its fix for the machine’s own system', () => {
  for (const [name, facts, expected, commands] of rows) {
    const problems = problemsOf(facts);
    assert.deepEqual(
      problems.map(({ id }) => id),
      expected,
      name,
    );
    const page = renderPage('1.0.0', facts, problems);
    for (const { what, fix } of problems) assert.ok(page.includes(what) && page.includes(fix), page);
    if (commands === null) continue;
    const lines = problems.flatMap(({ commands: each }) => [...(each[systemIn(facts)!] ?? [])]);
    assert.match(
      problems.at(expected.indexOf('no-adapter') > 0 ? 0 : -1)!.commands[systemIn(facts)!]!.join('\n'),
      commands,
      name,
    );
    for (const line of lines) assert.ok(page.includes(`$ ${line}`), `${name}: ${page}`);
  }
});

test('every problem has a machine that has it, and those that stop have a way out on every Linux', () => {
  const met = new Set(rows.flatMap(([, , problems]) => problems));
  assert.deepEqual(
    problemIds.filter((id) => !met.has(id)),
    [],
  );
  for (const [name, facts] of rows)
    for (const { id, level, commands, what, fix } of problemsOf(facts)) {
      assert.ok(what.length > 10 && fix.length > 10, `${name}: ${id}`);
      for (const [system, lines] of Object.entries(commands)) {
        assert.ok(systems.includes(system as SystemName), `${id}: ${system}`);
        assert.ok(
          lines.length > 0 && lines.every((line) => line.trim() === line && line !== ''),
          `${id}: ${system}`,
        );
      }
      if (level === 'stops' && 'found' in facts.system && facts.system.found.platform === 'linux')
        for (const system of ['debian', 'fedora', 'arch'] as const)
          assert.ok((commands[system]?.length ?? 0) > 0, `${name}: ${id} has nothing for ${system}`);
    }
});

test('Mesa is taken from where it is new enough for Dawn: by release and by problem', () => {
  const intel = {
    cards: [{ pci: '0000:00:02.0', vendor: 'Intel' as const, module: 'i915' }],
    devices: [{ file: '/dev/dri/renderD128', refused: null, group: 'render' }],
    drivers: [],
  };
  const noLoader = { adapters: { adapters: [], loader: false } };
  const apt = 'sudo apt install -y mesa-vulkan-drivers';
  const setup = 'npx dawntune setup';
  for (const [distributions, codename, driver] of [
    [['debian'], 'bookworm', 'sudo apt install -y -t bookworm-backports mesa-vulkan-drivers'],
    [['debian'], 'trixie', apt],
    [['debian'], null, apt],
    [['ubuntu', 'debian'], 'noble', apt],
    [['raspbian', 'debian'], 'bookworm', apt],
  ] as const) {
    const commands = (...changes: Parameters<typeof machine>) =>
      problemsOf(machine(withoutAdapter, { system: { distributions, codename } }, ...changes)).map(
        (problem) => problem.commands.debian?.[0],
      );
    assert.deepEqual(commands(noCard, noLoader), [setup], `${codename}`);
    assert.deepEqual(commands({ graphics: intel }), [driver, setup], `${codename}`);
    assert.deepEqual(commands({ graphics: intel }, noLoader), [setup, driver], `${codename}`);
  }
});

test('what stops a run makes the exit code 1, what limits it does not', () => {
  const trains = (facts: Facts) => canTrain(problemsOf(facts));
  assert.ok(trains(healthy) && trains(slowH100) && trains(machine(noCard, onProcessor)));
  for (const [name, facts, ids] of rows) {
    const stopped = ids.some((id) =>
      problemsOf(facts).some((each) => each.id === id && each.level === 'stops'),
    );
    assert.equal(trains(facts), !stopped, name);
    assert.match(
      renderPage('1', facts, problemsOf(facts)),
      stopped
        ? /^verdict +does not work: problem(s 1( and|,) .* stop| 1 below stops) it$/m
        : /^verdict +works/m,
      name,
    );
  }
  assert.ok(!trains(machine(noCard, withoutAdapter)));
});

test('where every probe failed, the page still says so, and what to do', () => {
  const failed = { failed: 'no reason' };
  const facts: Facts = {
    ...{
      node: healthy.node,
      crashing: [],
      system: failed,
      processor: failed,
      memory: failed,
      folders: failed,
    },
    ...{
      graphics: failed,
      dawn: failed,
      adapters: failed,
      chosen: failed,
      kernels: failed,
      mpi: failed,
      fit: failed,
    },
  };
  const problems = problemsOf(facts);
  const page = renderPage('1', facts, problems);
  assert.equal(page.match(/not found out: no reason/g)?.length, 7, page);
  // Of which system nobody knows.
  assert.match(page, /npm install --force webgpu/);
});

test('systems are told by what distributions say of themselves', () => {
  const ubuntu = parseOsRelease(
    'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n',
  );
  assert.deepEqual(ubuntu, {
    distributions: ['ubuntu', 'debian'],
    codename: 'noble',
    name: 'Ubuntu 24.04.1 LTS',
  });
  const of = (text: string) => systemOf({ platform: 'linux', ...parseOsRelease(text) });
  for (const [text, system] of [
    ['ID=debian', 'debian'],
    ['ID=linuxmint\nID_LIKE="ubuntu debian"', 'debian'],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"', 'fedora'],
    ["ID='manjaro'\nID_LIKE='arch'", 'arch'],
    ['ID=nixos', undefined],
    ['', undefined],
  ] as const)
    assert.equal(of(text), system, text);
  assert.equal(systemOf({ platform: 'darwin', distributions: [] }), 'macos');
  assert.equal(wslOf('5.15.167.4-microsoft-standard-WSL2', 'Ubuntu'), 2);
  assert.equal(wslOf('4.4.0-19041-Microsoft', 'Ubuntu'), 1);
  assert.equal(wslOf('6.1.0-28-amd64', undefined), null);
  assert.equal(quotaOf('150000 100000\n'), 1.5);
  assert.equal(quotaOf('max 100000\n'), null);
  assert.equal(quotaOf(undefined), null);
  assert.ok(
    older('20.9.0', '20.15') &&
      !older('20.15.0', '20.15') &&
      !older('22.1.0', '20.15') &&
      older('18.20.4', '20'),
  );
  // Commands say so too, before a newer Node's names are missed.
  assert.throws(
    () => requireNode('18.20.4'),
    /^MachineError: Node 18\.20\.4 is too old: 20\.15 or newer is needed; `dawntune doctor` says how to install one$/,
  );
  assert.doesNotThrow(() => requireNode('20.15.0'));
});

test('a folder is probed by writing, and left as it was', (t) => {
  const missing = path.join(folder, 'a', 'b');
  assert.equal(folderFacts(missing).unwritable, null);
  assert.ok(folderFacts(missing).free! > 0);
  assert.deepEqual(fs.readdirSync(folder), []);
  const file = path.join(folder, 'file');
  fs.writeFileSync(file, '');
  assert.equal(folderFacts(path.join(file, 'below')).unwritable, 'a part of the path is not a folder');
  if (process.getuid?.() === 0) return t.diagnostic('root may write anywhere');
  fs.mkdirSync(path.join(folder, 'closed'), { mode: 0o500 });
  assert.equal(folderFacts(path.join(folder, 'closed')).unwritable, 'permission denied');
});

test('expected rates are the makers’ figures, and of unknown hardware nothing is said', () => {
  const kernel = foundKernels()[0]!;
  const copied = foundKernels()[2]!;
  const rate = (name: string, of = kernel) => expectedOf(of, { name, software: false }, undefined)?.rate;
  // TFLOP/s and GB/s that data sheets print.
  for (const [name, teraflops, gigabytes] of [
    ['NVIDIA H100 80GB HBM3', 66.9, 3350],
    ['NVIDIA A100-SXM4-80GB', 19.5, 2039],
    ['NVIDIA GeForce RTX 4090', 82.6, 1008],
    ['NVIDIA L4', 30.3, 300],
    ['Tesla T4', 8.1, 320],
    ['Intel(R) Arc(tm) A770 Graphics (DG2)', 17.2, 560],
    ['Apple M1', 2.6, 68.25],
  ] as const) {
    assert.ok(Math.abs(rate(name)! / 1e3 / teraflops - 1) < 0.02, `${name}: ${rate(name)}`);
    assert.ok(Math.abs(rate(name, copied)! / gigabytes - 1) < 0.02, `${name}: ${rate(name, copied)}`);
  }
  for (const { lanes, bits } of cards) assert.ok(lanes % 128 === 0 && bits % 64 === 0);
  assert.equal(rate('Voodoo 2'), undefined);
  const onCpu = (processor: Parameters<typeof expectedOf>[2]) => expectedOf(kernel, llvmpipe, processor);
  assert.equal(onCpu(undefined), null);
  const epyc = { model: 'AMD EPYC', cores: 4, quota: null, megahertz: 2600, vectors: 'AVX-512' } as const;
  assert.equal(onCpu(epyc)!.rate, 2 * 75.7);
  // A quota counts, and another processor by its lanes and clock: half the lanes and clock of that one.
  assert.equal(onCpu({ ...epyc, quota: 2 })!.rate, 75.7);
  const other = onCpu({ ...epyc, model: 'Neoverse-N1', megahertz: 1300, vectors: 'NEON' })!;
  assert.ok(Math.abs(other.rate / 75.7 - 2 / 4) < 1e-9 && /computed/.test(other.source));
  assert.equal(onCpu({ ...epyc, model: 'unknown', vectors: null }), null);
});

test('a probe whose process crashes, hangs or says nothing is told, with its last words', async () => {
  const run = (script: string, seconds = 20) => {
    const file = path.join(folder, 'child.mjs');
    fs.writeFileSync(file, script);
    return probeInChild('x', null, { program: [file], seconds });
  };
  const failed = async (script: string, seconds?: number) => {
    const probed = await run(script, seconds);
    assert.ok('failed' in probed);
    return { ...probed, crashed: crashed(probed) };
  };
  assert.deepEqual(
    await failed(
      'console.error("libfoo: bad"); process.kill(process.pid, "SIGSEGV"); setTimeout(() => {}, 9e3)',
    ),
    {
      failed: 'the probe crashed with SIGSEGV; its last words: libfoo: bad',
      crashed: true,
    },
  );
  assert.deepEqual(await failed('setTimeout(() => {}, 9e4)', 0.4), {
    failed: 'the probe gave no answer in 0.4 s',
    crashed: false,
  });
  assert.match((await failed('process.exit(7)')).failed, /^the probe ended with exit code 7$/);
  // Chatter before the answer, and a crash after it.
  const answer = JSON.stringify('\n\u0001dawntune:{"found":[1]}\n');
  assert.deepEqual(
    await run(
      `process.stdout.write("driver 1.0"); process.stdout.write(${answer}, () => process.kill(process.pid, "SIGSEGV"))`,
    ),
    { found: [1] },
  );
});

test('doctor loads no native code itself', () => {
  const seen = new Set<string>();
  const packages = new Set<string>();
  const walk = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = fs.readFileSync(file, 'utf8');
    for (const [, name] of text.matchAll(/^(?:import|export) (?:[^;]*? from )?'([^']+)';$/gm))
      if (name!.startsWith('.')) walk(path.join(path.dirname(file), name!));
      else if (!name!.startsWith('node:')) packages.add(name!);
  };
  walk(path.join(repositoryRoot, 'dist', 'src', 'cli', 'doctor.js'));
  assert.ok(seen.size > 12, [...seen].join('\n'));
  assert.deepEqual([...packages], []);
});

test('what a step takes is what finetune --dry_run says of texts that fill the lengths', async () => {
  const text = (row: number, k: number) =>
    Array.from({ length: 40 }, (_, i) => `word${(row * 7 + k * 3 + i) % 97}`).join(' ');
  const data = path.join(folder, 'rows.jsonl');
  const rows = Array.from({ length: 4 }, (_, row) => ({
    query: text(row, 1),
    pos: [text(row, 2)],
    neg: [text(row, 3)],
  }));
  fs.writeFileSync(data, rows.map((row) => JSON.stringify(row)).join('\n'));
  const step = [
    ...['--per_device_train_batch_size', '2', '--train_group_size', '2', '--unified_finetuning', 'True'],
    ...['--query_max_len', '16', '--passage_max_len', '24', '--use_self_distill', 'True'],
  ];
  const ways = [
    [],
    ['--fp16', '--gradient_checkpointing'],
    ['--gradient_checkpointing', '--sub_batch_size', '2'],
  ];
  // Where the moments of the words lie in blocks: in one block there is room for all words as soon as there is for one.
  const open = () => Gpu.open({ maxBindingSize: 65536 });
  const gpu = await open();
  const { capabilities } = gpu;
  await gpu.close();
  for (const flags of ways) {
    const { args } = parseFinetuneArguments([
      ...[
        '--model_name_or_path',
        golden('model'),
        '--train_data',
        data,
        '--output_dir',
        path.join(folder, 'out'),
      ],
      // So many steps may bring every word that there is.
      ...['--dry_run', '--shuffle_ratio', '0.1', '--num_train_epochs', '2000', ...step, ...flags],
    ]);
    let told: unknown;
    const report = { ...silentReporter, log: (entry: LogEntry) => (told = entry['gpu_memory_bytes']) };
    await finetune(args, report, open);
    const planned = await planWay(capabilities, readEncoderConfig(golden('model')), [...step, ...flags]);
    assert.equal(planned.bytes, told, flags.join(' '));
    // Beside the weights two moments of each.
    const moments = planned.checkpointBytes - planned.modelBytes;
    assert.ok(moments >= 2 * planned.modelBytes && moments < 2.2 * planned.modelBytes, `${moments} bytes`);
  }
});

test('docs/doctor.md has every key of the JSON and every problem', () => {
  const text = fs.readFileSync(path.join(repositoryRoot, 'docs', 'doctor.md'), 'utf8');
  const documented = (name: string) =>
    assert.ok(text.includes(`\`${name}\``), `docs/doctor.md lacks ${name}`);
  const report: DoctorReport = { schema: 1, dawntune: '1', trains: true, facts: healthy, problems: [] };
  for (const name of [...Object.keys(report), ...problemIds]) documented(name);
  // Of the healthy machine, whose probes all found something.
  for (const [name, value] of Object.entries(healthy)) {
    documented(name);
    const found = (value as { found?: object }).found ?? value;
    for (const each of Array.isArray(found) ? found : [found])
      if (typeof each === 'object') for (const key of Object.keys(each)) documented(key);
  }
});

test('the adapter of this machine is found, and its kernels compute right', async () => {
  const adapters = await probeInChild<AdaptersFacts>('adapters', null);
  assert.ok('found' in adapters && adapters.found.adapters.length > 0, JSON.stringify(adapters));
  assert.ok(typeof adapters.found.adapters[0]!.memory === 'number');
  const chosen = await probeInChild<ChosenFacts>('chosen', { wanted: null });
  assert.ok('found' in chosen && chosen.found.limits['maxBufferSize']! >= 2 ** 28, JSON.stringify(chosen));
  const kernels = await probeInChild<CheckedKernel[]>('kernels', { wanted: null });
  assert.ok('found' in kernels && kernels.found.length === 3, JSON.stringify(kernels));
  for (const { problem, rate } of kernels.found) assert.ok(problem === null && rate! > 0);
  const voodoo = { wanted: 'Voodoo 2' };
  assert.match(JSON.stringify(await probeInChild('chosen', voodoo)), /"failed":"--adapter: expected a part/);
  await assert.rejects(probeInChild('chosen', voodoo, { throwsInput: true }), InputError);
});
