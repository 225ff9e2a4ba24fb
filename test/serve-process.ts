/** `dawntune serve` as a process of its own, for tests of how it is told to end, and of how it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { repositoryRoot } from './repository.js';

export interface ServeProcess {
  readonly url: string;
  readonly port: number;
  readonly process: ChildProcess;
  /** Lines on standard error until now. */
  readonly told: readonly string[];
  /** Resolves when a line of standard error has `words`. */
  says(words: RegExp): Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<number | string>;
}

/** Starts it. `loses`: it loses its device whenever it gets SIGUSR2; `for good`: and finds no other. @throws Error when it ends before it listens. */
export async function startServe(
  words: readonly string[],
  { loses = false }: { readonly loses?: boolean | 'for good' } = {},
): Promise<ServeProcess> {
  const { process: child, told, ended, says } = spawnServe(words, loses);
  const lines = createInterface({ input: child.stdout! });
  const url = await Promise.race([
    once(lines, 'line').then(([line]) => String(line)),
    ended.then((code) => {
      throw new Error(`serve ended with ${code}: ${told.join('\n')}`);
    }),
  ]);
  return { ...{ url, port: Number(new URL(url).port), process: child }, told, says, ended };
}

/** As `startServe`, for what may not come to listen. */
export function spawnServe(
  words: readonly string[],
  loses: boolean | 'for good' = false,
): Omit<ServeProcess, 'url' | 'port'> {
  const preload = pathToFileURL(path.join(repositoryRoot, 'dist/test/lose-device.js')).href;
  const child = spawn(
    process.execPath,
    [
      ...(loses ? ['--import', preload] : []),
      ...[path.join(repositoryRoot, 'dist/src/cli/main.js'), 'serve', ...words],
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...(loses === 'for good' && { LOST_FOR_GOOD: '1' }) },
    },
  );
  const told: string[] = [];
  const hearing = new Set<() => void>();
  createInterface({ input: child.stderr! }).on('line', (line) => {
    told.push(line);
    for (const hear of hearing) hear();
  });
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  const says = (words: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const hear = () => {
        if (!told.some((line) => words.test(line))) return;
        hearing.delete(hear);
        resolve();
      };
      hearing.add(hear);
      hear();
      void ended.then((code) => reject(new Error(`serve ended with ${code}: ${told.join('\n')}`)));
    });
  return { process: child, told, says, ended };
}
