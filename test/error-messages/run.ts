/** Makes the calls of the table in this process. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { commands } from '../../src/cli/commands.js';
import { type Refusal, refusalOf } from '../refusal.js';
import { golden } from '../repository.js';
import type { RefusedCall } from './call.js';

/** What was told, and which file of the source made the error. */
export interface ToldLine extends Refusal {
  /** From the root of the repository, with forward slashes. */
  readonly source: string | undefined;
}

/** What a command tells of a call, from a new folder in which the call's files lie. */
export async function toldBy(name: string, { words, files = {}, env = {} }: RefusedCall): Promise<ToldLine> {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-refused-')));
  const before = { folder: process.cwd(), env: { ...process.env } };
  try {
    if (/\bCOPY\b/.test(words)) fs.cpSync(golden('model'), path.join(folder, 'COPY'), { recursive: true });
    for (const [file, content] of Object.entries(files)) {
      const target = path.join(folder, file);
      fs.mkdirSync(content === null ? target : path.dirname(target), { recursive: true });
      if (content !== null) fs.writeFileSync(target, content);
    }
    process.chdir(folder);
    Object.assign(process.env, env);
    const argv = words
      .split(' ')
      .filter((word) => word !== '')
      .map((word) => (word === 'MODEL' ? golden('model') : word));
    const command = await commands.get(name)!.load();
    let thrown: unknown;
    const { status, stderr } = await refusalOf(
      (words) =>
        command(words).catch((error: unknown) => {
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
      stderr: stderr.replaceAll(golden('model'), 'MODEL').replaceAll(folder, '.'),
    };
  } finally {
    process.chdir(before.folder);
    for (const key of Object.keys(env))
      if (before.env[key] === undefined) delete process.env[key];
      else process.env[key] = before.env[key];
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
