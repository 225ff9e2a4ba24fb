/** Programs as ranks under mpirun, for the tests: what they print, how they end, and whether anything of them is left. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findMpi, launchWords, type MpiInstallation, mpiNames } from '../../src/setup/mpi.js';
import { repositoryRoot } from '../repository.js';

/** Those that are on this machine or in its cache folder: `npm run test:mpi` has put there what it could. */
export const installations: readonly MpiInstallation[] = mpiNames.flatMap((name) => findMpi(name) ?? []);

export const rankProgram = path.join(repositoryRoot, 'dist', 'test', 'mpi', 'rank.js');

/** Most that a run whose rank failed may take to its end, in seconds. */
export const FAULT_SECONDS = 30;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

export interface RunOptions {
  readonly ranks: number;
  /** Words of mpirun itself, before the program. */
  readonly words?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A program that starts Node for a rank. */
  readonly wrapper?: string;
  /** Most seconds it may take, or the test fails. */
  readonly limit: number;
  /** Called with all of standard output and error at each piece of them. */
  readonly watch?: (said: string, mpirun: ChildProcess) => void;
}

/** Node with these words as every rank. Nothing of it is left when this returns. */
export async function mpirun(
  installation: MpiInstallation,
  args: readonly string[],
  { ranks, words, env = {}, wrapper, limit, watch }: RunOptions,
): Promise<Ended> {
  const began = performance.now();
  const all = [
    ...(words ?? launchWords(installation, ranks)),
    ...(wrapper ? [wrapper] : []),
    process.execPath,
    ...args,
  ];
  const child = spawn(installation.mpirun, all, {
    cwd: repositoryRoot,
    env: { ...process.env, ...installation.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    watch?.(stdout + stderr, child);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    watch?.(stdout + stderr, child);
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
    for (const pid of pidsIn(stdout + stderr)) kill(pid);
  }, limit * 1000);
  const closed = once(child, 'close');
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  // A daemon on a host that is cut off may keep the pipes open.
  await Promise.race([closed, sleep(2000, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  const seconds = (performance.now() - began) / 1000;
  const said = `${stdout}\n${stderr}`;
  assert.ok(!late, `${args.join(' ')}: no end after ${limit} s:\n${said}`);
  await requireNoneLeft(said);
  return { code, signal, stdout, stderr, seconds };
}

/** Every rank has told its process's number. */
export function pidsIn(said: string): number[] {
  return [...said.matchAll(/(?:pid|is process) (\d+)/g)].map(([, pid]) => Number(pid));
}

const LEFT_TRIES = 150;
const LEFT_MILLISECONDS = 100;

/** The launcher has ended; what it has told to end may take a moment more. */
export async function requireNoneLeft(said: string): Promise<void> {
  let left = pidsIn(said).filter(runs);
  for (let tries = 0; left.length > 0 && tries < LEFT_TRIES; tries++) {
    await sleep(LEFT_MILLISECONDS);
    left = left.filter(runs);
  }
  for (const pid of left) kill(pid);
  assert.deepEqual(left, [], `processes that are left:\n${said}`);
}

/** Whether there is a process of that number that has not ended; one that nobody has waited for yet has. */
function runs(pid: number): boolean {
  try {
    const status = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^\d+ \(.*\) Z/.test(status);
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
