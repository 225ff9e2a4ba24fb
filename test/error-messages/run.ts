/** Makes the calls of the table in this process. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { commands } from '../../src/cli/commands.js';
import { type Refusal, refusalOf } from '../refusal.js';
import { golden } from '../repository.js';
import type { RefusedCall, RefusedUse } from './call.js';

const FRONT_DOOR = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/** What was told, and which file of the source made the error. */
export interface ToldLine extends Refusal {
  /** From the root of the repository, with forward slashes. */
  readonly source: string | undefined;
}

/** What a command tells of a call, from a new folder in which the call's files lie. */
export const toldBy = (name: string, call: RefusedCall): Promise<ToldLine> =>
  told(call, /\bCOPY\b/.test(call.words), async (named) => {
    const argv = call.words
      .split(' ')
      .filter((word) => word !== '')
      .map(named);
    const command = await commands.get(name)!.load();
    return { run: command, argv };
  });

/** The same of `dawntune` with these words, in a process of its own. */
export const toldByProcess = (call: RefusedCall): Promise<ToldLine> =>
  told(call, false, async (named) => ({
    run: async (argv) => {
      const { status, stderr } = spawnSync(process.execPath, [FRONT_DOOR, ...argv], { encoding: 'utf8' });
      process.stderr.write(stderr);
      return status ?? -1;
    },
    argv: call.words.split(' ').map(named),
  }));

/** The same of a call of the library. */
export const toldByUse = (use: RefusedUse): Promise<ToldLine> =>
  told(use, false, async () => ({
    run: async () => {
      await use.use();
      return 0;
    },
    argv: [],
  }));

async function told(
  { files = {}, env = {}, before }: Pick<RefusedCall, 'files' | 'env' | 'before'>,
  needsCopy: boolean,
  prepare: (
    named: (text: string) => string,
  ) => Promise<{ run: (argv: readonly string[]) => Promise<number>; argv: readonly string[] }>,
): Promise<ToldLine> {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-refused-')));
  const earlier = { folder: process.cwd(), env: { ...process.env } };
  let end: (() => unknown) | undefined;
  try {
    if (needsCopy) fs.cpSync(golden('model'), path.join(folder, 'COPY'), { recursive: true });
    for (const [file, content] of Object.entries(files)) {
      const target = path.join(folder, file);
      fs.mkdirSync(content === null ? target : path.dirname(target), { recursive: true });
      if (content !== null) fs.writeFileSync(target, content);
    }
    process.chdir(folder);
    const stage = await before?.(folder);
    end = stage?.end;
    const names = Object.entries({ MODEL: golden('model'), ...stage?.names });
    const named = (text: string) =>
      names.reduce((known, [name, value]) => known.replaceAll(name, value), text);
    for (const [key, value] of Object.entries(env)) process.env[key] = named(value);
    const { run, argv } = await prepare(named);
    let thrown: unknown;
    const { status, stderr } = await refusalOf(
      (words) =>
        run(words).catch((error: unknown) => {
          thrown = error;
          throw error;
        }),
      argv,
    );
    const frame = thrown instanceof Error ? /^\s+at .*$/m.exec(thrown.stack ?? '')?.[0] : undefined;
    const source = /src\/[\w/-]+\.(?=[jt]s:)/.exec(frame?.replaceAll('\\', '/') ?? '')?.[0];
    return {
      source: source && `${source}ts`,
      status,
      stderr: names
        .reduce((text, [name, value]) => text.replaceAll(value, name), stderr)
        .replaceAll(folder, '.'),
    };
  } finally {
    await end?.();
    process.chdir(earlier.folder);
    for (const key of Object.keys(env))
      if (earlier.env[key] === undefined) delete process.env[key];
      else process.env[key] = earlier.env[key];
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
