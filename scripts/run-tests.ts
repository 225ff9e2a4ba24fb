/**
 * Files of tests, one after the other, for `npm run test:mpi` and `npm run test:long`: with a temporary folder of their own,
 * after which nothing is left of it and of what they have started, however they end; what they have left themselves is
 * told, and is a failure.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { InputError } from '../src/errors.js';
import { show } from '../src/show.js';

/** In the environment of all that tests start: the folder. */
const MARK = 'DAWNTUNE_TESTS';
const END = '.test.js';
const dist = fileURLToPath(new URL('..', import.meta.url));
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
type Signal = keyof typeof EXIT_CODES;

/** What was told to end, or does so by itself, has so long. */
const END_MILLISECONDS = 3000;
const LOOK_MILLISECONDS = 50;

export interface TestRun {
  /** Test files of `folder`, by their names without `.test.js`. */
  readonly names: readonly string[];
  readonly folder: string;
  /** Takes lines of what is left. */
  readonly say: (line: string) => void;
  readonly endMilliseconds?: number;
}

/** @throws InputError when there is no file of the name that `only` gives. */
export function testNames(folder: string, only: string | null): string[] {
  const all = readdirSync(folder)
    .filter((name) => name.endsWith(END))
    .map((name) => name.slice(0, -END.length))
    .sort();
  if (only === null) return all;
  if (!all.includes(only))
    throw new InputError(`--only: expected one of ${all.join(', ')}, found ${show(only)}`);
  return [only];
}

/** @returns the exit code. */
export async function runTests({
  names,
  folder,
  say,
  endMilliseconds = END_MILLISECONDS,
}: TestRun): Promise<number> {
  const scratch = mkdtempSync(path.join(os.tmpdir(), 'dawntune-tests-'));
  let asked: Signal | undefined;
  const files = names.map((name) => path.join(folder, `${name}${END}`));
  const child = spawn(process.execPath, ['--test', '--test-concurrency=1', ...files], {
    cwd: path.dirname(dist),
    env: { ...process.env, TMPDIR: scratch, [MARK]: scratch },
    stdio: 'inherit',
  });
  const pass = (signal: Signal) => {
    asked ??= signal;
    // A terminal's Ctrl-C has reached it too.
    child.kill(signal);
  };
  for (const signal of Object.keys(EXIT_CODES) as Signal[]) process.on(signal, pass);
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    if (signal && !asked) say(`ended by ${signal}`);
    const left = [
      ...(await endProcesses(scratch, endMilliseconds)).map((words) => `a process: ${words}`),
      ...readdirSync(scratch).map((name) => `in the temporary folder: ${name}`),
    ];
    if (asked) return EXIT_CODES[asked];
    for (const each of left) say(`left behind: ${each}`);
    return left.length > 0 ? code || 1 : (code ?? 1);
  } finally {
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
    for (const signal of Object.keys(EXIT_CODES) as Signal[]) process.removeListener(signal, pass);
  }
}

/** @returns the words of those that did not end by themselves. */
async function endProcesses(scratch: string, milliseconds: number): Promise<string[]> {
  await untilNone(scratch, milliseconds);
  const left = markedProcesses(scratch);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const { pid } of markedProcesses(scratch)) kill(pid, signal);
    await untilNone(scratch, milliseconds);
  }
  return left.map(({ words }) => words);
}

async function untilNone(scratch: string, milliseconds: number): Promise<void> {
  const until = performance.now() + milliseconds;
  while (markedProcesses(scratch).length > 0 && performance.now() < until) await sleep(LOOK_MILLISECONDS);
}

/** All that tests have started; on Linux, elsewhere none are found. */
function markedProcesses(scratch: string): { readonly pid: number; readonly words: string }[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const read = (file: string) => readFileSync(`/proc/${name}/${file}`, 'utf8').split('\0');
      if (!read('environ').includes(`${MARK}=${scratch}`)) return [];
      return [{ pid: Number(name), words: read('cmdline').join(' ').trim() }];
    } catch {
      // It has ended, or is another user's.
      return [];
    }
  });
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
