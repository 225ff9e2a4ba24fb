/**
 * Runs cases of the fuzz in a child and watches it: a case that takes too long or too much memory, ends the process
 * or writes to standard error is a finding, as is any error that is not of the promised kind. What only a loaded
 * machine explains is not: such a case is run once more by itself.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export interface FuzzOptions {
  readonly readers: readonly string[];
  /** Case k of a reader has seed `seed + k`, which makes it again by itself. */
  readonly seed: number;
  /** Stop after so long; infinite with `cases`. */
  readonly seconds: number;
  /** Stop after so many cases of each reader. */
  readonly cases?: number;
  /** Inputs of findings are kept here. */
  readonly findings: string;
  /** The module that exports the readers; `readers.js` unless the watch itself is tested. */
  readonly module?: string;
  /** Milliseconds until a case counts as hanging. */
  readonly patience?: number;
}

export interface Finding {
  readonly reader: string;
  readonly seed: number;
  readonly what: string;
  /** The input's files. */
  readonly folder: string;
}

export interface Counts {
  accepted: number;
  refused: number;
  slowest: number;
}

const PATIENCE = 5000;
const MEMORY_BYTES = 2 ** 30;
/** Of a finding, in characters. */
const LONGEST_REPORT = 1500;
const child = fileURLToPath(new URL('./child.js', import.meta.url));

interface Ended {
  /** The case that was being read when the child ended, with what it did; undefined: all were done. */
  readonly stopped?: {
    readonly index: number;
    readonly reader: string;
    readonly seed: number;
    readonly what: string;
  };
}

export async function fuzz(
  options: FuzzOptions,
): Promise<{ counts: Map<string, Counts>; findings: Finding[] }> {
  const counts = new Map<string, Counts>(
    options.readers.map((name) => [name, { accepted: 0, refused: 0, slowest: 0 }]),
  );
  const findings: Finding[] = [];
  const deadline = performance.now() + options.seconds * 1000;
  const total = (options.cases ?? Number.POSITIVE_INFINITY) * options.readers.length;
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-fuzz-'));
  try {
    let next = 0;
    while (next < total && performance.now() < deadline) {
      const count = Math.min(total - next, 1e9);
      const { stopped } = await watch(path.join(home, 'input'), options, next, count, deadline, counts);
      if (!stopped) break;
      next = stopped.index + 1;
      const again = await watch(
        path.join(home, 'input'),
        { ...options, readers: [stopped.reader], seed: stopped.seed },
        0,
        1,
        Number.POSITIVE_INFINITY,
        new Map([[stopped.reader, { accepted: 0, refused: 0, slowest: 0 }]]),
      );
      if (!again.stopped) continue;
      const folder = path.join(options.findings, `${stopped.reader}-${stopped.seed}`);
      fs.cpSync(path.join(home, 'input'), folder, { recursive: true });
      findings.push({ reader: stopped.reader, seed: stopped.seed, what: again.stopped.what, folder });
    }
  } finally {
    fs.rmSync(home, { recursive: true, force: true });
  }
  return { counts, findings };
}

/** One child, from case `first` until it is through, the time is over or something is found. */
function watch(
  folder: string,
  options: FuzzOptions,
  first: number,
  count: number,
  deadline: number,
  counts: Map<string, Counts>,
): Promise<Ended> {
  return new Promise((resolve) => {
    const module = options.module ?? new URL('./readers.js', import.meta.url).href;
    const patience = options.patience ?? PATIENCE;
    const words = [module, folder, options.readers.join(','), options.seed, first, count].map(String);
    const process_ = spawn(process.execPath, ['--max-old-space-size=800', child, ...words]);
    let current: { index: number; reader: string; seed: number } | undefined;
    let found: string | undefined;
    let since = performance.now();
    let outOfTime = false;
    let ended = false;
    let errors = '';
    let rest = '';

    const stop = (what?: string) => {
      found ??= what?.slice(0, LONGEST_REPORT);
      process_.kill('SIGKILL');
    };
    process_.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-4000);
    });
    process_.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) take(line.split('\t'));
    });
    const take = ([kind, index, ...more]: string[]) => {
      if (found !== undefined) return;
      since = performance.now();
      if (kind === 'end') ended = true;
      else if (kind === 'case') current = { index: Number(index), reader: more[0]!, seed: Number(more[1]) };
      else if (kind === 'fault') stop(JSON.parse(more[0]!));
      else if (kind === 'done') {
        const count = counts.get(current!.reader)!;
        count[more[0] as 'accepted' | 'refused']++;
        count.slowest = Math.max(count.slowest, Number(more[1]));
        if (Number(more[2]) * 1024 > MEMORY_BYTES) stop(`took ${Number(more[2]) >> 10} MiB of memory`);
        else if (Number(more[1]) > patience) stop(`took ${more[1]} ms`);
      }
    };
    const timer = setInterval(() => {
      if (performance.now() > deadline) {
        outOfTime = true;
        stop();
      } else if (performance.now() - since > patience) stop(`no end after ${patience} ms`);
      else if (residentBytes(process_.pid!) > MEMORY_BYTES) stop('took more than 1 GiB of memory');
    }, 100);
    process_.on('close', (code) => {
      clearInterval(timer);
      if (errors !== '' && !outOfTime) found ??= `ended with ${code} and wrote: ${errors}`;
      else if (!ended && !outOfTime) found ??= `ended with ${code}`;
      resolve(found !== undefined && current ? { stopped: { ...current, what: found } } : {});
    });
  });
}

/** 0 where the system does not tell. */
function residentBytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
