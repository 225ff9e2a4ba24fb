/**
 * Probes that load native code run in processes of their own: a driver that crashes or hangs there ends the probe, which
 * is told, and nothing else. The child is child.ts.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { InputError } from '../errors.js';
import { messageLine } from '../show.js';
import type { Probed } from './facts.js';

/** What comes before the answer on the child's standard output: drivers write there too. */
export const ANSWER = '\u0001dawntune:';

export type Answer = { readonly found: unknown } | { readonly failed: string; readonly input?: boolean };

export interface ChildOptions {
  readonly seconds?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** What is wrong in what the user gave is this call's own error, not an answer. */
  readonly throwsInput?: boolean;
  /** For tests. */
  readonly program?: readonly string[];
}

/** @throws InputError with `throwsInput` alone. */
export function probeInChild<T>(
  probe: string,
  options: unknown,
  child: ChildOptions = {},
): Promise<Probed<T>> {
  const { seconds = 60, env = process.env } = child;
  const program = child.program ?? [fileURLToPath(new URL('./child.js', import.meta.url))];
  return new Promise((resolve, reject) => {
    const words = [...program, probe, JSON.stringify(options ?? null)];
    execFile(
      process.execPath,
      words,
      { env, timeout: seconds * 1000, killSignal: 'SIGKILL', maxBuffer: 1 << 26, windowsHide: true },
      (error, stdout, stderr) => {
        const line = stdout.split('\n').findLast((each) => each.startsWith(ANSWER));
        // An answer counts even where a driver crashes while the process ends.
        if (line !== undefined) {
          const answer = JSON.parse(line.slice(ANSWER.length)) as Answer;
          if ('found' in answer) resolve(answer as Probed<T>);
          else if (answer.input && child.throwsInput) reject(new InputError(answer.failed));
          else resolve({ failed: answer.failed });
        } else resolve({ failed: endOf(error, seconds, stderr) });
      },
    );
  });
}

/** How a child ended that gave no answer. */
function endOf(
  error: (Error & { code?: unknown; signal?: unknown; killed?: boolean }) | null,
  seconds: number,
  stderr: string,
): string {
  const said = stderr.trim().split('\n').at(-1);
  const words = said ? `; its last words: ${messageLine(said)}` : '';
  if (error?.killed) return `the probe gave no answer in ${seconds} s${words}`;
  if (typeof error?.signal === 'string') return `the probe crashed with ${error.signal}${words}`;
  // Windows has no signals: a crash there is a code such as 0xC0000005.
  return `the probe ended with exit code ${typeof error?.code === 'number' && error.code > 255 ? `0x${error.code.toString(16).toUpperCase()}` : (error?.code ?? 0)}${words}`;
}

/** A probe of this process. */
export async function attempt<T>(probe: () => T | Promise<T>): Promise<Probed<T>> {
  try {
    return { found: await probe() };
  } catch (error) {
    return { failed: messageLine((error as Error).message) };
  }
}
