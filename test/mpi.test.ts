/** Ranks of MPI: what launchers leave in the environment, which library is loaded, and two ranks where there is an MPI. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { MachineError } from '../src/errors.js';
import { mpiLaunch } from '../src/ranks/mpi/environment.js';
import { loadMpi } from '../src/ranks/mpi/library.js';
import { launchWords } from '../src/setup/mpi.js';
import { installations, mpirun, rankProgram } from './mpi/launch.js';
import { repositoryRoot } from './repository.js';

const OPEN_MPI = {
  OMPI_COMM_WORLD_RANK: '3',
  OMPI_COMM_WORLD_SIZE: '8',
  OMPI_COMM_WORLD_LOCAL_RANK: '1',
  OMPI_COMM_WORLD_LOCAL_SIZE: '2',
  PMIX_RANK: '3',
};
const HYDRA = { PMI_RANK: '1', PMI_SIZE: '4', MPI_LOCALRANKID: '0', MPI_LOCALNRANKS: '2' };
const BATCH_SCRIPT = { SLURM_JOB_ID: '7', SLURM_PROCID: '0', SLURM_LOCALID: '0', SLURM_NTASKS: '16' };
const STEP = { ...BATCH_SCRIPT, SLURM_STEP_ID: '0', SLURM_STEP_NUM_TASKS: '4', SLURM_PROCID: '2' };

test('rank and size are what the launcher says, whichever it is', () => {
  const cases: [string, Record<string, string>, unknown[] | undefined][] = [
    ['alone', {}, undefined],
    ['mpirun', OPEN_MPI, [3, 8, 'openmpi']],
    ['Hydra', HYDRA, [1, 4, 'mpich']],
    ['MVAPICH', { MV2_COMM_WORLD_RANK: '0', MV2_COMM_WORLD_SIZE: '2', ...HYDRA }, [0, 2, 'mpich']],
    ['a batch script of Slurm is no rank', BATCH_SCRIPT, undefined],
    ['srun', STEP, [2, 4, 'openmpi']],
    ['srun --mpi=pmix', { ...STEP, PMIX_RANK: '2' }, [2, 4, 'openmpi']],
    ['srun --mpi=pmi2', { ...STEP, PMI_RANK: '2', PMI_SIZE: '4' }, [2, 4, 'mpich']],
    ['mpirun in a step', { ...STEP, ...OPEN_MPI }, [3, 8, 'openmpi']],
    ['mpirun in a batch script', { ...BATCH_SCRIPT, ...HYDRA }, [1, 4, 'mpich']],
    ['a launch of one', { OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '1' }, undefined],
  ];
  for (const [name, env, expected] of cases) {
    const launch = mpiLaunch(env);
    const seen = launch && [launch.rank, launch.size, launch.families[0]];
    assert.deepEqual(seen, expected, name);
    if (launch) assert.equal(launch.host, os.hostname());
  }
});

test('what launchers would not say is refused with its name', () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ OMPI_COMM_WORLD_RANK: '2', OMPI_COMM_WORLD_SIZE: '2' }, /OMPI_COMM_WORLD_RANK: .*0 to 1, found "2"/],
    [{ OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: 'two' }, /OMPI_COMM_WORLD_SIZE: .*found "two"/],
    [{ OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '0' }, /OMPI_COMM_WORLD_SIZE: .*from 1, found "0"/],
    [{ PMI_RANK: '0' }, /none of PMI_SIZE, /],
    [{ PMIX_RANK: '0' }, /no variable tells the number of ranks/],
    [{ RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: 'a' }, /as torchrun sets them for each of "2" processes/],
  ];
  for (const [env, message] of cases)
    assert.throws(
      () => mpiLaunch(env),
      (error) => error instanceof MachineError && message.test(error.message),
      JSON.stringify(env),
    );
});

test('a library that is not there, or is none of MPI, is told in one line', () => {
  const load = (name: string) => () => loadMpi(['openmpi'], { DAWNTUNE_MPI_LIBRARY: name });
  assert.throws(load('/nowhere/libmpi.so.40'), /DAWNTUNE_MPI_LIBRARY cannot be loaded .*nowhere/);
  assert.throws(load('libc.so.6'), /libc\.so\.6: is no MPI library/);
});

test('two ranks talk under MPI', async (t) => {
  const [installation] = installations;
  if (!installation) return t.skip('no MPI on this machine: npm run test:mpi unpacks one');
  const { code, stdout, stderr } = await mpirun(installation, [rankProgram, 'conversation', '1000'], {
    ranks: 2,
    limit: 60,
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.match(/^rank \d closed$/gm)?.length, 2);
});

test('a rank that waits inside MPI, or whose neighbour has ended, does not wait for ever', async (t) => {
  if (process.platform !== 'linux') return t.skip('only Linux tells the state of another process');
  const program = path.join(repositoryRoot, 'dist', 'test', 'mpi', 'guarded.js');
  const beside = async (pid: number) => {
    const child = spawn(process.execPath, [program, String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text: Buffer) => (said += text.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, said };
  };
  const stopped = spawn('sleep', ['60']);
  const ended = spawn('true');
  await once(ended, 'exit');
  stopped.kill('SIGSTOP');
  const [first, second, third] = await Promise.all([stopped.pid!, ended.pid!, process.pid].map(beside));
  stopped.kill('SIGKILL');
  assert.equal(first!.code, 1);
  assert.match(
    first!.said,
    /^dawntune: rank 1: its process \d+ on here is stopped, and rank 0 waits inside MPI/,
  );
  assert.match(
    second!.said,
    new RegExp(`^dawntune: rank 1: its process ${ended.pid} on here has ended$`, 'm'),
  );
  assert.match(third!.said, /^dawntune: rank 0 waits inside MPI for 1 s: another rank is stopped/);
});

test('mpirun leaves the ranks all cores', () => {
  const words = launchWords({ name: 'Open MPI' }, 2).join(' ');
  assert.match(words, /--bind-to none -np 2$/);
});
