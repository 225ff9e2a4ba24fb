/**
 * `npm run test:matrix`: the kernels on a second driver, Debian's current Mesa, which this machine need not have installed.
 *
 * Its lavapipe compiles otherwise than the one that set-up fetches on Debian 12, and it runs subgroup matrices, so that the
 * kernels for matrix units can be tested without a GPU. The driver lies in the cache folder (src/setup/driver-root.ts);
 * where it cannot be had, a line says why and the exit code is 0.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DoctorReport } from '../src/doctor/doctor.js';
import { foundOf } from '../src/doctor/facts.js';
import { InputError, MachineError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import { parseFlags } from '../src/flags.js';
import { matrixFlags } from '../src/setup/arguments.js';
import {
  type DriverRoot,
  fetchDriverRoot,
  noDriverRootReason,
  readDriverRoot,
  writeNodeWrapper,
} from '../src/setup/driver-root.js';
import { messageLine } from '../src/show.js';

/** Every variant of every kernel family, then what is composed of them. */
const TESTS = [
  'ops',
  'attention',
  'matmul',
  'matmul-gpu',
  'half',
  'maxsim',
  'losses',
  'families',
  'layer-norm',
  'gradient-cache',
  'checkpoint',
  'binding-limit',
  'operands',
  'padding-rows',
  'training-memory',
  'tuner',
];

const dist = fileURLToPath(new URL('..', import.meta.url));
const repository = path.dirname(dist);

function say(line: string): void {
  process.stdout.write(`test:matrix: ${line}\n`);
}

/** The folder to run in, or why there is none. */
async function driver(update: boolean): Promise<DriverRoot | string> {
  const cached = readDriverRoot();
  if (cached && !update) return cached;
  const reason = noDriverRootReason();
  if (reason) return cached ?? reason;
  try {
    say('downloading the current Mesa of Debian with the libraries that it needs (70 MB) …');
    return await fetchDriverRoot();
  } catch (error) {
    if (!(error instanceof MachineError)) throw error;
    if (!cached) return error.message;
    say(`the driver in the cache stays: ${messageLine(error.message)}`);
    return cached;
  }
}

/** Whether a command succeeded. Of the tables of parity only the last line is shown where all is well. */
function holds(node: string, args: readonly string[], brief: boolean): boolean {
  const { status, signal, stdout } = spawnSync(node, args, {
    stdio: ['inherit', brief ? 'pipe' : 'inherit', 'inherit'],
    encoding: 'utf8',
    cwd: repository,
    maxBuffer: 64 << 20,
  });
  if (signal) say(`${args.join(' ')}: ended by ${signal}`);
  if (brief) process.stdout.write(status === 0 ? `${stdout.trimEnd().split('\n').at(-1)}\n` : stdout);
  return status === 0;
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(
      renderHelp(
        `${usageLine('npm run test:matrix --', matrixFlags)}\n\nThe kernels on Debian's current Mesa`,
        matrixFlags,
      ),
    );
    return 0;
  }
  const found = await driver(parseFlags(matrixFlags, argv).values.update);
  if (typeof found === 'string') {
    say(`skipped: ${messageLine(found)}`);
    return 0;
  }
  const node = writeNodeWrapper(found);
  const version = (prefix: string) =>
    found.packages
      .filter(({ name }) => name.startsWith(prefix))
      .map((each) => `${each.name} ${each.version}`)
      .join(', ');
  say(
    `${['mesa-vulkan-drivers', 'libllvm', 'libc6', 'libvulkan1'].map(version).join(', ')} of ${found.suite}`,
  );
  const program = path.join(dist, 'src', 'cli', 'main.js');
  const seen = spawnSync(node, [program, 'doctor', '--json'], { encoding: 'utf8', cwd: repository });
  const { facts } = (seen.status === 0 ? JSON.parse(seen.stdout) : {}) as Partial<DoctorReport>;
  const adapter = facts && foundOf(facts.chosen);
  if (!adapter) throw new MachineError(`no adapter in ${found.folder}: ${seen.stderr.trim() || seen.signal}`);
  const chosen = `${adapter.name}, ${adapter.driver}`;
  const units = adapter.matrixUnits.map(({ M, N, K, componentType }) => `${M}×${N}×${K} ${componentType}`);
  say(`adapter ${chosen}; subgroup matrices: ${units.join(', ') || 'no'}`);
  const mesa = found.packages.find(({ name }) => name === 'mesa-vulkan-drivers')?.version.split('-')[0];
  if (!mesa || !chosen.includes(`Mesa ${mesa}`))
    throw new MachineError(`expected an adapter of Mesa ${mesa}, found ${chosen}`);

  const parity = [program, 'parity', path.join('test', 'golden')];
  const steps: [string, string[]][] = [
    [
      'tests',
      ['--test', '--test-concurrency=1', ...TESTS.map((name) => path.join(dist, 'test', `${name}.test.js`))],
    ],
    ['parity', parity],
    ['parity --fp16', [...parity, '--fp16']],
    [
      'parity --fp16 on matrix units',
      [
        ...parity,
        '--fp16',
        '--kernels',
        'matmul=subgroupMatrix,attention=subgroupMatrix,attentionGradient=subgroupMatrix',
      ],
    ],
  ];
  const failed: string[] = [];
  for (const [name, args] of steps) {
    say(name);
    if (!holds(node, args, name !== 'tests')) failed.push(name);
  }
  say(failed.length === 0 ? 'all of it holds' : `failed: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(
    `test:matrix: ${known ? messageLine(error.message) : String((error as Error).stack)}\n`,
  );
  process.exitCode = known ? error.exitCode : 1;
}
