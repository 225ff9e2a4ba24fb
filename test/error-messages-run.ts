/** Makes the calls of error-messages.ts in this process. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { commands } from '../src/cli/commands.js';
import type { RefusedCall } from './error-messages.js';
import { type Refusal, refusalOf } from './refusal.js';
import { golden } from './repository.js';

/** What a command tells of a call, from a new folder in which the call's files lie. */
export async function toldBy(name: string, { words, files = {}, env = {} }: RefusedCall): Promise<Refusal> {
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
    const { status, stderr } = await refusalOf(await commands.get(name)!.load(), argv);
    return { status, stderr: stderr.replaceAll(golden('model'), 'MODEL').replaceAll(folder, '.') };
  } finally {
    process.chdir(before.folder);
    for (const key of Object.keys(env))
      if (before.env[key] === undefined) delete process.env[key];
      else process.env[key] = before.env[key];
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
