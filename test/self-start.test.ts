/** A command that starts itself under mpirun: which one, with which words, and what becomes of signals and exit codes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { MachineError } from '../src/errors.js';
import type { PhysicalDevice } from '../src/gpu/physical-devices.js';
import type { RankAdapter } from '../src/ranks/choose-ranks.js';
import {
  findMpirun,
  followSelfStart,
  LauncherWords,
  requireCardsAlone,
  requireFirstStart,
  STARTED_BY_SELF,
} from '../src/ranks/self-start.js';
import type { MpiInstallation } from '../src/setup/mpi.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-self-start-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const module = new URL('../src/ranks/self-start.js', import.meta.url).href;

/** Stands for an mpirun: writes what it was given and what comes through its standard input, and ends as it is told. */
const fake = path.join(folder, 'mpirun.mjs');
fs.writeFileSync(
  fake,
  `#!${process.execPath}
import fs from 'node:fs';
const say = (line) => fs.writeSync(1, line + '\\n');
say(JSON.stringify({ words: process.argv.slice(2), started: process.env.${STARTED_BY_SELF}, env: process.env }));
if (process.argv.at(-1).startsWith('ends')) process.exit(Number(process.argv.at(-1).slice(4)));
if (process.argv.at(-1) === 'full') { fs.writeSync(2, '-'.repeat(74) + '\\nNot enough slots\\n' + '-'.repeat(74) + '\\n'); process.exit(1); }
if (process.argv.at(-1) === 'dies') process.kill(process.pid, 'SIGKILL');
process.stdin.setEncoding('utf8').on('data', (text) => say('got ' + text.trim())).on('end', () => { say('input ended'); process.exit(7); });
const crash = ['*** Process received signal ***', 'Signal: Segmentation fault (11)', '[ 0] /lib/libc.so.6', '*** End of error message ***'];
process.on('SIGTERM', () => {
  say('terminated');
  fs.writeSync(2, crash.map((line) => '[vm:7] ' + line + '\\n').join(''));
  setTimeout(() => process.exit(1), process.argv.at(-1) === 'slow' ? 500 : 0);
});
setTimeout(() => process.exit(99), 20000);
`,
  { mode: 0o755 },
);

/** A process that starts itself with this mpirun. */
function start(...words: string[]): {
  child: ChildProcess;
  said: () => string;
  errors: () => string;
  code: Promise<number | null>;
} {
  const script = `const { runUnderMpirun } = await import(${JSON.stringify(module)});
    const mpi = { name: 'Open MPI', version: '', mpirun: ${JSON.stringify(fake)}, env: { OF_MPI: 'x' } };
    process.exit(await runUnderMpirun(mpi, 3, 'program.js', ${JSON.stringify(words)}));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  let errors = '';
  child.stdout!.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  child.stderr!.setEncoding('utf8').on('data', (more: string) => {
    errors += more;
  });
  return {
    child,
    said: () => text,
    errors: () => errors,
    code: once(child, 'close').then(([code]) => code as number | null),
  };
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const limit = performance.now() + 10_000;
  while (!holds()) {
    assert.ok(performance.now() < limit, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('mpirun is given as many ranks, no binding, and the words of the command; its exit code is passed on', async () => {
  const runs = [
    ['ends0', 0],
    ['ends130', 130],
    // A rank that was killed, and an mpirun that was.
    ['ends137', 1],
    ['dies', 1],
    // It could not start any: what it says stands on standard error.
    ['full', 1],
  ] as const;
  await Promise.all(
    runs.map(async ([word, expected]) => {
      const { said, errors, code } = start('finetune', '--nproc_per_node', '3', word);
      assert.equal(await code, expected, word);
      assert.equal(errors().includes('Not enough slots'), word === 'full');
      const why =
        word === 'dies' ? /^dawntune: mpirun was ended by SIGKILL, and no rank has said why/m : null;
      const killed = word === 'ends137' ? /^dawntune: mpirun ended with exit code 137, and no rank/m : why;
      if (killed) assert.match(errors(), killed);
      else assert.doesNotMatch(errors(), /dawntune:/);
      const { words, started } = JSON.parse(said());
      assert.equal(started, '1');
      assert.deepEqual(words.slice(-5), ['program.js', 'finetune', '--nproc_per_node', '3', word]);
      const own = words.slice(0, words.indexOf(process.execPath)).join(' ');
      assert.match(own, /--bind-to none.* -np 3$/);
      assert.equal(own.includes('--allow-run-as-root'), process.getuid?.() === 0);
    }),
  );
});

test('mpirun is not told of a launcher or a batch system that started this process, but of all that a person has set', async () => {
  const launched = {
    ...{ OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '1', OMPI_MCA_orte_launch: '1', OMPI_MCA_ess: 'x' },
    ...{
      PMIX_RANK: '0',
      PMIX_NAMESPACE: '7',
      PMIX_SERVER_URI4: 'x',
      PMI_RANK: '0',
      PMI_SIZE: '1',
      PMI_FD: '6',
    },
    ...{ HYDI_CONTROL_FD: '7', MPI_LOCALNRANKS: '1', MV2_COMM_WORLD_RANK: '0' },
    ...{ SLURM_PROCID: '0', SLURM_JOB_ID: '12', SLURM_NODELIST: 'a,b', PBS_JOBID: '3', PBS_NODEFILE: 'x' },
  };
  const kept = {
    ...{ OMPI_MCA_btl_tcp_if_include: 'eth0', OMPI_ALLOW_RUN_AS_ROOT: '1', PMIX_MCA_gds: 'hash' },
    ...{ PMIX_PREFIX: '/pmix', OPAL_PREFIX: '/opal', MPIR_CVAR_CH3_PORT_RANGE: '1:2', DAWNTUNE_ADAPTER: 'x' },
  };
  Object.assign(process.env, launched, kept);
  try {
    const { said, code } = start('ends0');
    assert.equal(await code, 0);
    const { env } = JSON.parse(said()) as { env: Record<string, string> };
    assert.deepEqual(
      Object.keys(launched).filter((name) => name in env),
      [],
    );
    for (const [name, value] of Object.entries(kept)) assert.equal(env[name], value, name);
  } finally {
    for (const name of Object.keys({ ...launched, ...kept })) delete process.env[name];
  }
});

test('a process that mpirun started and did not tell its rank starts no ranks itself', () => {
  assert.throws(() => requireFirstStart({ [STARTED_BY_SELF]: '1' }), MachineError);
  requireFirstStart({});
});

test('a first signal reaches rank 0 as a line, a second one ends mpirun, and the end of this process ends the input', async () => {
  const asked = start('finetune');
  await until(() => asked.said().includes('words'), 'mpirun has started');
  asked.child.kill('SIGINT');
  asked.child.kill('SIGINT');
  await until(() => asked.said().includes('got SIGINT'), 'the signal has come');
  // What comes within half a second is the same Ctrl-C.
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.ok(!asked.said().includes('terminated'));
  asked.child.kill('SIGTERM');
  assert.equal(await asked.code, 143);
  assert.match(asked.said(), /got SIGINT\nterminated/);
  assert.equal(asked.errors(), '');

  const hurried = start('slow');
  await until(() => hurried.said().includes('words'), 'mpirun has started');
  hurried.child.kill('SIGINT');
  await until(() => hurried.said().includes('got SIGINT'), 'the signal has come');
  await new Promise((resolve) => setTimeout(resolve, 600));
  hurried.child.kill('SIGINT');
  await until(() => hurried.said().includes('terminated'), 'the second signal has come');
  // mpirun is on its way, which a third one would only disturb.
  hurried.child.kill('SIGINT');
  assert.equal(await hurried.code, 130);
  assert.equal(hurried.said().match(/terminated/g)?.length, 1);

  const killed = start('finetune');
  await until(() => killed.said().includes('words'), 'mpirun has started');
  killed.child.kill('SIGKILL');
  await until(() => killed.said().includes('input ended'), 'the input has ended');
});

test('what launchers say of an end is told where the ranks have not said why', () => {
  const fence = '-'.repeat(74);
  const text = `one\n${fence}\nPrimary job terminated\n${fence}\ntwo\n-- three\n${fence}\nno end`;
  const told = (all: boolean, pieces: readonly string[]) => {
    let said = '';
    const words = new LauncherWords((more) => {
      said += more;
    });
    for (const piece of pieces) words.write(piece);
    assert.equal(words.ranksSaidWhy, said.includes('dawntune: '));
    words.end(all);
    return said;
  };
  told(false, ['dawntune: rank 1: no adapter\n']);
  for (const leftOut of [
    '[a:7] [[1838,0],0] ORTE_ERROR_LOG: Out of resource in file ../orte/util/show_help.c at line 501\n',
    '[a:7] 1 more process has sent help message help-mpi-api.txt / mpi-abort\n',
    '[a:7] Set MCA parameter "orte_base_help_aggregate" to 0 to see all help / error messages\n',
    '[a:7] *** Process received signal ***\n[a:7] Signal: Aborted (6)\n[a:7] [ 0] /lib/libc.so.6(+0x3c)\n[a:7] *** End of error message ***\n',
    'Abort(143) on node 0 (rank 0 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 143) - process 0\n',
    '[mpiexec@a] Press Ctrl-C again to force abort\nCtrl-C caught... cleaning up processes\n[proxy:0:0@a] main (pm/pmiserv/pmip.c:169): demux engine error waiting for event\n',
  ]) {
    assert.equal(told(false, [leftOut]), '');
    assert.equal(told(true, [leftOut]), leftOut);
    // Lines of others stand in between, and after them.
    const lines = leftOut.split('\n').slice(0, -1);
    const among = lines.map((line, i) => `${line}\nown ${i}\n[b:8] own\n`);
    assert.equal(told(false, among), lines.map((_, i) => `own ${i}\n[b:8] own\n`).join(''));
  }
  for (const pieces of [[text], [...text]]) {
    assert.equal(told(false, pieces), `one\ntwo\n-- three\n${fence}\nno end`);
    assert.match(told(true, pieces), /^one\ntwo\n-- three\n-+\nPrimary job terminated\n-+\n-+\nno end$/);
  }
});

test('an mpirun of the machine goes before one that was unpacked; without any it is said what to install', () => {
  const mpi = (name: MpiInstallation['name'], env: Record<string, string>): MpiInstallation => ({
    name,
    version: '',
    mpirun: 'mpirun',
    env,
  });
  const found = (own: MpiInstallation['name'] | undefined) =>
    findMpirun((name) => (name === own ? mpi(name, {}) : mpi(name, { PATH: '/cache' })));
  assert.equal(found('MPICH').name, 'MPICH');
  assert.equal(found('Open MPI').name, 'Open MPI');
  assert.deepEqual(found(undefined).env, { PATH: '/cache' });
  assert.throws(
    () => findMpirun(() => undefined),
    /need mpirun, and there is none: install Open MPI or MPICH/,
  );
});

test('what is to show a card alone is tried before ranks are started', () => {
  const card = (pci: string): PhysicalDevice => ({
    name: 'H100',
    type: 'discrete',
    vendorId: 0,
    deviceId: 0,
    uuid: undefined,
    driverUuid: undefined,
    pci,
    memory: undefined,
  });
  const both = [card('0000:08:00.0'), card('0000:09:00.0')];
  const adapters = both.map(
    ({ name, pci }): RankAdapter => ({
      name,
      software: false,
      environment: { DRI_PRIME: `pci-${pci!.replaceAll(/[:.]/g, '_')}!` },
    }),
  );
  const before = process.env['DRI_PRIME'];
  const seen: (string | undefined)[] = [];
  requireCardsAlone(adapters, () => {
    seen.push(process.env['DRI_PRIME']);
    return [both[1]!];
  });
  assert.deepEqual(seen, ['pci-0000_09_00_0!']);
  assert.equal(process.env['DRI_PRIME'], before);
  for (const look of [() => both, () => [both[0]!], () => [], () => undefined])
    assert.throws(
      () => requireCardsAlone(adapters, look),
      (error: Error) => error instanceof MachineError && /device-select.*container/.test(error.message),
    );
  assert.equal(process.env['DRI_PRIME'], before);
  // Names alone tell these apart.
  requireCardsAlone([{ name: 'A', software: false, environment: {} }], () => assert.fail('nobody looks'));
});

test('rank 0 takes lines of its input for signals, and the end of it for a termination', async () => {
  const got: string[] = [];
  const listen = (signal: string) => got.push(signal);
  process.on('SIGINT', listen);
  process.on('SIGTERM', listen);
  try {
    const input = new PassThrough();
    const follow = (rank: number) => followSelfStart(rank, input as unknown as NodeJS.ReadStream);
    follow(0);
    process.env[STARTED_BY_SELF] = '1';
    follow(1);
    assert.equal(input.listenerCount('data'), 0);
    follow(0);
    input.write('SIGI');
    input.write('NT\nwhatever\n');
    await until(() => got.length > 0, 'the line has come');
    assert.deepEqual(got, ['SIGINT']);
    input.end();
    await until(() => got.length > 1, 'the end has come');
    assert.deepEqual(got, ['SIGINT', 'SIGTERM']);
  } finally {
    delete process.env[STARTED_BY_SELF];
    process.removeListener('SIGINT', listen);
    process.removeListener('SIGTERM', listen);
  }
});
